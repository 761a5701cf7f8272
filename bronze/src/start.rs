//! Where to read each partition: what the tables said last.
//!
//! The consumer asks in its own thread and must be answered from memory, so the answer may be older
//! than the table. That is harmless: what lies below the table's position is dropped, and the table's
//! task compares the answer with the table itself once the partition is ours, and seeks if they differ.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppId, Offset, Positions, TopicId, TopicName};

/// Positions of all tables, as far as known, and what was answered from them.
#[derive(Debug, Default)]
pub(crate) struct Starts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    positions: BTreeMap<AppId, i64>,
    answered: BTreeMap<(TopicName, i32), Option<Offset>>,
}

impl Starts {
    /// What a table says now.
    pub fn learn(&self, positions: &Positions) {
        self.state().positions.extend(positions.0.iter().map(|(app, position)| (app.clone(), *position)));
    }
    /// What the consumer was last told about a partition.
    pub fn answered(&self, topic: &TopicName, partition: i32) -> Option<Offset> {
        self.state().answered.get(&(topic.clone(), partition)).copied().flatten()
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl stream::Start for Starts {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        // Without the topic's id no position is its own: from the start, and the tables decide.
        assigned.iter().map(|_| None).collect()
    }
    fn start_of(&self, assigned: &[(TopicName, TopicId, i32)]) -> Vec<Option<Offset>> {
        let mut state = self.state();
        let mut answer = |(topic, id, partition): &(TopicName, TopicId, i32)| {
            let position = state.positions.get(&AppId::partition(id, *partition)).copied().map(Offset);
            state.answered.insert((topic.clone(), *partition), position);
            position
        };
        assigned.iter().map(&mut answer).collect()
    }
}
