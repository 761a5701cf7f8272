//! Begins to read a database: checks it, shuts out the previous reader, and finds the position to continue.

use std::collections::BTreeSet;

use source::Publisher;
use stream::internal;

use super::{DatabaseReader, Phase};
use crate::Error;
use crate::postgres::Postgres;
use crate::postgres::cursor::DatabaseCursor;
use crate::postgres::preflight::{self, Server, Slot};
use crate::postgres::publish::Pending;
use crate::postgres::session::{self, Address, Session};
use crate::postgres::tables::Tables;

impl<'a> DatabaseReader<'a> {
    /// Checks that the database can be read, shuts out the previous reader, and checks that it is correct to
    /// continue at the cursor.
    pub async fn open(postgres: &'a mut Postgres) -> Result<(Publisher, Self), source::Error> {
        let Postgres { context, feed, asked } = &mut *postgres;
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
            return Err(refused(why, &format!("its streams are {known}")).into());
        }
        let slot = preflight::slot(&mut session, &feed.slot, server.version).await?;
        if let Some(slot) = &slot {
            let help = "give the source a slot of its own with `slot:`";
            preflight::usable(slot, &server).map_err(|why| refused(why, help))?;
            // Check this before shutting anybody out: a healthy reader must not be disturbed.
            if let Some(pid) = slot.active_pid.clone() {
                return Err(Error::SlotInUse { name: source.to_owned(), slot: feed.slot.clone(), pid }.into());
            }
        }
        let topic = internal::cursors(&context.project);
        let failed = move |source| Error::Stream { topic: topic.clone(), source }.into();
        let (publisher, records) = Publisher::open(context, &format!("postgres.{source}"), failed).await?;
        let on_topic = DatabaseCursor::find(source, &records)?;
        let incarnation = server.incarnation.clone();
        let tables = Tables::new(
            source.to_owned(),
            incarnation.database.clone(),
            context.registry.clone(),
            context.kafka.clone(),
            feed.tables.clone(),
        );
        let mut cursor = on_topic.clone().unwrap_or_else(|| DatabaseCursor::begin(incarnation, 1));
        for table in cursor.hold_against(&tables.topic_ids().await?) {
            tracing::warn!(source, table, "its topic was deleted and made again: the table is read again");
        }
        let meter = context.meters.stage("ingest", source);
        let mut this = Self {
            postgres,
            meter,
            address,
            session,
            tables,
            cursor,
            on_topic,
            given: None,
            pending: Pending::default(),
            ending: None,
            target: server.end,
            phase: Phase::Begin { has_slot: slot.is_some() },
        };
        this.claim(&server, slot).await?;
        Ok((publisher, this))
    }

    /// Makes sure that the slot continues at the cursor.
    async fn claim(&mut self, server: &Server, slot: Option<Slot>) -> Result<(), Error> {
        let feed = &self.postgres.feed;
        let Err(why) = preflight::history(&self.cursor, server, slot.as_ref()) else { return Ok(()) };
        if !self.postgres.asked.new_epoch {
            return Err(Error::NewEpoch { name: feed.source.clone(), why });
        }
        let topics = std::mem::take(&mut self.cursor.topics);
        self.cursor = DatabaseCursor::begin(server.incarnation.clone(), self.cursor.epoch + 1);
        self.cursor.topics = topics;
        tracing::warn!(source = feed.source, why, epoch = self.cursor.epoch, "a new epoch begins, as asked");
        if slot.is_some_and(|slot| slot.wal_status == "lost") {
            let drop = format!("SELECT pg_drop_replication_slot({})", session::literal(&feed.slot));
            self.session.rows(&drop).await?;
            self.phase = Phase::Begin { has_slot: false };
        }
        Ok(())
    }
}
