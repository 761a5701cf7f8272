//! Where to read each partition: the last known positions of the tables.
//!
//! The consumer asks on its own thread and needs an answer from memory, so the answer may be older than the
//! table. That is harmless: records below the table's position are dropped, and once the partition is
//! assigned, the table's task compares the answer with the table and seeks if they differ.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppId, Offset, Positions, TopicId, TopicName};

/// Known positions of all tables, and the answers that the consumer got.
#[derive(Debug, Default)]
pub(crate) struct Starts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    positions: BTreeMap<AppId, i64>,
    answered: BTreeMap<(TopicName, i32), Option<Offset>>,
}

impl Starts {
    /// Adds a table's positions.
    pub fn learn(&self, positions: &Positions) {
        self.state().positions.extend(positions.0.iter().map(|(app, position)| (app.clone(), *position)));
    }
    /// The last answer for a partition.
    pub fn answered(&self, topic: &TopicName, partition: i32) -> Option<Offset> {
        self.state().answered.get(&(topic.clone(), partition)).copied().flatten()
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl stream::Start for Starts {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        // Positions need the topic's id. Without it, reading begins at the start, and the tables' tasks seek.
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
