//! `lakepulse.yaml`: name, clock, commit limits, how stages run, targets.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use model::ProjectName;

use super::{Context, targets};
use crate::fault::did_you_mean;
use crate::shape::files::PROJECT;
use crate::shape::object::Object;
use crate::{ClockKind, CommitLimits, Project, Stages, Target, TopicDefaults};

pub(super) const FILE: &str = "lakepulse.yaml";
const EMBEDDED: &str = "embedded";

pub(super) struct Settings {
    pub name: ProjectName,
    pub clock: ClockKind,
    pub commit: CommitLimits,
    pub stages: Stages,
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
    let lag_budget = root.duration("lag_budget").unwrap_or(Project::LAG_BUDGET);
    let stages = stages(cx, &root);
    Settings { name, clock, commit: commit(&root), stages, lag_budget, target: choose(cx, &root, target) }
}

/// The folder's name as a project name.
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

/// The shortest polling interval: less would keep a core busy.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// The smallest byte limit: a smaller batch is not worth a request.
const LEAST_BYTES: u64 = 64 << 10;

fn stages(cx: &mut Context<'_>, root: &Object) -> Stages {
    let mut stages = Stages::default();
    let Some(given) = root.object("stages") else { return stages };
    let count = |object: &Object, key: &str, into: &mut usize| {
        if let Some(count) = object.count(key) {
            *into = usize::try_from(count).unwrap_or(usize::MAX);
        }
    };
    let mut too_small = Vec::new();
    let mut bytes = |object: &Object, key: &str, into: &mut usize| {
        let Some(given) = object.size(key) else { return };
        if given < LEAST_BYTES {
            too_small.push((
                object.line_of(key),
                format!("`{key}` is less than 64KiB"),
                "the default is a good begin",
            ));
        }
        *into = usize::try_from(given).unwrap_or(usize::MAX);
    };
    let mut too_short = Vec::new();
    let mut pause = |object: &Object, key: &str, into: &mut Duration| {
        let Some(given) = object.duration(key) else { return };
        if given < LEAST_PAUSE {
            let message = format!("`{key}` is less than 10ms: the process would do nothing but look");
            too_short.push((object.line_of(key), message, "the default is a good begin"));
        }
        *into = given;
    };
    if let (Some(given), ingest) = (given.object("ingest"), &mut stages.ingest) {
        count(given, "batch_lines", &mut ingest.batch_lines);
        bytes(given, "batch_bytes", &mut ingest.batch_bytes);
        bytes(given, "max_line_bytes", &mut ingest.max_line_bytes);
    }
    if let (Some(given), bronze) = (given.object("bronze"), &mut stages.bronze) {
        bronze.missing_schema_after =
            given.duration("missing_schema_after").unwrap_or(bronze.missing_schema_after);
        bytes(given, "memory_bytes", &mut bronze.memory_bytes);
        bytes(given, "queue_bytes", &mut bronze.queue_bytes);
        count(given, "batch_records", &mut bronze.batch_records);
        bronze.compact_every = commits(given).unwrap_or(bronze.compact_every);
        pause(given, "maintain", &mut bronze.maintain);
    }
    if let (Some(given), silver) = (given.object("silver"), &mut stages.silver) {
        let at_least_one =
            |key: &str| given.count(key).and_then(|n| NonZeroUsize::new(usize::try_from(n).ok()?));
        silver.max_rows = at_least_one("max_rows").unwrap_or(silver.max_rows);
        silver.at_once = at_least_one("at_once").unwrap_or(silver.at_once);
        silver.measure = given.duration("measure").unwrap_or(silver.measure);
        silver.compact_every = commits(given).unwrap_or(silver.compact_every);
        pause(given, "poll", &mut silver.poll);
        pause(given, "maintain", &mut silver.maintain);
    }
    if let (Some(given), gold) = (given.object("gold"), &mut stages.gold) {
        gold.refresh = given.duration("refresh").unwrap_or(gold.refresh);
        gold.pins = given.duration("pins").unwrap_or(gold.pins);
        gold.measure = given.duration("measure").unwrap_or(gold.measure);
        gold.compact_every = commits(given).unwrap_or(gold.compact_every);
        count(given, "max_changed_rows", &mut gold.max_changed_rows);
        count(given, "max_transaction", &mut gold.max_transaction);
        pause(given, "poll", &mut gold.poll);
        pause(given, "maintain", &mut gold.maintain);
    }
    for (line, message, help) in too_small.into_iter().chain(too_short) {
        cx.faults.add_at(Path::new(FILE), line, message, help);
    }
    stages
}

fn commits(stage: &Object) -> Option<u32> {
    stage.count("compact_every").and_then(|n| u32::try_from(n).ok())
}

/// Checks all targets and returns the chosen one.
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
        // The faults of the target itself are already reported.
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

/// `partitions`, `replication` and `config` of a mapping.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::load::fixture::valid;
    use crate::load::tests::one_fault;
    use crate::shape::Type;
    use crate::shape::files::STAGES;

    async fn loaded(stages: &str) -> Stages {
        let yaml = format!("version: 1\nname: shop\nstages:\n{stages}");
        let dir = valid().with(FILE, &yaml).write();
        crate::load(dir.path(), "embedded").await.expect("valid").stages
    }

    #[tokio::test]
    async fn every_key_of_a_stage_is_read() {
        let mut keys = 0;
        for stage in STAGES.keys {
            let Type::Object(shape) = stage.kind else { panic!("`{}` is no mapping", stage.name) };
            for key in shape.keys {
                let value = match key.kind {
                    Type::Duration => "77m",
                    Type::Size => "3MiB",
                    Type::Whole(..) => "77",
                    _ => panic!("a value for `{}.{}`", stage.name, key.name),
                };
                let (stage, key) = (stage.name, key.name);
                let read = loaded(&format!("  {stage}: {{ {key}: {value} }}\n")).await;
                assert_ne!(read, Stages::default(), "`{stage}.{key}` is ignored");
                keys += 1;
            }
        }
        assert!(keys > 20, "{keys}");
    }

    #[rstest]
    #[case::spins("silver: { poll: 1ms }", &["`poll`", "less than 10ms"])]
    #[case::holds_nothing("bronze: { memory_bytes: 1KiB }", &["`memory_bytes`", "64KiB"])]
    #[case::never("gold: { compact_every: 0 }", &["compact_every"])]
    #[case::none_at_once("silver: { at_once: 0 }", &["at_once"])]
    #[case::unknown("gold: { at_once: 2 }", &["at_once"])]
    #[tokio::test]
    async fn what_no_stage_can_run_with_is_a_fault(#[case] stage: &str, #[case] says: &[&str]) {
        let yaml = format!("version: 1\nname: shop\nstages:\n  {stage}\n");
        one_fault(valid().with(FILE, &yaml), "lakepulse.yaml:4", says).await;
    }
}
