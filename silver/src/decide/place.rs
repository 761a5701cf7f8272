//! Places deletes without a value of `sequence_by`: a null value has no columns.
//!
//! The producer wrote it after what it deletes, so it deletes what comes before it on its partition: it takes
//! the highest sequence that its key has there so far, and comes directly after it. A later event with a
//! lower sequence is ordered before the delete; one with a higher sequence creates the key again.

use ahash::{AHashMap, AHashSet};
use model::Sequence;

use super::collect::BatchEvents;
use super::current::Current;
use crate::event::{Event, KeyId};
use crate::judge::Times;

impl BatchEvents {
    /// Places every such delete of the batch. Returns the keys for which the table's state is not enough.
    pub(super) fn place_deletes(&mut self, current: &Current) -> AHashSet<KeyId> {
        if self.events.iter().all(|e| !e.unplaced) {
            return AHashSet::new();
        }
        let mut unclear = AHashSet::new();
        let truncated = !self.memory.truncates.is_empty();
        let mut known: AHashMap<KeyId, Vec<Sequence>> = AHashMap::new();
        for event in self.events.iter().filter(|e| e.unplaced) {
            let held: Vec<Sequence> = current.of(event.key).sequences().cloned().collect();
            let before = |seq: &Sequence| {
                seq.shares_partition(&event.seq)
                    && seq.epoch <= event.seq.epoch
                    && seq.offset < event.seq.offset
            };
            if !held.iter().all(before) || (truncated && held.is_empty()) || event.redrive.is_some() {
                unclear.insert(event.key);
            }
            known.entry(event.key).or_insert(held);
        }
        place(&mut self.events, &AHashSet::new(), &known, self.rules.times());
        unclear
    }
}

/// Places every such delete, by the sequences that its key has before it on its partition: in `events`,
/// except those that were `replaced`, and in what the table has `held`.
pub(super) fn place(
    events: &mut [Event],
    replaced: &AHashSet<usize>,
    held: &AHashMap<KeyId, Vec<Sequence>>,
    times: Times,
) {
    let keys: AHashSet<KeyId> = events.iter().filter(|e| e.unplaced).map(|e| e.key).collect();
    let mut order: Vec<usize> = (0..events.len()).filter(|at| keys.contains(&events[*at].key)).collect();
    let track = |seq: &Sequence| (seq.topic_id.clone(), seq.partition, seq.epoch);
    order.sort_unstable_by(|&a, &b| {
        let place = |at: usize| (events[at].key, track(&events[at].seq), events[at].seq.offset);
        place(a).cmp(&place(b))
    });
    let mut highest: Option<i64> = None;
    let mut last: Option<usize> = None;
    for at in order {
        let event = &events[at];
        let goes_on = last.is_some_and(|last| {
            events[last].key == event.key && track(&events[last].seq) == track(&event.seq)
        });
        if !goes_on {
            let held = held.get(&event.key).into_iter().flatten();
            highest = held.filter(|seq| track(seq) == track(&event.seq)).filter_map(|seq| seq.lsn).max();
        }
        last = Some(at);
        if event.unplaced {
            events[at].seq.lsn = highest;
            if times != Times::OfEvent {
                events[at].at = times.at(highest);
            }
        } else if !replaced.contains(&at) {
            highest = highest.max(event.seq.lsn);
        }
    }
}
