//! The partitions a consumer has, and in what state each is.

use runtime::time::Instant;
use std::collections::HashMap;

use model::{Offset, TopicId, TopicName};

use super::shared::{Track, raise};
use super::{Cause, LostPosition};
use crate::ffi::EARLIEST;

/// The state of one partition. Only the consumer's thread changes it:
/// `Unchecked` → `Fetching` or `Lost` by a check; `Fetching` → `Unchecked` by an error or a seek,
/// → `Suspended` and back by a full queue; any → `Paused` by the handle; `Paused`, `Lost` → `Unchecked` by a
/// seek; any → `Lost` by a recreated topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchState {
    /// To be checked against the log, not before this time. The library does not fetch it.
    Unchecked(Instant),
    /// The library fetches it.
    Fetching,
    /// Checked; the library does not fetch it while the queue is full.
    Suspended,
    /// The handle paused it. A seek or an assignment ends that.
    Paused,
    /// Its position is not in the log. It is not fetched.
    Lost,
}

/// Where to read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nobody was asked yet.
    Unasked,
    /// The start of the log, wherever that is when it is read.
    Earliest,
    /// This offset.
    At(Offset),
}
impl Next {
    pub fn of(start: Option<Offset>) -> Self {
        start.map_or(Self::Earliest, Self::At)
    }
    pub fn known(self) -> Option<Offset> {
        match self {
            Self::At(offset) => Some(offset),
            Self::Unasked | Self::Earliest => None,
        }
    }
    /// As the library takes it.
    pub fn raw(self) -> i64 {
        self.known().map_or(EARLIEST, |offset| offset.0)
    }
}

/// One partition.
#[derive(Debug)]
pub struct Part {
    pub topic: TopicName,
    pub partition: i32,
    pub next: Next,
    pub state: FetchState,
    pub generation: u64,
    pub track: Track,
    /// Size of the last batch: room for the next.
    pub room: (usize, usize),
}

impl Part {
    pub fn new(topic: TopicName, partition: i32, next: Next, track: Track, now: Instant) -> Self {
        let generation = raise(&track);
        Self { topic, partition, next, state: FetchState::Unchecked(now), generation, track, room: (0, 0) }
    }
    pub fn loss(&self, topic_id: TopicId, cause: Cause) -> LostPosition {
        let (topic, partition) = (self.topic.clone(), self.partition);
        LostPosition { topic, topic_id, partition, position: self.next.known(), cause }
    }
    pub fn is(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic.as_str() == topic
    }
    /// Whether a check is due.
    pub fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, FetchState::Unchecked(at) if at <= now)
    }
}

/// All partitions, found by what a message knows of its source.
#[derive(Default)]
pub struct Parts {
    all: Vec<Part>,
    /// By the address of the library's topic object, which may come to mean another topic once
    /// partitions were given back.
    found: HashMap<(usize, i32), Option<usize>>,
}

impl Parts {
    pub fn add(&mut self, part: Part) {
        self.found.clear();
        self.all.push(part);
    }
    /// Removes and returns them.
    pub fn remove(&mut self, partitions: &[(TopicName, i32)]) -> Vec<Part> {
        self.found.clear();
        let gone = |part: &mut Part| partitions.iter().any(|(t, p)| *p == part.partition && *t == part.topic);
        self.all.extract_if(.., gone).collect()
    }
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        self.all.iter()
    }
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.all.iter_mut()
    }
    pub fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Part> {
        self.all.iter_mut().find(|part| part.is(topic, partition))
    }
    pub fn at(&mut self, index: usize) -> &mut Part {
        &mut self.all[index]
    }
    /// Index of the partition that messages of this source belong to.
    pub fn find(&mut self, source: (usize, i32), topic: impl FnOnce() -> Option<String>) -> Option<usize> {
        let all = &self.all;
        *self.found.entry(source).or_insert_with(|| {
            let topic = topic()?;
            all.iter().position(|part| part.is(&topic, source.1))
        })
    }
}
