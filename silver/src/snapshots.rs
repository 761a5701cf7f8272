//! Whole snapshots of a source that is ordered by offset.
//!
//! Such a snapshot removes the rows that it does not contain, and offsets say which rows are older: on each
//! of its partitions, everything before its first row there. Transactions that were open while it was taken
//! are sent after it and stay, whatever their LSNs. On a partition without any of its rows nothing
//! distinguishes the two, so nothing is removed there.
//!
//! Its rows may come in any batches. So for each snapshot, identified by its LSN, the first offset on each
//! partition is remembered, and whether its last row was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Micros, Sequence};

use crate::event::Truncate;

type Place = (Option<i64>, i64, Arc<str>, i32);
type Whole = (Option<i64>, i64, Arc<str>);

/// The snapshots seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// Offset of the first row on each partition.
    first: BTreeMap<Place, i64>,
    /// Partition, offset and time of the last row, for each snapshot whose last row was seen.
    last: BTreeMap<Whole, (i32, i64, Option<Micros>)>,
}
impl Snapshots {
    /// Adds a row of a snapshot.
    pub fn read(&mut self, seq: &Sequence) {
        let Some(lsn) = seq.lsn else { return };
        let at = (seq.epoch, lsn, Arc::clone(&seq.topic_id), seq.partition);
        let first = self.first.entry(at).or_insert(seq.offset);
        *first = (*first).min(seq.offset);
    }
    /// Adds the last row of a snapshot.
    pub fn end(&mut self, seq: &Sequence, at: Option<Micros>) {
        let Some(lsn) = seq.lsn else { return };
        let held = self.last.entry((seq.epoch, lsn, Arc::clone(&seq.topic_id)));
        let new = (seq.partition, seq.offset, at);
        // The lower of two copies counts, whichever came first.
        let held = held.or_insert(new);
        *held = (*held).min(new);
    }
    /// The truncates that stand for the completed snapshots.
    pub fn truncates(&self) -> Vec<Truncate> {
        let truncate = |((epoch, lsn, topic_id, partition), first): (&Place, &i64)| {
            let (.., at) = self.last.get(&(*epoch, *lsn, Arc::clone(topic_id)))?;
            let seq = Sequence {
                epoch: *epoch,
                lsn: Some(*lsn),
                tx_order: None,
                by_offset: true,
                offset: first - 1,
                partition: *partition,
                topic_id: Arc::clone(topic_id),
            };
            Some(Truncate { seq, at: *at, here: true })
        };
        self.first.iter().filter_map(truncate).collect()
    }
    /// First rows, and last rows with their times, that `known` does not have.
    pub fn beyond(&self, known: &Self) -> (Vec<Sequence>, Vec<(Sequence, Option<Micros>)>) {
        let seq = |epoch: Option<i64>, lsn: i64, topic_id: &Arc<str>, partition: i32, offset: i64| Sequence {
            epoch,
            lsn: Some(lsn),
            tx_order: None,
            by_offset: true,
            offset,
            partition,
            topic_id: Arc::clone(topic_id),
        };
        let first = self.first.iter().filter(|(at, first)| known.first.get(*at) != Some(*first));
        let first =
            first.map(|((epoch, lsn, topic, partition), first)| seq(*epoch, *lsn, topic, *partition, *first));
        let last = self.last.iter().filter(|(at, last)| known.last.get(*at) != Some(*last));
        let last = last.map(|((epoch, lsn, topic), (partition, offset, at))| {
            (seq(*epoch, *lsn, topic, *partition, *offset), *at)
        });
        (first.collect(), last.collect())
    }
}
impl std::ops::AddAssign for Snapshots {
    fn add_assign(&mut self, other: Self) {
        for (at, first) in other.first {
            let held = self.first.entry(at).or_insert(first);
            *held = (*held).min(first);
        }
        for (at, last) in other.last {
            let held = self.last.entry(at).or_insert(last);
            *held = (*held).min(last);
        }
    }
}
