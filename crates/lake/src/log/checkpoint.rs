//! Keeps the log short: checkpoints, and the cleanup of what they replace.
//!
//! A checkpoint holds the state of all entries up to its version, so that opening a table reads one file and
//! the few entries after it. It is written beside the commits and never as part of one. A missing or torn
//! checkpoint only costs time: readers fall back to an older one. Cleanup deletes only entries before a
//! checkpoint that it has read back first, and none that a follower still has to read.

use delta_kernel::Snapshot as KernelSnapshot;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::Result;
use crate::log::{Log, version_of};
use crate::store::{list, unreachable};

/// Versions between two checkpoints: few enough to open a table fast, many enough to be cheap.
const EVERY: u64 = 25;
/// Entries younger than this stay, whatever the caller asks for: a writer that is about to commit takes "not
/// found" for "free".
const LEAST_KEPT_MS: i64 = 3_600_000;

/// Whether a version gets a checkpoint.
pub(crate) fn is_due(version: u64) -> bool {
    version > 0 && version.is_multiple_of(EVERY)
}

/// Writes the checkpoint of a version, and the pointer to it.
pub(crate) async fn write(log: &Log, version: u64) -> Result<()> {
    let log = log.clone();
    runtime::cpu::run(move || {
        let engine = log.store.engine.as_ref();
        let builder = KernelSnapshot::builder_for(log.url.clone()).at_version(version);
        let snapshot = builder.build(engine).map_err(|e| log.bad(e))?;
        snapshot.checkpoint(engine, None).map_err(|e| log.bad(e))?;
        Ok(())
    })
    .await
}

/// Deletes entries and checkpoints unless a version from `horizon` on, or a version of the last `keep_ms`,
/// needs them. Returns how many were deleted.
pub(crate) async fn clean(log: &Log, horizon: u64, now_ms: i64, keep_ms: i64) -> Result<usize> {
    let objects = list(&log.store, &log.folder()).await?;
    let before = now_ms.saturating_sub(keep_ms.max(LEAST_KEPT_MS));
    let Some(from) = kept_from(&objects, horizon, before) else { return Ok(0) };
    // Read back before anything is deleted: if the checkpoint is unreadable, the table would be lost.
    let read = log.load(Some(from)).await?;
    tracing::debug!(table = log.table, from, files = read.files.len(), "log is kept from here");
    let old: Vec<Path> = objects
        .into_iter()
        .filter(|o| version_of(o).or_else(|| checkpoint_of(o)).is_some_and(|version| version < from))
        .map(|o| o.location)
        .collect();
    let count = old.len();
    let paths = futures::stream::iter(old.into_iter().map(Ok)).boxed();
    let folder = log.folder();
    let deleted: Vec<Path> =
        log.store.objects.delete_stream(paths).try_collect().await.map_err(|e| unreachable(&folder, e))?;
    debug_assert_eq!(deleted.len(), count);
    Ok(deleted.len())
}

/// The newest checkpoint at or before `horizon` that keeps all versions since `before` readable. Everything
/// from it on is kept.
fn kept_from(objects: &[ObjectMeta], horizon: u64, before: i64) -> Option<u64> {
    let young = objects
        .iter()
        .filter(|o| o.last_modified.timestamp_millis() >= before)
        .filter_map(version_of)
        .min()
        .unwrap_or(u64::MAX);
    // The version before the first young one was the current version when the retention time began.
    let kept = horizon.min(young.saturating_sub(1));
    objects.iter().filter_map(checkpoint_of).filter(|version| *version <= kept).max()
}

/// The version of a checkpoint, from its file name.
fn checkpoint_of(object: &ObjectMeta) -> Option<u64> {
    let (version, rest) = object.location.filename()?.split_once('.')?;
    (version.len() == 20 && rest.starts_with("checkpoint")).then(|| version.parse().ok())?
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn object(name: &str, ms: i64) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("s/t/_delta_log/{name}")),
            last_modified: DateTime::from_timestamp_millis(ms).expect("a time"),
            size: 1,
            e_tag: None,
            version: None,
        }
    }
    fn entry(version: u64, ms: i64) -> ObjectMeta {
        object(&format!("{version:020}.json"), ms)
    }
    fn checkpoint(version: u64) -> ObjectMeta {
        object(&format!("{version:020}.checkpoint.parquet"), 0)
    }

    #[test]
    fn the_log_is_kept_from_the_newest_checkpoint_that_all_readers_have_passed() {
        let mut log: Vec<_> = (0..10).map(|v| entry(v, 100 * i64::try_from(v).expect("small"))).collect();
        assert_eq!(kept_from(&log, 9, i64::MAX), None, "no checkpoint, no cleanup");
        log.extend([checkpoint(2), checkpoint(6)]);
        assert_eq!(kept_from(&log, 9, i64::MAX), Some(6));
        assert_eq!(kept_from(&log, 5, i64::MAX), Some(2), "a follower is at 5");
        assert_eq!(kept_from(&log, 9, 300), Some(2), "version 3 is young");
        assert_eq!(kept_from(&log, 1, i64::MAX), None);
        assert_eq!(kept_from(&log, 9, 600), Some(2), "at 600 the table was still at version 5");
    }
}
