//! Gold settings.

use std::time::Duration;

use serde::Deserialize;

/// What an operator may change of how gold runs. Nothing here changes a result.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Settings {
    /// Look at the inputs at least this often, announced or not.
    pub poll: Duration,
    /// Refresh a table at most this often while its inputs move. A refresh of few changes costs little
    /// less than one of many, and a table of several inputs is told of each of them.
    pub refresh: Duration,
    /// Commit pins under which no row changed at most this often. Idle pins hold back vacuum.
    pub pins: Duration,
    /// Take measures after a commit at most this often: each reads its columns of the whole table.
    pub measure: Duration,
    /// Compact the table once in this many of its commits.
    pub compact_every: u32,
    /// Delete files and log entries that nobody needs any more this often.
    pub maintain: Duration,
    /// A refresh that would read more changed rows than this computes everything instead.
    pub max_changed_rows: usize,
    /// Records of one Kafka transaction.
    pub max_transaction: usize,
    /// Create missing tables and topics. Off on real services, where `apply` does it.
    pub create: bool,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            refresh: Duration::from_secs(1),
            pins: Duration::from_secs(30),
            measure: Duration::from_secs(10),
            compact_every: 32,
            maintain: Duration::from_secs(6 * 3600),
            max_changed_rows: 2_000_000,
            max_transaction: 100_000,
            create: true,
        }
    }
}
