//! Small files into larger ones, beside the commits.
//!
//! Rows land every second or so, each time in a new file. A table that is only appended to has many
//! writers, and a compaction of it compares nothing but its own position: commits go on landing while
//! one runs, and of two processes that compact at once one wins and the other's files are left to
//! vacuum. Nothing waits for it, so nothing gets less fresh.

use lake::Compaction;

use super::*;

/// Smaller than what the lake would do at once: this runs where records are decoded.
const TARGET_BYTES: u64 = 32 << 20;

impl Task {
    /// Counts a commit and starts a compaction if it is time and the last one has ended.
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

    /// A compaction ended. Whatever it says, the table goes on: the next one tries again.
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
