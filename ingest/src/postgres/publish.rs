//! Events that wait for the end of their Kafka transaction.
//!
//! A Kafka transaction holds whole transactions of the database, and last of all the cursor that says
//! so. The slot moves on only behind its commit. Stop before the commit: nothing is on the topics, and
//! the slot gives everything again. Stop between the commit and the word to the slot: the slot gives again what
//! lies before the cursor, and it is passed over.

use source::{Batch, Outbox, Sent};
use stream::Outgoing;

use super::encode::{Event, records};
use crate::Error;

/// Events encoded at once.
const CHUNK: usize = 1_000;

/// Events of the open Kafka transaction.
#[derive(Default)]
pub struct Pending {
    waiting: Vec<Event>,
    /// Records of it that were sent. `None`: there is no event in it.
    sent: Option<usize>,
}

impl Pending {
    /// Records of the open Kafka transaction; nothing when none is open.
    pub fn held(&self) -> Option<usize> {
        self.sent.map(|sent| sent + self.waiting.len())
    }

    /// Takes events.
    pub fn take(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.sent.get_or_insert(0);
            self.waiting.extend(events);
        }
    }

    /// Events to be sent now, as there are enough of them.
    pub fn chunk(&mut self, now_ms: i64) -> Option<Batch> {
        if self.waiting.len() < CHUNK { None } else { self.rest(now_ms) }
    }

    /// All events that were not sent yet.
    pub fn rest(&mut self, now_ms: i64) -> Option<Batch> {
        if self.waiting.is_empty() {
            return None;
        }
        let events = std::mem::take(&mut self.waiting);
        Some(Batch::new(move |outbox| Ok(send(outbox, &events, now_ms)?)))
    }

    /// So many were sent.
    pub fn sent(&mut self, sent: Sent) {
        *self.sent.get_or_insert(0) += usize::try_from(sent.records).unwrap_or(usize::MAX);
    }

    /// The transaction has ended.
    pub fn committed(&mut self) {
        self.sent = None;
    }
}

fn send(outbox: &mut Outbox<'_>, events: &[Event], now_ms: i64) -> Result<(), Error> {
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
