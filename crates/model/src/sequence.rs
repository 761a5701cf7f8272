//! The order of the changes of one key. It contains no wall clock.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// `(_epoch, _lsn, _tx_order)`, then `_offset` within one partition; absent parts sort first.
///
/// The epoch is the source database's incarnation: its log sequence numbers start again when it
/// moves. Two changes are the same event when all three parts are present and equal, else when
/// (topic id, partition, offset) are equal: see [`Sequence::same_event`].
///
/// Positions of a source that is not ours do not order ([`Sequence::by_offset`]): a row's place in the
/// log says nothing of when its transaction committed. There epoch and offset order, and the position
/// only bounds which events may be a repeat.
///
/// A clone allocates nothing: the topic's id is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Incarnation of the source database.
    pub epoch: Option<i64>,
    /// Log sequence number in that incarnation, or the value of `sequence_by`. By offset: of an event
    /// its own, of what a fold made the highest so far of its key.
    pub lsn: Option<i64>,
    /// Order within the source transaction.
    pub tx_order: Option<i64>,
    /// Whether epoch and offset order, and `lsn` and `tx_order` do not.
    pub by_offset: bool,
    /// Offset in its partition; −1 for the truncate that a whole snapshot stands for.
    pub offset: i64,
    /// Partition of its topic.
    pub partition: i32,
    /// Id of the topic the change came on.
    pub topic_id: Arc<str>,
}
impl Sequence {
    /// True if both are the same event, delivered twice.
    pub fn same_event(&self, other: &Self) -> bool {
        match (self.named(), other.named()) {
            (Some(this), Some(that)) => this == that,
            _ => self.coordinates() == other.coordinates(),
        }
    }
    /// Epoch, LSN and order in the transaction, when the source gave all three and they order.
    pub fn named(&self) -> Option<(i64, i64, i64)> {
        if self.by_offset { None } else { Some((self.epoch?, self.lsn?, self.tx_order?)) }
    }
    /// Where the event stands in Kafka.
    pub fn coordinates(&self) -> (&str, i32, i64) {
        (&self.topic_id, self.partition, self.offset)
    }
    /// Whether both are on one partition of one topic.
    pub fn shares_partition(&self, other: &Self) -> bool {
        (self.partition, &self.topic_id) == (other.partition, &other.topic_id)
    }
    /// Whether this comes behind `other`. `None`: cannot be told.
    ///
    /// Offsets of two partitions do not compare. There the positions do, where a lock keeps changes
    /// apart: a truncate from all changes of its table, a key's changes from each other.
    pub fn is_behind(&self, other: &Self) -> Option<bool> {
        if !(self.by_offset && other.by_offset) || self.shares_partition(other) {
            return Some(self > other);
        }
        match self.epoch.cmp(&other.epoch) {
            Ordering::Equal => Some(self.lsn? > other.lsn?),
            unequal => Some(unequal.is_gt()),
        }
    }
    /// The parts that the source gave and that order.
    fn rank(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        if self.by_offset { (self.epoch, None, None) } else { (self.epoch, self.lsn, self.tx_order) }
    }
}
impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank(), self.offset, &self.topic_id, self.partition).cmp(&(
            other.rank(),
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
        let (epoch, lsn, tx_order) = self.rank();
        // Below zero is the place before the first record.
        write!(f, "{}/{}/{}/{:020}", Part(epoch), Part(lsn), Part(tx_order), self.offset.max(0))?;
        let placed = lsn.is_some() && epoch.is_some();
        if placed || self.partition <= 0 { Ok(()) } else { write!(f, "/{:010}", self.partition) }
    }
}

/// One part of the text.
struct Part(Option<i64>);
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("--------------------"),
            Some(v) if v < 0 => write!(f, ".{:019}", v.wrapping_sub(i64::MIN)),
            Some(v) => write!(f, "{v:020}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(lsn: Option<i64>, tx_order: Option<i64>, offset: i64) -> Sequence {
        let topic_id = "t".into();
        Sequence { epoch: Some(1), lsn, tx_order, by_offset: false, offset, partition: 0, topic_id }
    }
    fn any_sequence() -> impl Strategy<Value = Sequence> {
        let part = || prop_oneof![Just(None), (0..3_i64).prop_map(Some)];
        (part(), part(), part(), 0..3_i64, 0..2_i32, prop_oneof![Just("a"), Just("b")]).prop_map(
            |(epoch, lsn, tx_order, offset, partition, topic)| Sequence {
                epoch,
                lsn,
                tx_order,
                by_offset: offset == 2,
                offset,
                partition,
                topic_id: topic.into(),
            },
        )
    }

    // Holds P6 (docs/invariants.md).
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

    // Holds P6 (docs/invariants.md).
    #[test]
    fn an_event_sent_twice_is_the_same_by_its_source_not_by_its_offset() {
        assert!(at(Some(5), Some(1), 3).same_event(&at(Some(5), Some(1), 8)));
        assert!(!at(Some(5), None, 3).same_event(&at(Some(5), None, 8)));
    }

    proptest! {
        #[test]
        fn by_offset_a_sequence_orders_repeats_and_reads_as_one_without_positions(
            a in any_sequence(),
            b in any_sequence(),
        ) {
            let bare = |s: &Sequence| match s.by_offset {
                true => Sequence { lsn: None, tx_order: None, by_offset: false, ..s.clone() },
                false => s.clone(),
            };
            prop_assert_eq!(a.cmp(&b), bare(&a).cmp(&bare(&b)));
            prop_assert_eq!(a.same_event(&b), bare(&a).same_event(&bare(&b)));
            prop_assert_eq!(a.to_string(), bare(&a).to_string());
        }
    }
}
