//! Whole snapshots of a source whose positions do not order.
//!
//! Such a snapshot removes what it does not bring, and offsets say what it is older than: on each
//! partition that it wrote to, everything before its first row there. Transactions that were open while it
//! was taken are sent behind it and stay, whatever their positions are. On a partition that got none of its
//! rows nothing tells the two apart, so nothing is removed there.
//!
//! Rows come in any batches: for each snapshot, by its position, the first offset on each partition is
//! remembered, and whether its last row was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Micros, Sequence};

use crate::event::Truncate;

type Place = (Option<i64>, i64, Arc<str>, i32);
type Whole = (Option<i64>, i64, Arc<str>);

/// What was seen of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// The first row on a partition.
    first: BTreeMap<Place, i64>,
    /// Snapshots whose last row was seen: where, and its time.
    last: BTreeMap<Whole, (i32, i64, Option<Micros>)>,
}
impl Snapshots {
    /// A row of a snapshot.
    pub fn read(&mut self, seq: &Sequence) {
        let Some(lsn) = seq.lsn else { return };
        let at = (seq.epoch, lsn, Arc::clone(&seq.topic_id), seq.partition);
        let first = self.first.entry(at).or_insert(seq.offset);
        *first = (*first).min(seq.offset);
    }
    /// Its last one.
    pub fn end(&mut self, seq: &Sequence, at: Option<Micros>) {
        let Some(lsn) = seq.lsn else { return };
        let held = self.last.entry((seq.epoch, lsn, Arc::clone(&seq.topic_id)));
        let new = (seq.partition, seq.offset, at);
        // Of two copies the lower counts, whichever came first.
        let held = held.or_insert(new);
        *held = (*held).min(new);
    }
    /// Truncates that stand for the snapshots that came to their end.
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
    /// First rows and ends that `known` does not have, each with its time.
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
