//! `lakepulse init`: writes a small project to begin with.

use std::path::Path;

use anyhow::Context as _;
use model::Exit;

use crate::args::Common;
use crate::failure::Failure;

/// The files of a new project: one topic, one silver table, one gold table.
const FILES: &[(&str, &str)] = &[
    ("lakepulse.yaml", include_str!("../../template/lakepulse.yaml")),
    ("topics.yaml", include_str!("../../template/topics.yaml")),
    ("schemas/readings.avsc", include_str!("../../template/schemas/readings.avsc")),
    ("sources/files.yaml", include_str!("../../template/sources/files.yaml")),
    ("models/silver/readings.sql", include_str!("../../template/models/silver/readings.sql")),
    ("models/gold/sensor_summary.sql", include_str!("../../template/models/gold/sensor_summary.sql")),
];

/// Writes the files that do not exist yet. Overwrites nothing.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub fn run(common: &Common) -> Result<Exit, Failure> {
    for (path, text) in FILES {
        let path = common.project.join(path);
        if path.exists() {
            println!("kept    {}", path.display());
            continue;
        }
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        println!("created {}", path.display());
    }
    println!("next: `lakepulse up`, and drop CSV files with columns sensor_id, celsius, at into `readings/`");
    Ok(Exit::Done)
}
