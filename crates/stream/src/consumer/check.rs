//! Asks, before a partition is read, whether its position is in the log.
//!
//! A round has two steps. The topics' ids, because positions are kept by id and only now [`super::Start`]
//! can be asked; then both ends of the logs whose position is an offset. Answers come through a queue
//! of the client and never block the thread. A round that fails leaves its partitions unchecked, to be
//! asked for again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Offset, TopicId, TopicName};

use super::Cause;
use crate::Error;
use crate::error::Failure;
use crate::ffi::{Described, End, EndOf};

/// A partition in a round, with the generation it had when the round began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub topic: TopicName,
    pub partition: i32,
    pub generation: u64,
}

/// What is asked at the moment.
#[derive(Debug, Default)]
pub enum Round {
    #[default]
    Idle,
    /// Ids were asked for.
    Topics { members: Vec<Member> },
    /// Ends were asked for.
    Ends { members: Vec<Member>, answers: Ends },
}

/// The ends that have come.
#[derive(Debug, Default)]
pub struct Ends {
    low: Option<Result<Vec<EndOf>, Failure>>,
    high: Option<Result<Vec<EndOf>, Failure>>,
}
impl Ends {
    pub fn put(&mut self, end: End, answer: Result<Vec<EndOf>, Failure>) {
        match end {
            End::Low => self.low = Some(answer),
            End::High => self.high = Some(answer),
        }
    }
    pub fn is_complete(&self) -> bool {
        self.low.is_some() && self.high.is_some()
    }
    /// Low and high by partition; what failed for one is its error.
    pub fn table(self) -> Result<LogEnds, Failure> {
        let by = |ends: Option<Result<Vec<EndOf>, Failure>>| -> Result<HashMap<_, _>, Failure> {
            let ends = ends.unwrap_or_else(|| Ok(Vec::new()))?;
            Ok(ends.into_iter().map(|(topic, partition, end)| ((topic, partition), end)).collect())
        };
        Ok(LogEnds { low: by(self.low)?, high: by(self.high)? })
    }
}

type ByPartition = HashMap<(String, i32), Result<i64, Failure>>;

/// Both ends of many logs.
pub struct LogEnds {
    low: ByPartition,
    high: ByPartition,
}
impl LogEnds {
    /// Whether the log holds `position`.
    pub fn judge(
        &self,
        topic: &TopicName,
        partition: i32,
        position: Offset,
    ) -> Result<Option<Cause>, Failure> {
        let key = (topic.as_str().to_owned(), partition);
        let end = |ends: &ByPartition| match ends.get(&key) {
            Some(end) => end.clone(),
            None => Err(Failure { code: 0, text: "the broker did not answer for it".to_owned() }),
        };
        let (low, high) = (Offset(end(&self.low)?), Offset(end(&self.high)?));
        Ok(Cause::of(position, low, high))
    }
}

/// Ids by topic, and what failed.
pub fn ids(
    topics: &BTreeSet<TopicName>,
    answer: Vec<Described>,
) -> (BTreeMap<TopicName, TopicId>, Vec<(TopicName, Error)>) {
    let mut answer: HashMap<String, Described> = answer.into_iter().map(|d| (d.name.clone(), d)).collect();
    let (mut ids, mut failed) = (BTreeMap::new(), Vec::new());
    for topic in topics {
        let id = match answer.remove(topic.as_str()).map(|described| described.found) {
            None => Err(Error::NoTopic { topic: topic.clone() }),
            Some(Err(failure)) if failure.is_unknown_topic() => Err(Error::NoTopic { topic: topic.clone() }),
            Some(Err(failure)) => Err(Error::of("describe topics", &failure)),
            Some(Ok(found)) => found.id(topic),
        };
        match id {
            Ok(id) => drop(ids.insert(topic.clone(), id)),
            Err(error) => failed.push((topic.clone(), error)),
        }
    }
    (ids, failed)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::inside(5, None)]
    #[case::first(3, None)]
    #[case::behind_the_last_is_where_the_next_comes(9, None)]
    #[case::below_the_start(2, Some(Cause::LogStart(Offset(3))))]
    #[case::above_the_end(10, Some(Cause::LogEnd(Offset(9))))]
    fn a_position_is_in_the_log_or_lost(#[case] position: i64, #[case] expected: Option<Cause>) {
        let mut ends = Ends::default();
        ends.put(End::Low, Ok(vec![("t".to_owned(), 0, Ok(3))]));
        assert!(!ends.is_complete());
        ends.put(End::High, Ok(vec![("t".to_owned(), 0, Ok(9))]));
        let table = ends.table().expect("both came");
        let topic: TopicName = "t".parse().expect("valid");
        assert_eq!(table.judge(&topic, 0, Offset(position)), Ok(expected));
        assert!(table.judge(&topic, 1, Offset(position)).is_err());
    }
}
