//! Where each row stands in the order of changes.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use catalog::Envelope;

use super::{Reader, flat, path};
use crate::event::Seq;

/// The parts of the sequence, a column each.
pub(super) struct Order {
    pub epoch: Int64Array,
    pub lsn: Int64Array,
    pub tx_order: Int64Array,
    pub offset: Int64Array,
    pub partition: Int64Array,
    pub topic: Option<StringArray>,
}
impl Order {
    pub fn seqs(&self) -> Vec<Seq> {
        let part = |column: &Int64Array, row: usize| column.is_valid(row).then(|| column.value(row));
        let mut topic_id: Arc<str> = Arc::from("");
        let mut all = Vec::with_capacity(self.offset.len());
        for row in 0..self.offset.len() {
            let topic = self.topic.as_ref().map_or("", |t| if t.is_valid(row) { t.value(row) } else { "" });
            if *topic_id != *topic {
                topic_id = Arc::from(topic);
            }
            all.push(Seq {
                epoch: part(&self.epoch, row),
                lsn: part(&self.lsn, row),
                tx_order: part(&self.tx_order, row),
                offset: part(&self.offset, row).unwrap_or_default(),
                partition: i32::try_from(part(&self.partition, row).unwrap_or_default()).unwrap_or(i32::MAX),
                topic_id: Arc::clone(&topic_id),
            });
        }
        all
    }
}

/// A column as numbers; nulls where there is none, or it holds none.
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
        let mut epoch = own("_epoch");
        if let (Some(declared), true) = (self.epoch, epoch.null_count() > 0) {
            epoch = epoch.iter().map(|e| Some(e.unwrap_or(declared))).collect();
        }
        let (lsn, tx_order) = match self.envelope {
            Envelope::Debezium => {
                (number(path(bronze, "source.lsn")), number(path(bronze, "transaction.total_order")))
            }
            Envelope::DebeziumFlat if flat::is_rewritten(bronze) => (
                flat::number(bronze, &["__lsn", "__source_lsn"], rows),
                flat::number(bronze, &["__total_order", "__transaction_total_order"], rows),
            ),
            Envelope::DebeziumFlat | Envelope::None => {
                (Int64Array::new_null(rows), Int64Array::new_null(rows))
            }
        };
        let topic = bronze.column_by_name("_topic_id").and_then(|c| c.as_string_opt::<i32>().cloned());
        Order { epoch, lsn, tx_order, offset: own("_offset"), partition: own("_partition"), topic }
    }
}
