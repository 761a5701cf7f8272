//! How far this process has brought each partition, for a caller that waits for a drain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use model::{Offset, TableName, TopicName};
use tokio::sync::watch;

/// The state of each partition of this process. Clones share it.
#[derive(Debug, Clone)]
pub struct PartitionProgress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// True once the group has assigned anything.
    joined: bool,
    /// `None`: assigned, but its table was not asked yet.
    partitions: BTreeMap<(TopicName, i32), Option<Offset>>,
    halted: BTreeMap<TableName, TopicName>,
}

impl Default for PartitionProgress {
    fn default() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), changed: watch::Sender::new(0) }))
    }
}
impl PartitionProgress {
    /// For each assigned partition, the offset before which everything is durable in the table.
    pub fn reached(&self) -> BTreeMap<(TopicName, i32), Offset> {
        let known = |(part, reached): (&(TopicName, i32), &Option<Offset>)| Some((part.clone(), (*reached)?));
        self.read(|state| state.partitions.iter().filter_map(known).collect())
    }
    /// Tables that are halted until a person acts.
    pub fn halted(&self) -> Vec<TableName> {
        self.read(|state| state.halted.keys().cloned().collect())
    }
    /// True if every assigned partition has reached its end. Other processes report their own partitions.
    /// Partitions of halted tables count as done.
    pub fn is_past(&self, ends: &BTreeMap<(TopicName, i32), Offset>) -> bool {
        self.read(|state| {
            let halted = |topic: &TopicName| state.halted.values().any(|t| t == topic);
            let behind = |(part, reached): (&(TopicName, i32), &Option<Offset>)| {
                ends.get(part).is_some_and(|end| *reached < Some(*end)) && !halted(&part.0)
            };
            state.joined && !state.partitions.iter().any(behind)
        })
    }
    /// The entries of `ends` that this process does not report. Leaves out tables that halted here.
    pub fn not_ours(&self, ends: &BTreeMap<(TopicName, i32), Offset>) -> BTreeMap<(TopicName, i32), Offset> {
        self.read(|state| {
            let halted = |topic: &TopicName| state.halted.values().any(|t| t == topic);
            let other = |part: &(TopicName, i32)| !state.partitions.contains_key(part) && !halted(&part.0);
            ends.iter().filter(|(part, _)| other(part)).map(|(part, end)| (part.clone(), *end)).collect()
        })
    }
    /// Returns once [`PartitionProgress::is_past`] holds.
    pub async fn wait_past(&self, ends: &BTreeMap<(TopicName, i32), Offset>) {
        let mut changes = self.0.changed.subscribe();
        while !self.is_past(ends) {
            // The sender lives as long as `self`.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Adds assigned partitions, in one step, so that this process never looks drained before it has begun.
    pub(crate) fn assign(&self, partitions: &[(TopicName, i32)]) {
        self.write(|state| {
            state.joined = true;
            state.partitions.extend(partitions.iter().map(|part| (part.clone(), None)));
        });
    }
    /// Removes revoked partitions.
    pub(crate) fn revoke(&self, partitions: &[(TopicName, i32)]) {
        self.write(|state| state.partitions.retain(|part, _| !partitions.contains(part)));
    }
    /// Raises the offset of a partition, if it is still assigned.
    pub(crate) fn reach(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.write(|state| {
            if let Some(reached) = state.partitions.get_mut(&(topic.clone(), partition)) {
                *reached = Some(offset).max(*reached);
            }
        });
    }
    pub(crate) fn halt(&self, table: &TableName, topic: &TopicName) {
        self.write(|state| {
            state.halted.insert(table.clone(), topic.clone());
        });
    }
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
    fn write(&self, write: impl FnOnce(&mut State)) {
        write(&mut self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.0.changed.send_modify(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().expect("a topic name")
    }

    #[test]
    fn drained_means_every_partition_of_ours_reached_its_end() {
        let progress = PartitionProgress::default();
        let ends = BTreeMap::from([((topic("a"), 0), Offset(5)), ((topic("a"), 1), Offset(9))]);
        assert!(!progress.is_past(&ends), "nothing was assigned yet");
        progress.assign(&[(topic("a"), 0)]);
        assert!(!progress.is_past(&ends), "its table was not asked yet");
        progress.reach(&topic("a"), 0, Offset(4));
        assert!(!progress.is_past(&ends));
        progress.reach(&topic("a"), 0, Offset(5));
        assert!(progress.is_past(&ends), "partition 1 is another process's");
        assert_eq!(progress.not_ours(&ends), BTreeMap::from([((topic("a"), 1), Offset(9))]));
    }

    #[test]
    fn a_partition_that_went_is_not_waited_for_nor_brought_back() {
        let progress = PartitionProgress::default();
        progress.assign(&[(topic("a"), 0), (topic("a"), 1)]);
        progress.revoke(&[(topic("a"), 1)]);
        progress.reach(&topic("a"), 1, Offset(3));
        progress.reach(&topic("a"), 0, Offset(3));
        assert_eq!(progress.reached(), BTreeMap::from([((topic("a"), 0), Offset(3))]));
    }

    #[test]
    fn a_halted_table_is_not_waited_for() {
        let progress = PartitionProgress::default();
        let ends = BTreeMap::from([((topic("a"), 0), Offset(5))]);
        progress.assign(&[(topic("a"), 0)]);
        progress.halt(&"bronze.a".parse().expect("a table name"), &topic("a"));
        assert!(progress.is_past(&ends));
    }
}
