//! Sends events and the cursor, a Kafka transaction at a time.
//!
//! A Kafka transaction holds whole transactions of the database, and last of all the cursor that says
//! so. The server is told only behind its commit. Stop before the commit: nothing is on the topics, and
//! the slot gives everything again. Stop between the commit and the telling: the slot gives again what
//! lies before the cursor, and it is passed over.

use std::sync::Arc;

use model::TopicName;
use stream::{Outgoing, Producer, internal};

use super::Context;
use super::cursor::{self, Cursor};
use super::encode::{Event, records};
use crate::Error;

/// Events taken to be encoded at once.
const CHUNK: usize = 1_000;

/// Publishes what is read from one source.
pub struct Publisher {
    producer: Arc<Producer>,
    cursors_topic: TopicName,
    source: String,
    clock: Arc<dyn runtime::Clock>,
    /// What is on the topics.
    pub cursor: Option<Cursor>,
    waiting: Vec<Event>,
    /// Whether a Kafka transaction is open, and the records in it.
    open: Option<usize>,
}

/// What was sent since it was asked last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    pub records: u64,
    /// Of these, changes that their schema could not hold.
    pub bad: u64,
}

impl Publisher {
    /// Shuts out whoever read this source before, then reads how far it came.
    pub async fn open(context: &Context, source: &str) -> Result<Self, Error> {
        let cursors_topic = internal::cursors(&context.project.name);
        let failed = |source| Error::Stream { topic: cursors_topic.clone(), source };
        let id = format!("{}.ingest.postgres.{source}", context.project.name);
        let producer = Producer::transactional(&context.kafka, &id).await.map_err(failed)?;
        let records = stream::latest(&context.kafka, &cursors_topic).await.map_err(failed)?;
        Ok(Self {
            producer: Arc::new(producer),
            cursor: Cursor::find(source, &records)?,
            source: source.to_owned(),
            clock: context.clock.clone(),
            cursors_topic,
            waiting: Vec::new(),
            open: None,
        })
    }

    /// Records of the open Kafka transaction; nothing when none is open.
    pub fn held(&self) -> Option<usize> {
        self.open.map(|sent| sent + self.waiting.len())
    }

    /// Takes events; they are sent when there are enough of them, or at the commit.
    pub async fn take(&mut self, events: Vec<Event>, sent: &mut Sent) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        if self.open.is_none() {
            self.producer.begin().await.map_err(|source| self.failed(source))?;
            self.open = Some(0);
        }
        self.waiting.extend(events);
        if self.waiting.len() >= CHUNK {
            self.send(sent).await?;
        }
        Ok(())
    }

    async fn send(&mut self, sent: &mut Sent) -> Result<(), Error> {
        let (producer, events) = (self.producer.clone(), std::mem::take(&mut self.waiting));
        let now = self.clock.now().0;
        // Encoding takes its time, and sending blocks while the client's queue is full.
        let count = runtime::cpu::run(move || send(&producer, &events, now)).await?;
        *self.open.get_or_insert(0) += usize::try_from(count.records).unwrap_or(usize::MAX);
        (sent.records, sent.bad) = (sent.records + count.records, sent.bad + count.bad);
        Ok(())
    }

    /// Commits everything taken, without a word on how far the source is: rows of an unfinished snapshot.
    pub async fn commit_rows(&mut self, sent: &mut Sent) -> Result<(), Error> {
        if self.open.is_none() {
            return Ok(());
        }
        self.send(sent).await?;
        self.producer.commit().await.map_err(|source| self.failed(source))?;
        self.open = None;
        Ok(())
    }

    /// Commits everything taken, and the cursor with it.
    pub async fn commit(&mut self, cursor: Cursor, sent: &mut Sent) -> Result<(), Error> {
        match self.open {
            None => self.producer.begin().await.map_err(|source| self.failed(source))?,
            Some(_) => self.send(sent).await?,
        }
        let (key, value) = (cursor::key(&self.source), cursor.value());
        let record = Outgoing {
            topic: &self.cursors_topic,
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
            timestamp: None,
        };
        self.producer.commit_with(record).await.map_err(|source| self.failed(source))?;
        (self.cursor, self.open) = (Some(cursor), None);
        Ok(())
    }

    fn failed(&self, source: stream::Error) -> Error {
        Error::Stream { topic: self.cursors_topic.clone(), source }
    }
}

fn send(producer: &Producer, events: &[Event], now_ms: i64) -> Result<Sent, Error> {
    let mut sent = Sent::default();
    for event in events {
        let topic = &event.form.topic;
        for record in records(event, now_ms) {
            let headers: Vec<(&str, &[u8])> =
                record.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
            let outgoing = Outgoing {
                topic,
                partition: record.partition,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
                timestamp: None,
            };
            producer.send(outgoing).map_err(|source| Error::Stream { topic: topic.clone(), source })?;
            sent.records += 1;
            if record.is_bad {
                sent.bad += 1;
            }
        }
    }
    Ok(sent)
}
