//! The loop from the replication stream to the topics.

use std::collections::BTreeSet;
use std::time::Duration;

use pgwire_replication::{Lsn, ReplicationClient, ReplicationEvent};
use runtime::{Meter, State};
use tokio::time::Instant;

use super::changes::{Changes, Transaction};
use super::cursor::Cursor;
use super::encode::Event;
use super::pgoutput::{self, Message};
use super::preflight::{self, Server, Slot};
use super::publish::{Publisher, Sent};
use super::session::{self, Address, Session};
use super::snapshot::Snapshot;
use super::tables::Tables;
use super::{Asked, Context, Feed, Summary};
use crate::Error;

/// Records of one Kafka transaction, unless a transaction of the database has more.
const RECORDS: usize = 5_000;
/// How long a change may wait for others to be committed with.
const LINGER: Duration = Duration::from_millis(100);
/// From 1970 to 2000, where PostgreSQL's time begins, in microseconds.
const ERA: i64 = 946_684_800_000_000;

/// What one attempt works with.
pub struct Follower<'a> {
    context: &'a Context,
    feed: &'a Feed,
    meter: &'a Meter,
    address: Address,
    /// Asks the catalogue.
    session: Session,
    tables: Tables,
    publisher: Publisher,
    cursor: Cursor,
    /// Where the log ended when this began.
    target: u64,
}

impl<'a> Follower<'a> {
    /// Shuts out whoever read the source before, and checks that going on is right. What was `asked` is
    /// done here, once.
    pub async fn open(
        context: &'a Context,
        feed: &'a Feed,
        meter: &'a Meter,
        asked: &mut Asked,
        summary: &mut Summary,
    ) -> Result<Self, Error> {
        let source = feed.source.as_str();
        let refused = |why, help: &str| preflight::refused(source, why, help);
        let address = Address::parse(&feed.url).map_err(|why| refused(why, "see `url` of the source"))?;
        let mut session = Session::open(&address, source).await?;
        let server = preflight::server(&mut session, source).await?;
        let wanted: BTreeSet<String> = feed.tables.keys().cloned().collect();
        preflight::tables(&mut session, source, &feed.publication, &wanted, server.version).await?;
        if let Some(unknown) = asked.snapshot.difference(&wanted).next() {
            let known = wanted.iter().cloned().collect::<Vec<_>>().join(", ");
            let why = format!("table `{unknown}` is none of its streams");
            return Err(refused(why, &format!("its streams are {known}")));
        }
        let slot = preflight::slot(&mut session, &feed.slot, server.version).await?;
        if let Some(slot) = &slot {
            let help = "give the source a slot of its own with `slot:`";
            preflight::usable(slot, &server).map_err(|why| refused(why, help))?;
            // Asked before anybody is shut out: who reads well is let be.
            if let Some(pid) = slot.active_pid.clone() {
                return Err(Error::SlotInUse { name: source.to_owned(), slot: feed.slot.clone(), pid });
            }
        }
        let publisher = Publisher::open(context, source).await?;
        let cursor = publisher.cursor.clone();
        let incarnation = server.incarnation.clone();
        let tables = Tables::new(
            source.to_owned(),
            incarnation.database.clone(),
            context.registry.clone(),
            context.kafka.clone(),
            feed.tables.clone(),
        );
        let mut cursor = cursor.unwrap_or_else(|| Cursor::begin(incarnation.clone(), 1));
        for table in cursor.hold_against(&tables.topic_ids().await?) {
            tracing::warn!(source, table, "its topic was deleted and made again: the table is read again");
        }
        let target = server.end;
        let mut this = Self { context, feed, meter, address, session, tables, publisher, cursor, target };
        this.claim(&server, slot, asked).await?;
        this.snapshot(&wanted, asked, summary).await?;
        Ok(this)
    }

    /// Makes sure that what the slot gives goes on where the cursor is.
    async fn claim(&mut self, server: &Server, slot: Option<Slot>, asked: &mut Asked) -> Result<(), Error> {
        let (source, name) = (self.feed.source.as_str(), self.feed.slot.as_str());
        let mut has_slot = slot.is_some();
        if let Err(why) = preflight::history(&self.cursor, server, slot.as_ref()) {
            if !asked.new_epoch {
                return Err(Error::NewEpoch { name: source.to_owned(), why });
            }
            let topics = std::mem::take(&mut self.cursor.topics);
            self.cursor = Cursor::begin(server.incarnation.clone(), self.cursor.epoch + 1);
            self.cursor.topics = topics;
            tracing::warn!(source, why, epoch = self.cursor.epoch, "a new epoch begins, as asked");
            if slot.is_some_and(|slot| slot.wal_status == "lost") {
                let drop = format!("SELECT pg_drop_replication_slot({})", session::literal(name));
                self.session.rows(&drop).await?;
                has_slot = false;
            }
        }
        // Said before there is anything of it, so that no other history is ever taken for this one.
        if self.publisher.cursor.as_ref() != Some(&self.cursor) {
            self.publisher.commit(self.cursor.clone(), &mut Sent::default()).await?;
        }
        asked.new_epoch = false;
        if !has_slot {
            preflight::create_slot(&mut self.session, source, name).await?;
        }
        Ok(())
    }

    /// Reads the tables that were never read, and those asked for.
    async fn snapshot(
        &mut self,
        wanted: &BTreeSet<String>,
        asked: &mut Asked,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let is_new = self.cursor.lsn == 0;
        let unread = wanted.iter().filter(|table| is_new || !self.cursor.tables.contains(*table));
        let names: BTreeSet<String> = unread.chain(&asked.snapshot).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let snapshot = Snapshot {
            address: &self.address,
            source: &self.feed.source,
            epoch: self.cursor.epoch,
            at_ms: self.context.clock.now().0,
        };
        let mut sent = Sent::default();
        let (tables, publisher) = (&mut self.tables, &mut self.publisher);
        let lsn = snapshot.take(&names, tables, &mut self.session, publisher, &mut sent).await?;
        let mut cursor = self.cursor.clone();
        cursor.tables.extend(names);
        if is_new {
            // Everything that committed before is in the rows.
            cursor.lsn = lsn;
        }
        self.commit(cursor, &mut sent, summary).await?;
        asked.snapshot.clear();
        Ok(())
    }

    async fn commit(&mut self, cursor: Cursor, sent: &mut Sent, summary: &mut Summary) -> Result<(), Error> {
        let begun = Instant::now();
        let had_records = self.publisher.held().is_some();
        self.publisher.commit(cursor.clone(), sent).await?;
        self.cursor = cursor;
        if had_records {
            self.meter.commit(begun.elapsed().as_secs_f64());
        }
        let Sent { records, bad } = std::mem::take(sent);
        self.meter.records_out(records);
        self.meter.quarantined(bad);
        if bad > 0 {
            tracing::warn!(
                source = self.feed.source,
                changes = bad,
                "changes that their schema cannot hold went out as JSON; bronze keeps them with the reason"
            );
        }
        (summary.records, summary.bad) = (summary.records + records, summary.bad + bad);
        Ok(())
    }

    /// Follows the stream; ends only when once is enough.
    pub async fn run(&mut self, summary: &mut Summary) -> Result<(), Error> {
        let feed = self.feed;
        let (slot, publication) = (&*feed.slot, &*feed.publication);
        let mut client =
            session::stream(&self.address, &feed.source, slot, publication, self.cursor.lsn()).await?;
        self.meter.state(State::Running);
        let mut changes = Changes::new(self.cursor.epoch);
        let (mut sent, mut reached) = (Sent::default(), self.cursor.lsn);
        // When what is held is committed, and when the cursor is moved though nothing came.
        let mut due = Instant::now() + LINGER;
        let mut heartbeat = Instant::now();
        loop {
            let held = self.publisher.held();
            let whole = !changes.is_open();
            let full = held.is_some_and(|held| held >= RECORDS);
            let now = Instant::now();
            let beats =
                now >= heartbeat || feed.once && self.cursor.lsn < self.target && reached >= self.target;
            if whole && (held.is_some() && (full || now >= due) || reached > self.cursor.lsn && beats) {
                let mut cursor = self.cursor.clone();
                cursor.lsn = reached;
                self.commit(cursor, &mut sent, summary).await?;
                client.update_applied_lsn(Lsn(reached));
            }
            if feed.once && whole && self.publisher.held().is_none() && self.cursor.lsn >= self.target {
                client.shutdown().await.map_err(|error| session::failed(&feed.source, error))?;
                return Ok(());
            }
            if now >= heartbeat {
                self.gauge(&client).await?;
                heartbeat = now + feed.heartbeat;
            }
            let wake = if self.publisher.held().is_some() && whole { due.min(heartbeat) } else { heartbeat };
            let event = tokio::select! {
                biased;
                event = client.recv() => event.map_err(|error| session::failed(&feed.source, error))?,
                () = tokio::time::sleep_until(wake) => continue,
            };
            let Some(event) = event else {
                return Err(Error::StreamEnded { name: feed.source.clone() });
            };
            match event {
                ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
                    let at_ms = (commit_time_micros + ERA).div_euclid(1_000);
                    changes.begin(Transaction { xid, lsn: final_lsn.as_u64(), at_ms });
                }
                ReplicationEvent::Commit { end_lsn, .. } => {
                    changes.commit();
                    reached = reached.max(end_lsn.as_u64());
                }
                ReplicationEvent::KeepAlive { wal_end, .. } if !changes.is_open() => {
                    reached = reached.max(wal_end.as_u64());
                }
                ReplicationEvent::XLogData { data, .. } => {
                    let events = self.read(&mut changes, &data).await?;
                    if !events.is_empty() && self.publisher.held().is_none() {
                        due = Instant::now() + LINGER;
                    }
                    self.publisher.take(events, &mut sent).await?;
                }
                _ => {}
            }
        }
    }

    async fn read(&mut self, changes: &mut Changes, data: &bytes::Bytes) -> Result<Vec<Event>, Error> {
        let name = &self.feed.source;
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
        // The server passes these over; were it another's word, they would be sent twice.
        events.retain(|event| event.place.lsn >= self.cursor.lsn);
        Ok(events)
    }

    /// How far behind the source is, and how much log its slot holds back.
    async fn gauge(&mut self, client: &ReplicationClient) -> Result<(), Error> {
        let end = client.metrics().last_wal_end().as_u64();
        self.meter.source_lag(end.saturating_sub(self.cursor.lsn));
        let sql = format!(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots \
             WHERE slot_name = {}",
            session::literal(&self.feed.slot)
        );
        let held = self.session.text(&sql).await?;
        self.meter.slot_size(held.and_then(|text| text.parse().ok()).unwrap_or(0));
        Ok(())
    }
}
