//! The commit protocol: a compare-and-set of positions.
//!
//! A batch was read from positions *a* and ends at *b*. It lands only on a snapshot whose positions still equal
//! *a*, as the version directly after that snapshot, and sets *b* in the same entry as its rows. The store
//! creates an entry or refuses; it never merges. So either the rows and their position are stored together,
//! once, or neither is stored.
//!
//! **If the answer is lost or an error**, the entry may or may not exist. The log is read again, and `next`
//! decides between three cases. Our operation's ULID is in the log: the commit landed. The positions still
//! equal *a*: the **same files** are committed again, at the same version if it is still free, so that the
//! first attempt, should it arrive late, meets an object and is refused. Otherwise another writer moved on: the
//! batch is dropped, its files are left to vacuum, and the caller reads again from the table's positions, which
//! may lie in the middle of the batch.
//!
//! Whatever depends on the snapshot (Metadata, vectors) is derived anew for each attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake::kernel::{Add, Remove as RemoveLine, Transaction};
use model::{AppId, Positions, Version};
use runtime::Backoff;
use serde_json::{Map, Value, json};

use crate::files::stage::StagedFile;
use crate::log::defaults::{self, DEFAULTS, Defaults};
use crate::log::snapshot::Snapshot;
use crate::log::{Log, MetaLine, schema};
use crate::store::{Created, is_full, unreachable, wall_ms};
use crate::table::finder::KeySet;
use crate::table::lake::Shared;
use crate::table::upsert::Upsert;
use crate::table::{Table, positions};
use crate::{Error, Result};

/// Attempts that may fail because of the store before the error is returned.
const FAULTS: u32 = 5;
/// Versions in a row that other writers may take.
const CONFLICTS: u32 = 100;

/// Key among [`Commit::properties`] under which the table's description is set.
pub const DESCRIPTION: &str = "lakepulse.description";

/// One compare-and-set.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The operation, in Delta's terms: `WRITE`, `MERGE`, `DELETE`.
    pub operation: &'static str,
    /// ULID of this operation, the same in every attempt.
    pub op: String,
    /// The positions that the batch was read from.
    pub expect: Expect,
    /// The positions that the batch ends at.
    pub set: Positions,
    /// New rows.
    pub append: Vec<StagedFile>,
    /// Rows to remove.
    pub remove: Remove,
    /// A schema with columns that the table gains. With [`Remove::Everything`] it replaces the table's schema.
    pub schema: Option<SchemaRef>,
    /// Properties to set. [`DESCRIPTION`] sets the table's description. [`DEFAULTS`] sets the values that
    /// existing rows have in the added columns.
    pub properties: BTreeMap<String, String>,
    /// Metadata for people and `verify`; stored under `lakepulse` in the commit info, with `op`.
    pub info: Map<String, Value>,
}

/// Positions that must be unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// These; others may change. `None`: no position yet. For a table with many writers.
    These(BTreeMap<AppId, Option<i64>>),
    /// All of them, and no others. For a table with one owner.
    All(Positions),
}

/// Rows to remove.
#[derive(Debug, Clone, Default)]
pub enum Remove {
    /// None.
    #[default]
    Nothing,
    /// All rows with one of these keys.
    Keys(Keys),
    /// All rows.
    Everything,
}

/// Keys of rows.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key columns.
    pub columns: Vec<String>,
    /// One row per key, distinct; cast to the table's types. A null equals a null.
    pub rows: RecordBatch,
}

/// The outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// The commit landed as this version.
    Landed(Version),
    /// Another writer moved on: read again from the table's positions.
    Moved,
}

/// The next step of a commit, from the present state of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Landed(u64),
    Again,
    Moved,
}

/// Decides the next step. `seen` has the versions read since the batch's snapshot, each with its operation.
pub(crate) fn next(op: &str, expect: &Expect, seen: &[(u64, Option<String>)], current: &Positions) -> Next {
    match seen.iter().find(|(_, theirs)| theirs.as_deref() == Some(op)) {
        Some((version, _)) => Next::Landed(*version),
        None if positions::hold(expect, current) => Next::Again,
        None => Next::Moved,
    }
}

/// Something to commit, derived from each snapshot it is tried on.
#[async_trait::async_trait]
pub(crate) trait Work: Send {
    fn op(&self) -> &str;
    fn expect(&self) -> &Expect;
    /// The entry for `snapshot`; `None` if the snapshot lacks what the work needs.
    async fn derive(&mut self, shared: &Arc<Shared>, log: &Log, snapshot: &Snapshot)
    -> Result<Option<Entry>>;
}

/// The lines of an entry, before serialisation.
#[derive(Default)]
pub(crate) struct Entry {
    pub operation: &'static str,
    pub info: Map<String, Value>,
    pub metadata: Option<MetaLine>,
    pub positions: Positions,
    pub removes: Vec<RemoveLine>,
    pub adds: Vec<Add>,
}

impl Entry {
    fn bytes(&self, op: &str, read: u64) -> Bytes {
        let mut info = self.info.clone();
        info.insert("op".to_owned(), op.into());
        let commit_info = json!({
            "timestamp": wall_ms(),
            "operation": self.operation,
            "operationParameters": {},
            "readVersion": read,
            "isBlindAppend": self.removes.is_empty(),
            "engineInfo": concat!("lakepulse/", env!("CARGO_PKG_VERSION")),
            "lakepulse": info,
        });
        let mut lines = vec![json!({ "commitInfo": commit_info })];
        lines.extend(self.metadata.iter().map(|line| json!({ "metaData": line })));
        lines.extend(self.positions.0.iter().map(|(app, position)| {
            // A position without a time never expires.
            json!({ "txn": Transaction::new(app, *position) })
        }));
        lines.extend(self.removes.iter().map(|line| json!({ "remove": line })));
        lines.extend(self.adds.iter().map(|line| json!({ "add": line })));
        lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
    }
}

/// Tries to commit until `next` returns an outcome.
pub(crate) async fn land(table: &mut Table, work: &mut impl Work) -> Result<Landing> {
    let mut pauses = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    let (mut faults, mut conflicts) = (0, 0);
    if !table.latest.is_fresh() {
        table.refresh().await?;
    }
    loop {
        match next(work.op(), work.expect(), &table.seen, table.positions()) {
            Next::Landed(version) => return Ok(Landing::Landed(Version(version))),
            Next::Moved => return Ok(Landing::Moved),
            Next::Again => {}
        }
        let snapshot = table.latest.snapshot.clone();
        let Some(entry) = work.derive(&table.shared, &table.log, &snapshot).await? else {
            return Ok(Landing::Moved);
        };
        let (version, bytes) = (snapshot.version + 1, entry.bytes(work.op(), snapshot.version));
        drop(snapshot);
        match table.log.store.create(&table.log.entry_path(version), bytes.clone()).await {
            Created::Yes => {
                table.advance(version, &bytes)?;
                return Ok(Landing::Landed(Version(version)));
            }
            Created::Exists => {
                conflicts += 1;
                tracing::debug!(table = table.log.table, version, "version taken");
                if conflicts == CONFLICTS {
                    return Err(Error::Busy { table: table.log.table.clone(), attempts: conflicts });
                }
            }
            Created::Unknown(source) => {
                faults += 1;
                tracing::warn!(table = table.log.table, version, error = %source, "commit unanswered, reading back");
                if faults == FAULTS && is_full(&source) {
                    return Err(unreachable(&table.log.entry_path(version), source));
                }
                if faults == FAULTS {
                    let (table, op) = (table.log.table.clone(), work.op().to_owned());
                    return Err(Error::Undecided { table, op, attempts: faults, source });
                }
                runtime::time::sleep(pauses.pause()).await;
            }
        }
        table.refresh().await?;
    }
}

/// The work of a [`Commit`].
pub(crate) struct Write<'a> {
    commit: &'a Commit,
    upsert: Option<Upsert>,
}

impl<'a> Write<'a> {
    pub fn try_new(table: &Table, commit: &'a Commit) -> Result<Self> {
        let upsert = match &commit.remove {
            Remove::Keys(keys) if keys.rows.num_rows() > 0 => {
                Some(Upsert::new(KeySet::try_new(&table.log.table, table.schema(), keys)?))
            }
            _ => None,
        };
        Ok(Self { commit, upsert })
    }

    /// The Metadata action that this commit needs; `None` if it changes nothing.
    fn metadata(&self, table: &str, snapshot: &Snapshot) -> Result<(SchemaRef, Option<MetaLine>)> {
        let meta = &snapshot.meta;
        let schema = match (&self.commit.schema, &self.commit.remove) {
            (None, _) => meta.schema.clone(),
            (Some(new), Remove::Everything) => schema::stored(table, new)?,
            (Some(wider), _) => schema::widen(table, &meta.schema, wider)?,
        };
        let mut line = meta.line.clone();
        line.configuration.extend(self.commit.properties.clone());
        if let Some(description) = line.configuration.remove(DESCRIPTION) {
            line.description = Some(description);
        }
        let offered = self.commit.properties.get(DEFAULTS);
        let (known, offered) = (meta.line.configuration.get(DEFAULTS), defaults_of(table, offered)?);
        let known = defaults_of(table, known)?;
        line.configuration.remove(DEFAULTS);
        if let Some(said) = defaults::after(known, offered, &meta.schema, &schema) {
            line.configuration.insert(DEFAULTS.to_owned(), said);
        }
        if schema != meta.schema {
            line.schema_string = schema::print(table, &schema)?;
        }
        let said = (&line.configuration, &line.description);
        let same = schema == meta.schema && said == (&meta.line.configuration, &meta.line.description);
        Ok((schema, (!same).then_some(line)))
    }
}

#[async_trait::async_trait]
impl Work for Write<'_> {
    fn op(&self) -> &str {
        &self.commit.op
    }
    fn expect(&self) -> &Expect {
        &self.commit.expect
    }
    async fn derive(
        &mut self,
        shared: &Arc<Shared>,
        log: &Log,
        snapshot: &Snapshot,
    ) -> Result<Option<Entry>> {
        let commit = self.commit;
        positions::check(&log.table, &snapshot.positions, &commit.set)?;
        let (schema, metadata) = self.metadata(&log.table, snapshot)?;
        for file in &commit.append {
            fits(&log.table, &schema, &file.schema)?;
        }
        let (removes, mut adds) = match (&mut self.upsert, &commit.remove) {
            (Some(upsert), _) => upsert.derive(shared, log, snapshot).await?,
            (None, Remove::Everything) => {
                let now = wall_ms();
                (snapshot.files.values().map(|file| file.remove(true, now)).collect(), Vec::new())
            }
            (None, _) => (Vec::new(), Vec::new()),
        };
        let append_only =
            snapshot.meta.line.configuration.get("delta.appendOnly").is_some_and(|v| v == "true");
        if append_only && !removes.is_empty() {
            return Err(Error::Unsupported {
                table: log.table.clone(),
                feature: "removing rows (it is append only)".into(),
            });
        }
        adds.extend(commit.append.iter().map(|file| file.add.clone()));
        Ok(Some(Entry {
            operation: commit.operation,
            info: commit.info.clone(),
            metadata,
            positions: positions::written(&commit.expect, &snapshot.positions, &commit.set),
            removes,
            adds,
        }))
    }
}

fn defaults_of(table: &str, property: Option<&String>) -> Result<Defaults> {
    let bad = |source: serde_json::Error| Error::BadLog { table: table.to_owned(), source: source.into() };
    defaults::parse(property.map(String::as_str)).map_err(bad)
}

/// Refuses a file with a column that the table will not have.
fn fits(table: &str, schema: &SchemaRef, file: &SchemaRef) -> Result<()> {
    if schema::widen(table, schema, file)?.fields() == schema.fields() {
        return Ok(());
    }
    let new = file.fields().iter().find(|f| schema.fields().find(f.name()).is_none());
    let column = new.map_or_else(|| "a nested field".to_owned(), |f| f.name().clone());
    Err(Error::NoColumn { table: table.to_owned(), column })
}

#[cfg(test)]
mod tests {
    use model::TableId;

    use super::*;

    fn at(position: Option<i64>) -> (AppId, Option<i64>) {
        let id: TableId = "source".parse().expect("valid");
        (AppId::table(&id), position)
    }
    fn current(position: Option<i64>) -> Positions {
        let (app, position) = at(position);
        position.into_iter().map(|p| (app.clone(), p)).collect()
    }
    fn decide(seen: &[(u64, &str)], position: Option<i64>) -> Next {
        let seen: Vec<_> = seen.iter().map(|(v, op)| (*v, Some((*op).to_owned()))).collect();
        next("ours", &Expect::These(BTreeMap::from([at(Some(5))])), &seen, &current(position))
    }

    #[test]
    fn our_operation_in_the_log_has_landed_wherever_the_positions_are() {
        assert_eq!(decide(&[(7, "theirs"), (8, "ours")], Some(9)), Next::Landed(8));
    }

    #[test]
    fn unmoved_positions_mean_the_same_files_again() {
        assert_eq!(decide(&[], Some(5)), Next::Again);
        assert_eq!(decide(&[(7, "of another partition")], Some(5)), Next::Again);
    }

    #[test]
    fn positions_that_differ_in_either_direction_mean_someone_moved() {
        assert_eq!(decide(&[(7, "theirs")], Some(6)), Next::Moved, "a shorter batch of a rival");
        assert_eq!(decide(&[(7, "theirs")], Some(4)), Next::Moved);
        assert_eq!(decide(&[], None), Next::Moved);
    }
}
