//! Decides which records of a table are new and when waiting rows are committed. Pure: takes batches, times
//! and results of commits, and returns commits.
//!
//! For each partition it knows the table's position and the next offset to read. Records below `next` are
//! repeats of rows that wait or are committed. A gap above it is not a loss: compaction and transaction markers
//! leave gaps, and the broker's log start and end show real losses ([`crate::error::Loss`]).
//!
//! **Generations.** After a seek or a new assignment, records read before it may still arrive. They lie above
//! `next`, so by offset alone they would pass for the next records, and the records in between would be lost.
//! So each assignment and seek has a generation, and each batch carries the generation it was read under.
//! Batches of another generation are dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{ClockMs, Offset};

/// When to commit: as soon as one limit is reached.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Age of the oldest waiting batch.
    pub age: Duration,
    /// Waiting rows.
    pub rows: u64,
    /// Waiting bytes.
    pub bytes: u64,
}

/// Rows of one partition that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionBatch<B> {
    /// The partition.
    pub partition: i32,
    /// Generation under which it was read.
    pub generation: u64,
    /// Offset of the first record, kept or not.
    pub first: Offset,
    /// Offset behind the last record, kept or not.
    pub next: Offset,
    /// Kept rows.
    pub rows: u64,
    /// Bytes of the records on the wire.
    pub bytes: u64,
    /// The rows themselves.
    pub payload: B,
}

/// The part of a commit that covers one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetRange {
    /// The partition.
    pub partition: i32,
    /// The table's position that the records were read from. `None`: the table had none.
    pub position: Option<Offset>,
    /// First offset covered.
    pub from: Offset,
    /// Position after the commit.
    pub to: Offset,
    /// Number of rows.
    pub rows: u64,
    generation: u64,
}

impl OffsetRange {
    /// A range without rows, for lost records.
    pub fn passed_over(partition: i32, from: Offset, to: Offset) -> Self {
        Self { partition, position: Some(from), from, to, rows: 0, generation: 0 }
    }
}

/// One commit: ranges by partition, with their batches in (partition, offset) order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCommit<B> {
    /// The covered ranges.
    pub ranges: Vec<OffsetRange>,
    /// The batches of each range.
    pub batches: Vec<Vec<B>>,
    /// Bytes of all batches on the wire.
    pub bytes: u64,
}
impl<B> PendingCommit<B> {
    /// Rows of all ranges.
    pub fn rows(&self) -> u64 {
        self.ranges.iter().map(|range| range.rows).sum()
    }
}

#[derive(Debug)]
struct Part<B> {
    generation: u64,
    /// The table's position.
    position: Option<Offset>,
    /// The next offset to read; `None` until the first record of a partition that was never read.
    next: Option<Offset>,
    /// Offset of the first waiting record.
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
    /// A decider without partitions.
    pub fn new(limits: Limits) -> Self {
        Self { limits, parts: BTreeMap::new(), oldest: None }
    }

    /// Starts a partition at the table's position, after an assignment or a seek.
    pub fn start(&mut self, partition: i32, generation: u64, position: Option<Offset>) {
        let part =
            Part { generation, position, next: position, from: None, waiting: Vec::new(), rows: 0, bytes: 0 };
        self.parts.insert(partition, part);
        self.settle();
    }

    /// Stops a partition that another process has or that halts. Drops its waiting rows: no commit covers
    /// them, so the next owner reads them again.
    pub fn stop(&mut self, partition: i32) {
        self.parts.remove(&partition);
        self.settle();
    }

    /// The assigned partitions.
    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.parts.keys().copied()
    }

    /// The lowest new offset in a batch of that generation. `None`: the batch is not for us.
    pub fn floor(&self, partition: i32, generation: u64) -> Option<Offset> {
        let part = self.parts.get(&partition).filter(|part| part.generation == generation)?;
        Some(part.next.unwrap_or(Offset(0)))
    }

    /// Adds a batch. Returns false if it was read before the last seek and is dropped.
    pub fn on_batch(&mut self, batch: PartitionBatch<B>, now: ClockMs) -> bool {
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

    /// True if the waiting rows should be committed now.
    pub fn is_due(&self, now: ClockMs) -> bool {
        let aged = self.oldest.is_some_and(|oldest| now.is_past(oldest, self.limits.age));
        aged || self.is_full()
    }
    /// True if the waiting rows fill a commit.
    pub fn is_full(&self) -> bool {
        let sum = |of: fn(&Part<B>) -> u64| self.parts.values().map(of).sum::<u64>();
        sum(|part| part.rows) >= self.limits.rows || sum(|part| part.bytes) >= self.limits.bytes
    }
    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.oldest.is_none()
    }

    /// Takes all waiting rows as one commit. Positions change only with [`Decider::landed`].
    pub fn take(&mut self) -> Option<PendingCommit<B>> {
        let mut pending = PendingCommit { ranges: Vec::new(), batches: Vec::new(), bytes: 0 };
        for (&partition, part) in &mut self.parts {
            let (Some(from), Some(to)) = (part.from.take(), part.next) else { continue };
            pending.ranges.push(OffsetRange {
                partition,
                position: part.position,
                from,
                to,
                rows: std::mem::take(&mut part.rows),
                generation: part.generation,
            });
            pending.batches.push(std::mem::take(&mut part.waiting));
            pending.bytes += std::mem::take(&mut part.bytes);
        }
        self.oldest = None;
        (!pending.ranges.is_empty()).then_some(pending)
    }

    /// Records that a commit is in the table. Ignores partitions that were given up or restarted since.
    pub fn landed(&mut self, ranges: &[OffsetRange]) {
        for range in ranges {
            let part = self.parts.get_mut(&range.partition);
            if let Some(part) = part.filter(|part| part.generation == range.generation) {
                part.position = Some(range.to);
            }
        }
    }

    /// The last known table position of a partition.
    pub fn position(&self, partition: i32) -> Option<Offset> {
        self.parts.get(&partition)?.position
    }
    /// True if everything read from a partition is in the table.
    pub fn is_settled(&self, partition: i32) -> bool {
        self.parts.get(&partition).is_some_and(|part| part.next == part.position)
    }

    /// Without waiting rows there is no oldest one.
    fn settle(&mut self) {
        if self.parts.values().all(|part| part.from.is_none()) {
            self.oldest = None;
        }
    }
}

#[cfg(test)]
mod tests;
