//! Reads topics in batches, from positions that the caller's output holds.
//!
//! A group says which partitions are ours and nothing more; where to read comes from [`Start`], and
//! what the group stores as offset is for people ([`Consumer::show_lag`]). Before a partition is read
//! its topic's id and the ends of its log are asked for: a position the log does not hold becomes
//! [`ConsumerEvent::Lost`], also with a broker that would answer such a fetch with nothing or with what comes
//! next. A lost partition rests until [`Consumer::seek`] or another assignment; the others go on.
//!
//! **Threads and bounds.** One thread owns the client and copies what it takes into [`Records`]. They
//! wait for [`Consumer::next`] in a queue of at most `queue_bytes` (one batch more at the most); when
//! it is full the thread waits. Should that last, it gives its fetches up until half is read, so that
//! it can serve the group meanwhile. The library prefetches up to `queue_bytes` besides, 64 MiB at most.
//!
//! **Staleness.** Every batch carries its partition's generation. Seek, revocation and assignment
//! raise it, and `next` drops batches of an earlier one: what is delivered after a seek starts there.
//!
//! **A broker that is down** is a [`ConsumerEvent::Error`] once a second, nothing else: the client connects
//! again by itself and goes on where it was. Nothing is skipped either when a partition cannot be read
//! (a checksum that does not match, an unknown codec): it is fetched again from the same offset.

mod check;
pub(crate) mod client;
mod part;
mod shared;
mod worker;

use std::sync::Arc;

use model::{Offset, TopicId, TopicName};

use crate::cluster::Reader;
use crate::{Error, Kafka, Records, Result};

/// How much a consumer takes at once and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most records of one batch.
    pub max_records: usize,
    /// A batch is closed once it holds this many bytes; one record may exceed it.
    pub max_bytes: usize,
    /// Bytes that may wait for [`Consumer::next`]; when they do, the consumer's thread waits.
    pub queue_bytes: usize,
}
impl Default for Limits {
    fn default() -> Self {
        Self { max_records: 20_000, max_bytes: 8 << 20, queue_bytes: 64 << 20 }
    }
}

/// Why a position is not in the log any more, or not yet again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The log now starts here: records in between are gone.
    LogStart(Offset),
    /// The log ends here: it was truncated, or restored from an older copy.
    LogEnd(Offset),
    /// The topic was deleted and created again, and now has this id.
    Recreated(TopicId),
}
impl Cause {
    /// Why a log that starts at `low` and ends at `high` does not hold `position`. Its end is in it, that is
    /// where the next record comes. `None`: it does.
    pub fn of(position: Offset, low: Offset, high: Offset) -> Option<Self> {
        match position {
            position if position < low => Some(Self::LogStart(low)),
            position if position > high => Some(Self::LogEnd(high)),
            _ => None,
        }
    }
}

/// Records that cannot be read any more. The partition rests; going on is a person's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostPosition {
    /// Which topic.
    pub topic: TopicName,
    /// Its id; the one before, if it was recreated.
    pub topic_id: TopicId,
    /// Which partition.
    pub partition: i32,
    /// Where we were to read; `None` is the start of the log.
    pub position: Option<Offset>,
    /// What the log says.
    pub cause: Cause,
}
impl std::fmt::Display for LostPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, .. } = self;
        let position = self.position.map_or(0, |position| position.0);
        write!(f, "partition {partition} of topic `{topic}` was to be read from offset {position}, but ")?;
        match &self.cause {
            Cause::LogStart(low) => write!(f, "its log starts at {}", low.0),
            Cause::LogEnd(high) => write!(f, "its log ends at {}", high.0),
            Cause::Recreated(id) => write!(f, "the topic was recreated and has id `{id}` now"),
        }
    }
}

/// What a consumer has to tell.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Records of one partition, behind those of it that came before.
    Records(Records),
    /// The group gave us these. Their records follow.
    Assigned(Vec<(TopicName, i32)>),
    /// The group took these back. No record of them follows; who has them reads on from its output.
    Revoked(Vec<(TopicName, i32)>),
    /// All committed records up to this offset were delivered. Told once each time the end is reached.
    End(TopicName, i32, Offset),
    /// A position is not in the log. The partition rests.
    Lost(LostPosition),
    /// Something failed; at most one a second. The client goes on by itself while the error's
    /// reaction is [`model::Reaction::Retry`].
    Error(Error),
}

/// Says where to read, as the output says.
pub trait Start: Send + Sync {
    /// One position for each partition; `None` is the start of the log. Called from the consumer's
    /// thread, which serves the group meanwhile not: answer from memory.
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>>;
    /// The same, with the id each topic has now: positions are kept by id, and a recreated topic is
    /// not read from its predecessor's.
    fn start_of(&self, assigned: &[(TopicName, TopicId, i32)]) -> Vec<Option<Offset>> {
        let assigned: Vec<_> =
            assigned.iter().map(|(topic, _, partition)| (topic.clone(), *partition)).collect();
        self.start(&assigned)
    }
}

/// Reads partitions. Dropping it leaves the group, too, without waiting for that.
pub struct Consumer(Box<dyn Reader>);

impl Consumer {
    /// Shares the topics' partitions with the other members of `group`. Returns at once, also while
    /// no broker answers.
    pub fn subscribe(
        kafka: &Kafka,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Result<Self> {
        kafka.cluster().subscribe(group, topics, start, limits).map(Self)
    }

    /// Reads these partitions, without a group. Returns at once, also while no broker answers.
    pub fn assign(kafka: &Kafka, partitions: Vec<(TopicName, i32, Offset)>, limits: Limits) -> Result<Self> {
        kafka.cluster().assign(partitions, limits).map(Self)
    }

    /// The next event. `None` once the client has given up, which a [`ConsumerEvent::Error`] told before.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<ConsumerEvent> {
        self.0.next().await
    }

    /// Reads the partition from `offset` on. Batches of it that wait already are dropped. Nothing
    /// happens when the partition is not ours: its next assignment asks [`Start`].
    pub fn seek(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.0.seek(topic, partition, offset);
    }

    /// Pauses the partition until [`Consumer::seek`] or its next assignment. Waiting batches of it are dropped.
    pub fn pause(&self, topic: &TopicName, partition: i32) {
        self.0.pause(topic, partition);
    }

    /// Stores where the output stands with the group, for tools that show lag. Never read back.
    pub fn show_lag(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.0.show_lag(topic, partition, offset);
    }

    /// Leaves the group and returns once it is left, or could not be within a few seconds.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

#[cfg(test)]
mod tests;
