//! `lakepulse validate`: reports every fault of the project at once.

use std::path::Path;

use anyhow::Context as _;
use model::Exit;
use ops::{rules, wiring};

use crate::args::Common;
use crate::failure::Failure;

/// Exits with 3 if there is a fault.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common, schemas: Option<&Path>, file: Option<&Path>) -> Result<Exit, Failure> {
    if let Some(dir) = schemas {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
        for (name, schema) in catalog::json_schema::all() {
            let path = dir.join(name);
            let text = serde_json::to_string_pretty(&schema)?;
            std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    let project = wiring::project(&common.location()).await?;
    if let Some(file) = file {
        std::fs::write(file, rules::text(&project))
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        println!("wrote {}", file.display());
    }
    let catalog = &project.catalog;
    println!(
        "{}: {} topics, {} sources, {} models, no fault",
        project.name,
        catalog.topics.len(),
        catalog.sources.len(),
        catalog.models.len()
    );
    Ok(Exit::Done)
}
