//! The event of one bronze row: its key, its sequence, its verdict and its outcome.

use std::sync::Arc;

use model::{Micros, Sequence};
pub use stage::{Outcome, Outcomes};

/// A row among the batches of one [`crate::pool::Pool`].
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

/// The result of WHERE and expectations for a row. Depends on the row alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key has this row.
    Row,
    /// The WHERE rejects the row: the key is not in the table.
    Filtered,
    /// The row is quarantined; the key keeps what it had.
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
    /// The WHERE reads only such columns, so its result for the row before still holds.
    pub verdict: bool,
}

/// Identifies an event of a key where LSNs do not order. A connector that restarts sends events again. The
/// order in the transaction is not included, because a connector that restarts in the middle of a transaction
/// counts the rest from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    /// Epoch of the source database.
    pub epoch: Option<i64>,
    /// The row's LSN in the source's log.
    pub lsn: i64,
    /// The transaction.
    pub tx_id: Option<i64>,
    /// When it committed.
    pub committed: Option<i64>,
    /// The operation. A key change has a delete and an insert at the same LSN.
    pub op: &'static str,
}

/// One event of a key.
#[derive(Debug, Clone)]
pub struct Event {
    /// The key.
    pub key: KeyId,
    /// Its place in the order of changes.
    pub seq: Sequence,
    /// Identifies a repeat, if `seq` does not.
    pub name: Option<Name>,
    /// A delete without a value of `sequence_by`: it takes the highest one that its key had before it on its
    /// partition.
    pub unplaced: bool,
    /// When it happened at the source. Orders nothing.
    pub at: Option<Micros>,
    /// The projected row.
    pub row: RowRef,
    /// The result of WHERE and expectations.
    pub verdict: Verdict,
    /// What to carry over from the row before.
    pub unchanged: Option<Unchanged>,
    /// The key that this row had before, if the source changed it.
    pub moved_from: Option<KeyId>,
    /// ULID of the redrive that appended it again at its coordinates. The last redrive counts.
    pub redrive: Option<Arc<str>>,
}

/// A truncate: every key loses its row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truncate {
    /// Its place in the order of changes.
    pub seq: Sequence,
    /// When it happened at the source.
    pub at: Option<Micros>,
    /// Concerns only the rows of its own partition: the start of a whole snapshot that is ordered by offset.
    pub here: bool,
}

impl Truncate {
    /// A truncate at `seq`.
    pub fn new(seq: Sequence, at: Option<Micros>) -> Self {
        Self { seq, at, here: false }
    }
    /// True if both are the same truncate. Starts of snapshots have no coordinates of their own, so they must
    /// be equal in everything.
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
    /// Sorts oldest first and removes copies. Copies of a foreign Debezium are ordered by offset but
    /// identified by LSN, so other truncates may lie between them.
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
    /// True if it stands for a whole snapshot instead of a row.
    pub fn starts_snapshot(&self) -> bool {
        self.here || self.seq.offset < 0
    }
    /// True if an event at `seq` comes after it, or if that is unknown: then its row stays.
    pub fn precedes(&self, seq: &Sequence) -> bool {
        if self.here && seq.by_offset && seq.epoch == self.seq.epoch && !seq.shares_partition(&self.seq) {
            return true;
        }
        // A truncate locks its table against all changes, so LSNs are exact next to it. The copy that counts
        // may be on another partition, or come after later changes.
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
