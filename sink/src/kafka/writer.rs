//! A gold table's topic as a sink.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use catalog::Project;
use lake::Table;
use model::{TableName, TopicName, Version, header};
use runtime::traces::{Span, TRACEPARENT};
use stream::{Kafka, Outgoing, Producer, Registry};

use super::encode::Encoders;
use super::error::unfit;
use super::prepare::prepare;
use super::producer::Exclusive;
use super::progress::read;
use crate::Progress;
use crate::error::{Error, OfTable as _, Result};
use crate::seam::{Changes, Destination, Keys, Sink, Writer};

/// The topic of one table. Cheap to clone.
#[derive(Clone)]
pub struct TopicSink {
    project: Arc<Project>,
    table: TableName,
    topic: TopicName,
    /// The table's key columns.
    keys: Vec<String>,
    pub(super) kafka: Kafka,
    registry: Registry,
    create: bool,
    destination: Destination,
}

impl TopicSink {
    /// The topic that `model` is published on. With `create`, opening creates it if it is missing. Does not
    /// connect yet.
    pub fn new(
        project: Arc<Project>,
        model: &catalog::Model,
        topic: TopicName,
        kafka: Kafka,
        registry: Registry,
        create: bool,
    ) -> Self {
        let (table, keys) = (model.name.clone(), model.keys.clone());
        let destination = Destination { kind: "topic", name: topic.to_string() };
        Self { project, table, topic, keys, kafka, registry, create, destination }
    }

    /// The encoders of the table's rows. Creates the topic and registers its schemas.
    pub(super) async fn encoders(&self, table: &Table) -> Result<Encoders> {
        let missing = || Error::NoContract { table: self.table.clone(), on: self.topic.to_string() };
        let contract = self.project.catalog.published.get(&self.topic).ok_or_else(missing)?;
        let (key, value) = prepare(&self.kafka, &self.registry, contract, self.create).await?;
        let encoders = Encoders::try_new(table.schema(), &self.keys, &key, &value);
        encoders.map_err(|source| unfit(&self.table, source))
    }
}

#[async_trait]
impl Sink for TopicSink {
    type Writer = TopicWriter;
    const NAME: &'static str = "publish";

    fn destination(&self) -> &Destination {
        &self.destination
    }

    async fn open(&self, table: &Table) -> Result<TopicWriter> {
        let encoders = Arc::new(self.encoders(table).await?);
        let exclusive = Exclusive::open(&self.kafka, &self.project.name, &self.table).await?;
        Ok(TopicWriter { sink: self.clone(), avro: Avro { table: self.table.clone(), encoders }, exclusive })
    }

    fn describe(&self, span: &mut Span, changes: usize) {
        span.set_attribute("messaging.system", "kafka");
        span.set_attribute("messaging.destination.name", self.topic.as_str().to_owned());
        span.set_attribute("messaging.batch.message_count", i64::try_from(changes).unwrap_or(i64::MAX));
    }

    fn published(&self, table: &TableName, version: Version, changes: usize) {
        let topic = self.topic.as_str();
        tracing::info!(%table, version = version.0, topic, records = changes, "version published");
    }
}

/// The writer of one table's topic.
pub struct TopicWriter {
    sink: TopicSink,
    avro: Avro,
    exclusive: Exclusive,
}

/// Encodes rows of a table as its topic has them.
#[derive(Clone)]
struct Avro {
    table: TableName,
    encoders: Arc<Encoders>,
}
impl Avro {
    fn failed(&self, source: arrow::error::ArrowError) -> Error {
        unfit(&self.table, source)
    }
}
impl Keys for Avro {
    fn of(&self, rows: &RecordBatch) -> Result<Vec<Bytes>> {
        self.encoders.keys(rows).map_err(|source| self.failed(source))
    }
}

#[async_trait]
impl Writer for TopicWriter {
    fn keys(&self) -> Arc<dyn Keys> {
        Arc::new(self.avro.clone())
    }

    async fn progress(&mut self) -> Result<Vec<Progress>> {
        let TopicSink { kafka, project, table, .. } = &self.sink;
        read(kafka, &project.name).await.of(table)?.decoded()
    }

    async fn held(&mut self) -> Result<Vec<Bytes>> {
        let TopicSink { kafka, topic, table, .. } = &self.sink;
        let held = stream::latest(kafka, topic).await.of(table)?;
        Ok(held.into_keys().map(Bytes::from).collect())
    }

    async fn begin(&mut self) -> Result<()> {
        self.exclusive.begin().await
    }

    /// Runs off the async threads, because a full queue blocks.
    async fn write(&mut self, changes: Changes) -> Result<()> {
        let (producer, topic, avro) = (self.exclusive.producer(), self.sink.topic.clone(), self.avro.clone());
        runtime::cpu::run(move || send(&producer, &topic, &avro, &changes)).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.exclusive.flush().await
    }

    async fn note(&mut self, progress: &Progress) -> Result<()> {
        self.exclusive.note(progress)
    }

    async fn commit(&mut self) -> Result<()> {
        self.exclusive.commit().await
    }
}

/// Sends one record per change, without waiting: the row's value, or a tombstone.
fn send(producer: &Producer, topic: &TopicName, avro: &Avro, changes: &Changes) -> Result<()> {
    let values = changes.rows.as_ref().map(|rows| avro.encoders.values(rows)).transpose();
    let values = values.map_err(|source| avro.failed(source))?.unwrap_or_default();
    let version = changes.version.0.to_string();
    let all = [(header::TABLE_ID, changes.table.as_str().as_bytes()), (header::VERSION, version.as_bytes())];
    for (at, change) in changes.keys.iter().enumerate() {
        let mut headers = all.to_vec();
        if changes.last && at + 1 == changes.keys.len() {
            headers.push((header::LAST, b"true"));
        }
        headers.extend(changes.trace.iter().filter(|_| at == 0).map(|of| (TRACEPARENT, of.as_bytes())));
        let record = Outgoing {
            topic,
            partition: None,
            key: Some(&change.key),
            value: change.row.map(|row| values[row].as_ref()),
            headers: &headers,
            timestamp: None,
        };
        producer.send(record).of(&avro.table)?;
    }
    Ok(())
}
