//! Periodic work. It may take long, and holds no lock meanwhile.

use runtime::time::Instant;
use std::fs::File;
use std::io;

use super::{Partition, Store, now};

/// Kafka's default, in milliseconds.
const RETENTION: i64 = 7 * 24 * 3_600_000;

impl Store {
    /// Ends overdue transactions, applies retention, compacts, and syncs to disk. It may take long; one call at
    /// a time.
    pub(crate) fn maintain(&self) -> io::Result<()> {
        if let Some(error) = self.0.trouble.lock().take() {
            tracing::error!(%error, dir = %self.0.dir.display(), "the embedded broker cannot use its disk, what is sent waits: free some space there");
        }
        self.abort_overdue(Instant::now());
        let now = now();
        for topic in self.topics() {
            let retention = topic.number("retention.ms").unwrap_or(RETENTION);
            for partition in &topic.partitions {
                if retention >= 0 && topic.cleans_by("delete") {
                    partition.with(|log| log.forget_before(now - retention))?;
                }
                if topic.cleans_by("compact") {
                    compact(partition, now)?;
                }
            }
        }
        let mut state = self.0.state.lock();
        if state.journal.is_grown() {
            self.rewrite_journal(&mut state)?;
        }
        drop(state);
        self.sync()
    }

    /// Syncs what was written since the last call.
    pub(crate) fn sync(&self) -> io::Result<()> {
        for topic in self.topics() {
            topic.partitions.iter().try_for_each(sync)?;
        }
        let journal = self.0.state.lock().journal.file()?;
        journal.sync_data()
    }
}

/// Reads and writes without the partition's lock.
fn compact(partition: &Partition, now: i64) -> io::Result<()> {
    let Some(mut compaction) = partition.with(|log| log.compaction(now)) else { return Ok(()) };
    compaction.run()?;
    partition.with(|log| log.adopt(compaction))
}

/// Syncs without the partition's lock.
fn sync(partition: &Partition) -> io::Result<()> {
    for (path, base, bytes) in partition.with(|log| log.unsynced()) {
        match File::open(path) {
            Ok(file) => file.sync_data()?,
            // Retention or the deletion of the topic removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        partition.with(|log| log.synced(base, bytes));
    }
    Ok(())
}
