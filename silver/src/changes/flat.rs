//! Rows that Debezium's `ExtractNewRecordState` made from its envelopes: the row itself, plus the columns
//! that `add.fields` requested, named `__op`, `__lsn`, `__source_ts_ms` and so on.
//!
//! A delete has one of two forms. Rewritten (`delete.tombstone.handling.mode: rewrite…`), it is a row with
//! `__deleted` true, and a null value behind it adds nothing. Otherwise the null value itself is the delete.
//! It has no fields to identify a repeat, so no row of such a topic counts as a repeat.

use arrow::array::{Array as _, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use catalog::Envelope;

use super::{Op, Unknown, ends_snapshot, text};

/// True if every change has its own fields, including deletes.
pub(super) fn is_rewritten(bronze: &RecordBatch) -> bool {
    bronze.column_by_name("__deleted").is_some()
}

/// The first of these columns that exists, as numbers.
pub(super) fn number(bronze: &RecordBatch, names: &[&str], rows: usize) -> Int64Array {
    let column = names.iter().find_map(|name| bronze.column_by_name(name).cloned());
    super::order::number(column, rows)
}

/// The added fields of each row.
#[derive(Debug, Default)]
pub(super) struct Marks {
    is_rewritten: bool,
    op: Option<StringArray>,
    deleted: Option<StringArray>,
    snapshot: Option<StringArray>,
}
impl Marks {
    /// Empty if the topic is not flattened.
    pub fn of(envelope: Envelope, bronze: &RecordBatch) -> Result<Self, ArrowError> {
        if envelope != Envelope::DebeziumFlat {
            return Ok(Self::default());
        }
        Ok(Self {
            is_rewritten: is_rewritten(bronze),
            op: text(bronze.column_by_name("__op"))?,
            deleted: text(bronze.column_by_name("__deleted"))?,
            snapshot: text(
                bronze.column_by_name("__source_snapshot").or_else(|| bronze.column_by_name("__snapshot")),
            )?,
        })
    }
    /// The kind of a row without a value.
    pub fn without_value(&self) -> Op {
        if self.is_rewritten { Op::Tombstone } else { Op::Delete }
    }
    /// The kind of a row with a value.
    pub fn op(&self, row: usize) -> Op {
        if says(&self.deleted, row) == Some("true") {
            return Op::Delete;
        }
        match says(&self.op, row) {
            Some("d") => Op::Delete,
            Some("u") => Op::Update,
            Some("r") => Op::Read,
            Some("t") => Op::Truncate,
            Some("m") => Op::Message,
            Some("c") | None => Op::Create,
            Some(_) => Op::Unknown(Unknown::OtherOp),
        }
    }
    /// True if a row is the last of a snapshot.
    pub fn ends_snapshot(&self, row: usize) -> bool {
        ends_snapshot(self.snapshot.as_ref(), row)
    }
}

fn says(column: &Option<StringArray>, row: usize) -> Option<&str> {
    column.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row))
}
