//! Our own topics, all named `_lakepulse.<project>.…`.

use std::collections::BTreeMap;

use model::{ProjectName, TopicName};

use crate::TopicSpec;

/// Partitions of the announcements: at most this many instances of a stage share its tables.
const OWNERS: i32 = 16;

/// Announcements of new table versions, keyed by the downstream table. Hints, kept for an hour.
pub fn commits(project: &ProjectName) -> TopicName {
    name(project, "commits")
}

/// How far each gold table is published, keyed by table id; written in the publisher's transactions.
pub fn progress(project: &ProjectName) -> TopicName {
    name(project, "progress")
}

/// How far each source is read, keyed by source; written in the source's transactions.
pub fn cursors(project: &ProjectName) -> TopicName {
    name(project, "cursors")
}

/// What [`crate::trial`] tries things on; there only meanwhile.
pub fn trial(project: &ProjectName) -> TopicName {
    name(project, "doctor")
}

/// All that stay, to be created.
pub fn specs(project: &ProjectName, replication: i32) -> Vec<TopicSpec> {
    let spec = |name: TopicName, partitions: i32, config: &[(&str, &str)]| TopicSpec {
        name,
        partitions,
        replication,
        config: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
    };
    vec![
        spec(commits(project), OWNERS, &[("cleanup.policy", "delete"), ("retention.ms", "3600000")]),
        spec(progress(project), 1, &[("cleanup.policy", "compact")]),
        spec(cursors(project), 1, &[("cleanup.policy", "compact")]),
    ]
}

fn name(project: &ProjectName, what: &str) -> TopicName {
    format!("_lakepulse.{project}.{what}")
        .parse()
        .expect("a project name has only characters a topic may have")
}
