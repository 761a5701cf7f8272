//! Reads the rows of tables as of one position of the log.
//!
//! A temporary replication slot begins at some position, and its transaction sees exactly what committed
//! before that. The rows go to the topics as `r`, all at that position. The last row of a table is marked and
//! acts as a truncate at that position: silver then also loses rows that were deleted while nobody read. A
//! table without rows is sent as a truncate. An interrupted snapshot is started again: the rows already sent
//! are correct at their own position.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::encode::{ChangeEvent, Form, Operation, Origin, Place};
use super::pgoutput::{Cell, Tuple};
use super::preflight::{quoted_table, refused};
use super::session::{Address, Session, quoted};
use super::tables::Tables;
use crate::Error;

/// Rows per fetch.
const FETCH: usize = 2_000;

/// A snapshot that is being read.
pub struct SnapshotReader {
    source: String,
    epoch: i64,
    at_ms: i64,
    /// Sees the database as of `lsn`.
    session: Session,
    /// The position of all rows.
    pub lsn: u64,
    left: VecDeque<String>,
    table: Option<OpenTable>,
}

/// The table that is being read.
struct OpenTable {
    name: String,
    form: Arc<Form>,
    /// The newest row, which is held back until there is another one, because the last row is marked as the
    /// last.
    newest: Option<Tuple>,
    rows: u64,
}

impl SnapshotReader {
    /// Begins to read the tables `names`, at time `at_ms`.
    pub async fn begin(
        address: &Address,
        source: &str,
        epoch: i64,
        at_ms: i64,
        names: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let mut session = Session::open(address, source).await?;
        let pid = session.text("SELECT pg_backend_pid()").await?.unwrap_or_default();
        let slot = format!("lakepulse_snapshot_{pid}");
        session.rows("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let sql =
            format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput USE_SNAPSHOT", quoted(&slot));
        let made = session.texts(&sql).await?.into_iter().next().unwrap_or_default();
        let position = made.get(1).and_then(|text| pgwire_replication::Lsn::parse(text).ok());
        let lsn = position.map(pgwire_replication::Lsn::as_u64).ok_or_else(|| {
            refused(source, "the server gave a snapshot no position".to_owned(), "read its log")
        })?;
        let left = names.iter().cloned().collect();
        Ok(Self { source: source.to_owned(), epoch, at_ms, session, lsn, left, table: None })
    }

    /// The next rows. `None`: all tables have been read.
    pub async fn next(
        &mut self,
        tables: &mut Tables,
        catalogue: &mut Session,
    ) -> Result<Option<Vec<ChangeEvent>>, Error> {
        loop {
            let Some(mut table) = self.table.take() else {
                let Some(name) = self.left.pop_front() else { return Ok(None) };
                self.table = self.begin_table(name, tables, catalogue).await?;
                continue;
            };
            let fetched = self.session.rows(&format!("FETCH {FETCH} FROM snapshot")).await?;
            if fetched.is_empty() {
                return self.end_table(table).await.map(|last| Some(vec![last]));
            }
            let mut events = Vec::with_capacity(fetched.len());
            for row in fetched {
                let row: Tuple = row.into_iter().map(|cell| cell.map_or(Cell::Null, Cell::Text)).collect();
                if let Some(new) = table.newest.replace(row) {
                    let word = if table.rows == 0 { "first_in_data_collection" } else { "true" };
                    events.push(self.event(&table.form, Operation::Insert { new, moved_from: None }, word));
                    table.rows += 1;
                }
            }
            self.table = Some(table);
            return Ok(Some(events));
        }
    }

    /// `None`: no topic takes its rows.
    async fn begin_table(
        &mut self,
        name: String,
        tables: &mut Tables,
        catalogue: &mut Session,
    ) -> Result<Option<OpenTable>, Error> {
        let relation = tables.relation(&mut self.session, &name).await?;
        let Some(form) = tables.form(catalogue, &relation).await? else { return Ok(None) };
        let columns =
            relation.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        let table = quoted_table(&format!("{}.{}", relation.schema, relation.table));
        let declare = format!("DECLARE snapshot NO SCROLL CURSOR FOR SELECT {columns} FROM {table}");
        self.session.rows(&declare).await?;
        Ok(Some(OpenTable { name, form, newest: None, rows: 0 }))
    }

    /// The last event of a table.
    async fn end_table(&mut self, table: OpenTable) -> Result<ChangeEvent, Error> {
        let OpenTable { name, form, newest, mut rows } = table;
        let change = match newest {
            Some(new) => {
                rows += 1;
                Operation::Insert { new, moved_from: None }
            }
            None => Operation::Truncate,
        };
        self.session.rows("CLOSE snapshot").await?;
        tracing::info!(source = self.source, table = name, rows, lsn = self.lsn, "table read");
        Ok(self.event(&form, change, "last_in_data_collection"))
    }

    fn event(&self, form: &Arc<Form>, change: Operation, word: &'static str) -> ChangeEvent {
        let (epoch, lsn, at_ms) = (self.epoch, self.lsn, self.at_ms);
        ChangeEvent {
            form: form.clone(),
            change,
            place: Place { epoch, lsn, at_ms, origin: Origin::Snapshot(word) },
        }
    }
}
