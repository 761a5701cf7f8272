//! Detects partitions whose log has records that the client does not deliver.
//!
//! A client that fell out of its group or lost an answer waits silently. The log's end at the broker reveals
//! it, and a new client starts. An open transaction looks the same, because its records and all behind them
//! are held back. So nothing happens until one may have timed out, and each restart without success doubles
//! the next wait.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Offset, TopicName};
use runtime::time::Instant;

use crate::shared::TopicPartition;

/// Longer than our own transactions may stay open.
const FIRST: Duration = Duration::from_secs(180);
const LONGEST: Duration = Duration::from_secs(3600);

/// The state of one partition.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Behind the last record, or the last end, that arrived. `None`: nothing arrived yet.
    reached: Option<Offset>,
    /// Since when the log has had more records.
    since: Option<Instant>,
    /// How long that may last.
    patience: Duration,
}

/// All partitions that are read.
#[derive(Debug, Default)]
pub(crate) struct Stalls(BTreeMap<TopicPartition, Part>);

impl Stalls {
    /// Starts a partition at another offset.
    pub fn begin(&mut self, key: TopicPartition) {
        let part = self.0.entry(key).or_insert(Part { reached: None, since: None, patience: FIRST });
        (part.reached, part.since) = (None, None);
    }
    /// The partition is not read any more.
    pub fn end(&mut self, key: &TopicPartition) {
        self.0.remove(key);
    }
    /// The topic is not read any more.
    pub fn forget(&mut self, topic: &TopicName) {
        self.0.retain(|(t, _), _| t != topic);
    }
    /// The client is gone. Keeps how long each partition waits.
    pub fn forget_reads(&mut self) {
        self.0.values_mut().for_each(|part| (part.reached, part.since) = (None, None));
    }
    /// Everything before `offset` arrived.
    pub fn reached(&mut self, key: TopicPartition, offset: Offset) {
        self.0.insert(key, Part { reached: Some(offset), since: None, patience: FIRST });
    }
    /// The log ends at `end`. `reads`: the partition is being read now.
    pub fn ends_at(&mut self, key: &TopicPartition, end: Offset, reads: bool, now: Instant) {
        let Some(part) = self.0.get_mut(key) else { return };
        let waits = reads && end.0 > 0 && part.reached.is_none_or(|reached| reached < end);
        part.since = if waits { part.since.or(Some(now)) } else { None };
    }
    /// A partition that has waited too long, and how long it has waited.
    pub fn over(&mut self, now: Instant) -> Option<(TopicPartition, Duration)> {
        let (key, part) = self
            .0
            .iter_mut()
            .find(|(_, part)| part.since.is_some_and(|since| now.duration_since(since) >= part.patience))?;
        let waited = part.patience;
        part.patience = (part.patience * 2).min(LONGEST);
        Some((key.clone(), waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> TopicPartition {
        ("t.a".parse().expect("a name"), partition)
    }

    #[test]
    fn a_log_with_more_than_what_came_is_over_after_its_patience_and_then_after_twice_that() {
        let (mut stalls, start) = (Stalls::default(), Instant::now());
        stalls.begin(key(0));
        stalls.reached(key(0), Offset(5));
        stalls.ends_at(&key(0), Offset(5), true, start);
        assert_eq!(stalls.over(start + 10 * FIRST), None, "all came");
        stalls.ends_at(&key(0), Offset(9), true, start);
        stalls.ends_at(&key(0), Offset(9), true, start + FIRST / 2);
        assert_eq!(stalls.over(start + FIRST / 2), None);
        assert_eq!(stalls.over(start + FIRST), Some((key(0), FIRST)));
        stalls.forget_reads();
        stalls.begin(key(0));
        stalls.ends_at(&key(0), Offset(9), true, start + FIRST);
        assert_eq!(stalls.over(start + 2 * FIRST), None, "it may be a transaction that is open");
        assert_eq!(stalls.over(start + 3 * FIRST), Some((key(0), 2 * FIRST)));
        stalls.reached(key(0), Offset(6));
        stalls.ends_at(&key(0), Offset(9), true, start + 4 * FIRST);
        assert_eq!(stalls.over(start + 5 * FIRST), Some((key(0), FIRST)), "it moved");
    }

    #[test]
    fn what_is_not_wanted_does_not_stall() {
        let (mut stalls, start) = (Stalls::default(), Instant::now());
        stalls.begin(key(0));
        stalls.ends_at(&key(0), Offset(9), true, start);
        stalls.ends_at(&key(0), Offset(9), false, start + FIRST / 2);
        stalls.ends_at(&key(1), Offset(9), true, start);
        assert_eq!(stalls.over(start + 10 * FIRST), None);
        stalls.begin(key(1));
        stalls.ends_at(&key(1), Offset(0), true, start);
        assert_eq!(stalls.over(start + 10 * FIRST), None, "an empty log");
    }
}
