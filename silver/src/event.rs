//! What one bronze row says of a key: its place in the sequence, its verdict, its outcome.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use model::Sequence;
pub use stage::{Outcome, Outcomes};

/// A [`Sequence`] that costs no allocation an event: the topic's id is shared. Same order, same
/// text, same notion of a repeat.
///
/// Positions of a foreign source do not order ([`Seq::by_offset`]): a row's place in the log says nothing
/// of when its transaction committed. Then epoch and offset do, and the position only bounds which
/// events may be a repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seq {
    /// Incarnation of the source database.
    pub epoch: Option<i64>,
    /// Log sequence number in it, or the value of `sequence_by`. By offset: of an event its own, of what
    /// a fold made the highest so far of its key.
    pub lsn: Option<i64>,
    /// Order within the source transaction.
    pub tx_order: Option<i64>,
    /// Whether epoch and offset order, and `lsn` and `tx_order` do not.
    pub by_offset: bool,
    /// Offset in its partition; −1 for the truncate that a whole snapshot stands for.
    pub offset: i64,
    /// Partition of its topic.
    pub partition: i32,
    /// Id of the topic.
    pub topic_id: Arc<str>,
}
impl Seq {
    /// Whether both are one event, delivered twice: [`Sequence::same_event`].
    pub fn same_event(&self, other: &Self) -> bool {
        match (self.named(), other.named()) {
            (Some(this), Some(that)) => this == that,
            _ => self.coordinates() == other.coordinates(),
        }
    }
    /// Epoch, LSN and order in the transaction, when the source gave all three and they order.
    pub fn named(&self) -> Option<(i64, i64, i64)> {
        if self.by_offset { None } else { Some((self.epoch?, self.lsn?, self.tx_order?)) }
    }
    /// The parts that the source gave and that order.
    fn rank(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        if self.by_offset { (self.epoch, None, None) } else { (self.epoch, self.lsn, self.tx_order) }
    }
    /// Whether both are on one partition of one topic.
    pub fn shares_partition(&self, other: &Self) -> bool {
        (self.partition, &self.topic_id) == (other.partition, &other.topic_id)
    }
    /// Whether this comes behind `other`, as far as can be told. Offsets of two partitions say nothing;
    /// there the positions do, where a lock keeps changes apart: a truncate from all changes of its
    /// table, a key's changes from each other. `None`: cannot be told.
    pub fn is_behind(&self, other: &Self) -> Option<bool> {
        if !(self.by_offset && other.by_offset) || self.shares_partition(other) {
            return Some(self > other);
        }
        match self.epoch.cmp(&other.epoch) {
            Ordering::Equal => Some(self.lsn? > other.lsn?),
            unequal => Some(unequal.is_gt()),
        }
    }
    /// Where the event stands in Kafka.
    pub fn coordinates(&self) -> (&str, i32, i64) {
        (&self.topic_id, self.partition, self.offset)
    }
    /// The same in the workspace's word.
    pub fn sequence(&self) -> Sequence {
        let (epoch, lsn, tx_order) = self.rank();
        Sequence {
            epoch,
            lsn,
            tx_order,
            topic_id: self.topic_id.to_string(),
            partition: self.partition,
            offset: self.offset,
        }
    }
}
impl PartialOrd for Seq {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Seq {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank(), self.offset, &self.topic_id, self.partition).cmp(&(
            other.rank(),
            other.offset,
            &other.topic_id,
            other.partition,
        ))
    }
}
impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sequence().fmt(f)
    }
}

/// Where a row stands among the batches of one [`crate::pool::Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef {
    /// Which batch.
    pub batch: u32,
    /// Which of its rows.
    pub row: u32,
}

/// A key among those of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// What WHERE and expectations say of a row. A function of the row alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key has this row.
    Row,
    /// The WHERE rejects the row: the key is not in the table.
    Filtered,
    /// The row is put aside; the key keeps what it had.
    Quarantined,
    /// The row is left out; the key keeps what it had.
    Dropped,
    /// The source deleted the key.
    Delete,
}

/// What the source left out of an event because it did not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged {
    /// Output columns to take from the row before.
    pub columns: Arc<[bool]>,
    /// The WHERE reads nothing but such columns: what it said of the row before stands.
    pub verdict: bool,
}

/// What tells an event of a key from its others where positions do not order: a connector that starts
/// again sends the same once more. The order in the transaction is not part of it: a connector that begins again
/// in the middle of a transaction counts the rest from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// Incarnation of the source database.
    pub epoch: Option<i64>,
    /// Where the row stands in the log.
    pub lsn: i64,
    /// The transaction.
    pub tx_id: Option<i64>,
    /// When it committed.
    pub committed: Option<i64>,
    /// What was done to the row: a key that changes has a delete and an insert at one place.
    pub op: &'static str,
}

/// One event of a key.
#[derive(Debug, Clone)]
pub struct Event {
    /// The key.
    pub key: KeyId,
    /// Its place in the order of changes.
    pub seq: Seq,
    /// What it is recognised by when it comes again, where `seq` does not say it.
    pub name: Option<Name>,
    /// A delete that has no value of `sequence_by`: it takes the highest one that its key had before it
    /// on its partition.
    pub unplaced: bool,
    /// When it happened at the source, microseconds. Orders nothing.
    pub at: Option<i64>,
    /// The projected row.
    pub row: RowRef,
    /// What WHERE and expectations say of it.
    pub verdict: Verdict,
    /// What is to be carried over from the row before.
    pub unchanged: Option<Unchanged>,
    /// The key this row had before, when the source changed a key.
    pub moved_from: Option<KeyId>,
    /// ULID of the redrive that appended it again at its coordinates. The last one counts.
    pub redrive: Option<Arc<str>>,
}

/// A truncate: what every key has, it loses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truncate {
    /// Its place in the order of changes.
    pub seq: Seq,
    /// When it happened at the source, microseconds.
    pub at: Option<i64>,
    /// Concerns the rows of its own partition alone: the start of a whole snapshot that offsets order.
    pub here: bool,
}

impl Truncate {
    /// A truncate at `seq`.
    pub fn new(seq: Seq, at: Option<i64>) -> Self {
        Self { seq, at, here: false }
    }
    /// Whether both are one truncate. The starts of two snapshots have no coordinates of their own: they
    /// are one only where everything about them is.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        if self.starts_snapshot() || other.starts_snapshot() {
            return self.seq == other.seq && self.here == other.here;
        }
        let (this, that) = (&self.seq, &other.seq);
        if this.by_offset && that.by_offset && this.lsn.is_some() {
            return (this.epoch, this.lsn) == (that.epoch, that.lsn);
        }
        this.same_event(that)
    }
    /// Oldest first, each once. Copies need not be neighbours: those of a foreign Debezium are ordered by
    /// offset and recognised by position, so others may stand between them.
    pub fn each_once(mut all: Vec<Self>) -> Vec<Self> {
        all.sort();
        let mut once: Vec<Self> = Vec::with_capacity(all.len());
        for truncate in all {
            if !once.iter().any(|known| truncate.is_copy_of(known)) {
                once.push(truncate);
            }
        }
        once
    }
    /// Whether a whole snapshot stands for it, and no row of its own.
    pub fn starts_snapshot(&self) -> bool {
        self.here || self.seq.offset < 0
    }
    /// Whether an event at `seq` comes behind it, and so keeps its row. What cannot be told is kept.
    pub fn precedes(&self, seq: &Seq) -> bool {
        if self.here && seq.by_offset && seq.epoch == self.seq.epoch && !seq.shares_partition(&self.seq) {
            return true;
        }
        // A truncate locks its table against every change, so positions are exact beside it. Of two copies the one
        // that counts may stand on another partition, or behind changes that came after the truncate.
        let is_above = !self.starts_snapshot()
            && seq.by_offset
            && self.seq.by_offset
            && seq.epoch == self.seq.epoch
            && matches!((seq.lsn, self.seq.lsn), (Some(row), Some(cut)) if row > cut);
        is_above || seq.is_behind(&self.seq).unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_seq() -> impl Strategy<Value = Seq> {
        let part = || prop_oneof![Just(None), (0..3_i64).prop_map(Some)];
        (part(), part(), part(), 0..3_i64, 0..2_i32, prop_oneof![Just("a"), Just("b")]).prop_map(
            |(epoch, lsn, tx_order, offset, partition, topic)| Seq {
                epoch,
                lsn,
                tx_order,
                by_offset: offset == 2,
                offset,
                partition,
                topic_id: topic.into(),
            },
        )
    }

    #[test]
    fn a_truncate_that_a_restarted_connector_sends_again_is_one_whatever_stands_between() {
        let at = |lsn, offset| {
            let seq = Seq {
                epoch: Some(1),
                lsn: Some(lsn),
                tx_order: None,
                by_offset: true,
                offset,
                partition: 0,
                topic_id: "a".into(),
            };
            Truncate::new(seq, None)
        };
        let once = Truncate::each_once(vec![at(226, 11), at(170, 10), at(226, 9), at(170, 4)]);
        let offsets: Vec<i64> = once.iter().map(|truncate| truncate.seq.offset).collect();
        assert_eq!(offsets, [4, 9]);
    }

    proptest! {
        #[test]
        fn a_seq_orders_repeats_and_reads_as_its_sequence(a in any_seq(), b in any_seq()) {
            prop_assert_eq!(a.cmp(&b), a.sequence().cmp(&b.sequence()));
            prop_assert_eq!(a.same_event(&b), a.sequence().same_event(&b.sequence()));
            prop_assert_eq!(a.to_string(), a.sequence().to_string());
        }
    }
}
