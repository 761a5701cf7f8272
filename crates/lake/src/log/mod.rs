//! Reads a table's log.
//!
//! The Delta kernel finds the newest checkpoint and reads it with the entries after it. Every later entry is
//! read by its name, but only within a few minutes of the snapshot it extends. An older snapshot lists the log
//! first: cleanup may have deleted the next entry, and then "not found" would look like "nothing newer".

pub(crate) mod checkpoint;
pub mod defaults;
pub(crate) mod file;
pub(crate) mod schema;
pub(crate) mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use runtime::time::Instant;

use arrow::json::writer::{LineDelimited, WriterBuilder};
use bytes::Bytes;
use delta_kernel::actions::get_commit_schema;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use deltalake::kernel::{Add, Remove, Transaction};
use futures::TryStreamExt as _;
use model::{AppId, Positions, Version};
use object_store::ObjectMeta;
use object_store::path::Path;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::BoxError;
use crate::log::file::DataFile;
use crate::log::snapshot::{Replay, Snapshot};
use crate::store::{Store, unreachable};
use crate::{Error, Result};

/// How long "not found" means that there is no newer version. Cleanup keeps entries far longer than this.
const FRESH: Duration = Duration::from_secs(600);

/// One line of an entry. Actions that we do not use are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    pub add: Option<Add>,
    pub remove: Option<Remove>,
    #[serde(rename = "metaData")]
    pub metadata: Option<MetaLine>,
    pub protocol: Option<ProtocolLine>,
    pub txn: Option<Transaction>,
    #[serde(rename = "commitInfo")]
    pub info: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The Metadata action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetaLine {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub format: Format,
    pub schema_string: String,
    #[serde(default)]
    pub partition_columns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
}

/// The format in a Metadata action: always parquet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Format {
    pub provider: String,
    #[serde(default)]
    pub options: HashMap<String, Option<String>>,
}
impl Default for Format {
    fn default() -> Self {
        Self { provider: "parquet".to_owned(), options: HashMap::new() }
    }
}

/// The Protocol action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProtocolLine {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

/// One version of a table, as its log entry describes it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The version.
    pub version: Version,
    /// The commit time that the writer recorded.
    pub timestamp_ms: i64,
    /// The operation, in Delta's terms.
    pub operation: Option<String>,
    /// Our part of the commit info; null if another program wrote the version.
    pub info: serde_json::Value,
    /// The ULID of the operation, if it is ours.
    pub op: Option<String>,
    /// Positions set by this version.
    pub positions: Positions,
    /// Whether rows changed. Upkeep moves rows between files without changing any.
    pub data_change: bool,
    /// Files added.
    pub files_added: usize,
    /// Files removed.
    pub files_removed: usize,
}

impl LogEntry {
    /// Parses the bytes of an entry of `table`, with the checks that need no earlier entry.
    pub fn read(table: &str, version: u64, bytes: &[u8]) -> Result<Self> {
        let lines = || lines(table, bytes);
        let entry = Self::new(version, &lines()?);
        let mut replay = Replay::default();
        lines()?.into_iter().for_each(|line| replay.older(line));
        match replay.finish(table, version) {
            // Most entries have neither a Protocol nor a Metadata action.
            Err(Error::BadLog { .. }) => {}
            Err(error) => return Err(error),
            Ok(mut snapshot) => {
                snapshot.live_rows();
                for field in snapshot.meta.schema.fields() {
                    let bounds = |file: &Arc<DataFile>| file.bounds(field.name(), field.data_type());
                    snapshot.files.values().for_each(|file| drop((bounds(file), file.nulls(field.name()))));
                }
                snapshot.apply(table, version, lines()?)?;
            }
        }
        Ok(entry)
    }

    pub(crate) fn new(version: u64, lines: &[Line]) -> Self {
        let info = lines.iter().find_map(|l| l.info.as_ref());
        let ours = info.and_then(|i| i.get("lakepulse")).cloned().unwrap_or_default();
        let text = |value: Option<&serde_json::Value>| value.and_then(|v| v.as_str()).map(str::to_owned);
        let adds = || lines.iter().filter_map(|l| l.add.as_ref());
        let removes = || lines.iter().filter_map(|l| l.remove.as_ref());
        Self {
            version: Version(version),
            timestamp_ms: info.and_then(|i| i.get("timestamp")).and_then(|t| t.as_i64()).unwrap_or_default(),
            operation: text(info.and_then(|i| i.get("operation"))),
            op: text(ours.get("op")),
            info: ours,
            positions: lines
                .iter()
                .filter_map(|l| l.txn.as_ref())
                .filter_map(|t| Some((AppId::parse(&t.app_id)?, t.version)))
                .collect(),
            data_change: adds().any(|a| a.data_change) || removes().any(|r| r.data_change),
            files_added: adds().count(),
            files_removed: removes().count(),
        }
    }
}

/// The log of one table.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub store: Store,
    /// `schema.table`, for messages.
    pub table: String,
    /// The table's folder below the store's root.
    pub dir: Path,
    /// The table's folder as a URL with a trailing slash.
    pub url: Url,
}

impl Log {
    pub fn folder(&self) -> Path {
        self.dir.clone().join("_delta_log")
    }

    pub fn entry_path(&self, version: u64) -> Path {
        self.folder().join(format!("{version:020}.json"))
    }

    /// Whether the table has any version.
    pub async fn exists(&self) -> Result<bool> {
        let folder = self.folder();
        let mut listing = self.store.objects.list(Some(&folder));
        while let Some(object) = listing.try_next().await.map_err(|e| unreachable(&folder, e))? {
            if version_of(&object).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lines of one entry. `None` if there is no such entry.
    pub async fn entry(&self, version: u64) -> Result<Option<Vec<Line>>> {
        match self.store.get(&self.entry_path(version)).await? {
            Some(bytes) => Ok(Some(self.parse(&bytes)?)),
            None => Ok(None),
        }
    }

    pub fn parse(&self, bytes: &Bytes) -> Result<Vec<Line>> {
        lines(&self.table, bytes)
    }

    /// The newest version, by listing.
    pub async fn newest(&self, from: u64) -> Result<Option<u64>> {
        let folder = self.folder();
        let listing = self.store.objects.list_with_offset(Some(&folder), &self.entry_path(from));
        let objects: Vec<ObjectMeta> = listing.try_collect().await.map_err(|e| unreachable(&folder, e))?;
        Ok(objects.iter().filter_map(version_of).max())
    }

    /// The oldest version that still has its log entry.
    pub async fn oldest(&self) -> Result<Option<u64>> {
        // Entry 0 exists until the log is cleaned, and a get is cheaper than a listing.
        if self.store.get(&self.entry_path(0)).await?.is_some() {
            return Ok(Some(0));
        }
        Ok(self.entries().await?.first().map(|(version, _)| *version))
    }

    /// All entries in the log with the store's timestamps, oldest first.
    pub async fn entries(&self) -> Result<Vec<(u64, ObjectMeta)>> {
        let folder = self.folder();
        let listing = self.store.objects.list(Some(&folder));
        let objects: Vec<ObjectMeta> = listing.try_collect().await.map_err(|e| unreachable(&folder, e))?;
        let mut entries: Vec<(u64, ObjectMeta)> =
            objects.into_iter().filter_map(|o| Some((version_of(&o)?, o))).collect();
        entries.sort_by_key(|(version, _)| *version);
        Ok(entries)
    }

    /// The snapshot of a version, or of the newest one.
    pub async fn load(&self, version: Option<u64>) -> Result<Snapshot> {
        let log = self.clone();
        runtime::cpu::run(move || log.replay(version)).await
    }

    fn replay(&self, version: Option<u64>) -> Result<Snapshot> {
        let engine = self.store.engine.as_ref();
        let builder = delta_kernel::Snapshot::builder_for(self.url.clone());
        let builder = match version {
            Some(version) => builder.at_version(version),
            None => builder,
        };
        let kernel = builder.build(engine).map_err(|e| self.failed(e))?;
        let actions = ["add", "remove", "metaData", "protocol", "txn"];
        let wanted = get_commit_schema().project(&actions).map_err(|e| self.failed(e))?;
        let mut replay = Replay::default();
        for batch in kernel.log_segment().read_actions(engine, wanted).map_err(|e| self.failed(e))? {
            let actions = batch.map_err(|e| self.failed(e))?.actions;
            let rows = ArrowEngineData::try_from_engine_data(actions).map_err(|e| self.bad(e))?;
            // As JSON, the rows of a checkpoint have the form of an entry's lines, so one parser reads both.
            let mut json =
                WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
            json.write(rows.record_batch()).map_err(|e| self.bad(e))?;
            json.finish().map_err(|e| self.bad(e))?;
            self.parse(&json.into_inner().into())?.into_iter().for_each(|line| replay.older(line));
        }
        replay.finish(&self.table, kernel.version())
    }

    /// Tells a fault of the store, which passes, from a log that cannot be read. The kernel reports both alike.
    fn failed(&self, error: delta_kernel::Error) -> Error {
        match error {
            delta_kernel::Error::ObjectStore(source) => unreachable(&self.folder(), source),
            delta_kernel::Error::Backtraced { source, .. } => self.failed(*source),
            // The form of a store fault that comes from the checkpoint reader.
            delta_kernel::Error::Parquet(ParquetError::External(source)) => {
                match source.downcast::<object_store::Error>() {
                    Ok(source) => unreachable(&self.folder(), *source),
                    Err(source) => self.bad(source),
                }
            }
            error => self.bad(error),
        }
    }

    pub fn bad(&self, source: impl Into<BoxError>) -> Error {
        Error::BadLog { table: self.table.clone(), source: source.into() }
    }
}

/// The lines of an entry of `table`.
fn lines(table: &str, bytes: &[u8]) -> Result<Vec<Line>> {
    let lines = serde_json::Deserializer::from_slice(bytes).into_iter::<Line>();
    let bad = |source: serde_json::Error| Error::BadLog { table: table.to_owned(), source: source.into() };
    lines.collect::<Result<_, _>>().map_err(bad)
}

/// The version of an entry, from its file name; `None` for checkpoints and other files.
pub(crate) fn version_of(object: &ObjectMeta) -> Option<u64> {
    let stem = object.location.filename()?.strip_suffix(".json")?;
    (stem.len() == 20).then(|| stem.parse().ok())?
}

/// A snapshot, and the time at which it was last known to be the newest.
#[derive(Debug, Clone)]
pub(crate) struct LatestSnapshot {
    pub snapshot: Arc<Snapshot>,
    confirmed: Option<Instant>,
}

impl LatestSnapshot {
    /// The newest version.
    pub async fn newest(log: &Log) -> Result<Self> {
        let asked = Instant::now();
        Ok(Self { snapshot: Arc::new(log.load(None).await?), confirmed: Some(asked) })
    }

    /// A given version. It need not be the newest, so it counts as stale.
    pub async fn at(log: &Log, version: u64) -> Result<Self> {
        Ok(Self { snapshot: Arc::new(log.load(Some(version)).await?), confirmed: None })
    }

    /// Whether the entry after this version, if it existed, cannot have been cleaned up since.
    pub fn is_fresh(&self) -> bool {
        self.confirmed.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Moves forward by an entry that this process wrote.
    pub fn advance(&mut self, log: &Log, version: u64, lines: Vec<Line>) -> Result<()> {
        Arc::make_mut(&mut self.snapshot).apply(&log.table, version, lines)?;
        self.confirmed = Some(Instant::now());
        Ok(())
    }

    /// Moves to the newest version. Returns the versions in between, each with its operation.
    pub async fn refresh(&mut self, log: &Log) -> Result<Vec<(u64, Option<String>)>> {
        let mut seen = Vec::new();
        if !self.is_fresh()
            && let Some(newest) = log.newest(self.snapshot.version).await?
            && newest > self.snapshot.version
            && log.entry(self.snapshot.version + 1).await?.is_none()
        {
            *self = Self::newest(log).await?;
        }
        loop {
            let asked = Instant::now();
            let next = self.snapshot.version + 1;
            let Some(lines) = log.entry(next).await? else {
                self.confirmed = Some(asked);
                return Ok(seen);
            };
            seen.push((next, LogEntry::new(next, &lines).op));
            Arc::make_mut(&mut self.snapshot).apply(&log.table, next, lines)?;
        }
    }
}
