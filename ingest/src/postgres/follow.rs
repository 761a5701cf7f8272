//! Decides what of a database is published next: the first cursor of its history, then rows, then every
//! change.

mod open;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};
use runtime::Meter;
use runtime::time::Instant;
use source::{CursorRecord, Reader, Sent, Step, Wait};

use super::Postgres;
use super::changes::{Changes, Transaction};
use super::cursor::{self, DatabaseCursor};
use super::encode::ChangeEvent;
use super::pgoutput::{self, Message};
use super::preflight;
use super::publish::Pending;
use super::session::{self, Address, Session};
use super::snapshot::SnapshotReader;
use super::tables::Tables;
use crate::Error;

/// The most records of one Kafka transaction, unless a single transaction of the database has more.
const RECORDS: usize = 5_000;
/// The most rows of one Kafka transaction.
const ROWS: usize = 20_000;
/// How long a change may wait to be committed together with others.
const LINGER: Duration = Duration::from_millis(100);
/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const ERA: i64 = 946_684_800_000_000;

/// Reads a database until an error.
pub struct DatabaseReader<'a> {
    postgres: &'a mut Postgres,
    meter: Meter,
    address: Address,
    /// For queries of the catalogue.
    session: Session,
    tables: Tables,
    /// How far the database was read.
    cursor: DatabaseCursor,
    /// The cursor on the cursors topic.
    on_topic: Option<DatabaseCursor>,
    /// The cursor that the loop is committing.
    given: Option<DatabaseCursor>,
    pending: Pending,
    /// Since when the open Kafka transaction is being ended.
    ending: Option<Instant>,
    /// The end of the log at the start.
    target: u64,
    phase: Phase,
}

/// The phases, in this order; each comes once.
enum Phase {
    /// Writes the cursor to its topic, and creates the slot.
    Begin { has_slot: bool },
    /// Reads the tables that were never read or must be read again.
    Rows(Box<SnapshotReader>),
    /// All rows are on the topics.
    Connect,
    /// Reads changes as they come.
    Follow(Box<Changing>),
}

/// The stream of changes.
struct Changing {
    client: ReplicationClient,
    changes: Changes,
    /// The position after the last transaction, or up to which the server reports none.
    reached: u64,
    /// When the pending events are committed.
    due: Instant,
    /// When the cursor advances even without changes.
    heartbeat: Instant,
}

impl DatabaseReader<'_> {
    async fn step(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(batch) = self.pending.chunk(self.postgres.context.clock.now().0) {
                return Ok(Step::Send(batch));
            }
            match std::mem::replace(&mut self.phase, Phase::Connect) {
                Phase::Begin { has_slot } => {
                    // The cursor comes before any record, so no other history is ever mistaken for this one.
                    if self.on_topic.as_ref() != Some(&self.cursor) {
                        self.phase = Phase::Begin { has_slot };
                        return Ok(self.commit(self.cursor.clone()));
                    }
                    self.postgres.asked.new_epoch = false;
                    if !has_slot {
                        let feed = &self.postgres.feed;
                        preflight::create_slot(&mut self.session, &feed.source, &feed.slot).await?;
                    }
                    self.begin_rows().await?;
                }
                Phase::Rows(snapshot) => {
                    if let Some(step) = self.rows(snapshot).await? {
                        return Ok(step);
                    }
                }
                Phase::Connect => {
                    self.postgres.asked.snapshot.clear();
                    self.phase = Phase::Follow(Box::new(self.connect().await?));
                    return Ok(Step::Wait(Wait::poll(Duration::ZERO)));
                }
                Phase::Follow(changing) => return self.follow(changing).await,
            }
        }
    }

    /// Ends the Kafka transaction with the cursor.
    fn commit(&mut self, cursor: DatabaseCursor) -> Step {
        let key = cursor::key(&self.postgres.feed.source).into_bytes();
        let record = CursorRecord { key, value: Some(cursor.value()) };
        self.given = Some(cursor);
        Step::Commit(vec![record])
    }

    /// Begins to read the tables that were never read, and the requested ones.
    async fn begin_rows(&mut self) -> Result<(), Error> {
        let names = self.unread();
        if names.is_empty() {
            return Ok(());
        }
        let Postgres { context, feed, .. } = &*self.postgres;
        let (source, now_ms) = (&feed.source, context.clock.now().0);
        let snapshot =
            SnapshotReader::begin(&self.address, source, self.cursor.epoch, now_ms, &names).await?;
        self.phase = Phase::Rows(Box::new(snapshot));
        Ok(())
    }

    fn unread(&self) -> BTreeSet<String> {
        let Postgres { feed, asked, .. } = &*self.postgres;
        let is_read = |table: &&String| self.cursor.lsn > 0 && self.cursor.tables.contains(*table);
        let unread = feed.tables.keys().filter(|table| !is_read(table));
        unread.chain(&asked.snapshot).cloned().collect()
    }

    /// Continues with the rows. The cursor is committed together with the last of them.
    async fn rows(&mut self, mut snapshot: Box<SnapshotReader>) -> Result<Option<Step>, Error> {
        let now_ms = self.postgres.context.clock.now().0;
        if self.pending.held().is_some_and(|held| held >= ROWS) {
            self.phase = Phase::Rows(snapshot);
            // Without a cursor, because the snapshot is not complete.
            return Ok(Some(self.pending.rest(now_ms).map_or(Step::Commit(Vec::new()), Step::Send)));
        }
        if let Some(events) = snapshot.next(&mut self.tables, &mut self.session).await? {
            self.pending.take(events);
            self.phase = Phase::Rows(snapshot);
            return Ok(None);
        }
        self.ending.get_or_insert_with(Instant::now);
        if let Some(batch) = self.pending.rest(now_ms) {
            self.phase = Phase::Rows(snapshot);
            return Ok(Some(Step::Send(batch)));
        }
        let mut cursor = self.cursor.clone();
        cursor.tables.extend(self.unread());
        if cursor.lsn == 0 {
            // The rows contain everything that committed before.
            cursor.lsn = snapshot.lsn;
        }
        Ok(Some(self.commit(cursor)))
    }

    async fn connect(&mut self) -> Result<Changing, Error> {
        let feed = &self.postgres.feed;
        let (slot, publication, from) = (&*feed.slot, &*feed.publication, self.cursor.lsn());
        let client = session::stream(&self.address, &feed.source, slot, publication, from).await?;
        Ok(Changing {
            client,
            changes: Changes::new(self.cursor.epoch),
            reached: self.cursor.lsn,
            due: Instant::now() + LINGER,
            heartbeat: Instant::now(),
        })
    }

    /// Continues with the changes.
    async fn follow(&mut self, mut changing: Box<Changing>) -> Result<Step, Error> {
        let once = self.postgres.context.once;
        loop {
            let now_ms = self.postgres.context.clock.now().0;
            let held = self.pending.held();
            let Changing { client, changes, reached, due, heartbeat } = &mut *changing;
            let whole = !changes.is_open();
            let full = held.is_some_and(|held| held >= RECORDS);
            let now = Instant::now();
            let beats = now >= *heartbeat || once && self.cursor.lsn < self.target && *reached >= self.target;
            let ends = held.is_some() && (full || now >= *due) || *reached > self.cursor.lsn && beats;
            let step = if whole && ends {
                self.ending.get_or_insert(now);
                let mut cursor = self.cursor.clone();
                cursor.lsn = *reached;
                let rest = self.pending.rest(now_ms).map(Step::Send);
                Some(rest.unwrap_or_else(|| self.commit(cursor)))
            } else {
                self.pending.chunk(now_ms).map(Step::Send)
            };
            if let Some(step) = step {
                self.phase = Phase::Follow(changing);
                return Ok(step);
            }
            if once && whole && held.is_none() && self.cursor.lsn >= self.target {
                let source = &self.postgres.feed.source;
                client.shutdown().await.map_err(|error| session::failed(source, error))?;
                return Ok(Step::Done);
            }
            if now >= *heartbeat {
                self.gauge(client.metrics().last_wal_end().as_u64()).await?;
                *heartbeat = now + self.postgres.feed.heartbeat;
            }
            let wake = if held.is_some() && whole { (*due).min(*heartbeat) } else { *heartbeat };
            let source = &self.postgres.feed.source;
            let event = tokio::select! {
                biased;
                event = client.recv() => event.map_err(|error| session::failed(source, error))?,
                () = runtime::time::sleep_until(wake) => continue,
            };
            let Some(event) = event else {
                return Err(Error::StreamEnded { name: source.clone() });
            };
            match event {
                ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                    let at_ms = (commit_time_micros + ERA).div_euclid(1_000);
                    changes.begin(Transaction { xid, lsn: final_lsn.as_u64(), at_ms });
                }
                ReplicationEvent::Commit { end_lsn, .. } => {
                    changes.commit();
                    *reached = (*reached).max(end_lsn.as_u64());
                }
                ReplicationEvent::KeepAlive { wal_end, .. } if !changes.is_open() => {
                    *reached = (*reached).max(wal_end.as_u64());
                }
                ReplicationEvent::XLogData { data, .. } => {
                    let events = self.read(changes, &data).await?;
                    if !events.is_empty() && held.is_none() {
                        *due = Instant::now() + LINGER;
                    }
                    self.pending.take(events);
                }
                _ => {}
            }
        }
    }

    async fn read(&mut self, changes: &mut Changes, data: &bytes::Bytes) -> Result<Vec<ChangeEvent>, Error> {
        let name = &self.postgres.feed.source;
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| Error::BadStream {
            name: name.clone(),
            source,
        };
        let message = pgoutput::parse(data).map_err(|error| broken(Box::new(error)))?;
        if let Message::Relation(relation) = &message {
            let form = self.tables.form(&mut self.session, relation).await?;
            changes.describe(relation.id, form);
            return Ok(Vec::new());
        }
        let mut events = changes.read(message).map_err(|error| broken(Box::new(error)))?;
        // The server normally skips these. If it does not, they would be published twice.
        events.retain(|event| event.place.lsn >= self.cursor.lsn);
        Ok(events)
    }

    /// Measures the lag of the source, and how much log its slot retains.
    async fn gauge(&mut self, end: u64) -> Result<(), Error> {
        self.meter.source_lag(end.saturating_sub(self.cursor.lsn));
        let sql = format!(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots \
             WHERE slot_name = {}",
            session::literal(&self.postgres.feed.slot)
        );
        let held = self.session.text(&sql).await?;
        self.meter.slot_size(held.and_then(|text| text.parse().ok()).unwrap_or(0));
        Ok(())
    }
}

#[async_trait]
impl Reader for DatabaseReader<'_> {
    async fn next(&mut self) -> Result<Step, source::Error> {
        Ok(self.step().await?)
    }

    fn sent(&mut self, sent: Sent) {
        self.pending.sent(sent);
    }

    async fn committed(&mut self, sent: Sent) -> Result<(), source::Error> {
        let begun = self.ending.take();
        if let Some(begun) = begun.filter(|_| self.pending.held().is_some()) {
            self.meter.commit(begun.elapsed().as_secs_f64());
        }
        self.pending.committed();
        if sent.bad > 0 {
            tracing::warn!(
                source = self.postgres.feed.source,
                changes = sent.bad,
                "changes that their schema cannot hold went out as JSON; bronze keeps them with the reason"
            );
        }
        if let Some(cursor) = self.given.take() {
            if let Phase::Follow(changing) = &self.phase {
                changing.client.update_applied_lsn(Lsn(cursor.lsn));
            }
            self.on_topic = Some(cursor.clone());
            self.cursor = cursor;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Follow(_))
    }
}
