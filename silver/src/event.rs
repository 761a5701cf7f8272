//! What one bronze row says of a key: its place in the sequence, its verdict, its outcome.

use std::sync::Arc;

use model::{Micros, Sequence};
pub use stage::{Outcome, Outcomes};

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
    pub seq: Sequence,
    /// What it is recognised by when it comes again, where `seq` does not say it.
    pub name: Option<Name>,
    /// A delete that has no value of `sequence_by`: it takes the highest one that its key had before it
    /// on its partition.
    pub unplaced: bool,
    /// When it happened at the source. Orders nothing.
    pub at: Option<Micros>,
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
    pub seq: Sequence,
    /// When it happened at the source.
    pub at: Option<Micros>,
    /// Concerns the rows of its own partition alone: the start of a whole snapshot that offsets order.
    pub here: bool,
}

impl Truncate {
    /// A truncate at `seq`.
    pub fn new(seq: Sequence, at: Option<Micros>) -> Self {
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
    pub fn precedes(&self, seq: &Sequence) -> bool {
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
    use super::*;

    #[test]
    fn a_truncate_that_a_restarted_connector_sends_again_is_one_whatever_stands_between() {
        let at = |lsn, offset| {
            let seq = Sequence {
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
}
