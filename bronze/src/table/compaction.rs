//! Compacts small files beside the commits.
//!
//! Rows land about every second, each time in a new file. A table that is only appended to has many writers,
//! and its compaction compares only its own position: commits go on landing while it runs. If two processes
//! compact at once, one wins and the other's files are left to vacuum. Nothing waits for it, so freshness
//! does not suffer.

use lake::Compaction;

use super::*;

/// Smaller than the lake's default, because this runs where records are decoded.
const TARGET_BYTES: u64 = 32 << 20;

impl Task {
    /// Counts a commit, and starts a compaction if one is due and none runs.
    pub(super) fn compact_when_due(&mut self) {
        self.commits += 1;
        let every = self.shared.context.settings.compact_every;
        let Some(table) = self.table.as_ref().filter(|_| self.commits >= every && self.compaction.is_none())
        else {
            return;
        };
        self.commits = 0;
        let mut table = table.clone();
        let step =
            Compaction { target_bytes: TARGET_BYTES, max_bytes: 2 * TARGET_BYTES, ..Compaction::default() };
        let task = async move { table.compact(&step).await };
        self.compaction = Some(runtime::tasks::spawn("bronze-compaction", task));
    }

    /// A compaction ended. If it failed, the table goes on and the next one tries again.
    pub(super) fn compacted(&self, ended: Option<lake::Result<Option<Version>>>) {
        let table = &self.topic.table;
        match ended {
            Some(Ok(Some(version))) => tracing::debug!(%table, version = version.0, "table compacted"),
            Some(Ok(None)) => tracing::debug!(%table, "nothing to compact, or another process did it"),
            Some(Err(error)) => {
                tracing::warn!(%table, error = &error as &dyn std::error::Error, "table not compacted");
            }
            None => tracing::error!(%table, "the compaction broke off"),
        }
    }
}
