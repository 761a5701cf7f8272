//! Deletes files that no version needs.
//!
//! A file is kept if a version since the horizon, or a version of the last days, refers to it or to a vector in
//! it. A file that no version refers to is kept while it is young: it may belong to a commit in progress. In
//! doubt nothing is deleted: if the oldest version to keep cannot be read, all files stay.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use model::{ClockMs, Version};
use object_store::path::Path;

use crate::files::vectors;
use crate::log::Line;
use crate::log::file::DataFile;
use crate::store::{list, unreachable};
use crate::table::{Table, changes};
use crate::{Error, Result};

/// The least time for which production keeps versions, and files of commits in progress.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// What to delete.
#[derive(Debug, Clone)]
pub struct Vacuum {
    /// The current time. It is compared with the store's times of objects.
    pub now: ClockMs,
    /// Files and versions younger than this stay. In production, [`KEEP`].
    pub keep: Duration,
    /// The oldest version that a follower still has to read; `None`: no follower has.
    pub horizon: Option<Version>,
    /// Registered files that no commit refers to yet, by their paths in the table.
    pub registered: HashSet<String>,
    /// Report without deleting.
    pub dry_run: bool,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Deleted files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that no version refers to, but which are young or registered.
    pub unreferenced: usize,
}

impl Table {
    /// Deletes files that no version needs.
    pub async fn vacuum(&self, vacuum: &Vacuum) -> Result<VacuumReport> {
        run(self, vacuum).await
    }
}

pub(crate) async fn run(table: &Table, vacuum: &Vacuum) -> Result<VacuumReport> {
    let keep = i64::try_from(vacuum.keep.as_millis()).unwrap_or(i64::MAX);
    let before = vacuum.now.0.saturating_sub(keep);
    // Listed first, so that a file created later cannot be mistaken for an unneeded one.
    let objects = list(&table.log.store, &table.log.dir).await?;
    let needed = needed(table, vacuum.horizon, before).await?;
    let folder = format!("{}/", table.log.dir);
    let mut report = VacuumReport::default();
    let mut gone = Vec::new();
    for object in objects {
        let Some(path) = object.location.as_ref().strip_prefix(&folder) else { continue };
        if path.starts_with("_delta_log/") || needed.contains(path) {
            continue;
        }
        if vacuum.registered.contains(path) || object.last_modified.timestamp_millis() >= before {
            report.unreferenced += 1;
            continue;
        }
        report.files += 1;
        report.bytes += object.size;
        gone.push(object.location);
    }
    if !vacuum.dry_run && !gone.is_empty() {
        let paths = futures::stream::iter(gone.into_iter().map(Ok)).boxed();
        let dir = &table.log.dir;
        let _deleted: Vec<Path> = table
            .log
            .store
            .objects
            .delete_stream(paths)
            .try_collect()
            .await
            .map_err(|e| unreachable(dir, e))?;
    }
    Ok(report)
}

/// All paths that a version to keep refers to.
async fn needed(table: &Table, horizon: Option<Version>, before: i64) -> Result<HashSet<String>> {
    let mut newest = table.clone();
    newest.refresh().await?;
    let entries = table.log.entries().await?;
    // The version that was current when the retention time began is still needed.
    let by_age = entries.iter().rfind(|(_, entry)| entry.last_modified.timestamp_millis() < before);
    let oldest_readable = entries.first().map_or(newest.version().0, |(version, _)| *version);
    let by_age = by_age.map_or(oldest_readable, |(version, _)| *version);
    let from =
        horizon.map_or(by_age, |horizon| by_age.min(horizon.0)).max(oldest_readable).min(newest.version().0);
    let base = match newest.at(Version(from)).await {
        Ok(base) => base,
        // Entries before the oldest checkpoint may outlive it; only the checkpoint can be read.
        Err(Error::BadLog { .. }) if horizon.is_none_or(|h| h.0 > from) => oldest(&newest, from).await?,
        Err(error) => return Err(error),
    };
    let mut paths = HashSet::new();
    base.snapshot().files.values().for_each(|file| refer(&mut paths, file));
    let later = changes::lines(table, Some(base.version()), newest.version());
    futures::pin_mut!(later);
    while let Some((_, lines)) = later.try_next().await? {
        for Line { add, remove, .. } in lines {
            add.into_iter().map(DataFile::new).for_each(|file| refer(&mut paths, &file));
            remove.iter().map(DataFile::removed).for_each(|file| refer(&mut paths, &file));
        }
    }
    Ok(paths)
}

/// The oldest readable version after `from`.
async fn oldest(table: &Table, from: u64) -> Result<Table> {
    for version in from + 1..table.version().0 {
        match table.at(Version(version)).await {
            Err(Error::BadLog { .. }) => {}
            found => return found,
        }
    }
    Ok(table.clone())
}

fn refer(paths: &mut HashSet<String>, file: &DataFile) {
    paths.extend(file.add.deletion_vector.as_ref().and_then(vectors::object));
    paths.insert(file.add.path.clone());
}
