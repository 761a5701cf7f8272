//! The wire to Kafka: one transactional producer at a time.

use std::sync::Arc;

use bytes::Bytes;
use lake::Table;
use model::{ProjectName, TableName, TopicName};
use runtime::traces::TRACEPARENT;
use stream::{Kafka, Outgoing, Producer};

use super::{Progress, Record, Wire};
use crate::error::{Error, OfTable as _, Result};

/// Publishes one table over Kafka.
pub struct KafkaWire {
    kafka: Kafka,
    table: TableName,
    topic: TopicName,
    progress: TopicName,
    /// Names the table within the project, whatever instance publishes it.
    transactional_id: String,
    producer: Option<Arc<Producer>>,
}

impl KafkaWire {
    /// Connects to nothing yet.
    pub fn new(kafka: Kafka, project: &ProjectName, table: TableName, topic: TopicName) -> Self {
        let transactional_id = format!("_lakepulse.{project}.publish.{table}");
        let progress = stream::internal::progress(project);
        Self { kafka, table, topic, progress, transactional_id, producer: None }
    }

    /// Deletes a progress record.
    async fn forget(&mut self, progress: &Progress) -> Result<()> {
        let (key, _) = progress.encode();
        let record = Outgoing {
            topic: &self.progress,
            partition: None,
            key: Some(&key),
            value: None,
            headers: &[],
            timestamp: None,
        };
        let producer = self.producer()?;
        producer.send(record).of(&self.table)?;
        producer.flush().await.of(&self.table)
    }

    fn producer(&self) -> Result<Arc<Producer>> {
        let closed = || stream::Error::Broken { reason: "no producer is open".to_owned() };
        self.producer.clone().ok_or_else(closed).of(&self.table)
    }
}

#[async_trait::async_trait]
impl Wire for KafkaWire {
    async fn open(&mut self) -> Result<()> {
        self.producer = None;
        let producer = Producer::transactional(&self.kafka, &self.transactional_id).await.of(&self.table)?;
        self.producer = Some(Arc::new(producer));
        Ok(())
    }

    async fn progress(&mut self) -> Result<Vec<Progress>> {
        let all = stream::latest(&self.kafka, &self.progress).await.of(&self.table)?;
        all.iter().map(|(key, value)| Progress::decode(key, value)).collect()
    }

    async fn held(&mut self) -> Result<Vec<Bytes>> {
        let held = stream::latest(&self.kafka, &self.topic).await.of(&self.table)?;
        Ok(held.into_keys().map(Bytes::from).collect())
    }

    async fn begin(&mut self) -> Result<()> {
        self.producer()?.begin().await.of(&self.table)
    }

    /// Off the async threads: a full queue blocks.
    async fn send(&mut self, records: Vec<Record>) -> Result<()> {
        let (producer, topic) = (self.producer()?, self.topic.clone());
        let sent = runtime::cpu::run(move || {
            for record in &records {
                let version = record.version.0.to_string();
                let mut headers = vec![
                    ("lp.table_id", record.table.as_str().as_bytes()),
                    ("lp.version", version.as_bytes()),
                ];
                if record.last {
                    headers.push(("lp.last", b"true".as_slice()));
                }
                headers.extend(record.trace.iter().map(|trace| (TRACEPARENT, trace.as_bytes())));
                producer.send(Outgoing {
                    topic: &topic,
                    partition: None,
                    key: Some(&record.key),
                    value: record.value.as_ref().map(Bytes::as_ref),
                    headers: &headers,
                    timestamp: None,
                })?;
            }
            Ok::<_, stream::Error>(())
        });
        sent.await.of(&self.table)
    }

    async fn send_progress(&mut self, progress: &Progress) -> Result<()> {
        let (key, value) = progress.encode();
        let record = Outgoing {
            topic: &self.progress,
            partition: None,
            key: Some(&key),
            value: Some(&value),
            headers: &[],
            timestamp: None,
        };
        self.producer()?.send(record).of(&self.table)
    }

    async fn flush(&mut self) -> Result<()> {
        self.producer()?.flush().await.of(&self.table)
    }

    async fn commit(&mut self) -> Result<()> {
        self.producer()?.commit().await.of(&self.table)
    }
}

/// Gives a topic to a table, whatever it holds: a publisher then deletes what the table lacks and
/// publishes the table as a whole. Who published on it before is shut out and forgotten.
pub async fn claim(kafka: &Kafka, project: &ProjectName, table: &Table, topic: &TopicName) -> Result<()> {
    let name = table.name();
    let mut wire = KafkaWire::new(kafka.clone(), project, name.clone(), topic.clone());
    wire.open().await?;
    for other in wire.progress().await? {
        if other.topic != *topic || other.table == *name {
            continue;
        }
        let mut before = KafkaWire::new(kafka.clone(), project, other.table.clone(), topic.clone());
        before.open().await?;
        before.begin().await?;
        before.forget(&other).await?;
        before.commit().await?;
        tracing::info!(topic = %topic, from = %other.table, to = %name, "topic changes hands");
    }
    wire.begin().await?;
    wire.send_progress(&super::first(table, name, topic, table.version())).await?;
    wire.flush().await?;
    wire.commit().await
}

/// A topic that does not halt its publisher: it exists, and its schemas are registered. Returns the
/// ids of key and value.
pub(super) async fn prepare(
    ctx: &crate::Context,
    published: &catalog::Published,
) -> Result<(super::encode::Registered, super::encode::Registered)> {
    let table = &published.table;
    if ctx.create {
        let spec = stream::TopicSpec {
            name: published.name.clone(),
            partitions: published.partitions,
            replication: published.replication,
            config: published.config.clone(),
        };
        stream::Admin::try_new(&ctx.kafka).of(table)?.create(&[spec]).await.of(table)?;
    }
    let mut registered = Vec::with_capacity(2);
    for (what, json) in [("key", &published.key_schema), ("value", &published.value_schema)] {
        let subject = format!("{}-{what}", published.name);
        if ctx.create && ctx.registry.compatibility(&subject).await.of(table)?.is_none() {
            ctx.registry.set_compatibility(&subject, &published.compatibility).await.of(table)?;
        }
        let id = ctx.registry.register(&subject, json).await.of(table)?;
        registered.push(super::encode::Registered { id, json: Arc::clone(json) });
    }
    match <[_; 2]>::try_from(registered) {
        Ok([key, value]) => Ok((key, value)),
        Err(_) => Err(Error::NoContract { table: table.clone(), topic: published.name.clone() }),
    }
}
