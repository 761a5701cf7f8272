//! Partitions whose log has more records than the client brings.
//!
//! A client that was left behind by its group, or lost an answer, waits without a word. What the broker says
//! about the end of a log shows it. Then a new client begins anew. A transaction that stays open looks alike, as
//! its records and all behind them are held back: so nothing is done before one may have timed out, and each
//! time it helps nothing the next wait is twice as long.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Offset, TopicName};
use runtime::time::Instant;

/// Longer than our own transactions may stay open.
const FIRST: Duration = Duration::from_secs(180);
const LONGEST: Duration = Duration::from_secs(3600);

type Key = (TopicName, i32);

/// One partition.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Behind the last record that came, or the end that was told. `None`: nothing came yet.
    reached: Option<Offset>,
    /// Since when more is there.
    since: Option<Instant>,
    /// How long that may be.
    patience: Duration,
}

/// All partitions that are read.
#[derive(Debug, Default)]
pub(crate) struct Stalls(BTreeMap<Key, Part>);

impl Stalls {
    /// The partition is read from somewhere else from here on.
    pub fn begin(&mut self, key: Key) {
        let part = self.0.entry(key).or_insert(Part { reached: None, since: None, patience: FIRST });
        (part.reached, part.since) = (None, None);
    }
    /// It is read no more.
    pub fn end(&mut self, key: &Key) {
        self.0.remove(key);
    }
    /// The topic is read no more.
    pub fn forget(&mut self, topic: &TopicName) {
        self.0.retain(|(t, _), _| t != topic);
    }
    /// The client is gone. How patient we are with each partition is not forgotten.
    pub fn forget_reads(&mut self) {
        self.0.values_mut().for_each(|part| (part.reached, part.since) = (None, None));
    }
    /// Everything before `offset` came.
    pub fn reached(&mut self, key: Key, offset: Offset) {
        self.0.insert(key, Part { reached: Some(offset), since: None, patience: FIRST });
    }
    /// The log ends at `end`. `reads`: its records are wanted now.
    pub fn ends_at(&mut self, key: &Key, end: Offset, reads: bool, now: Instant) {
        let Some(part) = self.0.get_mut(key) else { return };
        let waits = reads && end.0 > 0 && part.reached.is_none_or(|reached| reached < end);
        part.since = if waits { part.since.or(Some(now)) } else { None };
    }
    /// A partition that has waited for too long, and for how long.
    pub fn over(&mut self, now: Instant) -> Option<(Key, Duration)> {
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

    fn key(partition: i32) -> Key {
        ("t.a".parse().expect("a name"), partition)
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_with_more_than_what_came_is_over_after_its_patience_and_then_after_twice_that() {
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

    #[tokio::test(start_paused = true)]
    async fn what_is_not_wanted_does_not_stall() {
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
