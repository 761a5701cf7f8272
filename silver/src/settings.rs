//! Silver settings.

use std::num::NonZeroUsize;
use std::time::Duration;

/// What an operator may change of how silver runs. Nothing here changes a result.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Close a batch at the first bronze version that brings it to this many rows. More rows cost
    /// fewer commits and more memory; one bronze version is never cut.
    pub max_rows: NonZeroUsize,
    /// Batches in hand at once, of all tables together: what bounds the memory of a process that has
    /// fallen behind.
    pub at_once: NonZeroUsize,
    /// Look for new bronze versions at least this often, announced or not.
    pub poll: Duration,
    /// Take measures after a commit at most this often: each reads its columns of the whole table.
    pub measure: Duration,
    /// Compact the table once in this many of its commits.
    pub compact_every: u32,
    /// Delete files and log entries that nobody needs any more this often.
    pub maintain: Duration,
    /// Create missing tables. Off on real services, where `apply` does it.
    pub create: bool,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            max_rows: NonZeroUsize::MIN.saturating_add(99_999),
            at_once: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            poll: Duration::from_secs(1),
            measure: Duration::from_secs(10),
            compact_every: 32,
            maintain: Duration::from_secs(6 * 3600),
            create: true,
        }
    }
}
