//! `stages:` of `lakepulse.yaml`: how the stages run. No setting here changes a result.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Settings of every stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages {
    /// Reads sources.
    pub ingest: IngestSettings,
    /// Reads topics.
    pub bronze: BronzeSettings,
    /// Folds events.
    pub silver: SilverSettings,
    /// Refreshes and publishes.
    pub gold: GoldSettings,
}

/// Reading files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestSettings {
    /// The most lines of one transaction.
    pub batch_lines: usize,
    /// The most bytes of one transaction; a single line may exceed it.
    pub batch_bytes: usize,
    /// A longer line is a bad line.
    pub max_line_bytes: usize,
}
impl Default for IngestSettings {
    fn default() -> Self {
        Self { batch_lines: 5_000, batch_bytes: 4 << 20, max_line_bytes: 8 << 20 }
    }
}

/// Bronze. The project's `commit:` decides when a table commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BronzeSettings {
    /// How long the registry must answer that a schema does not exist before its records become error rows.
    /// Until then their partition waits, because a replica of the registry may lag.
    pub missing_schema_after: Duration,
    /// Undecoded bytes of all tables together at which reading is paused. A table below its equal share is
    /// never paused, whatever the others hold.
    pub memory_bytes: usize,
    /// Bytes of one fetch queue in the client.
    pub queue_bytes: usize,
    /// Records that the client hands over at once.
    pub batch_records: usize,
    /// Compact a table once in this many commits of this process. A higher value costs readers more files, a
    /// lower one costs CPU time for decoding.
    pub compact_every: u32,
    /// How often files and log entries that nothing needs are deleted.
    pub maintain: Duration,
}
impl Default for BronzeSettings {
    fn default() -> Self {
        Self {
            missing_schema_after: Duration::from_secs(30),
            memory_bytes: 64 << 20,
            queue_bytes: 32 << 20,
            batch_records: 20_000,
            compact_every: 64,
            maintain: MAINTAIN,
        }
    }
}

/// Silver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilverSettings {
    /// Close a batch at the first bronze version that brings it to this many rows. More rows cost fewer commits
    /// and more memory; one bronze version is never split.
    pub max_rows: NonZeroUsize,
    /// Concurrent batches of all tables together. It bounds the memory of a process that has fallen behind.
    pub at_once: NonZeroUsize,
    /// Look for new bronze versions at least this often, even without an announcement.
    pub poll: Duration,
    /// Take measures after a commit at most this often: each reads its columns of the whole table.
    pub measure: Duration,
    /// Compact a table once in this many of its commits.
    pub compact_every: u32,
    /// How often files and log entries that nothing needs are deleted.
    pub maintain: Duration,
}
impl Default for SilverSettings {
    fn default() -> Self {
        Self {
            max_rows: NonZeroUsize::MIN.saturating_add(99_999),
            at_once: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            poll: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            compact_every: 32,
            maintain: MAINTAIN,
        }
    }
}

/// Gold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoldSettings {
    /// Look at the inputs at least this often, even without an announcement.
    pub poll: Duration,
    /// Refresh a table at most this often while its inputs change. A refresh of few changes costs nearly as
    /// much as one of many, and a table with several inputs gets an announcement from each.
    pub refresh: Duration,
    /// Commit pins without changed rows at most this often. Idle pins hold back vacuum.
    pub pins: Duration,
    /// Take measures after a commit at most this often: each reads its columns of the whole table.
    pub measure: Duration,
    /// Compact a table once in this many of its commits.
    pub compact_every: u32,
    /// How often files and log entries that nothing needs are deleted.
    pub maintain: Duration,
    /// A refresh that would read more changed rows than this recomputes the whole table.
    pub max_changed_rows: usize,
    /// Records per Kafka transaction.
    pub max_transaction: usize,
}
impl Default for GoldSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            refresh: Duration::from_secs(1),
            pins: Duration::from_secs(30),
            measure: Duration::from_secs(10),
            compact_every: 32,
            maintain: MAINTAIN,
            max_changed_rows: 2_000_000,
            max_transaction: 100_000,
        }
    }
}

const MAINTAIN: Duration = Duration::from_secs(6 * 3600);
