//! How long a partition waits for schemas that the registry says it does not have.
//!
//! A replica of the registry may be behind, so a partition is patient. It is so once, not once a schema:
//! everything that it holds is asked for together, and when its time is over, nothing missing is waited for
//! longer than one answer, until no record has named a missing schema for a while. Otherwise one producer
//! with frames of its own would bring a partition down to a record in half a minute.
//!
//! What was given up is asked for again now and then when records name it: a schema that comes late is
//! used from there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::ClockMs;

use crate::lookup::{Asked, Part};

/// Between two questions about the same schema.
const PAUSE: i64 = 500;
/// How long a schema that was given up is not asked for.
const GIVEN_UP: i64 = 30_000;
/// How long a partition waits for a key that its values hold too: one answer of a registry that answers.
const SPARE: i64 = 2_000;
/// A partition is patient again when nothing was missing for this many times its patience.
const RENEWED: i64 = 10;
/// Keys of producers that frame none begin with any number. After this many nobody asks any more.
const STRANGE: usize = 64;
/// Schemas given up that are remembered. More are asked for again sooner.
const MOST: usize = 16 * 1024;

/// Decides for one table. Pure: answers and times in, what to ask and what to give up out.
#[derive(Debug)]
pub(crate) struct Patience {
    patience: i64,
    /// What the last answer was about schemas that are not there, and when it came.
    answers: HashMap<Asked, (Answer, i64)>,
    given_up: HashMap<Asked, i64>,
    partitions: BTreeMap<i32, Wait>,
    /// Schemas of spare keys that were not there, while no key's was.
    strange_keys: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Missing,
    None,
}

/// A partition's patience.
#[derive(Debug)]
struct Wait {
    until: i64,
    /// When last something was missing.
    last: i64,
}

/// What a partition's records need before they can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Without these there is an error row, or no key.
    pub must: Vec<Asked>,
    /// Schemas of keys whose columns the value holds as well.
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
        // Of records that went to another process meanwhile, too.
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(asked, (answer, now.0));
    }
    /// The schema is known, however it is.
    pub fn known(&mut self, asked: Asked) {
        self.answers.remove(&asked);
        self.given_up.remove(&asked);
        if asked.0 == Part::Key {
            self.strange_keys = 0;
        }
    }
    /// Whether records are read without that schema.
    pub fn is_given_up(&self, asked: &Asked, now: ClockMs) -> bool {
        self.given_up.get(asked).is_some_and(|at| now.0.saturating_sub(*at) < GIVEN_UP)
    }
    /// Whether keys have named so many schemas that are not there that they are no frames at all.
    pub fn keys_are_no_frames(&self) -> bool {
        self.strange_keys >= STRANGE
    }
    /// Whether the registry should be asked: for the first time, or again.
    pub fn is_due(&self, asked: &Asked, now: ClockMs) -> bool {
        self.answers.get(asked).is_none_or(|(_, at)| now.0.saturating_sub(*at) >= PAUSE)
    }

    /// Of what a partition's records need, what it waits for no longer. `since`: when its first
    /// records last waited for something that they must have.
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
        /// However many missing ids records name and however they come, a partition waits its patience once.
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
