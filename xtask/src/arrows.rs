//! Dependencies between crates go down only. An edge that is not listed here is a fault of the layout, not of
//! the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The crates that each crate may depend on. Stages, sources and sinks never depend on each other; `ops` wires them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("avro", &["model"]),
    ("runtime", &["model"]),
    ("stream", &["model", "avro", "runtime"]),
    ("lake", &["model", "runtime"]),
    ("query", &["model"]),
    ("catalog", &["model", "avro", "query"]),
    ("embedded", &["model", "runtime", "stream"]),
    ("stage", &["model", "runtime", "catalog", "stream", "lake", "query"]),
    ("source", &["model", "runtime", "stream"]),
    ("testkit", &["model", "runtime", "stream", "embedded", "lake"]),
    ("cases", &[]),
    ("cdc-sim", &["model", "avro", "runtime", "catalog", "stream", "source"]),
    ("ingest", &["model", "avro", "runtime", "catalog", "stream", "source"]),
    ("bronze", &["model", "avro", "runtime", "catalog", "stream", "lake", "stage"]),
    ("silver", &["model", "runtime", "catalog", "stream", "lake", "query", "stage"]),
    ("gold", &["model", "runtime", "catalog", "lake", "query", "stage"]),
    ("sink", &["model", "avro", "runtime", "catalog", "stream", "lake", "stage"]),
    (
        "ops",
        &[
            "model", "avro", "runtime", "catalog", "stream", "lake", "query", "stage", "source", "embedded",
            "cdc-sim", "ingest", "bronze", "silver", "gold", "sink",
        ],
    ),
    ("lakepulse", &["model", "runtime", "catalog", "cdc-sim", "gold", "ops"]),
    ("e2e", &["testkit", "cdc-sim"]),
    (
        "benchmarks",
        &[
            "model", "runtime", "catalog", "stream", "lake", "query", "stage", "embedded", "cdc-sim",
            "bronze", "silver", "gold", "testkit",
        ],
    ),
    ("fuzz", &["model", "avro", "catalog", "stream", "lake", "query", "ingest", "bronze", "silver"]),
    ("xtask", &[]),
];

/// Third-party crates that only some of ours may depend on.
const OWNED: &[(&str, &[&str])] = &[
    ("rdkafka", &["stream"]),
    ("deltalake", &["lake"]),
    ("tansu-broker", &["embedded"]),
    ("opentelemetry", &["runtime"]),
    // Beside `avro`: the registry's references are put in place by the library, the embedded registry judges as
    // another program would, and `verify` decodes a second time.
    ("apache-avro", &["avro", "stream", "embedded", "ops"]),
    // Beside `avro`: gold's rows are written by the library, whole, from the registered schema.
    ("arrow-avro", &["avro", "sink"]),
];

/// Folders of a crate, the lowest first. No file in one names a later one, nor anything in the crate's root
/// except errors.
const ROOMS: &[(&str, &[&str])] = &[("lake", &["store", "log", "files", "table", "upkeep"])];

/// Adds a fault for every file of a room that names a higher one. Returns the number of files.
fn rooms(root: &Path, faults: &mut Vec<String>) -> Result<usize> {
    let mut files = 0;
    for (of, rooms) in ROOMS {
        for (floor, room) in rooms.iter().enumerate() {
            let folder = root.join("crates").join(of).join("src").join(room);
            for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = file?.path();
                let text = std::fs::read_to_string(&path)?;
                files += 1;
                for named in text.split("crate::").skip(1) {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let named = named.split(|c| !is_name(c)).next().unwrap_or_default();
                    let above = rooms[floor + 1..].contains(&named);
                    let known = rooms.contains(&named) || ["error", "Error", "Result", ""].contains(&named);
                    if above || !known {
                        faults.push(format!("{} names `crate::{named}`, which is above it", path.display()));
                    }
                }
            }
        }
    }
    Ok(files)
}

/// Adds a fault for every crate of the workspace that the image's build does not get.
fn shipped(metadata: &Metadata, faults: &mut Vec<String>) -> Result<()> {
    let root = &metadata.workspace_root;
    let file = root.join(".dockerignore");
    let text = std::fs::read_to_string(&file).with_context(|| file.to_string())?;
    let given: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix('!')?.strip_suffix('/')).collect();
    for package in &metadata.packages {
        let folder = package.manifest_path.strip_prefix(root)?;
        let top = folder.components().next().context("a crate is in a folder")?;
        if !given.contains(top.as_str()) {
            faults.push(format!("`{top}/` is kept from the image's builder by .dockerignore"));
        }
    }
    Ok(())
}

/// Fails with every edge that is not allowed, or returns what was checked.
pub fn check() -> Result<String> {
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let (mut faults, mut edges) = (Vec::new(), 0);
    for package in &metadata.packages {
        let from = package.name.as_str();
        let Some(allowed) = allowed.get(from) else {
            faults.push(format!("crate `{from}` has no line in xtask/src/arrows.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let in_tests = dependency.kind == DependencyKind::Development;
            if ours.contains(to) {
                edges += 1;
                let for_tests = in_tests && matches!(to, "testkit" | "embedded" | "cases");
                if !allowed.contains(&to) && !for_tests {
                    faults.push(format!("`{from}` -> `{to}` goes up or across"));
                }
            }
            if let Some((_, owners)) = OWNED.iter().find(|(name, _)| *name == to)
                && !owners.contains(&from)
                && !in_tests
                && !matches!(from, "testkit" | "e2e" | "benchmarks")
            {
                faults.push(format!("`{from}` names `{to}`: only {owners:?} may"));
            }
        }
    }
    shipped(&metadata, &mut faults)?;
    let files = rooms(metadata.workspace_root.as_std_path(), &mut faults)?;
    if !faults.is_empty() {
        bail!("{} edges are not allowed:\n  {}", faults.len(), faults.join("\n  "));
    }
    let crates = ours.len();
    Ok(format!("{edges} edges between {crates} crates and {files} files in rooms, all allowed"))
}
