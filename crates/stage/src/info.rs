//! The metadata of a commit: the object `lakepulse` in the `commitInfo` of its log entry.
//!
//! It serves `verify`, metrics and people. No position is read from it; positions are the `txn` actions of the
//! entry.

use std::collections::BTreeMap;

use lake::LogEntry;
use model::{ClockMs, Millis, Version};
use runtime::traces::Cause;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The metadata of a commit, by the stage that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum CommitInfo {
    /// Records of a topic.
    Bronze(BronzeCommit),
    /// Events of a bronze table, folded.
    Silver(SilverCommit),
    /// A refresh of a gold table.
    Gold(GoldCommit),
    /// Files merged by `lake`; no row changes.
    Compaction(CompactionCommit),
    /// Columns or properties set by `apply`.
    Apply,
}

/// The records in a bronze commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BronzeCommit {
    /// The project that owns the table.
    #[serde(default)]
    pub project: String,
    /// The records, by partition.
    pub ranges: Vec<Range>,
    /// Losses that a person accepted in this commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    /// Its span, if it was traced (W3C Trace Context).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Records of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The topic.
    pub topic: String,
    /// Its id: offsets are valid only with it.
    pub topic_id: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
    /// Rows. Fewer than offsets if there are transaction markers or compacted records.
    pub rows: u64,
    /// Sum of the rows' hashes, independent of their order.
    pub digest: String,
}

/// What a silver commit read, and the outcomes of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilverCommit {
    /// The project that owns the table.
    #[serde(default)]
    pub project: String,
    /// What it read.
    pub input: VersionRange,
    /// The outcomes of its rows. Absent in the table's siblings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Outcomes>,
    /// The newest event time of its rows, for a project whose clock follows events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_event_ms: Option<Millis>,
    /// The newest Kafka timestamp of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_arrival_ms: Option<Millis>,
    /// Its span, if it was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A range of versions of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The table.
    pub table: String,
    /// The version read before. `None`: none.
    pub from: Option<i64>,
    /// The version read up to.
    pub to: u64,
}

/// The inputs of a gold commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoldCommit {
    /// The project that owns the table.
    #[serde(default)]
    pub project: String,
    /// The versions of its inputs, by name.
    pub pins: BTreeMap<String, Pin>,
    /// The value of `now()`.
    pub as_of: ClockMs,
    /// How the affected rows were found.
    pub method: String,
    /// Rows added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inserted: Option<u64>,
    /// Rows with changed values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<u64>,
    /// Rows removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// The newest Kafka timestamp among its inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_arrival_ms: Option<Millis>,
    /// Rows that break an expectation, by the expectation's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broken: BTreeMap<String, u64>,
    /// Its span, if it was traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The version of an input that a gold commit was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The table's id.
    pub id: String,
    /// The version.
    pub version: u64,
}

/// What a compaction did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactionCommit {
    /// How many files were merged into how many.
    pub files: Files,
}

/// Counts of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Before.
    pub from: u64,
    /// After.
    pub to: u64,
}

/// The metadata of one of our commits that no release of ours wrote.
#[derive(Debug, thiserror::Error)]
#[error("version {version} says of itself what cannot be read")]
pub struct Unreadable {
    /// The version.
    pub version: Version,
    /// What is wrong with it.
    pub source: serde_json::Error,
}

impl CommitInfo {
    /// Parses a log entry. `None`: no stage wrote it.
    pub fn parse(entry: &LogEntry) -> Result<Option<Self>, Unreadable> {
        if entry.info.get("stage").is_none() {
            return Ok(None);
        }
        let read = Self::deserialize(&entry.info);
        read.map(Some).map_err(|source| Unreadable { version: entry.version, source })
    }

    /// As [`CommitInfo::parse`], but ignores errors, for metrics and pauses.
    pub fn parse_lossy(entry: &LogEntry) -> Option<Self> {
        Self::parse(entry).ok().flatten()
    }

    /// The stored form.
    pub fn stored(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            other => unreachable!("a struct of texts and numbers is an object: {other:?}"),
        }
    }

    /// The newest Kafka timestamp among its inputs.
    pub fn newest_arrival_ms(&self) -> Option<Millis> {
        match self {
            Self::Silver(silver) => silver.newest_arrival_ms,
            Self::Gold(gold) => gold.newest_arrival_ms,
            Self::Bronze(_) | Self::Compaction(_) | Self::Apply => None,
        }
    }

    /// The newest event time among its rows.
    pub fn newest_event_ms(&self) -> Option<Millis> {
        match self {
            Self::Silver(silver) => silver.newest_event_ms,
            _ => None,
        }
    }

    /// Rows of a bronze commit.
    pub fn records(&self) -> u64 {
        match self {
            Self::Bronze(bronze) => bronze.ranges.iter().map(|range| range.rows).sum(),
            _ => 0,
        }
    }

    /// Its span, if it was traced.
    pub fn cause(&self) -> Option<Cause> {
        let traceparent = match self {
            Self::Bronze(bronze) => &bronze.traceparent,
            Self::Silver(silver) => &silver.traceparent,
            Self::Gold(gold) => &gold.traceparent,
            Self::Compaction(_) | Self::Apply => return None,
        };
        Cause::parse(traceparent.as_deref()?)
    }
}

/// The outcome of a bronze row. Every row has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its values are in the table, or in a version of its history.
    Applied,
    /// The table holds a newer event of its key.
    Superseded,
    /// The same event was applied before.
    Repeat,
    /// The WHERE clause rejects it, or its kind does not affect rows.
    Filtered,
    /// Moved to quarantine.
    Quarantined,
    /// Dropped by an expectation.
    Dropped,
    /// Null value after a delete.
    Tombstone,
    /// Bronze could not decode it, or it is not an event.
    Error,
}

/// Rows by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "one field for each Outcome, documented there")]
pub struct Outcomes {
    pub applied: u64,
    pub superseded: u64,
    pub repeat: u64,
    pub filtered: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub tombstone: u64,
    pub error: u64,
}
impl Outcomes {
    /// Counts one row.
    pub fn count(&mut self, outcome: Outcome) {
        *self.of(outcome) += 1;
    }
    /// The count of one outcome.
    pub fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Applied => &mut self.applied,
            Outcome::Superseded => &mut self.superseded,
            Outcome::Repeat => &mut self.repeat,
            Outcome::Filtered => &mut self.filtered,
            Outcome::Quarantined => &mut self.quarantined,
            Outcome::Dropped => &mut self.dropped,
            Outcome::Tombstone => &mut self.tombstone,
            Outcome::Error => &mut self.error,
        }
    }
    /// Rows counted, over all outcomes.
    pub fn total(&self) -> u64 {
        let Self { applied, superseded, repeat, filtered, quarantined, dropped, tombstone, error } = self;
        applied + superseded + repeat + filtered + quarantined + dropped + tombstone + error
    }
}
impl std::ops::AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.superseded += other.superseded;
        self.repeat += other.repeat;
        self.filtered += other.filtered;
        self.quarantined += other.quarantined;
        self.dropped += other.dropped;
        self.tombstone += other.tombstone;
        self.error += other.error;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn entry(info: Value) -> LogEntry {
        LogEntry {
            version: Version(7),
            timestamp_ms: 0,
            operation: None,
            info,
            op: None,
            positions: model::Positions::default(),
            data_change: true,
            files_added: 0,
            files_removed: 0,
        }
    }

    /// Commits as releases before this module wrote them.
    #[rstest]
    #[case::bronze(json!({
        "stage": "bronze", "project": "shop", "op": "01J", "accepted": ["3 to 5 are gone"],
        "ranges": [{ "topic": "t", "topic_id": "id", "partition": 1, "from": 5, "to": 9, "rows": 3, "digest": "ff" }],
    }))]
    #[case::silver(json!({
        "stage": "silver", "project": "shop", "op": "01J", "newest_event_ms": 12, "newest_arrival_ms": 13,
        "input": { "table": "bronze.t", "from": null, "to": 4 },
        "outcomes": { "applied": 1, "superseded": 2, "repeat": 0, "filtered": 0, "quarantined": 0, "dropped": 0,
            "tombstone": 0, "error": 0 },
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }))]
    #[case::gold(json!({
        "stage": "gold", "project": "shop", "op": "01J", "as_of": 9, "method": "all", "newest_arrival_ms": 14,
        "pins": { "silver.t": { "id": "x", "version": 4 } }, "inserted": 2, "updated": 0, "deleted": 1,
        "broken": { "positive": 3 },
    }))]
    #[case::compaction(json!({ "stage": "compaction", "op": "01J", "files": { "from": 9, "to": 1 } }))]
    #[case::apply(json!({ "stage": "apply", "op": "01J" }))]
    fn what_was_stored_is_read_and_stored_again_as_it_was(#[case] stored: Value) {
        let info = CommitInfo::parse(&entry(stored.clone())).expect("readable").expect("of a stage");
        let mut again = info.stored();
        // `lake` adds it.
        again.insert("op".to_owned(), "01J".into());
        assert_eq!(Value::Object(again), stored);
    }

    #[test]
    fn what_no_stage_wrote_says_nothing_and_what_a_stage_cannot_have_written_is_an_error() {
        assert!(CommitInfo::parse(&entry(Value::Null)).expect("nothing").is_none());
        assert!(CommitInfo::parse(&entry(json!({ "op": "01J" }))).expect("nothing").is_none());
        for info in [
            json!({ "stage": "copper" }),
            json!({ "stage": "bronze", "ranges": [{ "topic": "t" }] }),
            json!({ "stage": "silver", "input": { "table": "t", "from": "two", "to": 4 } }),
        ] {
            let error = CommitInfo::parse(&entry(info.clone())).expect_err("unreadable");
            assert!(error.to_string().contains("version 7"), "{error}");
            assert!(CommitInfo::parse_lossy(&entry(info)).is_none());
        }
    }

    #[test]
    fn only_what_a_commit_has_is_stored() {
        let span = VersionRange { table: "bronze.t".to_owned(), from: Some(2), to: 3 };
        let info = CommitInfo::Silver(SilverCommit {
            project: "shop".to_owned(),
            input: span,
            outcomes: None,
            newest_event_ms: None,
            newest_arrival_ms: None,
            traceparent: None,
        });
        let stored = Value::Object(info.stored());
        assert_eq!(
            stored,
            json!({ "stage": "silver", "project": "shop", "input": { "table": "bronze.t", "from": 2, "to": 3 } })
        );
    }
}
