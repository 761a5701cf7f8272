//! Decides which records of a table are new, and when what waits becomes a commit. Pure: batches,
//! ticks and answers in, plans out.
//!
//! For each partition it knows the table's position and what comes next in the log as it was read.
//! Records below `next` are repeats of what waits or is committed. A hole above it is no gap:
//! compaction and transaction markers leave holes, and what is really lost the broker's log start
//! and end tell ([`crate::error::Loss`]).
//!
//! **Generations.** After a seek or a new assignment, records read before it may still be on their
//! way. They lie above `next`, so offsets alone would take them for what comes next and lose what
//! lies between. Each assignment and seek has a generation, each batch carries that under which it
//! was read, and another one's are dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ClockMs, Offset};

/// When to commit: whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Age of the oldest batch that waits.
    pub age: Duration,
    /// Rows that wait.
    pub rows: u64,
    /// Bytes that wait.
    pub bytes: u64,
}

/// Rows of one partition that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<B> {
    /// The partition.
    pub partition: i32,
    /// Generation under which it was read.
    pub generation: u64,
    /// Offset of the first record read, kept or not.
    pub first: Offset,
    /// Offset behind the last record read, kept or not.
    pub next: Offset,
    /// Rows kept.
    pub rows: u64,
    /// Bytes they took on the wire.
    pub bytes: u64,
    /// The rows themselves.
    pub payload: B,
}

/// What a commit covers of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// The table's position that the batch was read from. `None`: the table had none.
    pub position: Option<Offset>,
    /// First offset covered.
    pub from: Offset,
    /// Position after the commit.
    pub to: Offset,
    /// Rows in it.
    pub rows: u64,
    generation: u64,
}

impl Range {
    /// Offsets whose records nobody will ever read.
    pub fn passed_over(partition: i32, from: Offset, to: Offset) -> Self {
        Self { partition, position: Some(from), from, to, rows: 0, generation: 0 }
    }
}

/// One commit: ranges by partition, and the batches in (partition, offset) order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<B> {
    /// What is covered.
    pub ranges: Vec<Range>,
    /// Number of batches of each range, in order.
    pub batches: Vec<Vec<B>>,
    /// Bytes on the wire of all of it.
    pub bytes: u64,
}
impl<B> Plan<B> {
    /// Rows of all ranges.
    pub fn rows(&self) -> u64 {
        self.ranges.iter().map(|range| range.rows).sum()
    }
}

#[derive(Debug)]
struct Part<B> {
    generation: u64,
    /// What the table says.
    position: Option<Offset>,
    /// What the log has next for us; `None` until the first record of a partition never read.
    next: Option<Offset>,
    /// Offset of the first record that waits or is in the commit on its way.
    from: Option<Offset>,
    waiting: Vec<B>,
    rows: u64,
    bytes: u64,
}

/// Decides for one table.
#[derive(Debug)]
pub struct Decider<B> {
    limits: Limits,
    parts: BTreeMap<i32, Part<B>>,
    oldest: Option<ClockMs>,
}
impl<B> Decider<B> {
    /// A table without partitions yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, parts: BTreeMap::new(), oldest: None }
    }

    /// The partition is ours from here on, or was sought back; `position` is the table's.
    pub fn start(&mut self, partition: i32, generation: u64, position: Option<Offset>) {
        let part =
            Part { generation, position, next: position, from: None, waiting: Vec::new(), rows: 0, bytes: 0 };
        self.parts.insert(partition, part);
        self.settle();
    }

    /// The partition is another's, or halts. What waits of it is dropped: no commit covers it, so
    /// whoever has it next reads it again.
    pub fn stop(&mut self, partition: i32) {
        self.parts.remove(&partition);
        self.settle();
    }

    /// Partitions that are ours.
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.parts.keys().copied()
    }

    /// The least offset that is new in a batch of that generation. `None`: nothing of it is ours.
    pub fn floor(&self, partition: i32, generation: u64) -> Option<Offset> {
        let part = self.parts.get(&partition).filter(|part| part.generation == generation)?;
        Some(part.next.unwrap_or(Offset(0)))
    }

    /// Takes a batch in. `false`: it was read before the last seek and is dropped.
    pub fn on_batch(&mut self, batch: Batch<B>, now: ClockMs) -> bool {
        let part = self.parts.get_mut(&batch.partition).filter(|part| part.generation == batch.generation);
        let Some(part) = part.filter(|part| part.next.is_none_or(|next| batch.next > next)) else {
            return false;
        };
        let first = part.next.unwrap_or(batch.first);
        part.from.get_or_insert(first);
        part.next = Some(batch.next);
        part.rows += batch.rows;
        part.bytes += batch.bytes;
        part.waiting.push(batch.payload);
        self.oldest.get_or_insert(now);
        true
    }

    /// Whether what waits should be committed now.
    pub fn is_due(&self, now: ClockMs) -> bool {
        let aged = self.oldest.is_some_and(|oldest| now.is_past(oldest, self.limits.age));
        aged || self.is_full()
    }
    /// Whether as much waits as one commit should hold.
    pub fn is_full(&self) -> bool {
        let sum = |of: fn(&Part<B>) -> u64| self.parts.values().map(of).sum::<u64>();
        sum(|part| part.rows) >= self.limits.rows || sum(|part| part.bytes) >= self.limits.bytes
    }
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// Everything that waits, as one commit. Positions stay until [`Decider::landed`].
    pub fn take(&mut self) -> Option<Plan<B>> {
        let mut plan = Plan { ranges: Vec::new(), batches: Vec::new(), bytes: 0 };
        for (&partition, part) in &mut self.parts {
            let (Some(from), Some(to)) = (part.from.take(), part.next) else { continue };
            plan.ranges.push(Range {
                partition,
                position: part.position,
                from,
                to,
                rows: std::mem::take(&mut part.rows),
                generation: part.generation,
            });
            plan.batches.push(std::mem::take(&mut part.waiting));
            plan.bytes += std::mem::take(&mut part.bytes);
        }
        self.oldest = None;
        (!plan.ranges.is_empty()).then_some(plan)
    }

    /// The commit is in the table. Partitions that went meanwhile are not touched.
    pub fn landed(&mut self, ranges: &[Range]) {
        for range in ranges {
            let part = self.parts.get_mut(&range.partition);
            if let Some(part) = part.filter(|part| part.generation == range.generation) {
                part.position = Some(range.to);
            }
        }
    }

    /// The table's position of a partition, as far as we know.
    pub fn position(&self, partition: i32) -> Option<Offset> {
        self.parts.get(&partition)?.position
    }
    /// Whether all that was read of a partition is in the table.
    pub fn is_settled(&self, partition: i32) -> bool {
        self.parts.get(&partition).is_some_and(|part| part.next == part.position)
    }

    /// `oldest` belongs to what waits; without any, there is no age.
    fn settle(&mut self) {
        if self.parts.values().all(|part| part.from.is_none()) {
            self.oldest = None;
        }
    }
}

#[cfg(test)]
mod tests;
