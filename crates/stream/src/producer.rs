//! Writes records: idempotent, or in transactions.
//!
//! [`Producer::send`] only queues. Deliveries are counted as they are reported, and
//! [`Producer::flush`] says whether all since the last flush arrived: no future a record. A failed
//! delivery leaves a hole, so the answer to it, as to an error whose outcome is unknown, is a new
//! producer that goes on from what the output holds ([`model::Reaction::Reload`]), never this one.
//!
//! In a transaction, `commit` flushes first and does not commit over a failed delivery; whoever must
//! send something only after the rest is acknowledged (progress) flushes in between. A commit that was
//! cut short may still take effect later: that is why its error is [`Error::Indefinite`] and not a
//! failure. Dropping a producer drops what is queued, and the broker aborts its open transaction.
//!
//! The library's queue holds up to 128 MiB; when it is full the sender waits.

pub(crate) mod client;
mod tally;

use std::time::Duration;

use model::TopicName;

use crate::cluster::Writer;
use crate::{Kafka, Result};

/// How long a record may wait for room in the queue.
const QUEUE_PATIENCE: Duration = Duration::from_secs(60);

/// A record to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Where to.
    pub topic: &'a TopicName,
    /// `None`: by the key's murmur2, as [`crate::hash::partition_of`] has it; any, without a key.
    pub partition: Option<i32>,
    /// Null differs from empty.
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone.
    pub value: Option<&'a [u8]>,
    /// In order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Milliseconds; `None` is now.
    pub timestamp: Option<i64>,
}

/// Sends records.
pub struct Producer(Box<dyn Writer>);

impl Producer {
    /// A producer of transactions under `id`. Returns once the broker has ended whatever an earlier
    /// producer of this id left open, and has shut that one out; what is read from then on is all it
    /// ever committed. Without transactions (see [`crate::KafkaSettings`]) this is [`Self::idempotent`].
    pub async fn transactional(kafka: &Kafka, id: &str) -> Result<Self> {
        kafka.cluster().transactional(id).await.map(Self)
    }

    /// A producer whose records arrive once and in order, each visible at once.
    #[expect(clippy::unused_async, reason = "the transactional twin waits for a broker")]
    pub async fn idempotent(kafka: &Kafka) -> Result<Self> {
        kafka.cluster().idempotent().map(Self)
    }

    /// Queues a record. Blocks while the queue is full, for a minute at most; then the record was not
    /// taken. In a task that must stay responsive, keep a batch below the queue's size and flush.
    pub fn send(&self, record: Outgoing<'_>) -> Result<()> {
        self.send_within(record, QUEUE_PATIENCE)
    }

    pub(crate) fn send_within(&self, record: Outgoing<'_>, patience: Duration) -> Result<()> {
        self.0.send(record, patience)
    }

    /// Waits until every record sent was acknowledged or given up. Errs when any was given up since
    /// the last flush.
    pub async fn flush(&self) -> Result<()> {
        self.0.flush().await
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<()> {
        self.0.begin().await
    }

    /// Makes the records since `begin` visible, all at once. Without transactions they are already,
    /// and this is [`Self::flush`].
    pub async fn commit(&self) -> Result<()> {
        self.0.commit().await
    }

    /// Drops the records since `begin`. Without transactions those that were sent stay.
    pub async fn abort(&self) -> Result<()> {
        self.0.abort().await
    }
}

#[cfg(test)]
mod tests;
