//! Rows that Debezium's `ExtractNewRecordState` made of its envelopes: the row alone, and beside its columns
//! what `add.fields` asked for, called `__op`, `__lsn`, `__source_ts_ms` and the like.
//!
//! A delete is one of two things there. Rewritten (`delete.tombstone.handling.mode: rewrite…`), it is a row
//! with `__deleted` true, and a null value behind it says nothing more. Else it is the null value itself,
//! and that has no fields at all: nothing of it tells a repeat, so no row of such a topic is taken for one.

use arrow::array::{Array as _, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use catalog::Envelope;

use super::{Op, Unknown, ends_snapshot, text};

/// Whether every change of these rows has its own fields, deletes included.
pub(super) fn is_rewritten(bronze: &RecordBatch) -> bool {
    bronze.column_by_name("__deleted").is_some()
}

/// The first of these columns that there is, as numbers.
pub(super) fn number(bronze: &RecordBatch, names: &[&str], rows: usize) -> Int64Array {
    let column = names.iter().find_map(|name| bronze.column_by_name(name).cloned());
    super::order::number(column, rows)
}

/// What the added fields say of each row.
#[derive(Debug, Default)]
pub(super) struct Marks {
    is_rewritten: bool,
    op: Option<StringArray>,
    deleted: Option<StringArray>,
    snapshot: Option<StringArray>,
}
impl Marks {
    /// Nothing, where there is no envelope at all.
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
    /// What a row without a value is.
    pub fn without_value(&self) -> Op {
        if self.is_rewritten { Op::Tombstone } else { Op::Delete }
    }
    /// What a row with a value is.
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
    /// Whether a row is the last of a snapshot.
    pub fn ends_snapshot(&self, row: usize) -> bool {
        ends_snapshot(self.snapshot.as_ref(), row)
    }
}

fn says(column: &Option<StringArray>, row: usize) -> Option<&str> {
    column.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row))
}
