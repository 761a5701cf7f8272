//! Where a change stands: what orders a key's changes, and which two of them are one.
//!
//! Design P6. Our own sources carry the position of the commit: the epoch orders, then the position and the
//! order within its transaction, then the offset; what is absent comes first. Two of their changes are one
//! when epoch, position and order are all there and equal, else when they are the same record.
//!
//! Any other Debezium carries the position of the row, which says nothing of when its transaction committed.
//! Its changes are ordered by epoch and offset within a partition; positions only tell a repeat, and on which
//! side of a truncate a change of another partition lies.

use std::cmp::Ordering;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use catalog::{Envelope, Topic};
use model::Sequence;

use super::change::{header, numbers, path, texts};

/// The place of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Incarnation of the source.
    pub epoch: Option<i64>,
    /// Position in its log, or the value of `sequence_by`. Of a row in the table whose source is not ours, the
    /// highest position that its key had so far.
    pub lsn: Option<i64>,
    /// Order within the transaction.
    pub tx_order: Option<i64>,
    /// Whether epoch and offset order, and the position does not.
    pub by_offset: bool,
    /// The topic's id.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i64,
    /// The offset; −1 for the start of a snapshot.
    pub offset: i64,
}

/// What stands in `_tx_order` of a row that is ordered by its offset.
const BY_OFFSET: i64 = -1;

impl Place {
    fn rank(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        if self.by_offset { (self.epoch, None, None) } else { (self.epoch, self.lsn, self.tx_order) }
    }
    /// Which of two changes of a key comes first.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.rank().cmp(&other.rank()))
            .then_with(|| self.offset.cmp(&other.offset))
            .then_with(|| self.topic.cmp(&other.topic))
            .then_with(|| self.partition.cmp(&other.partition))
    }
    fn shares_partition(&self, other: &Self) -> bool {
        (self.partition, &self.topic) == (other.partition, &other.topic)
    }
    /// Whether this is behind `other`, where that can be told: not by the offsets of two partitions.
    pub fn is_behind(&self, other: &Self) -> Option<bool> {
        if !(self.by_offset && other.by_offset) || self.shares_partition(other) {
            return Some(self.order(other).is_gt());
        }
        match self.epoch.cmp(&other.epoch) {
            Ordering::Equal => Some(self.lsn? > other.lsn?),
            unequal => Some(unequal.is_gt()),
        }
    }
    /// What names the change, where the source does and its positions order.
    pub fn name(&self) -> Option<(i64, i64, i64)> {
        if self.by_offset { None } else { Some((self.epoch?, self.lsn?, self.tx_order?)) }
    }
    /// Which record it is.
    pub fn record(&self) -> (&str, i64, i64) {
        (&self.topic, self.partition, self.offset)
    }
    /// Whether both are one change.
    pub fn same(&self, other: &Self) -> bool {
        match (self.name(), other.name()) {
            (Some(a), Some(b)) => a == b,
            _ => self.record() == other.record(),
        }
    }
    /// The start of a snapshot that ends here: everything older is gone.
    pub fn start(&self) -> Self {
        Self { tx_order: None, offset: -1, ..self.clone() }
    }
    /// As a table holds it.
    pub fn stored(&self) -> Self {
        Self { tx_order: self.tx_order.filter(|_| !self.by_offset), ..self.clone() }
    }
    /// What `_tx_order` of the table holds.
    pub fn stored_order(&self) -> Option<i64> {
        if self.by_offset { Some(BY_OFFSET) } else { self.tx_order }
    }
    /// A place as a row of the table has it.
    pub fn of_table(
        [epoch, lsn, tx_order]: [Option<i64>; 3],
        topic: &str,
        partition: Option<i64>,
        offset: Option<i64>,
    ) -> Self {
        Self {
            epoch,
            lsn,
            by_offset: tx_order == Some(BY_OFFSET),
            tx_order: tx_order.filter(|order| *order != BY_OFFSET),
            topic: topic.into(),
            partition: partition.unwrap_or_default(),
            offset: offset.unwrap_or_default(),
        }
    }
    /// As `__START_AT` has it.
    pub fn text(&self) -> String {
        let (epoch, lsn, tx_order) = self.rank();
        let partition = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let topic_id = Arc::clone(&self.topic);
        Sequence { epoch, lsn, tx_order, by_offset: false, offset: self.offset, partition, topic_id }
            .to_string()
    }
}

/// A point at which keys lose what they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// Where it stands.
    pub place: Place,
    /// When it happened.
    pub at: Option<i64>,
    /// It concerns its own partition alone: a snapshot that offsets order began there.
    pub here: bool,
}
impl Truncate {
    fn starts_snapshot(&self) -> bool {
        self.here || self.place.offset < 0
    }
    /// Whether both are one. Starts of snapshots have no records of their own.
    pub fn same(&self, other: &Self) -> bool {
        if self.starts_snapshot() || other.starts_snapshot() {
            return self.place == other.place && self.here == other.here;
        }
        let (a, b) = (&self.place, &other.place);
        if a.by_offset && b.by_offset && a.lsn.is_some() {
            return (a.epoch, a.lsn) == (b.epoch, b.lsn);
        }
        a.same(b)
    }
    /// Whether a change at `place` comes behind it, and so keeps its row. What cannot be told is kept.
    pub fn precedes(&self, place: &Place) -> bool {
        let elsewhere =
            place.by_offset && place.epoch == self.place.epoch && !place.shares_partition(&self.place);
        // The lock of a truncate keeps every change apart from it: above its position is behind it.
        let above = match (place.lsn, self.place.lsn) {
            (Some(row), Some(cut)) => row > cut,
            _ => false,
        };
        let one_log = place.by_offset && self.place.by_offset && place.epoch == self.place.epoch;
        (self.here && elsewhere)
            || (!self.starts_snapshot() && one_log && above)
            || place.is_behind(&self.place).unwrap_or(true)
    }
}

/// What a change is recognised by when a source that is not ours sends it again.
pub type Name = (Option<i64>, i64, Option<i64>, Option<i64>, &'static str);

/// The places of a batch of bronze rows.
pub fn places(topic: &Topic, bronze: &RecordBatch) -> Result<Vec<Place>> {
    let rows = bronze.num_rows();
    let column = |name: &str| numbers(bronze.column_by_name(name).cloned(), rows);
    let (epochs, partitions, offsets) = (column("_epoch"), column("_partition"), column("_offset"));
    let first = |names: [&str; 2]| names.iter().find_map(|name| bronze.column_by_name(name).cloned());
    let (lsns, orders) = match topic.envelope {
        Envelope::Debezium => (
            numbers(path(bronze, "source.lsn"), rows),
            numbers(path(bronze, "transaction.total_order"), rows),
        ),
        // Where a delete is a bare null, nothing can be compared with a position.
        Envelope::DebeziumFlat if bronze.column_by_name("__deleted").is_some() => (
            numbers(first(["__lsn", "__source_lsn"]), rows),
            numbers(first(["__total_order", "__transaction_total_order"]), rows),
        ),
        Envelope::DebeziumFlat | Envelope::None => (vec![None; rows], vec![None; rows]),
    };
    let topics =
        bronze.column_by_name("_topic_id").map(texts).transpose()?.unwrap_or_else(|| vec![None; rows]);
    // Our own sources say the incarnation of their database in a header.
    let by_offset: Vec<bool> = match topic.envelope {
        Envelope::None => vec![false; rows],
        Envelope::DebeziumFlat => vec![true; rows],
        Envelope::Debezium => (0..rows).map(|row| header(bronze, row, "lp.epoch").is_none()).collect(),
    };
    let mut name: Arc<str> = "".into();
    let mut place = |row: usize| {
        let topic_id = topics[row].as_deref().unwrap_or_default();
        if *name != *topic_id {
            name = topic_id.into();
        }
        Place {
            epoch: epochs[row],
            lsn: lsns[row],
            tx_order: orders[row],
            by_offset: by_offset[row],
            topic: Arc::clone(&name),
            partition: partitions[row].unwrap_or_default(),
            offset: offsets[row].unwrap_or_default(),
        }
    };
    Ok((0..rows).map(&mut place).collect())
}

/// What changes of a source that is not ours are recognised by: where the row stands in the log, in which
/// transaction, and what was done to it; not its number in the transaction, which a connector that begins again in
/// the middle of one counts anew. Where deletes are bare nulls nothing is taken for a repeat.
pub fn names(
    topic: &Topic,
    bronze: &RecordBatch,
    places: &[Place],
    code: impl Fn(usize) -> Option<&'static str>,
) -> Vec<Option<Name>> {
    let rows = bronze.num_rows();
    let first = |names: [&str; 2]| names.iter().find_map(|name| bronze.column_by_name(name).cloned());
    let (transactions, commits) = match topic.envelope {
        Envelope::Debezium => {
            (numbers(path(bronze, "source.txId"), rows), numbers(path(bronze, "source.ts_ms"), rows))
        }
        Envelope::DebeziumFlat => (
            numbers(first(["__txId", "__source_txId"]), rows),
            numbers(first(["__source_ts_ms", "__ts_ms"]), rows),
        ),
        Envelope::None => return vec![None; rows],
    };
    let name = |row: usize| {
        let place = places.get(row).filter(|place| place.by_offset)?;
        Some((place.epoch, place.lsn?, transactions[row], commits[row], code(row)?))
    };
    (0..rows).map(name).collect()
}
