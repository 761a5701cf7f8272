//! The place of each row in the order of changes.
//!
//! A record of our own sources has a header ([`header::EPOCH`]). Its LSN is that of the commit, so it orders across all
//! partitions. Any other Debezium gives the LSN of the row. That does not order: concurrent transactions mix
//! in the log, an incremental snapshot has none, and a snapshot has a higher one than rows that are sent
//! after it. But Debezium sends transactions as they commit, so epoch and offset order the rows of each
//! partition. The LSN then only identifies a repeat.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use catalog::Envelope;
use model::{Sequence, column, header};

use super::{Op, Reader, flat, headers, path};
use crate::event::Name;
use crate::table::partition_of;

/// The parts of the sequence, one column each.
pub(super) struct Order {
    pub epoch: Int64Array,
    pub lsn: Int64Array,
    pub tx_order: Int64Array,
    pub offset: Int64Array,
    pub partition: Int64Array,
    pub topic: Option<StringArray>,
    /// Rows that are ordered by epoch and offset, whatever their LSN.
    pub by_offset: Vec<bool>,
    tx_id: Int64Array,
    committed: Int64Array,
}
impl Order {
    /// What identifies a repeat of each row, if its sequence does not.
    pub fn names(&self, ops: &[Op]) -> Vec<Option<Name>> {
        let part = |column: &Int64Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let name = |row: usize| {
            let name = Name {
                epoch: part(&self.epoch, row),
                lsn: part(&self.lsn, row)?,
                tx_id: part(&self.tx_id, row),
                committed: part(&self.committed, row),
                op: ops[row].code()?,
            };
            self.by_offset[row].then_some(name)
        };
        (0..ops.len()).map(name).collect()
    }

    pub fn seqs(&self) -> Result<Vec<Sequence>, ArrowError> {
        let part = |column: &Int64Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let mut topic_id: Arc<str> = Arc::from("");
        let mut all = Vec::with_capacity(self.offset.len());
        for row in 0..self.offset.len() {
            let topic = self.topic.as_ref().map_or("", |t| if t.is_valid(row) { t.value(row) } else { "" });
            if *topic_id != *topic {
                topic_id = Arc::from(topic);
            }
            all.push(Sequence {
                epoch: part(&self.epoch, row),
                lsn: part(&self.lsn, row),
                tx_order: part(&self.tx_order, row),
                by_offset: self.by_offset[row],
                offset: part(&self.offset, row).unwrap_or_default(),
                partition: partition_of(part(&self.partition, row))?,
                topic_id: Arc::clone(&topic_id),
            });
        }
        Ok(all)
    }
}

/// A column as numbers; nulls if it is missing or not numeric.
pub(super) fn number(column: Option<ArrayRef>, rows: usize) -> Int64Array {
    let column = column.and_then(|c| arrow::compute::cast(&c, &DataType::Int64).ok());
    column.map_or_else(|| Int64Array::new_null(rows), |c| c.as_primitive::<Int64Type>().clone())
}

impl Reader {
    /// The order of these rows.
    pub(super) fn order(&self, bronze: &RecordBatch) -> Order {
        let rows = bronze.num_rows();
        let number = |column: Option<ArrayRef>| number(column, rows);
        let own = |name: &str| number(bronze.column_by_name(name).cloned());
        let nothing = || Int64Array::new_null(rows);
        let (lsn, tx_order, tx_id, committed) = match self.envelope {
            Envelope::Debezium => (
                number(path(bronze, "source.lsn")),
                number(path(bronze, "transaction.total_order")),
                number(path(bronze, "source.txId")),
                number(path(bronze, "source.ts_ms")),
            ),
            // If deletes have no fields, repeated rows could be identified but the delete between them could
            // not, and the delete would win wrongly.
            Envelope::DebeziumFlat if flat::is_rewritten(bronze) => (
                flat::number(bronze, &["__lsn", "__source_lsn"], rows),
                flat::number(bronze, &["__total_order", "__transaction_total_order"], rows),
                flat::number(bronze, &["__txId", "__source_txId"], rows),
                flat::number(bronze, &["__source_ts_ms", "__ts_ms"], rows),
            ),
            Envelope::DebeziumFlat | Envelope::None => (nothing(), nothing(), nothing(), nothing()),
        };
        let by_offset = match self.envelope {
            Envelope::None => vec![false; rows],
            Envelope::DebeziumFlat => vec![true; rows],
            Envelope::Debezium => headers::has(bronze, header::EPOCH).into_iter().map(|own| !own).collect(),
        };
        let topic = bronze.column_by_name(column::TOPIC_ID).and_then(|c| c.as_string_opt::<i32>().cloned());
        Order {
            // A null stays null: an epoch that is declared later does not apply to rows read before.
            epoch: own(column::EPOCH),
            lsn,
            tx_order,
            offset: own(column::OFFSET),
            partition: own(column::PARTITION),
            topic,
            by_offset,
            tx_id,
            committed,
        }
    }
}
