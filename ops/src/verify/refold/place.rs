//! The place of a change: orders the changes of a key, and tells when two changes are the same.
//!
//! Design P6. Our own sources carry the position of the commit. Changes are ordered by epoch, position, order
//! within the transaction, then offset; absent parts come first. Two changes are the same if epoch, position
//! and order are all present and equal, or else if they are the same record.
//!
//! Any other Debezium carries the position of the row, which does not say when its transaction committed. So
//! changes are ordered by epoch and offset within a partition. Positions only recognise repeats, and decide
//! on which side of a truncate a change of another partition lies.

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
    /// Position in its log, or the value of `sequence_by`. In a stored row of a source that is not ours: the
    /// highest position of its key so far.
    pub lsn: Option<i64>,
    /// Order within the transaction.
    pub tx_order: Option<i64>,
    /// Whether epoch and offset order it, and not the position.
    pub by_offset: bool,
    /// The topic's id.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i64,
    /// The offset; −1 for the start of a snapshot.
    pub offset: i64,
}

/// `_tx_order` of a stored row that is ordered by its offset.
const BY_OFFSET: i64 = -1;

impl Place {
    fn rank(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        if self.by_offset { (self.epoch, None, None) } else { (self.epoch, self.lsn, self.tx_order) }
    }
    /// Orders two changes of a key.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.rank().cmp(&other.rank()))
            .then_with(|| self.offset.cmp(&other.offset))
            .then_with(|| self.topic.cmp(&other.topic))
            .then_with(|| self.partition.cmp(&other.partition))
    }
    fn shares_partition(&self, other: &Self) -> bool {
        (self.partition, &self.topic) == (other.partition, &other.topic)
    }
    /// Whether this comes after `other`. `None`: unknown, because offsets of two partitions cannot be
    /// compared.
    pub fn is_behind(&self, other: &Self) -> Option<bool> {
        if !(self.by_offset && other.by_offset) || self.shares_partition(other) {
            return Some(self.order(other).is_gt());
        }
        match self.epoch.cmp(&other.epoch) {
            Ordering::Equal => Some(self.lsn? > other.lsn?),
            unequal => Some(unequal.is_gt()),
        }
    }
    /// Identifies the change if its source does and positions order it.
    pub fn name(&self) -> Option<(i64, i64, i64)> {
        if self.by_offset { None } else { Some((self.epoch?, self.lsn?, self.tx_order?)) }
    }
    /// The coordinates of the record.
    pub fn record(&self) -> (&str, i64, i64) {
        (&self.topic, self.partition, self.offset)
    }
    /// Whether both are the same change.
    pub fn same(&self, other: &Self) -> bool {
        match (self.name(), other.name()) {
            (Some(a), Some(b)) => a == b,
            _ => self.record() == other.record(),
        }
    }
    /// The place of the start of a snapshot that ends here: it deletes everything older.
    pub fn start(&self) -> Self {
        Self { tx_order: None, offset: -1, ..self.clone() }
    }
    /// The place as a table stores it.
    pub fn stored(&self) -> Self {
        Self { tx_order: self.tx_order.filter(|_| !self.by_offset), ..self.clone() }
    }
    /// The value of `_tx_order` in the table.
    pub fn stored_order(&self) -> Option<i64> {
        if self.by_offset { Some(BY_OFFSET) } else { self.tx_order }
    }
    /// Reads a place from a row of the table.
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
    /// The text in `__START_AT`.
    pub fn text(&self) -> String {
        let (epoch, lsn, tx_order) = self.rank();
        let partition = i32::try_from(self.partition).unwrap_or(i32::MAX);
        let topic_id = Arc::clone(&self.topic);
        Sequence { epoch, lsn, tx_order, by_offset: false, offset: self.offset, partition, topic_id }
            .to_string()
    }
}

/// A point at which keys lose their rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// Its place in the order.
    pub place: Place,
    /// When it happened.
    pub at: Option<i64>,
    /// It concerns only its own partition: a snapshot that is ordered by offsets began there.
    pub here: bool,
}
impl Truncate {
    fn starts_snapshot(&self) -> bool {
        self.here || self.place.offset < 0
    }
    /// Whether both are the same. Starts of snapshots have no records of their own.
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
    /// Whether a change at `place` comes after this truncate and so keeps its row. Unknown means yes.
    pub fn precedes(&self, place: &Place) -> bool {
        let elsewhere =
            place.by_offset && place.epoch == self.place.epoch && !place.shares_partition(&self.place);
        // A truncate locks the table, so a change with a higher position comes after it.
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

/// Identifies an event that a source that is not ours sends again.
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
        // If a delete is a bare null, positions cannot be compared.
        Envelope::DebeziumFlat if bronze.column_by_name("__deleted").is_some() => (
            numbers(first(["__lsn", "__source_lsn"]), rows),
            numbers(first(["__total_order", "__transaction_total_order"]), rows),
        ),
        Envelope::DebeziumFlat | Envelope::None => (vec![None; rows], vec![None; rows]),
    };
    let topics =
        bronze.column_by_name("_topic_id").map(texts).transpose()?.unwrap_or_else(|| vec![None; rows]);
    // Our own sources send their database's epoch in a header.
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

/// Identifies events of sources that are not ours: position in the log, transaction, time and operation. The
/// number within the transaction is left out, because a connector that restarts in the middle of one counts
/// from one again. Without positions of deletes (they are bare nulls) nothing counts as a repeat.
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
