//! Arrows go down only. An edge that is not listed here is a fault of the layout, not of the list.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may name whom. Stages never name each other; `cli` wires them.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("datum", &["model"]),
    ("runtime", &["model"]),
    ("stream", &["model", "runtime"]),
    ("lake", &["model", "runtime"]),
    ("query", &["model"]),
    ("catalog", &["model", "query"]),
    ("stage", &["model", "runtime", "stream", "lake"]),
    ("testkit", &["model", "runtime", "stream", "lake"]),
    ("cdc-sim", &["model", "runtime", "catalog", "stream"]),
    ("ingest", &["model", "datum", "runtime", "catalog", "stream"]),
    ("bronze", &["model", "datum", "runtime", "catalog", "stream", "lake", "stage"]),
    ("silver", &["model", "runtime", "catalog", "stream", "lake", "query", "stage"]),
    ("gold", &["model", "runtime", "catalog", "stream", "lake", "query", "stage"]),
    (
        "lakepulse",
        &[
            "model", "runtime", "catalog", "stream", "lake", "query", "stage", "cdc-sim", "ingest", "bronze",
            "silver", "gold",
        ],
    ),
    ("e2e", &["testkit", "cdc-sim"]),
    (
        "benchmarks",
        &[
            "model", "runtime", "catalog", "stream", "lake", "query", "stage", "cdc-sim", "bronze", "silver",
            "gold", "testkit",
        ],
    ),
    ("fuzz", &["model", "datum", "catalog", "stream", "lake", "query", "ingest", "bronze", "silver"]),
    ("xtask", &[]),
];

/// Third-party crates that only one of ours may name.
const OWNED: &[(&str, &[&str])] = &[
    ("rdkafka", &["stream"]),
    ("deltalake", &["lake"]),
    ("tansu-broker", &["stream"]),
    ("opentelemetry", &["runtime"]),
];

/// Names every edge that is not allowed, or says how many were looked at.
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
                let for_tests = in_tests && to == "testkit";
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
    if !faults.is_empty() {
        bail!("{} edges are not allowed:\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(format!("{edges} edges between {} crates, all allowed", ours.len()))
}
