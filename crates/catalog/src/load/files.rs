//! Finds the files of a project.

use std::path::{Path, PathBuf};

use crate::fault::Faults;

/// The most nested folders. Deeper nesting is a loop of links.
const MAX_DEPTH: usize = 12;

/// The files of a project by kind, as sorted paths relative to its folder.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub topics: bool,
    pub sources: Vec<PathBuf>,
    pub models: Vec<PathBuf>,
    pub tests: Vec<PathBuf>,
    pub schemas: Vec<PathBuf>,
}
impl Found {
    pub fn is_nothing(&self) -> bool {
        !self.topics && self.sources.is_empty() && self.models.is_empty()
    }
}

pub(super) fn find(dir: &Path, faults: &mut Faults) -> Found {
    if !dir.is_dir() {
        let message = format!("there is no folder `{}`", dir.display());
        faults.add_at(Path::new("."), 1, message, "give the project's folder with `--project`");
        return Found::default();
    }
    for name in ["lakepulse", "topics"] {
        let (wrong, right) = (format!("{name}.yml"), format!("{name}.yaml"));
        if dir.join(&wrong).is_file() {
            faults.add_at(Path::new(&wrong), 1, "the file is not read", format!("call it `{right}`"));
        }
    }
    let mut found = Found { topics: dir.join("topics.yaml").is_file(), ..Found::default() };
    for file in walk(dir, "sources", faults) {
        match ending(&file) {
            "yaml" => found.sources.push(file),
            "yml" => faults.add_at(&file, 1, "the file is not read", "let its name end in `.yaml`"),
            _ => {}
        }
    }
    for file in walk(dir, "models", faults) {
        match ending(&file) {
            "sql" => found.models.push(file),
            "yaml" | "yml" if file.to_string_lossy().ends_with(".test.yaml") => found.tests.push(file),
            "yaml" | "yml" => {
                let help = "a model's settings stand in its SQL file; tests are `<table>.test.yaml`";
                faults.add_at(&file, 1, "the file is not read", help);
            }
            _ => {}
        }
    }
    found.schemas = walk(dir, "schemas", faults);
    found.schemas.retain(|file| ending(file) == "avsc");
    found
}

fn ending(file: &Path) -> &str {
    file.extension().and_then(|ending| ending.to_str()).unwrap_or_default()
}

/// All files below `dir/folder`, as paths relative to `dir`, without hidden ones.
fn walk(dir: &Path, folder: &str, faults: &mut Faults) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![(PathBuf::from(folder), 0)];
    while let Some((folder, depth)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(dir.join(&folder)) else { continue };
        if depth > MAX_DEPTH {
            faults.add_at(&folder, 1, "folders are nested too deeply", "look for a loop of links");
            continue;
        }
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            let path = folder.join(name);
            match std::fs::metadata(dir.join(&path)) {
                Ok(meta) if meta.is_dir() => open.push((path, depth + 1)),
                Ok(_) => files.push(path),
                Err(error) => {
                    faults.add_at(&path, 1, format!("cannot read the file: {error}"), "make it readable");
                }
            }
        }
    }
    files.sort();
    files
}
