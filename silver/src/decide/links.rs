//! Keys whose values another key took: an event of one also concerns the other.

use std::collections::BTreeSet;

use ahash::AHashMap;
use model::Sequence;

use super::collect::BatchEvents;
use crate::event::KeyId;

impl BatchEvents {
    /// Adds the keys that a late event concerns through a key change, transitively.
    pub(super) fn follow_links(&mut self, again: &mut BTreeSet<KeyId>) {
        let mut new: AHashMap<KeyId, Vec<(KeyId, Sequence)>> = AHashMap::new();
        let mut old: AHashMap<KeyId, Vec<KeyId>> = AHashMap::new();
        for event in &self.events {
            if let (Some(from), Some(_)) = (event.moved_from, &event.unchanged) {
                again.insert(event.key);
                new.entry(from).or_default().push((event.key, event.seq.clone()));
                old.entry(event.key).or_default().push(from);
            }
        }
        if new.is_empty() && self.memory.links.is_empty() {
            return;
        }
        for event in &self.events {
            let concerns = |seq: &Sequence| event.seq.is_behind(seq) != Some(true);
            let here = new.get(&event.key).is_some_and(|links| links.iter().any(|(_, seq)| concerns(seq)));
            let bytes = self.desk.keys.bytes(event.key);
            if here || self.memory.links.from(bytes).any(|link| concerns(&link.seq)) {
                again.insert(event.key);
            }
        }
        let mut open: Vec<KeyId> = again.iter().copied().collect();
        while let Some(key) = open.pop() {
            let bytes = self.desk.keys.bytes(key).clone();
            let remembered: Vec<KeyId> =
                self.memory.links.beside(&bytes).map(|other| self.desk.keys.number(other)).collect();
            let here = new.get(&key).into_iter().flatten().map(|(key, _)| *key);
            let here = here.chain(old.get(&key).into_iter().flatten().copied());
            open.extend(here.chain(remembered).filter(|key| again.insert(*key)));
        }
    }
}
