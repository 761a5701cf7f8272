//! The order of the changes of one key. It contains no wall clock.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `(_epoch, _lsn, _tx_order)`, then `_offset` within one partition; absent parts sort first.
///
/// The epoch is the source database's incarnation: its log sequence numbers start again when it
/// moves. Two changes are the same event when all three parts are present and equal, else when
/// (topic id, partition, offset) are equal: see [`Sequence::same_event`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sequence {
    /// Incarnation of the source database.
    pub epoch: Option<i64>,
    /// Log sequence number in that incarnation, or the value of `sequence_by`.
    pub lsn: Option<i64>,
    /// Order within the source transaction.
    pub tx_order: Option<i64>,
    /// Id of the topic the change came on.
    pub topic_id: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}
impl Sequence {
    /// True if both are the same event, delivered twice.
    pub fn same_event(&self, other: &Self) -> bool {
        let named = |s: &Self| s.epoch.is_some() && s.lsn.is_some() && s.tx_order.is_some();
        if named(self) && named(other) {
            return self.source() == other.source();
        }
        (&self.topic_id, self.partition, self.offset) == (&other.topic_id, other.partition, other.offset)
    }
    /// The parts that the source set.
    pub fn source(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        (self.epoch, self.lsn, self.tx_order)
    }
}
impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.source(), self.offset, &self.topic_id, self.partition).cmp(&(
            other.source(),
            other.offset,
            &other.topic_id,
            other.partition,
        ))
    }
}
/// The text sorts byte by byte exactly as the sequence does within one topic. It is stored in `__START_AT` and
/// `__END_AT`.
///
/// Every part is 20 characters wide. An absent part is dashes, a negative one is a dot and its distance from
/// the least number, and any other is its digits: `-` sorts before `.`, and `.` before the digits. Tables store
/// this text, so it never changes for a sequence without negative parts.
///
/// The partition is appended if the epoch or the log sequence number is absent, unless it is partition 0.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |p: Option<i64>| match p {
            None => "-".repeat(20),
            Some(v) if v < 0 => format!(".{:019}", v.wrapping_sub(i64::MIN)),
            Some(v) => format!("{v:020}"),
        };
        let (epoch, lsn, tx_order) = (part(self.epoch), part(self.lsn), part(self.tx_order));
        // An offset below zero is the place before the first record.
        write!(f, "{epoch}/{lsn}/{tx_order}/{:020}", self.offset.max(0))?;
        let placed = self.lsn.is_some() && self.epoch.is_some();
        if placed || self.partition <= 0 { Ok(()) } else { write!(f, "/{:010}", self.partition) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lsn: Option<i64>, tx_order: Option<i64>, offset: i64) -> Sequence {
        Sequence { epoch: Some(1), lsn, tx_order, topic_id: "t".into(), partition: 0, offset }
    }

    #[test]
    fn absent_parts_sort_first() {
        assert!(at(None, None, 9) < at(Some(0), None, 0));
        assert!(at(Some(5), None, 9) < at(Some(5), Some(0), 0));
        assert!(at(Some(5), Some(1), 9) < at(Some(6), Some(0), 0));
    }

    #[test]
    fn text_sorts_as_the_sequence_does() {
        let all = [at(None, None, 3), at(Some(5), None, 1), at(Some(5), Some(2), 0), at(Some(40), None, 0)];
        let text: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert!(text.is_sorted());
    }

    #[test]
    fn text_of_negative_and_extreme_parts_sorts_as_they_do() {
        let mut steps = vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX];
        steps.extend((0..63).flat_map(|bits| [1_i64 << bits, -(1_i64 << bits), (1_i64 << bits) - 1]));
        steps.sort_unstable();
        steps.dedup();
        let all: Vec<Sequence> = std::iter::once(None)
            .chain(steps.into_iter().map(Some))
            .flat_map(|lsn| {
                let parts = [(None, 0), (None, 1), (Some(-3), 0), (Some(-2), 0), (Some(2), 0)];
                parts.map(|(tx_order, partition)| Sequence { partition, ..at(lsn, tx_order, 4) })
            })
            .collect();
        for (a, b) in all.iter().zip(&all[1..]) {
            for (a, b) in [(a, b), (b, a)] {
                let epoch = |s: &Sequence| Sequence { epoch: None, ..s.clone() };
                assert_eq!(
                    epoch(a).to_string().cmp(&epoch(b).to_string()),
                    epoch(a).cmp(&epoch(b)),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn text_that_tables_hold_stays_as_it_is() {
        let text = "00000000000000000001/00000000000000000005/--------------------/00000000000000000007";
        assert_eq!(at(Some(5), None, 7).to_string(), text);
        assert_eq!(Sequence { partition: 3, ..at(Some(5), None, 7) }.to_string(), text);
    }

    #[test]
    fn equal_places_on_two_partitions_have_two_texts() {
        let other = Sequence { partition: 1, ..at(None, None, 7) };
        assert_ne!(other.to_string(), at(None, None, 7).to_string());
    }

    #[test]
    fn an_event_sent_twice_is_the_same_by_its_source_not_by_its_offset() {
        assert!(at(Some(5), Some(1), 3).same_event(&at(Some(5), Some(1), 8)));
        assert!(!at(Some(5), None, 3).same_event(&at(Some(5), None, 8)));
    }
}
