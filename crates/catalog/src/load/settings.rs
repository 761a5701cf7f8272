//! `lakepulse.yaml`: name, clock, commit limits, targets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model::ProjectName;

use super::{Context, targets};
use crate::fault::did_you_mean;
use crate::shape::files::PROJECT;
use crate::shape::object::Object;
use crate::{ClockKind, CommitLimits, Target, TopicDefaults};

pub(super) const FILE: &str = "lakepulse.yaml";
const LAG_BUDGET: Duration = Duration::from_secs(86_400);
const EMBEDDED: &str = "embedded";

pub(super) struct Settings {
    pub name: ProjectName,
    pub clock: ClockKind,
    pub commit: CommitLimits,
    pub lag_budget: Duration,
    pub target: Target,
}

pub(super) fn read(cx: &mut Context<'_>, target: &str) -> Settings {
    let file = Path::new(FILE);
    let root = if cx.has(FILE) { cx.object(file, &PROJECT) } else { None };
    let root = root.unwrap_or_else(|| Object::empty(&PROJECT));
    let name = match root.text("name") {
        Some(name) => name.parse().unwrap_or_else(|bad: model::BadName| {
            let help = format!("a project name is {}", bad.rule);
            cx.faults.add_at(file, root.line_of("name"), format!("`name` is `{name}`"), help);
            folder_name(cx.dir)
        }),
        None => folder_name(cx.dir),
    };
    let clock = match root.text("clock") {
        Some("events") => ClockKind::Events,
        _ => ClockKind::Wall,
    };
    let lag_budget = root.duration("lag_budget").unwrap_or(LAG_BUDGET);
    Settings { name, clock, commit: commit(&root), lag_budget, target: choose(cx, &root, target) }
}

/// The folder's own name as a project name.
fn folder_name(dir: &Path) -> ProjectName {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = name.chars().map(legal).take(60).collect();
    let name = name.trim_matches('-');
    name.parse().unwrap_or_else(|_| "lakepulse".parse().expect("lowercase letters are a project name"))
}

fn commit(root: &Object) -> CommitLimits {
    let default = CommitLimits::default();
    let Some(commit) = root.object("commit") else { return default };
    CommitLimits {
        interval: commit.duration("interval").unwrap_or(default.interval),
        max_rows: commit.count("max_rows").unwrap_or(default.max_rows),
        max_bytes: commit.size("max_bytes").unwrap_or(default.max_bytes),
    }
}

/// Checks every target and gives the one asked for.
fn choose(cx: &mut Context<'_>, root: &Object, wanted: &str) -> Target {
    let mut found = BTreeMap::new();
    if let Some(all) = root.object("targets") {
        for (name, line, object) in all.objects() {
            found.insert(name.clone(), targets::read(cx, name, line, object));
        }
    }
    let embedded = || Target { name: EMBEDDED.to_owned(), embedded: true, ..Target::default() };
    match found.remove(wanted) {
        Some(target) => target,
        None if wanted == EMBEDDED => embedded(),
        // A target with faults of its own is told by those.
        None if root.object("targets").is_some_and(|all| all.entries.contains_key(wanted)) => embedded(),
        None => {
            let known = found.keys().map(String::as_str).chain([EMBEDDED]);
            let help = did_you_mean(wanted, known);
            let message = format!("there is no target `{wanted}`");
            cx.faults.add_at(Path::new(FILE), root.line_of("targets"), message, help);
            embedded()
        }
    }
}

/// `partitions`, `replication` and `config` of a mapping that has them.
pub(super) fn topic_defaults(object: &Object) -> TopicDefaults {
    TopicDefaults {
        partitions: object.small("partitions"),
        replication: object.small("replication"),
        config: object.object("config").map(texts).unwrap_or_default(),
    }
}

fn texts(object: &Object) -> BTreeMap<String, String> {
    let text = |(key, entry): (&String, &crate::shape::object::Entry)| {
        entry.text().map(|text| (key.clone(), text.to_owned()))
    };
    object.entries.iter().filter_map(text).collect()
}
