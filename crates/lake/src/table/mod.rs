//! One open table: a snapshot, and the operations that read it or move it forward.

pub mod changes;
pub mod commit;
mod finder;
pub mod halts;
pub mod lake;
pub(crate) mod positions;
pub mod probe;
mod provider;
mod upsert;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use futures::{StreamExt as _, TryStreamExt as _};
use model::{Positions, TableId, TableName, Version};
use url::Url;

use crate::files::read::Pick;
use crate::files::stage;
use crate::files::stage::StagedFile;
use crate::log::file::{Bound, DataFile};
use crate::log::snapshot::Snapshot;
use crate::log::{LatestSnapshot, Log, LogEntry, checkpoint, schema};
use crate::table::changes::{Change, ChangedVersion, KeptLog};
use crate::table::commit::{Commit, Keys, Landing, Write};
use crate::table::finder::{FILES_AT_ONCE, KeySet};
use crate::table::lake::{PROJECT, Shared};
use crate::table::provider::Provider;
use crate::{Error, Result};

/// Operations remembered, to recognise one of ours that landed although its answer was lost.
const REMEMBERED: usize = 1024;

/// A range of an integer column.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    /// The column.
    pub column: &'static str,
    /// Its least value.
    pub least: i64,
    /// Its greatest.
    pub greatest: i64,
}
impl Within {
    /// Whether a file may contain rows in the range.
    fn admits(&self, file: &DataFile) -> bool {
        match file.bounds(self.column, &DataType::Int64) {
            Some((Bound::Int(least), Bound::Int(greatest))) => {
                least <= self.greatest && greatest >= self.least
            }
            _ => true,
        }
    }
}

/// One open snapshot of a table. A clone moves forward independently.
#[derive(Debug, Clone)]
pub struct Table {
    name: TableName,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) latest: LatestSnapshot,
    /// Versions read since this was opened, with their operations.
    pub(crate) seen: Vec<(u64, Option<String>)>,
}

impl Table {
    pub(crate) fn new(name: TableName, shared: Arc<Shared>, log: Log, latest: LatestSnapshot) -> Self {
        Self { name, shared, log, latest, seen: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &TableName {
        &self.name
    }
    /// The id of its creation. A recreated table has another.
    pub fn id(&self) -> &TableId {
        &self.snapshot().meta.id
    }
    /// The URL of its folder.
    pub fn location(&self) -> &Url {
        &self.log.url
    }
    /// The version of this snapshot.
    pub fn version(&self) -> Version {
        Version(self.snapshot().version)
    }
    /// Its columns: strings as `Utf8`, timestamps in microseconds, UTC.
    pub fn schema(&self) -> &SchemaRef {
        &self.snapshot().meta.schema
    }
    /// How far it has read its inputs.
    pub fn positions(&self) -> &Positions {
        &self.snapshot().positions
    }
    /// The project that owns it.
    pub fn project(&self) -> Option<&str> {
        self.property(PROJECT)
    }
    /// A property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.snapshot().meta.line.configuration.get(name).map(String::as_str)
    }
    /// All properties.
    pub fn properties(&self) -> &BTreeMap<String, String> {
        &self.snapshot().meta.line.configuration
    }
    /// What is said about it.
    pub fn description(&self) -> Option<&str> {
        self.snapshot().meta.line.description.as_deref()
    }
    /// The columns that its files are partitioned by.
    pub fn partition_by(&self) -> &[String] {
        &self.snapshot().meta.line.partition_columns
    }
    /// Rows in this version, if all writers recorded their counts.
    pub fn rows(&self) -> Option<u64> {
        self.snapshot().live_rows()
    }
    /// The number of files in this version, and their bytes.
    pub fn files(&self) -> (usize, u64) {
        let files = &self.snapshot().files;
        (files.len(), files.values().map(|f| f.add.size.max(0).cast_unsigned()).sum())
    }
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.latest.snapshot
    }

    /// Moves to the newest version.
    pub async fn refresh(&mut self) -> Result<()> {
        let seen = self.latest.refresh(&self.log).await?;
        self.remember(seen);
        Ok(())
    }

    /// The table at an older version.
    pub async fn at(&self, version: Version) -> Result<Self> {
        if version == self.version() {
            return Ok(self.clone());
        }
        if version > self.version() {
            let newest = self.log.newest(self.version().0).await?.unwrap_or(self.version().0);
            if version.0 > newest {
                return Err(Error::NoVersion { table: self.log.table.clone(), version: version.0, newest });
            }
        }
        let latest = LatestSnapshot::at(&self.log, version.0).await?;
        Ok(Self::new(self.name.clone(), self.shared.clone(), self.log.clone(), latest))
    }

    /// The table as of a time, by the store's times of the log entries.
    pub async fn at_time(&self, ms: i64) -> Result<Self> {
        let entries = self.log.entries().await?;
        let oldest = entries.first().map_or(0, |(version, _)| *version);
        let before = entries.iter().rfind(|(_, entry)| entry.last_modified.timestamp_millis() <= ms);
        match before {
            Some((version, _)) => self.at(Version(*version)).await,
            None => Err(Error::LogGone { table: self.log.table.clone(), version: oldest.saturating_sub(1) }),
        }
    }

    /// This version as a DataFusion table.
    pub fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        Ok(Arc::new(Provider::new(self.shared.clone(), self.log.clone(), self.latest.snapshot.clone())))
    }

    /// Encodes and uploads rows into files that no commit refers to yet.
    pub async fn stage(&self, batches: Vec<RecordBatch>) -> Result<Vec<StagedFile>> {
        stage::stage(&self.log, self.schema(), self.partition_by(), self.snapshot().vectors, batches).await
    }
    /// As [`Self::stage`], for a commit that replaces the table's columns by these: one with
    /// [`crate::table::commit::Remove::Everything`] and this schema.
    pub async fn stage_as(&self, schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<StagedFile>> {
        let stored = schema::stored(&self.log.table, schema)?;
        stage::stage(&self.log, &stored, self.partition_by(), self.snapshot().vectors, batches).await
    }

    /// Commits, or reports that another writer moved on. After an error with [`model::Reaction::Retry`] the
    /// same commit may be tried again: it lands at most once. Afterwards this is the newest known version.
    pub async fn commit(&mut self, commit: &Commit) -> Result<Landing> {
        let mut work = Write::try_new(self, commit)?;
        let landing = commit::land(self, &mut work).await?;
        self.checkpoint_when_due(landing);
        Ok(landing)
    }

    /// The versions after `after`, up to `upto`, that changed rows, oldest first. `None`: from the first
    /// version.
    pub async fn changes(&self, after: Option<Version>, upto: Version) -> Result<Vec<ChangedVersion>> {
        changes::list(self, after, upto).await
    }
    /// The rows one version added and removed, in this table's schema.
    pub async fn read_change(&self, version: &ChangedVersion) -> Result<Change> {
        changes::read(self, version).await
    }
    /// The rows that one version of an append-only table added, with these columns. In such a table, compaction
    /// and vacuum change no rows and no version removes any.
    pub async fn read_added(&self, version: &ChangedVersion, columns: &[String]) -> Result<Vec<RecordBatch>> {
        changes::read_added(self, version, columns).await
    }
    /// The log entries of the versions after `after`, up to `upto`. `None`: from the oldest entry, which is
    /// version 0 until the log was cleaned.
    pub async fn log(&self, after: Option<Version>, upto: Version) -> Result<Vec<LogEntry>> {
        changes::entries(self, after, upto).await
    }

    /// As [`Self::log`], for a range that the log may no longer have as a whole: what is left of it, and
    /// whether that is all. `None`: from version 0.
    pub async fn kept_log(&self, after: Option<Version>, upto: Version) -> Result<KeptLog> {
        changes::kept(self, after, upto).await
    }

    /// The rows whose key is one of `keys`, with these columns.
    pub async fn find(&self, keys: &Keys, columns: &[String]) -> Result<Vec<RecordBatch>> {
        let schema = schema::project(&self.log.table, self.schema(), columns)?;
        if keys.rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let keys = Arc::new(KeySet::try_new(&self.log.table, self.schema(), keys)?);
        let files = self.snapshot().files.values().cloned().collect();
        let found = self.shared.finder.find(&self.shared, &self.log, files, keys).await?;
        let reads = found.iter().map(|(file, hits)| {
            let schema = &schema;
            async move {
                let live = hits - self.shared.vectors.of(&self.log, file).await?.as_ref();
                self.shared.reader.rows(&self.log, file, schema, Pick::Only(Arc::new(live))).await
            }
        });
        in_order(reads.collect()).await
    }

    /// All rows, with these columns or with all columns.
    pub async fn scan(&self, columns: Option<&[String]>) -> Result<Vec<RecordBatch>> {
        let schema = match columns {
            Some(columns) => schema::project(&self.log.table, self.schema(), columns)?,
            None => self.schema().clone(),
        };
        let reads = self.snapshot().files.values().map(|file| {
            let schema = &schema;
            async move {
                let deleted = self.shared.vectors.of(&self.log, file).await?;
                self.shared.reader.rows(&self.log, file, schema, Pick::Without(deleted)).await
            }
        });
        in_order(reads.collect()).await
    }

    /// Feeds rows to `step`, a few files at a time, and merges the results. Memory holds row groups, never the
    /// table. Files with bounds outside one of `within` are skipped, but rows outside may still be passed.
    pub async fn fold<T, F>(
        &self,
        columns: &[String],
        within: &[Within],
        step: F,
        merge: impl Fn(&mut T, T),
    ) -> Result<T>
    where
        T: Default + Send + 'static,
        F: Fn(&mut T, RecordBatch) + Clone + Send + Sync + 'static,
    {
        let schema = schema::project(&self.log.table, self.schema(), columns)?;
        let files = self.snapshot().files.values().filter(|file| within.iter().all(|w| w.admits(file)));
        let reads: Vec<_> = files
            .map(|file| {
                let (schema, step) = (&schema, step.clone());
                async move {
                    let deleted = self.shared.vectors.of(&self.log, file).await?;
                    let pick = Pick::Without(deleted);
                    let step = move |state: &mut T, _, rows| step(state, rows);
                    self.shared.reader.fold(&self.log, file, schema, pick, T::default(), step).await
                }
            })
            .collect();
        let mut parts = futures::stream::iter(reads).buffer_unordered(FILES_AT_ONCE);
        let mut all = T::default();
        while let Some(part) = parts.try_next().await? {
            merge(&mut all, part);
        }
        Ok(all)
    }

    /// Starts to write a checkpoint beside the commits if this version gets one. Only the writer that landed
    /// the version writes its checkpoint.
    fn checkpoint_when_due(&self, landing: Landing) {
        let Landing::Landed(Version(version)) = landing else { return };
        if !checkpoint::is_due(version) {
            return;
        }
        let mut running = self.shared.checkpoints.lock();
        if running.get(&self.log.table).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let log = self.log.clone();
        let task = runtime::tasks::spawn("checkpoint", async move {
            if let Err(failed) = checkpoint::write(&log, version).await {
                tracing::warn!(table = log.table, version, error = %failed, "checkpoint not written");
            }
        });
        running.insert(self.log.table.clone(), task);
    }
    /// Writes a checkpoint of this version.
    pub async fn checkpoint(&self) -> Result<()> {
        checkpoint::write(&self.log, self.version().0).await
    }
    /// Deletes log entries that neither `horizon` nor the last `keep_ms` before `now_ms` need. Returns how many
    /// were deleted.
    pub async fn clean_log(&self, horizon: Version, now_ms: i64, keep_ms: i64) -> Result<usize> {
        checkpoint::clean(&self.log, horizon.0, now_ms, keep_ms).await
    }

    /// Moves forward by an entry that this process wrote.
    pub(crate) fn advance(&mut self, version: u64, bytes: &Bytes) -> Result<()> {
        let lines = self.log.parse(bytes)?;
        let op = LogEntry::new(version, &lines).op;
        self.latest.advance(&self.log, version, lines)?;
        self.remember(vec![(version, op)]);
        Ok(())
    }

    fn remember(&mut self, seen: Vec<(u64, Option<String>)>) {
        self.seen.extend(seen);
        let excess = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..excess);
    }
}

/// Rows of several files in the order of the files, with a few read concurrently.
async fn in_order<F>(reads: Vec<F>) -> Result<Vec<RecordBatch>>
where
    F: Future<Output = Result<Vec<RecordBatch>>>,
{
    let files: Vec<_> = futures::stream::iter(reads).buffered(FILES_AT_ONCE).try_collect().await?;
    Ok(files.into_iter().flatten().collect())
}
