//! The log as a source of records.
//!
//! Only the ends of the topics tell what was sent. A run has these steps: read each partition's last record;
//! generate the log from its start and skip what the partitions have; send the rest with an idempotent
//! producer, each record to the partition of its row. After a stop at any time, the next run continues at
//! each partition's end. An error with an unknown outcome drops the producer and starts again in the same
//! way.
//!
//! So there is no cursor, and a commit is a flush. A stopped source sends the current block to its end, so
//! that the summary is exact. The next block is generated on another thread while this one is sent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use model::{TopicName, header};
use runtime::time::Instant;
use runtime::{CancellationToken, Meter, State, cpu};
use source::{About, Connector, Context, OnStop, Opened, Publisher, Reader, Sent, Step};
use stream::{Admin, Kafka};
use tokio::task::JoinHandle;
use tracing::info;

use crate::block::{Block, Partitions, SchemaIds};
use crate::error::Error;
use crate::generator::Generator;
use crate::oracle::{self, Injected, Summary};
use crate::resume::{Resume, Tail};
use crate::sender::Sender;
use crate::settings::{SchemaChange, Settings};
use crate::subjects;
use crate::tables::{SourceTable, TABLES};

/// How long a stopped run may continue until it reaches the ends of the topics, so that its summary covers
/// them.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long a stopped run waits for acknowledgements.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// The simulated database as a source.
pub struct Simulator {
    settings: Settings,
    context: Context,
    topics: Arc<Topics>,
    summary: Option<Summary>,
}
impl Simulator {
    /// `streams` has the topic of each table; a table without one is not sent.
    pub fn try_new(
        settings: Settings,
        context: Context,
        streams: impl IntoIterator<Item = (String, TopicName)>,
    ) -> Result<Self, Error> {
        let mut topics = Topics::default();
        for (stream, topic) in streams {
            let Some(table) = SourceTable::named(&stream) else {
                let tables = SourceTable::ALL.map(SourceTable::name).join(", ");
                return Err(Error::NoTable { stream, tables });
            };
            topics.0[table as usize] = Some(topic);
        }
        Ok(Self { settings, context, topics: Arc::new(topics), summary: None })
    }
    /// What the tables must contain. `None`: the log has not ended, and the source was not stopped.
    pub fn take_summary(&mut self) -> Option<Summary> {
        self.summary.take()
    }
}

#[async_trait]
impl Connector for Simulator {
    fn about(&self) -> About {
        let goes_on = "the change log is begun again from the log's own ends";
        About { name: "sim".to_owned(), goes_on, meter: None }
    }

    async fn open<'a>(&'a mut self, stop: &CancellationToken) -> Result<Opened<'a>, source::Error> {
        let Self { settings, context, topics, .. } = &*self;
        let ids = subjects::first(&context.registry, topics).await?;
        let (partitions, resume) = ends(&context.kafka, topics).await?;
        let kafka = context.kafka.with("enable.gapless.guarantee", "true");
        let failed = |error| Error::Stream(error).into();
        let publisher = Publisher::idempotent(context, &kafka, failed).await?;
        let meters = SourceTable::ALL.map(|table| {
            let meter = topics.of(table).map(|_| context.meters.stage("source", table.name()));
            meter.inspect(|meter| meter.state(State::Running))
        });
        let meters = Arc::new(meters);
        let sender = Sender::new(settings, topics.clone(), meters.clone(), resume);
        let mut emitter = Emitter {
            schemas: Schemas { change: settings.schema_change, ids },
            making: Making(None),
            sender,
            meters,
            reached: Default::default(),
            stop: stop.clone(),
            stopped: None,
            end: End::NotYet,
            acknowledged: false,
            simulator: self,
        };
        let settings = emitter.simulator.settings.clone();
        emitter.make(Generator::new(settings, ids, partitions)).await?;
        Ok(Opened { publisher, reader: Box::new(emitter) })
    }

    fn on_stop(&self) -> OnStop {
        OnStop::Finish(LAST_FLUSH)
    }
}

/// The topic of each table.
#[derive(Debug, Default)]
pub struct Topics([Option<TopicName>; TABLES]);
impl Topics {
    /// The topic of a table.
    pub fn of(&self, table: SourceTable) -> Option<&TopicName> {
        self.0[table as usize].as_ref()
    }
    fn all(&self) -> impl Iterator<Item = (SourceTable, &TopicName)> {
        SourceTable::ALL.into_iter().filter_map(|table| Some((table, self.of(table)?)))
    }
}

/// Sends the log until an error.
struct Emitter<'a> {
    simulator: &'a mut Simulator,
    schemas: Schemas,
    /// The next block.
    making: Making,
    sender: Sender,
    meters: Arc<[Option<Meter>; TABLES]>,
    /// The state of the tables after the blocks that were sent.
    reached: (oracle::State, Injected),
    stop: CancellationToken,
    stopped: Option<Instant>,
    end: End,
    /// Whether Kafka has acknowledged anything since the source was opened. Refused records are not retried
    /// at once.
    acknowledged: bool,
}

/// How the log ends.
enum End {
    NotYet,
    /// Its last record was sent.
    Sent,
    /// Kafka acknowledged it.
    Flushed,
}

impl Emitter<'_> {
    async fn step(&mut self) -> Result<Step, Error> {
        loop {
            if self.sender.is_full() {
                return Ok(self.flush());
            }
            if let Some(batch) = self.sender.next(&self.stop).await {
                return Ok(Step::Send(batch));
            }
            match self.end {
                End::NotYet => self.turn().await?,
                End::Sent => {
                    self.end = End::Flushed;
                    return Ok(self.flush());
                }
                End::Flushed => {
                    for meter in self.meters.iter().flatten() {
                        meter.state(State::Drained);
                    }
                    let (state, injected) = &self.reached;
                    self.simulator.summary = Some(state.summary(self.simulator.settings.seed, *injected));
                    return Ok(Step::Done);
                }
            }
        }
    }

    fn flush(&mut self) -> Step {
        self.sender.flushed();
        Step::Commit(Vec::new())
    }

    /// Moves to the next block, unless there is none or the source is stopped.
    async fn turn(&mut self) -> Result<(), Error> {
        if let Some(sent) = self.sender.block() {
            self.reached = (sent.state, sent.injected);
            if self.stop.is_cancelled() {
                if self.sender.has_caught_up() {
                    self.end = End::Sent;
                    return Ok(());
                }
                if self.stopped.get_or_insert_with(Instant::now).elapsed() > CATCH_UP {
                    return Err(Error::Behind);
                }
            }
        }
        let Some((generator, block)) = self.making.made().await else { return Ok(()) };
        match block {
            Some(block) => {
                self.make(generator).await?;
                self.sender.take(block)?;
            }
            None => {
                self.sender.end()?;
                self.end = End::Sent;
            }
        }
        Ok(())
    }

    /// Starts to generate the next block.
    async fn make(&mut self, mut generator: Generator) -> Result<(), Error> {
        self.schemas.prepare(&mut generator, self.simulator).await?;
        self.making = Making(Some(runtime::tasks::spawn("block", make(generator))));
        Ok(())
    }
}

#[async_trait]
impl Reader for Emitter<'_> {
    async fn next(&mut self) -> Result<Step, source::Error> {
        Ok(self.step().await?)
    }

    async fn committed(&mut self, _sent: Sent) -> Result<(), source::Error> {
        self.acknowledged = true;
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.acknowledged && self.sender.has_caught_up()
    }
}

/// The next block while it is generated.
struct Making(Option<JoinHandle<(Generator, Option<Block>)>>);
impl Making {
    /// Waits for it. `None`: it was taken before.
    async fn made(&mut self) -> Option<(Generator, Option<Block>)> {
        match self.0.take()?.await {
            Ok(made) => Some(made),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the shutdown of the runtime cancels it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
impl Drop for Making {
    fn drop(&mut self) {
        if let Some(making) = &self.0 {
            making.abort();
        }
    }
}

/// The schema change. It is registered only when the log reaches it, so that readers meet it then.
struct Schemas {
    change: Option<SchemaChange>,
    ids: SchemaIds,
}
impl Schemas {
    async fn prepare(&mut self, generator: &mut Generator, simulator: &Simulator) -> Result<(), Error> {
        if let Some(change) = self.change.take_if(|_| generator.needs_changed()) {
            let registry = &simulator.context.registry;
            self.ids = subjects::changed(registry, &simulator.topics, change, self.ids).await?;
            generator.set_ids(self.ids);
            info!(at = change.at, "the source database changes its schema");
        }
        Ok(())
    }
}

/// Generates the next block off the async threads.
async fn make(mut generator: Generator) -> (Generator, Option<Block>) {
    cpu::run(move || {
        let block = generator.next_block();
        (generator, block)
    })
    .await
}

/// Number of partitions of each topic, and the last record of each partition.
async fn ends(kafka: &Kafka, topics: &Topics) -> Result<(Partitions, Resume), Error> {
    let admin = Admin::try_new(kafka)?;
    let ask = |(table, topic): (SourceTable, &TopicName)| {
        let (admin, topic) = (admin.clone(), topic.clone());
        async move {
            let info = admin.describe(&topic).await?.ok_or(Error::NoTopic { topic: topic.clone() })?;
            let tails = stream::tail(kafka, &topic).await?;
            Ok::<_, Error>((table, topic, info.partitions, tails))
        }
    };
    let (mut partitions, mut resume) = ([1; TABLES], Resume::default());
    for (table, topic, count, tails) in try_join_all(topics.all().map(ask)).await? {
        partitions[table as usize] = count;
        for (partition, tail) in tails {
            let number =
                tail.header(header::SEQ).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
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
    use runtime::{Meters, WallClock};
    use stream::Registry;

    use super::*;

    #[test]
    fn a_stream_that_is_no_table_is_refused_by_name() {
        let kafka = Kafka::new(stream::KafkaSettings::default());
        let settings =
            stream::RegistrySettings { url: "http://localhost:1".to_owned(), ..Default::default() };
        let context = Context {
            project: "shop".parse().expect("a name"),
            kafka,
            registry: Registry::new(settings),
            meters: Meters::new(),
            clock: Arc::new(WallClock),
            once: false,
        };
        let streams = [("customer".to_owned(), "t".parse().expect("a topic name"))];
        let refused = Simulator::try_new(Settings::default(), context, streams).err();
        assert!(
            refused
                .expect("no such table")
                .to_string()
                .contains("no table `customer`; its tables are state_provinces")
        );
    }
}
