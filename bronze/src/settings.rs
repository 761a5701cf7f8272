//! What an operator may change about bronze.

use std::time::Duration;

use serde::Deserialize;

/// Bronze settings. When a table commits is the project's `commit:`, not here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Settings {
    /// Create a table that does not exist. Off where only `apply` creates.
    pub create_tables: bool,
    /// How long the registry must say that a schema does not exist before its records become error
    /// rows. Until then their partition waits: a replica of the registry may be behind.
    pub missing_schema_after: Duration,
    /// Undecoded bytes that all tables together hold before the broker is asked to wait. A table
    /// below its equal share is never asked, whatever the others hold.
    pub memory_bytes: usize,
    /// Bytes of one fetch queue in the client.
    pub queue_bytes: usize,
    /// Records that the client hands over at once.
    pub batch_records: usize,
    /// Compact a table once in this many commits that this process makes to it. Rarer costs readers
    /// more files, more often costs the cores that decode.
    pub compact_every: u32,
    /// Delete files and log entries that nobody needs any more this often.
    pub maintain: Duration,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            create_tables: true,
            missing_schema_after: Duration::from_secs(30),
            memory_bytes: 64 << 20,
            queue_bytes: 32 << 20,
            batch_records: 20_000,
            compact_every: 64,
            maintain: Duration::from_secs(6 * 3600),
        }
    }
}
