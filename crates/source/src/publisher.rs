//! Publishes what a source read, a Kafka transaction at a time, and reads back how far it came.
//!
//! The order of writes: records and dead letters; once all of them are acknowledged, the cursors; the commit. Stop
//! before the commit: nothing of it is on the topics. Stop after it: the cursor is there too. A broker without
//! transactions shows records of one that was cut short; the cursor still never runs ahead of them.
//!
//! After an error the outcome is unknown, so the loop drops the publisher and opens another, which shuts this one
//! out before it reads the cursors.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicName;
use stream::{Kafka, Outgoing, Producer, internal};

use crate::batch::{Sent, SourceBatch};
use crate::connector::CursorRecord;
use crate::{Context, Error};

/// The newest value of each key of the cursors topic, those of other sources included.
pub type CursorRecords = BTreeMap<Vec<u8>, Vec<u8>>;

/// How a connector says that Kafka failed.
type Failed = Box<dyn Fn(stream::Error) -> Error + Send + Sync>;

/// Publishes what one source reads.
pub struct Publisher {
    producer: Arc<Producer>,
    cursors: TopicName,
    failed: Failed,
    /// What the open transaction holds. `None`: none is open.
    open: Option<Sent>,
}

impl Publisher {
    /// Shuts out whoever published under `id` before, then reads the cursors. The connector says by `failed` what
    /// it could not do.
    pub async fn open(
        context: &Context,
        id: &str,
        failed: impl Fn(stream::Error) -> Error + Send + Sync + 'static,
    ) -> Result<(Self, CursorRecords), Error> {
        let id = format!("{}.ingest.{id}", context.project);
        let producer = Producer::transactional(&context.kafka, &id).await.map_err(&failed)?;
        let cursors = internal::cursors(&context.project);
        let records = stream::latest(&context.kafka, &cursors).await.map_err(&failed)?;
        Ok((Self::over(producer, cursors, failed), records))
    }

    /// For a source whose position is the topics' own ends: each record is visible at once, a commit waits until all
    /// are acknowledged, and nobody is shut out.
    pub async fn idempotent(
        context: &Context,
        kafka: &Kafka,
        failed: impl Fn(stream::Error) -> Error + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let producer = Producer::idempotent(kafka).await.map_err(&failed)?;
        Ok(Self::over(producer, internal::cursors(&context.project), failed))
    }

    fn over(
        producer: Producer,
        cursors: TopicName,
        failed: impl Fn(stream::Error) -> Error + Send + Sync + 'static,
    ) -> Self {
        Self { producer: Arc::new(producer), cursors, failed: Box::new(failed), open: None }
    }

    /// Whether a transaction is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Sends records in the open transaction; begins one if there is none. What was sent.
    pub(crate) async fn send(&mut self, batch: SourceBatch) -> Result<Sent, Error> {
        let so_far = self.begin().await?;
        let producer = Arc::clone(&self.producer);
        // Encoding takes its time, and sending blocks while the client's queue is full.
        let sent = runtime::cpu::run(move || batch.send(&producer)).await?;
        self.open = Some(so_far.and(sent));
        Ok(sent)
    }

    /// Ends the transaction with the cursors. What it holds beside them.
    pub(crate) async fn commit(&mut self, cursors: &[CursorRecord]) -> Result<Sent, Error> {
        let sent = self.begin().await?;
        self.producer.flush().await.map_err(&self.failed)?;
        for CursorRecord { key, value } in cursors {
            let (topic, partition) = (&self.cursors, Some(0));
            let (key, value) = (Some(&key[..]), value.as_deref());
            let record = Outgoing { topic, partition, key, value, headers: &[], timestamp: None };
            self.producer.send(record).map_err(&self.failed)?;
        }
        self.producer.commit().await.map_err(&self.failed)?;
        self.open = None;
        Ok(sent)
    }

    /// Begins a transaction, unless one is open; what it holds.
    async fn begin(&mut self) -> Result<Sent, Error> {
        if let Some(sent) = self.open {
            return Ok(sent);
        }
        self.producer.begin().await.map_err(&self.failed)?;
        self.open = Some(Sent::default());
        Ok(Sent::default())
    }
}
