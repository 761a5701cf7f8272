//! Events that wait for the end of their Kafka transaction.
//!
//! A Kafka transaction contains whole transactions of the database, and at its end the cursor. The slot
//! advances only after its commit. Stop before the commit: nothing is on the topics, and the slot sends
//! everything again. Stop between the commit and the acknowledgement to the slot: the slot sends again what
//! lies before the cursor, and it is skipped.

use source::{Outbox, Sent, SourceBatch};
use stream::Outgoing;

use super::encode::{ChangeEvent, records};
use crate::Error;

/// Events that are encoded at once.
const CHUNK: usize = 1_000;

/// Events of the open Kafka transaction.
#[derive(Default)]
pub struct Pending {
    waiting: Vec<ChangeEvent>,
    /// Number of its records that were sent. `None`: it has no events.
    sent: Option<usize>,
}

impl Pending {
    /// Number of records in the open Kafka transaction. `None`: no transaction is open.
    pub fn held(&self) -> Option<usize> {
        self.sent.map(|sent| sent + self.waiting.len())
    }

    /// Adds events.
    pub fn take(&mut self, events: Vec<ChangeEvent>) {
        if !events.is_empty() {
            self.sent.get_or_insert(0);
            self.waiting.extend(events);
        }
    }

    /// The events to send now. `None`: there are too few.
    pub fn chunk(&mut self, now_ms: i64) -> Option<SourceBatch> {
        if self.waiting.len() < CHUNK { None } else { self.rest(now_ms) }
    }

    /// All events that have not been sent. `None`: there are none.
    pub fn rest(&mut self, now_ms: i64) -> Option<SourceBatch> {
        if self.waiting.is_empty() {
            return None;
        }
        let events = std::mem::take(&mut self.waiting);
        Some(SourceBatch::new(move |outbox| Ok(send(outbox, &events, now_ms)?)))
    }

    /// Counts records that were sent.
    pub fn sent(&mut self, sent: Sent) {
        *self.sent.get_or_insert(0) += usize::try_from(sent.records).unwrap_or(usize::MAX);
    }

    /// The transaction has ended.
    pub fn committed(&mut self) {
        self.sent = None;
    }
}

fn send(outbox: &mut Outbox<'_>, events: &[ChangeEvent], now_ms: i64) -> Result<(), Error> {
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
            let sent = if record.is_bad { outbox.send_bad(outgoing) } else { outbox.send(outgoing) };
            sent.map_err(|source| Error::Stream { topic: topic.clone(), source })?;
        }
    }
    Ok(())
}
