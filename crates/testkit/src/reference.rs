//! Copies of the reference project, in other folders and with other names.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The files and folders of the project.
const PARTS: [&str; 5] = ["lakepulse.yaml", "topics.yaml", "sources", "models", "schemas"];

/// Copies the project into a folder, without data.
pub fn copy(to: &Path) -> Result<()> {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|folder| folder.join(PARTS[0]).is_file()).context("the workspace's folder")?;
    PARTS.iter().try_for_each(|part| copy_all(&root.join(part), &to.join(part)))
}

/// Renames a project that shares its services with others: `id` becomes its name, and the first part of its
/// topics' names instead of `prefix`.
pub fn rename(project: &Path, prefix: &str, id: &str) -> Result<()> {
    let settings = project.join("lakepulse.yaml");
    let text =
        fs::read_to_string(&settings).with_context(|| format!("cannot read `{}`", settings.display()))?;
    let renamed = |line: &str| {
        if line.starts_with("name: ") { format!("name: {id}\n") } else { format!("{line}\n") }
    };
    fs::write(&settings, text.lines().map(renamed).collect::<String>())?;
    for part in ["topics.yaml", "sources", "models"] {
        replace(&project.join(part), &format!("{prefix}."), &format!("{id}."))?;
    }
    Ok(())
}

/// Replaces a text in a file, or in every file of a folder. A missing path is ignored.
fn replace(path: &Path, text: &str, by: &str) -> Result<()> {
    if path.is_dir() {
        return entries(path)?.try_for_each(|entry| replace(&entry?.path(), text, by));
    }
    if path.exists() {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        fs::write(path, before.replace(text, by))?;
    }
    Ok(())
}

/// Copies a file or folder. An existing folder gains the missing files.
pub fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| format!("cannot copy `{}`", from.display()))?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    entries(from)?.try_for_each(|entry| {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))
    })
}

fn entries(folder: &Path) -> Result<impl Iterator<Item = Result<fs::DirEntry>>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    Ok(entries.map(|entry| Ok(entry?)))
}
