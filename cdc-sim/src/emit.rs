//! Sends the log to Kafka.
//!
//! Nothing but the log's own ends says what was sent. The order of steps: ask each partition for its
//! last record; make the log from its start and pass over what the partitions hold; send the rest with
//! an idempotent producer, each record to the partition its row decides. Stop at any moment: the next
//! run finds each partition's end where it is and goes on behind it. An error whose outcome is unknown
//! drops the producer and starts over the same way.
//!
//! The next block is made on another thread while this one is sent.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use model::{Reaction, TopicName};
use runtime::{CancellationToken, Meters, Retry, cpu};
use stream::{Admin, Kafka, Registry};
use tokio::time::Instant;
use tracing::info;

use crate::block::{Block, Partitions, SchemaIds};
use crate::error::Error;
use crate::generator::Generator;
use crate::oracle::{Injected, State, Summary};
use crate::resume::{Resume, Tail};
use crate::sender::Sender;
use crate::settings::{SchemaChange, Settings};
use crate::subjects;
use crate::tables::{TABLES, Table};

/// How long a stopped run goes on to where the topics end, so that its summary is of all they hold.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Where the log goes.
#[derive(Clone)]
pub struct Sink {
    pub(crate) kafka: Kafka,
    registry: Registry,
    pub(crate) topics: Arc<Topics>,
    pub(crate) meters: Meters,
}
impl Sink {
    /// A sink. `streams` says which table goes to which topic; a table without one is not sent.
    pub fn try_new(
        kafka: Kafka,
        registry: Registry,
        streams: impl IntoIterator<Item = (String, TopicName)>,
        meters: Meters,
    ) -> Result<Self, Error> {
        let mut topics = Topics::default();
        for (stream, topic) in streams {
            let Some(table) = Table::named(&stream) else {
                let tables = Table::ALL.map(Table::name).join(", ");
                return Err(Error::NoTable { stream, tables });
            };
            topics.0[table as usize] = Some(topic);
        }
        Ok(Self { kafka, registry, topics: Arc::new(topics), meters })
    }
}

/// The topic of each table.
#[derive(Debug, Default)]
pub struct Topics([Option<TopicName>; TABLES]);
impl Topics {
    /// The topic of a table.
    pub fn of(&self, table: Table) -> Option<&TopicName> {
        self.0[table as usize].as_ref()
    }
    fn all(&self) -> impl Iterator<Item = (Table, &TopicName)> {
        Table::ALL.into_iter().filter_map(|table| Some((table, self.of(table)?)))
    }
}

/// Sends the log until its end, or until stopped: then the block that was begun is sent to its end,
/// so that the summary is exact. Tries again while Kafka or the registry are away.
pub async fn run(settings: Settings, sink: Sink, stop: CancellationToken) -> Result<Summary, Error> {
    let mut retry = Retry::new(Duration::from_millis(200));
    loop {
        let begun = Instant::now();
        let error = match attempt(&settings, &sink, &stop).await {
            Ok(summary) => return Ok(summary),
            Err(error) => error,
        };
        if error.reaction() == Reaction::Halt || stop.is_cancelled() {
            return Err(error);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            retry.reset();
        }
        let doing = "the change log is begun again from the log's own ends";
        if !retry.again("sim", doing, &error, &stop).await {
            return Err(error);
        }
    }
}

async fn attempt(settings: &Settings, sink: &Sink, stop: &CancellationToken) -> Result<Summary, Error> {
    let ids = subjects::first(&sink.registry, &sink.topics).await?;
    let (partitions, resume) = ends(sink).await?;
    let mut sender = Sender::begin(settings, sink, resume).await?;
    let mut schemas = Schemas { change: settings.schema_change, ids };
    let mut generator = Generator::new(settings.clone(), ids, partitions);
    schemas.prepare(&mut generator, sink).await?;
    let (mut generator, mut block) = make(generator).await;
    let mut reached = (State::default(), Injected::default());
    let mut stopped: Option<Instant> = None;
    while let Some(sending) = block {
        schemas.prepare(&mut generator, sink).await?;
        let sending = Arc::new(sending);
        let (made, sent) = tokio::join!(make(generator), sender.send(&sending, stop));
        sent?;
        (generator, block) = made;
        reached = (sending.state, sending.injected);
        if stop.is_cancelled() {
            if sender.has_caught_up() {
                break;
            }
            if stopped.get_or_insert_with(Instant::now).elapsed() > CATCH_UP {
                return Err(Error::Behind);
            }
        }
    }
    if block.is_none() {
        sender.end()?;
    }
    sender.finish(stop).await?;
    let (state, injected) = reached;
    Ok(state.summary(settings.seed, injected))
}

/// The schema change, registered only when the log comes to it: whoever reads along meets it then.
struct Schemas {
    change: Option<SchemaChange>,
    ids: SchemaIds,
}
impl Schemas {
    async fn prepare(&mut self, generator: &mut Generator, sink: &Sink) -> Result<(), Error> {
        if let Some(change) = self.change.take_if(|_| generator.needs_changed()) {
            self.ids = subjects::changed(&sink.registry, &sink.topics, change, self.ids).await?;
            generator.set_ids(self.ids);
            info!(at = change.at, "the source database changes its schema");
        }
        Ok(())
    }
}

/// Makes the next block off the async threads.
async fn make(mut generator: Generator) -> (Generator, Option<Block>) {
    cpu::run(move || {
        let block = generator.next_block();
        (generator, block)
    })
    .await
}

/// How many partitions each topic has, and the last record of each.
async fn ends(sink: &Sink) -> Result<(Partitions, Resume), Error> {
    let admin = Admin::try_new(&sink.kafka)?;
    let ask = |(table, topic): (Table, &TopicName)| {
        let (admin, topic) = (admin.clone(), topic.clone());
        async move {
            let info = admin.describe(&topic).await?.ok_or(Error::NoTopic { topic: topic.clone() })?;
            let tails = stream::tail(&sink.kafka, &topic).await?;
            Ok::<_, Error>((table, topic, info.partitions, tails))
        }
    };
    let (mut partitions, mut resume) = ([1; TABLES], Resume::default());
    for (table, topic, count, tails) in try_join_all(sink.topics.all().map(ask)).await? {
        partitions[table as usize] = count;
        for (partition, tail) in tails {
            let number = tail.header("lp.seq").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            let Some(number) = number else {
                return Err(Error::NotOurs { topic, partition, offset: tail.offset.0 });
            };
            resume.hold(table, &topic, partition, Tail { number, key: tail.key, value: tail.value });
        }
    }
    Ok((partitions, resume))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only while a run can be handed to another thread, as its owner will.
    #[allow(dead_code, reason = "to be compiled, not called")]
    fn a_run_is_spawned(
        settings: Settings,
        sink: Sink,
    ) -> impl Future<Output = Result<Summary, Error>> + Send {
        run(settings, sink, CancellationToken::new())
    }

    #[test]
    fn a_stream_that_is_no_table_is_refused_by_name() {
        let kafka = Kafka::new(stream::KafkaSettings::default());
        let settings =
            stream::RegistrySettings { url: "http://localhost:1".to_owned(), ..Default::default() };
        let streams = [("customer".to_owned(), "t".parse().expect("a topic name"))];
        let refused = Sink::try_new(kafka, Registry::new(settings), streams, Meters::new()).err();
        assert!(
            refused
                .expect("no such table")
                .to_string()
                .contains("no table `customer`; its tables are state_provinces")
        );
    }
}
