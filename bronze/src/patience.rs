//! Decides how long a partition waits for schemas that the registry does not have.
//!
//! A replica of the registry may be behind, so a partition waits for missing schemas, but only once. All
//! schemas that it needs are requested together. After its time is over, it waits for a missing schema only
//! for one answer, until no record has named a missing schema for a while. Otherwise one producer with its
//! own frames would slow a partition down to one record per half minute.
//!
//! A schema that was given up is requested again from time to time when records name it. If it arrives late,
//! it is used from then on.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::ClockMs;

use crate::lookup::{Asked, Part};

/// Pause between two requests for the same schema, in milliseconds.
const PAUSE: i64 = 500;
/// How long a schema that was given up is not requested again.
const GIVEN_UP: i64 = 30_000;
/// How long a partition waits for a key's schema if its values have the key's columns: about one answer.
const SPARE: i64 = 2_000;
/// A partition waits again after a time of this many waits without a missing schema.
const RENEWED: i64 = 10;
/// Keys without a frame can start with any number. After this many missing schemas, keys are not looked up.
const STRANGE: usize = 64;
/// The most remembered schemas that were given up. Others are requested again sooner.
const MOST: usize = 16 * 1024;

/// Decides for one table. Pure: takes answers and times, returns which schemas to request or give up.
#[derive(Debug)]
pub(crate) struct Patience {
    patience: i64,
    /// The last answer for each schema that was not found, with its time.
    answers: HashMap<Asked, (Answer, i64)>,
    given_up: HashMap<Asked, i64>,
    partitions: BTreeMap<i32, Wait>,
    /// Missing schemas of spare keys since a key's schema was last found.
    strange_keys: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Missing,
    None,
}

/// The wait of one partition.
#[derive(Debug)]
struct Wait {
    until: i64,
    /// When a schema was last missing.
    last: i64,
}

/// The schemas that a partition's records need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Without these a record becomes an error row or has no key.
    pub must: Vec<Asked>,
    /// Schemas of keys whose columns the value has too.
    pub spare: Vec<Asked>,
}
impl Needs {
    pub fn is_empty(&self) -> bool {
        self.must.is_empty() && self.spare.is_empty()
    }
    pub fn all(&self) -> impl Iterator<Item = &Asked> {
        self.must.iter().chain(&self.spare)
    }
}

impl Patience {
    pub fn new(patience: Duration) -> Self {
        Self {
            patience: i64::try_from(patience.as_millis()).unwrap_or(i64::MAX / 100),
            answers: HashMap::new(),
            given_up: HashMap::new(),
            partitions: BTreeMap::new(),
            strange_keys: 0,
        }
    }

    /// The registry has no such schema.
    pub fn missing(&mut self, asked: Asked, now: ClockMs) {
        self.answered(asked, Answer::Missing, now);
    }
    /// The registry did not answer.
    pub fn silent(&mut self, asked: Asked, now: ClockMs) {
        self.answered(asked, Answer::None, now);
    }
    fn answered(&mut self, asked: Asked, answer: Answer, now: ClockMs) {
        // Answers also stay for records that another process has now.
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(asked, (answer, now.0));
    }
    /// The schema was found, usable or not.
    pub fn known(&mut self, asked: Asked) {
        self.answers.remove(&asked);
        self.given_up.remove(&asked);
        if asked.0 == Part::Key {
            self.strange_keys = 0;
        }
    }
    /// True if records are read without that schema.
    pub fn is_given_up(&self, asked: &Asked, now: ClockMs) -> bool {
        self.given_up.get(asked).is_some_and(|at| now.0.saturating_sub(*at) < GIVEN_UP)
    }
    /// True if so many schemas of keys were missing that the keys are not frames.
    pub fn keys_are_no_frames(&self) -> bool {
        self.strange_keys >= STRANGE
    }
    /// True if the registry should be asked, for the first time or again.
    pub fn is_due(&self, asked: &Asked, now: ClockMs) -> bool {
        self.answers.get(asked).is_none_or(|(_, at)| now.0.saturating_sub(*at) >= PAUSE)
    }

    /// Returns the schemas that a partition stops waiting for, of those that its records need. `since`: since
    /// when its first records have waited only for spare schemas.
    pub fn give_up<'a>(
        &mut self,
        partition: i32,
        needs: impl Iterator<Item = &'a Needs>,
        since: ClockMs,
        now: ClockMs,
    ) -> Vec<Asked> {
        let (mut missing, mut spare) = (Vec::new(), Vec::new());
        let (answers, given_up) = (&self.answers, &self.given_up);
        let is_open =
            |asked: &Asked| given_up.get(asked).is_none_or(|at| now.0.saturating_sub(*at) >= GIVEN_UP);
        let is_missing =
            |asked: &Asked| matches!(answers.get(asked), Some((Answer::Missing, _))) && is_open(asked);
        let is_late = now.0.saturating_sub(since.0) >= SPARE;
        for (at, needs) in needs.enumerate() {
            missing.extend(needs.must.iter().copied().filter(is_missing));
            let over = |asked: &Asked| is_missing(asked) || (is_late && at == 0 && is_open(asked));
            spare.extend(needs.spare.iter().copied().filter(over));
        }
        let strange = spare.iter().filter(|asked| is_missing(asked)).count();
        if !missing.is_empty() {
            let (now, patience) = (now.0, self.patience);
            let fresh = || Wait { until: now.saturating_add(patience), last: now };
            let wait = self.partitions.entry(partition).or_insert_with(fresh);
            if now.saturating_sub(wait.last) > patience.saturating_mul(RENEWED) {
                *wait = fresh();
            }
            wait.last = now;
            if now < wait.until {
                missing.clear();
            }
        }
        self.strange_keys += strange;
        missing.extend(spare);
        missing.sort_unstable();
        missing.dedup();
        if self.given_up.len() + missing.len() > MOST {
            self.given_up.retain(|_, at| now.0.saturating_sub(*at) < PAUSE);
        }
        for asked in &missing {
            self.answers.remove(asked);
            self.given_up.insert(*asked, now.0);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn must(ids: impl IntoIterator<Item = u32>) -> Needs {
        Needs { must: ids.into_iter().map(|id| (Part::Value, id)).collect(), spare: Vec::new() }
    }
    fn patience() -> Patience {
        Patience::new(Duration::from_secs(30))
    }
    fn at(seconds: i64) -> ClockMs {
        ClockMs(seconds * 1_000)
    }

    proptest! {
        /// However many missing ids records name, and in any order, a partition waits only once.
        #[test]
        fn a_partition_waits_once_and_not_once_an_id(batches in prop::collection::vec(1..20_u32, 1..40)) {
            let mut patience = patience();
            let (mut now, mut id) = (0, 0);
            for ids in batches {
                let needs = must(id..id + ids);
                id += ids;
                needs.all().for_each(|asked| patience.missing(*asked, at(now)));
                let began = now;
                while patience.give_up(0, [&needs].into_iter(), at(began), at(now)).is_empty() {
                    now += 1;
                }
                prop_assert!(needs.all().all(|asked| patience.is_given_up(asked, at(now))));
            }
            prop_assert_eq!(now, 30);
        }
    }

    #[test]
    fn another_partition_has_its_own_patience_and_it_comes_back_after_quiet() {
        let mut patience = patience();
        patience.missing((Part::Value, 1), at(0));
        assert_eq!(patience.give_up(0, [&must([1])].into_iter(), at(0), at(0)), []);
        assert_eq!(patience.give_up(0, [&must([1])].into_iter(), at(0), at(30)), [(Part::Value, 1)]);
        patience.missing((Part::Value, 2), at(31));
        assert_eq!(patience.give_up(1, [&must([2])].into_iter(), at(31), at(31)), []);
        patience.missing((Part::Value, 3), at(400));
        assert_eq!(patience.give_up(0, [&must([3])].into_iter(), at(400), at(400)), [], "patient again");
    }

    #[test]
    fn a_registry_that_does_not_answer_is_waited_for_unless_the_value_has_the_key() {
        let mut patience = patience();
        let needs = Needs { must: vec![(Part::Value, 1)], spare: vec![(Part::Key, 2)] };
        patience.silent((Part::Value, 1), at(0));
        patience.silent((Part::Key, 2), at(0));
        assert_eq!(patience.give_up(0, [&needs].into_iter(), at(0), at(1)), []);
        assert_eq!(patience.give_up(0, [&needs].into_iter(), at(0), at(500)), [(Part::Key, 2)]);
    }

    #[test]
    fn a_key_that_the_value_has_is_not_waited_for_once_the_registry_has_said_no() {
        let mut patience = patience();
        let needs = Needs { must: Vec::new(), spare: vec![(Part::Key, 2)] };
        patience.missing((Part::Key, 2), at(0));
        assert_eq!(patience.give_up(0, [&needs].into_iter(), at(0), at(0)), [(Part::Key, 2)]);
    }
}
