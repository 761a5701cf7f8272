//! The rows that each version added and removed, read from the log.
//!
//! If a file only gained a vector, the change is the rows that the vector gained. If a file was added or
//! removed, it is the file's live rows. A version that rewrote files, as a table without vectors must, would
//! show every unmoved row twice, as removed and as added: such pairs cancel out. Upkeep (`dataChange` false)
//! changes no row and is left out. So a follower compares positions, not only versions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use deltalake::kernel::Add;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use model::{Positions, Version};
use roaring::RoaringTreemap;

use crate::files::read::Pick;
use crate::files::{conform, digest};
use crate::log::file::DataFile;
use crate::log::{Line, LogEntry, schema};
use crate::table::Table;
use crate::{Error, Result};

/// Log entries read concurrently.
const ENTRIES_AT_ONCE: usize = 8;

/// A version that changed rows. [`Table::read_change`] reads the rows.
#[derive(Debug, Clone)]
pub struct ChangedVersion {
    entry: LogEntry,
    files: Vec<Touched>,
}
impl ChangedVersion {
    /// The version.
    pub fn version(&self) -> Version {
        self.entry.version
    }
    /// Positions set by this version.
    pub fn positions(&self) -> &Positions {
        &self.entry.positions
    }
    /// The log entry of the version.
    pub fn entry(&self) -> &LogEntry {
        &self.entry
    }
}

/// What is left of the log of a range of versions.
#[derive(Debug, Clone)]
pub struct KeptLog {
    /// The entries without a gap up to the end of the range, oldest first.
    pub entries: Vec<LogEntry>,
    /// False if the log was cleaned inside the range: then the entries do not tell what the versions before
    /// them did.
    pub is_whole: bool,
}

/// One path in a version: its state before and after.
#[derive(Debug, Clone)]
struct Touched {
    before: Option<Arc<DataFile>>,
    after: Option<Arc<DataFile>>,
}

/// The rows one version added and removed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The version.
    pub version: Version,
    /// Added rows.
    pub added: Vec<RecordBatch>,
    /// Removed rows, with their old values.
    pub removed: Vec<RecordBatch>,
}

pub(crate) async fn entries(table: &Table, after: Option<Version>, upto: Version) -> Result<Vec<LogEntry>> {
    let after = match after {
        Some(after) => Some(after),
        None => table.log.oldest().await?.and_then(|oldest| oldest.checked_sub(1)).map(Version),
    };
    lines(table, after, upto).map_ok(|(version, lines)| LogEntry::new(version, &lines)).try_collect().await
}

pub(crate) async fn kept(table: &Table, after: Option<Version>, upto: Version) -> Result<KeptLog> {
    let mut from = after.map_or(0, |after| after.0 + 1);
    let mut is_whole = true;
    loop {
        let entries: Result<Vec<LogEntry>> = lines(table, from.checked_sub(1).map(Version), upto)
            .map_ok(|(version, lines)| LogEntry::new(version, &lines))
            .try_collect()
            .await;
        match entries {
            // Cleanup may be running, and it deletes in any order: the next attempt may find another gap.
            Err(Error::LogGone { version, .. }) => {
                is_whole = false;
                from = table.log.oldest().await?.map_or(version + 1, |oldest| oldest.max(version + 1));
            }
            entries => return Ok(KeptLog { entries: entries?, is_whole }),
        }
    }
}

pub(crate) async fn list(
    table: &Table,
    after: Option<Version>,
    upto: Version,
) -> Result<Vec<ChangedVersion>> {
    let changed = lines(table, after, upto).try_filter_map(|(version, lines)| async move {
        let entry = LogEntry::new(version, &lines);
        let files = touched(lines);
        Ok((!files.is_empty()).then_some(ChangedVersion { entry, files }))
    });
    changed.try_collect().await
}

/// The entries after `after` up to `upto`, oldest first, with a few read ahead. A missing entry ends the stream
/// with an error.
pub(crate) fn lines(
    table: &Table,
    after: Option<Version>,
    upto: Version,
) -> impl Stream<Item = Result<(u64, Vec<Line>)>> {
    let first = after.map_or(0, |v| v.0 + 1);
    let reads = (first..=upto.0).map(move |version| async move {
        let gone = || Error::LogGone { table: table.log.table.clone(), version };
        Ok::<_, Error>((version, table.log.entry(version).await?.ok_or_else(gone)?))
    });
    futures::stream::iter(reads).buffered(ENTRIES_AT_ONCE)
}

fn touched(lines: Vec<Line>) -> Vec<Touched> {
    let mut paths: BTreeMap<String, Touched> = BTreeMap::new();
    for line in lines {
        if let Some(remove) = line.remove.filter(|r| r.data_change) {
            let entry = paths.entry(remove.path.clone()).or_insert(Touched { before: None, after: None });
            entry.before = Some(Arc::new(DataFile::removed(&remove)));
        }
        if let Some(add) = line.add.filter(|a: &Add| a.data_change) {
            let entry = paths.entry(add.path.clone()).or_insert(Touched { before: None, after: None });
            entry.after = Some(Arc::new(DataFile::new(add)));
        }
    }
    paths.into_values().collect()
}

pub(crate) async fn read(table: &Table, changed: &ChangedVersion) -> Result<Change> {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let (mut came, mut went) = (false, false);
    for file in &changed.files {
        match (&file.before, &file.after) {
            (Some(before), Some(after)) => {
                let hidden = [vector(table, before).await?, vector(table, after).await?];
                let [before_rows, after_rows] = &hidden;
                let gone = after_rows.as_ref() - before_rows.as_ref();
                let back = before_rows.as_ref() - after_rows.as_ref();
                removed.extend(rows(table, after, Pick::Only(Arc::new(gone))).await?);
                added.extend(rows(table, after, Pick::Only(Arc::new(back))).await?);
            }
            (None, Some(after)) => {
                came = true;
                added.extend(rows(table, after, Pick::Without(vector(table, after).await?)).await?);
            }
            (Some(before), None) => {
                went = true;
                removed.extend(rows(table, before, Pick::Without(vector(table, before).await?)).await?);
            }
            (None, None) => {}
        }
    }
    let version = changed.entry.version;
    if came && went {
        let bad = |source| Error::BadRows { table: table.log.table.clone(), source };
        (added, removed) = runtime::cpu::run(move || cancel(&added, &removed)).await.map_err(bad)?;
    }
    Ok(Change { version, added, removed })
}

pub(crate) async fn read_added(
    table: &Table,
    changed: &ChangedVersion,
    columns: &[String],
) -> Result<Vec<RecordBatch>> {
    let schema = schema::project(&table.log.table, table.schema(), columns)?;
    let mut added = Vec::new();
    for file in &changed.files {
        match (&file.before, &file.after) {
            (None, Some(after)) => {
                let pick = Pick::Without(vector(table, after).await?);
                added.extend(table.shared.reader.rows(&table.log, after, &schema, pick).await?);
            }
            // Rows were removed or restored: a comparison over all columns finds the added ones.
            _ => {
                let change = read(table, changed).await?;
                let project = |rows: RecordBatch| conform::conform(&rows, &schema);
                let rows = change.added.into_iter().map(project).collect::<Result<_, _>>();
                return rows.map_err(|source| Error::BadRows { table: table.log.table.clone(), source });
            }
        }
    }
    Ok(added)
}

async fn vector(table: &Table, file: &DataFile) -> Result<Arc<RoaringTreemap>> {
    table.shared.vectors.of(&table.log, file).await
}

async fn rows(table: &Table, file: &DataFile, pick: Pick) -> Result<Vec<RecordBatch>> {
    if matches!(&pick, Pick::Only(rows) if rows.is_empty()) {
        return Ok(Vec::new());
    }
    table.shared.reader.rows(&table.log, file, table.schema(), pick).await
}

type Rows = (Vec<RecordBatch>, Vec<RecordBatch>);

/// Cancels rows that are on both sides, as often as they are on both. Rows are compared by 128-bit hashes.
fn cancel(added: &[RecordBatch], removed: &[RecordBatch]) -> Result<Rows, arrow::error::ArrowError> {
    let mut surplus: HashMap<u128, i64> = HashMap::new();
    for hash in digests(removed).into_iter().flatten() {
        *surplus.entry(hash).or_default() += 1;
    }
    let mut shared: HashMap<u128, i64> = HashMap::new();
    let added = keep(added, |hash| match surplus.get_mut(&hash) {
        Some(left) if *left > 0 => {
            *left -= 1;
            *shared.entry(hash).or_default() += 1;
            false
        }
        _ => true,
    })?;
    let removed = keep(removed, |hash| match shared.get_mut(&hash) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    })?;
    Ok((added, removed))
}

fn digests(batches: &[RecordBatch]) -> Vec<Vec<u128>> {
    batches.iter().map(digest::wide_hashes).collect()
}

fn keep(
    batches: &[RecordBatch],
    mut stays: impl FnMut(u128) -> bool,
) -> Result<Vec<RecordBatch>, arrow::error::ArrowError> {
    let hashes = digests(batches);
    let filter = |(batch, hashes): (&RecordBatch, Vec<u128>)| {
        let mask: BooleanArray = hashes.into_iter().map(|h| Some(stays(h))).collect();
        filter_record_batch(batch, &mask)
    };
    let kept: Vec<_> = batches.iter().zip(hashes).map(filter).collect::<Result<_, _>>()?;
    Ok(kept.into_iter().filter(|b| b.num_rows() > 0).collect())
}
