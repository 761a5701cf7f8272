//! Folds keys from their first event.
//!
//! Keys depend on each other only if one took values from another: that event needs the other key as it was
//! directly before. If one order covers all events, that is the state of the earlier events. If offsets
//! order, each partition has its own order, and the delete of the old key links the two: it has the same LSN
//! as the row of the new key.

use std::ops::Range;

use ahash::{AHashMap, AHashSet};

use super::place::place;
use crate::event::{Event, KeyId, Outcome};
use crate::fold::{Before, Fold, State};

/// The result of folding keys from their first event.
pub struct Folded {
    /// The state of each key.
    pub states: AHashMap<KeyId, State>,
    /// The events, by key and sequence.
    pub events: Vec<Event>,
    /// The outcome of each event.
    pub outcomes: Vec<Outcome>,
}

/// Folds whole histories. Of redriven copies of a record the last one counts.
pub fn fold_all(fold: &Fold<'_>, mut events: Vec<Event>) -> Folded {
    if events.iter().any(|e| e.unplaced) {
        let replaced = replaced(&events);
        place(&mut events, &replaced, &AHashMap::new(), fold.times);
    }
    events.sort_by(|a, b| (a.key, &a.seq, &a.redrive).cmp(&(b.key, &b.seq, &b.redrive)));
    let replaced = replaced(&events);
    let mut spans: AHashMap<KeyId, Range<usize>> = AHashMap::new();
    for (at, event) in events.iter().enumerate() {
        spans.entry(event.key).or_insert(at..at).end = at + 1;
    }
    let mut keys = Folding {
        fold,
        events: &events,
        replaced,
        outcomes: vec![Outcome::Applied; events.len()],
        next: spans.iter().map(|(key, span)| (*key, span.start)).collect(),
        states: AHashMap::with_capacity(spans.len()),
        anchors: AHashMap::new(),
        asked: AHashMap::new(),
        left: AHashMap::new(),
        spans,
    };
    keys.find_anchors();
    // In the order of changes, which usually also orders dependent keys.
    let mut order: Vec<usize> =
        if keys.anchors.is_empty() { Vec::new() } else { (0..events.len()).collect() };
    order.sort_by(|&a, &b| (&events[a].seq, events[a].key).cmp(&(&events[b].seq, events[b].key)));
    for at in order {
        keys.fold_up_to(events[at].key, at + 1);
    }
    let rest: Vec<(KeyId, usize)> = keys.spans.iter().map(|(key, span)| (*key, span.end)).collect();
    for (key, end) in rest {
        keys.fold_up_to(key, end);
    }
    let (mut states, mut outcomes) = (keys.states, keys.outcomes);
    for state in states.values_mut() {
        fold.finish(state, &mut outcomes);
    }
    Folded { states, events, outcomes }
}

/// A fold in progress.
struct Folding<'a, 'b> {
    fold: &'a Fold<'b>,
    events: &'a [Event],
    replaced: AHashSet<usize>,
    outcomes: Vec<Outcome>,
    /// The events of each key, and how far they are folded.
    spans: AHashMap<KeyId, Range<usize>>,
    next: AHashMap<KeyId, usize>,
    states: AHashMap<KeyId, State>,
    /// For an event that takes values from another key: that key, and the end of its events that come before.
    anchors: AHashMap<usize, (KeyId, usize)>,
    /// For the end of such a run: the events that ask for the key's state there.
    asked: AHashMap<(KeyId, usize), Vec<usize>>,
    /// The states that they found.
    left: AHashMap<usize, Before>,
}
impl Folding<'_, '_> {
    fn find_anchors(&mut self) {
        for (at, event) in self.events.iter().enumerate() {
            let Some(old) = event.moved_from else { continue };
            let Some(span) = self.spans.get(&old).cloned() else { continue };
            let theirs = &self.events[span.clone()];
            // The delete that the source wrote together with this row.
            let twin = |e: &Event| {
                e.name.is_some_and(|a| {
                    event.name.is_some_and(|b| a.op == "d" && (a.epoch, a.lsn) == (b.epoch, b.lsn))
                })
            };
            let twin = theirs.iter().position(twin).filter(|_| event.seq.by_offset);
            let end = match twin {
                Some(twin) => twin + 1,
                None => theirs.iter().take_while(|e| e.seq.is_behind(&event.seq) == Some(false)).count(),
            };
            let end = span.start + end;
            self.anchors.insert(at, (old, end));
            self.asked.entry((old, end)).or_default().push(at);
        }
    }

    /// Folds a key's events before `end`, after the keys that they take values from.
    fn fold_up_to(&mut self, key: KeyId, end: usize) {
        let mut open = vec![(key, end)];
        while let Some(&(key, end)) = open.last() {
            let at = self.next.get(&key).copied().unwrap_or(end);
            self.leave(key, at);
            if at >= end {
                open.pop();
                continue;
            }
            let anchor = self.anchors.get(&at).filter(|_| !self.left.contains_key(&at)).copied();
            // A cycle of keys that wait for each other cannot come from a database: the first one goes on.
            let waits = anchor.filter(|(old, _)| open.iter().all(|(key, _)| key != old));
            if let Some(anchor) = waits {
                open.push(anchor);
                // The other key has been folded beyond that state already.
                if self.next.get(&anchor.0).is_some_and(|next| *next > anchor.1) {
                    open.pop();
                    self.left.insert(at, Before::Nothing);
                }
                continue;
            }
            self.apply(at);
            self.next.insert(key, at + 1);
            self.leave(key, at + 1);
        }
    }

    fn apply(&mut self, at: usize) {
        let event = &self.events[at];
        if self.replaced.contains(&at) {
            self.outcomes[at] = Outcome::Superseded;
            return;
        }
        let moved = event.moved_from.map(|_| self.left.remove(&at).unwrap_or(Before::Nothing));
        let state = self.states.entry(event.key).or_insert_with(State::empty);
        let applied = self.fold.apply(state, event, moved.as_ref(), at, &mut self.outcomes);
        applied.expect("a fold from the first event knows everything");
    }

    /// A key has reached `at`: gives its state to the events that ask for it there.
    fn leave(&mut self, key: KeyId, at: usize) {
        let Some(asking) = self.asked.remove(&(key, at)) else { return };
        for event in asking {
            let state = self.states.get(&key);
            let left = state.map(|state| self.fold.leaves(state, &self.events[event].seq));
            self.left.insert(event, left.unwrap_or(Before::Nothing));
        }
    }
}

/// Indexes of events that a redrive replaced.
pub fn replaced(events: &[Event]) -> AHashSet<usize> {
    if events.iter().all(|e| e.redrive.is_none()) {
        return AHashSet::new();
    }
    let mut last: AHashMap<(&str, i32, i64), usize> = AHashMap::new();
    let mut replaced = AHashSet::new();
    for (at, event) in events.iter().enumerate() {
        match last.entry(event.seq.coordinates()) {
            std::collections::hash_map::Entry::Vacant(vacant) => drop(vacant.insert(at)),
            std::collections::hash_map::Entry::Occupied(mut occupied) => {
                let other = *occupied.get();
                if events[other].redrive < event.redrive {
                    occupied.insert(at);
                    replaced.insert(other);
                } else if events[other].redrive > event.redrive {
                    replaced.insert(at);
                }
            }
        }
    }
    replaced
}
