//! The state of a table at one version: its schema, its files, its positions.
//!
//! A snapshot is built once from the newest checkpoint and the entries after it, and then moves forward entry
//! by entry. So the cost of a commit depends on its changes and not on the size of the table.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use model::{AppId, Positions, TableId};

use crate::log::file::{DataFile, FileKey, key};
use crate::log::{Line, MetaLine, ProtocolLine, schema};
use crate::{Error, Result};

/// The Metadata action, checked and converted.
#[derive(Debug)]
pub(crate) struct Meta {
    pub line: MetaLine,
    pub id: TableId,
    pub schema: SchemaRef,
}

/// One version of a table.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub version: u64,
    pub meta: Arc<Meta>,
    pub vectors: bool,
    pub files: BTreeMap<String, Arc<DataFile>>,
    pub positions: Positions,
}

/// The table features that we support. Column mapping, for one, is not supported.
const FEATURES: [&str; 8] = [
    "deletionVectors",
    "appendOnly",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "checkpointProtection",
    "changeDataFeed",
];

impl Meta {
    pub fn try_new(table: &str, line: MetaLine) -> Result<Self> {
        let bad = |source: crate::error::BoxError| Error::BadLog { table: table.to_owned(), source };
        let id = line.id.parse().map_err(|e: model::BadName| bad(e.into()))?;
        let schema = schema::parse(table, &line.schema_string)?;
        Ok(Self { line, id, schema })
    }
}

/// Refuses a table with features that we do not support. Returns whether the table may have deletion vectors.
pub(crate) fn check(table: &str, protocol: &ProtocolLine, meta: &MetaLine) -> Result<bool> {
    let unsupported =
        |feature: &str| Error::Unsupported { table: table.to_owned(), feature: feature.to_owned() };
    let listed = protocol.reader_features.iter().flatten().chain(protocol.writer_features.iter().flatten());
    if let Some(foreign) = listed.into_iter().find(|f| !FEATURES.contains(&f.as_str())) {
        return Err(unsupported(foreign));
    }
    if protocol.min_reader_version == 2
        || meta.configuration.get("delta.columnMapping.mode").is_some_and(|m| m != "none")
    {
        return Err(unsupported("columnMapping"));
    }
    if (3..7).contains(&protocol.min_writer_version) || protocol.min_writer_version > 7 {
        return Err(unsupported(&format!("writer version {}", protocol.min_writer_version)));
    }
    let able = protocol.writer_features.iter().flatten().any(|f| f == "deletionVectors");
    Ok(able && meta.configuration.get("delta.enableDeletionVectors").is_some_and(|v| v == "true"))
}

impl Snapshot {
    /// Moves one version forward.
    pub fn apply(&mut self, table: &str, version: u64, lines: Vec<Line>) -> Result<()> {
        let mut meta = None;
        let mut protocol = None;
        let mut added = Vec::new();
        for line in lines {
            if let Some(remove) = line.remove {
                let gone = key(&remove.path, remove.deletion_vector.as_ref());
                if self.files.get(&remove.path).is_some_and(|file| file.key() == gone) {
                    self.files.remove(&remove.path);
                }
            }
            if let Some(add) = line.add {
                added.push(add);
            }
            if let Some(txn) = line.txn
                && let Some(app) = AppId::parse(&txn.app_id)
            {
                self.positions.set(app, txn.version);
            }
            meta = line.metadata.or(meta);
            protocol = line.protocol.or(protocol);
        }
        // After the removes: an entry that gives a file another vector removes and adds the same path.
        self.files.extend(added.into_iter().map(|add| (add.path.clone(), Arc::new(DataFile::new(add)))));
        if let Some(line) = meta {
            self.meta = Arc::new(Meta::try_new(table, line)?);
        }
        if let Some(protocol) = protocol {
            self.vectors = check(table, &protocol, &self.meta.line)?;
        }
        self.version = version;
        Ok(())
    }

    /// Physical rows minus deleted ones; `None` if a writer did not record its counts.
    pub fn live_rows(&self) -> Option<u64> {
        self.files.values().map(|f| f.physical_rows().map(|n| n.saturating_sub(f.deleted_rows()))).sum()
    }
}

/// Folds lines from the newest to the oldest, the order in which a checkpoint and the entries after it are
/// read.
#[derive(Default)]
pub(crate) struct Replay {
    seen: HashSet<FileKey>,
    files: BTreeMap<String, Arc<DataFile>>,
    positions: Positions,
    meta: Option<MetaLine>,
    protocol: Option<ProtocolLine>,
}

impl Replay {
    pub fn older(&mut self, line: Line) {
        if let Some(remove) = line.remove {
            self.seen.insert(key(&remove.path, remove.deletion_vector.as_ref()));
        }
        if let Some(add) = line.add {
            let file = DataFile::new(add);
            if self.seen.insert(file.key()) {
                self.files.insert(file.add.path.clone(), Arc::new(file));
            }
        }
        if let Some(txn) = line.txn
            && let Some(app) = AppId::parse(&txn.app_id)
            && self.positions.get(&app).is_none()
        {
            self.positions.set(app, txn.version);
        }
        self.meta = self.meta.take().or(line.metadata);
        self.protocol = self.protocol.take().or(line.protocol);
    }

    pub fn finish(self, table: &str, version: u64) -> Result<Snapshot> {
        let missing = |what: &str| Error::BadLog {
            table: table.to_owned(),
            source: format!("it holds no {what}").into(),
        };
        let line = self.meta.ok_or_else(|| missing("metaData"))?;
        let protocol = self.protocol.ok_or_else(|| missing("protocol"))?;
        let vectors = check(table, &protocol, &line)?;
        let meta = Arc::new(Meta::try_new(table, line)?);
        Ok(Snapshot { version, meta, vectors, files: self.files, positions: self.positions })
    }
}
