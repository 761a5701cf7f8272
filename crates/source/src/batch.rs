//! What a source hands over to be published: records of its topics, and dead letters.

use model::TopicName;
use stream::{Outgoing, Producer};

use crate::Error;

/// Bytes of what is no record that its dead letter keeps.
const KEPT: usize = 512 << 10;

/// Records to be sent. They are encoded as they are sent, off the async threads.
pub struct SourceBatch(Box<Encodes>);
type Encodes = dyn FnOnce(&mut Outbox<'_>) -> Result<(), Error> + Send;
impl SourceBatch {
    /// `send` encodes the records and sends them. It may block while the client's queue is full.
    pub fn new(send: impl FnOnce(&mut Outbox<'_>) -> Result<(), Error> + Send + 'static) -> Self {
        Self(Box::new(send))
    }
    /// Sends the records by `producer`; what was sent.
    pub(crate) fn send(self, producer: &Producer) -> Result<Sent, Error> {
        let mut outbox = Outbox { producer, sent: Sent::default() };
        (self.0)(&mut outbox)?;
        Ok(outbox.sent)
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Records on the topics, tombstones included.
    pub records: u64,
    /// What the topics cannot take: dead letters, and records that went out as they are.
    pub bad: u64,
}
impl Sent {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { records: self.records + other.records, bad: self.bad + other.bad }
    }
}

/// Where a batch goes: into the open transaction.
pub struct Outbox<'a> {
    producer: &'a Producer,
    sent: Sent,
}
impl Outbox<'_> {
    /// Sends a record.
    pub fn send(&mut self, record: Outgoing<'_>) -> stream::Result<()> {
        self.producer.send(record)?;
        self.sent.records += 1;
        Ok(())
    }
    /// Sends a record that its schema cannot hold: whoever reads it keeps it with the reason.
    pub fn send_bad(&mut self, record: Outgoing<'_>) -> stream::Result<()> {
        self.send(record)?;
        self.sent.bad += 1;
        Ok(())
    }
    /// Sends what is no record of its topic to the topic of dead letters.
    pub fn dead_letter(&mut self, letter: &DeadLetter<'_>) -> stream::Result<()> {
        let kept = &letter.raw[..letter.raw.len().min(KEPT)];
        let mut reason = letter.reason.to_owned();
        if letter.length > kept.len() as u64 {
            let length = letter.length;
            reason = format!("{reason} (the first {} of its {length} bytes are kept here)", kept.len());
        }
        let mut headers = letter.place.to_vec();
        headers.push(("error", reason.as_bytes()));
        headers.push(("source_topic", letter.meant_for.as_str().as_bytes()));
        self.producer.send(Outgoing {
            topic: letter.topic,
            partition: None,
            key: Some(letter.key),
            value: Some(kept),
            headers: &headers,
            timestamp: None,
        })?;
        self.sent.bad += 1;
        Ok(())
    }
    /// What this batch has sent so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }
}

/// What is no record of its topic, with the reason.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The topic of dead letters.
    pub topic: &'a TopicName,
    /// The topic it cannot be a record of.
    pub meant_for: &'a TopicName,
    /// Keeps the letters of one file, slice or sender in order.
    pub key: &'a [u8],
    /// Where it comes from, as headers.
    pub place: &'a [(&'a str, &'a [u8])],
    /// Its bytes, or the first of them.
    pub raw: &'a [u8],
    /// How many bytes it has.
    pub length: u64,
    /// Why it is no record.
    pub reason: &'a str,
}

#[cfg(test)]
mod tests;
