//! From the journal's changes to state, and back.

use runtime::time::Instant;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::journal::{JournalEntry, Place};
use super::txn::{Phase, Txn};

/// The state that the journal's changes fold to.
#[derive(Default)]
pub(super) struct Folded {
    pub topics: BTreeMap<String, (Uuid, i32, i16, BTreeMap<String, String>)>,
    pub starts: BTreeMap<Place, i64>,
    pub offsets: BTreeMap<String, BTreeMap<Place, i64>>,
    pub next_producer: i64,
    pub txns: BTreeMap<String, Txn>,
}

/// Folds changes, in order.
pub(super) fn fold(changes: Vec<JournalEntry>) -> Folded {
    let mut all = Folded { next_producer: 1, ..Folded::default() };
    for change in changes {
        match change {
            JournalEntry::Topic { name, id, partitions, replication, config } => {
                all.topics.insert(name, (id, partitions, replication, config));
            }
            JournalEntry::Config { name, config } => {
                if let Some(topic) = all.topics.get_mut(&name) {
                    topic.3 = config;
                }
            }
            JournalEntry::Dropped { name } => {
                all.topics.remove(&name);
                all.starts.retain(|place, _| place.0 != name);
                all.offsets.values_mut().for_each(|offsets| offsets.retain(|place, _| place.0 != name));
                all.txns.values_mut().for_each(|txn| txn.places.retain(|place| place.0 != name));
            }
            JournalEntry::Start { name, partition, offset } => {
                all.starts.insert((name, partition), offset);
            }
            JournalEntry::Offsets { group, offsets } => all.offsets.entry(group).or_default().extend(offsets),
            JournalEntry::Group { dropped } => {
                all.offsets.remove(&dropped);
            }
            JournalEntry::Producers { next } => all.next_producer = next,
            JournalEntry::Producer { txn, producer, epoch, timeout_ms } => {
                all.txns.insert(txn, Txn::new(producer, epoch, timeout_ms));
            }
            JournalEntry::Writes { txn, places } => {
                if let Some(txn) = all.txns.get_mut(&txn) {
                    txn.begin(Instant::now());
                    txn.places.extend(places);
                }
            }
            JournalEntry::Promises { txn, group, offsets } => {
                if let Some(txn) = all.txns.get_mut(&txn) {
                    txn.begin(Instant::now());
                    txn.promises.extend(offsets.into_iter().map(|(place, at)| (group.clone(), place, at)));
                }
            }
            JournalEntry::Decided { txn, commit } => {
                if let Some(txn) = all.txns.get_mut(&txn) {
                    txn.phase = Phase::Ending { commit };
                }
            }
            JournalEntry::Ended { txn } => {
                if let Some(txn) = all.txns.get_mut(&txn)
                    && let Phase::Ending { commit } = txn.phase
                {
                    if commit {
                        for (group, place, offset) in std::mem::take(&mut txn.promises) {
                            all.offsets.entry(group).or_default().insert(place, offset);
                        }
                    }
                    txn.close(commit);
                }
            }
        }
    }
    all
}

/// The changes that fold to `txn`.
pub(super) fn changes_of(name: &str, txn: &Txn) -> Vec<JournalEntry> {
    let id = || name.to_owned();
    let Txn { producer, epoch, timeout_ms, .. } = *txn;
    let mut changes = vec![JournalEntry::Producer { txn: id(), producer, epoch, timeout_ms }];
    if matches!(txn.phase, Phase::Open(_) | Phase::Ending { .. }) {
        changes.push(JournalEntry::Writes { txn: id(), places: txn.places.iter().cloned().collect() });
        for (group, place, offset) in &txn.promises {
            let offsets = vec![(place.clone(), *offset)];
            changes.push(JournalEntry::Promises { txn: id(), group: group.clone(), offsets });
        }
    }
    match txn.phase {
        Phase::Idle | Phase::Open(_) => {}
        Phase::Ending { commit } => changes.push(JournalEntry::Decided { txn: id(), commit }),
        Phase::Ended { commit } => {
            changes.extend([JournalEntry::Decided { txn: id(), commit }, JournalEntry::Ended { txn: id() }]);
        }
    }
    changes
}
