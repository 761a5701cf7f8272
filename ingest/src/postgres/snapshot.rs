//! The rows of tables as of one position of the log.
//!
//! A temporary replication slot begins at some position, and its transaction sees exactly what was
//! committed before it. Its rows go to the topics as `r`, all at that position; the last of a table says
//! so, and stands for a truncate at that position: rows that went while nobody read are gone from silver
//! too. A table without rows is a truncate itself. Cut short, a snapshot is begun again: what it has sent
//! is true, of its own position.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::encode::{Change, Event, Form, Origin, Place};
use super::pgoutput::{Cell, Relation, Tuple};
use super::preflight::{quoted_table, refused};
use super::publish::{Publisher, Sent};
use super::session::{Address, Session, quoted};
use super::tables::Tables;
use crate::Error;

/// Rows fetched at once.
const FETCH: usize = 2_000;
/// Rows of a Kafka transaction.
const ROWS: usize = 20_000;

/// What a snapshot works with.
pub struct Snapshot<'a> {
    pub address: &'a Address,
    pub source: &'a str,
    pub epoch: i64,
    /// When it was taken.
    pub at_ms: i64,
}

impl Snapshot<'_> {
    /// Publishes the rows of `names`, all of one position, which it returns. The last of them are left to
    /// be committed with the cursor.
    pub async fn take(
        &self,
        names: &BTreeSet<String>,
        tables: &mut Tables,
        catalogue: &mut Session,
        publisher: &mut Publisher,
        sent: &mut Sent,
    ) -> Result<u64, Error> {
        let mut session = Session::open(self.address, self.source).await?;
        let pid = session.text("SELECT pg_backend_pid()").await?.unwrap_or_default();
        let slot = format!("lakepulse_snapshot_{pid}");
        session.rows("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let sql =
            format!("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput USE_SNAPSHOT", quoted(&slot));
        let made = session.texts(&sql).await?.into_iter().next().unwrap_or_default();
        let position = made.get(1).and_then(|text| pgwire_replication::Lsn::parse(text).ok());
        let lsn = position.map(pgwire_replication::Lsn::as_u64).ok_or_else(|| {
            refused(self.source, "the server gave a snapshot no position".to_owned(), "read its log")
        })?;
        for name in names {
            let relation = tables.relation(&mut session, name).await?;
            let Some(form) = tables.form(catalogue, &relation).await? else { continue };
            let rows = self.table(&mut session, &relation, &form, lsn, publisher, sent).await?;
            tracing::info!(source = self.source, table = name.as_str(), rows, lsn, "table read");
        }
        Ok(lsn)
    }

    async fn table(
        &self,
        session: &mut Session,
        relation: &Relation,
        form: &Arc<Form>,
        lsn: u64,
        publisher: &mut Publisher,
        sent: &mut Sent,
    ) -> Result<u64, Error> {
        let columns =
            relation.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
        let table = quoted_table(&format!("{}.{}", relation.schema, relation.table));
        session.rows(&format!("DECLARE snapshot NO SCROLL CURSOR FOR SELECT {columns} FROM {table}")).await?;
        let event = |change: Change, word: &'static str| Event {
            form: form.clone(),
            change,
            place: Place { epoch: self.epoch, lsn, at_ms: self.at_ms, origin: Origin::Snapshot(word) },
        };
        let mut rows = 0;
        // The last row says so: the newest one is kept back until there is another.
        let mut newest: Option<Tuple> = None;
        loop {
            let fetched = session.rows(&format!("FETCH {FETCH} FROM snapshot")).await?;
            if fetched.is_empty() {
                break;
            }
            let mut events = Vec::with_capacity(fetched.len());
            for row in fetched {
                let row: Tuple = row.into_iter().map(|cell| cell.map_or(Cell::Null, Cell::Text)).collect();
                if let Some(new) = newest.replace(row) {
                    let word = if rows == 0 { "first_in_data_collection" } else { "true" };
                    events.push(event(Change::Insert { new, moved_from: None }, word));
                    rows += 1;
                }
            }
            publisher.take(events, sent).await?;
            if publisher.held().is_some_and(|held| held >= ROWS) {
                publisher.commit_rows(sent).await?;
            }
        }
        let last = match newest {
            Some(new) => event(Change::Insert { new, moved_from: None }, "last_in_data_collection"),
            None => event(Change::Truncate, "last_in_data_collection"),
        };
        rows += u64::from(matches!(last.change, Change::Insert { .. }));
        publisher.take(vec![last], sent).await?;
        session.rows("CLOSE snapshot").await?;
        Ok(rows)
    }
}
