//! Converts rows of a bronze table to rows of `changes(…)`.
//!
//! Each bronze row gives one row at the same place. Rows that are not events (tombstones, undecodable
//! records) are marked, not removed: a batch costs only a few column operations, and every row is counted.
//!
//! Not trusted: the non-key columns of a delete's `before` (PostgreSQL fills them in), a null key, and the
//! placeholder text of an unchanged TOASTed column.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, ListArray, ListBuilder, RecordBatch, RecordBatchOptions,
    StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use catalog::{Envelope, Snapshots, Topic};
use model::{Micros, Sequence, column, header};

use crate::event::Name;

mod absent;
mod columns;
mod flat;
mod headers;
mod order;
mod placeholder;
mod time;

use absent::Absent;
use columns::{child, is_meta, path, text};
use placeholder::Placeholder;

/// Debezium's placeholder for an unchanged TOASTed column.
pub const UNCHANGED: &str = "__debezium_unavailable_value";
/// Microseconds in a day.
const A_DAY: i64 = 24 * 3_600 * 1_000_000;

/// The kind of a bronze row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Inserted.
    Create,
    /// Updated.
    Update,
    /// Read by a snapshot.
    Read,
    /// Deleted.
    Delete,
    /// All rows removed.
    Truncate,
    /// The null value that follows a delete.
    Tombstone,
    /// A message that concerns no row.
    Message,
    /// Bronze could not decode it.
    Error,
    /// An envelope that is not understood, and why.
    Unknown(Unknown),
}

/// What is wrong with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It has no `op`.
    NoOp,
    /// Its `op` is not one that Debezium writes.
    OtherOp,
    /// Its `op` requires a row, and it has none.
    NoRow,
}
impl Unknown {
    /// The reason in the quarantine.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoOp => "its envelope has no `op`",
            Self::OtherOp => "its envelope's `op` is none of c, u, r, d, t, m",
            Self::NoRow => "its envelope's `op` is of a row, and `after` is null",
        }
    }
}
impl Op {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("c"),
            Self::Update => Some("u"),
            Self::Read => Some("r"),
            Self::Delete => Some("d"),
            Self::Truncate => Some("t"),
            Self::Tombstone | Self::Message | Self::Error | Self::Unknown(_) => None,
        }
    }
    /// True if it carries a row.
    pub fn is_row(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Read)
    }
}

/// Reads the rows of one topic. Made once per bronze schema.
#[derive(Debug, Clone)]
pub struct Reader {
    envelope: Envelope,
    event_time: Option<String>,
    /// Whether snapshots of a foreign source contain every row.
    whole_snapshots: bool,
    placeholder: Placeholder,
    keys: Vec<String>,
    schema: SchemaRef,
    /// Number of the row's own columns; columns with a leading underscore follow.
    width: usize,
    absent: Absent,
}

/// Rows of `changes(…)`, one per bronze row, with what the fold needs besides.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The rows.
    pub view: RecordBatch,
    /// The kind of each row.
    pub ops: Vec<Op>,
    /// The sequence of each row.
    pub seqs: Vec<Sequence>,
    /// What identifies a repeat of each row, if the sequence does not.
    pub names: Vec<Option<Name>>,
    /// The last rows of snapshots that are known to be whole.
    pub last_of_snapshot: Vec<usize>,
    /// Rows of whole snapshots that are ordered by offset. A snapshot begins at its first row.
    pub of_snapshot: Vec<usize>,
    /// By column, the rows where the source left the value out as unchanged. May lack columns.
    pub unchanged: AHashMap<usize, BooleanArray>,
    /// Rows whose key the source changed, with the header that has the old key.
    pub old_keys: Vec<(usize, Vec<u8>)>,
    /// Rows with a key that cannot be read.
    pub unread_keys: AHashSet<usize>,
    /// Rows that were appended again at their coordinates, with the ULID of the redrive.
    pub redriven: Vec<(usize, Arc<str>)>,
}

impl Reader {
    /// A reader of `bronze` rows. The error says what the table lacks.
    pub fn try_new(topic: &Topic, bronze: &Schema) -> Result<Self, String> {
        let schema = catalog::columns::changes_schema(topic, bronze).map_err(|e| e.to_string())?;
        let width = schema.index_of(column::OP).map_err(|e| e.to_string())?;
        let keys = match bronze.field_with_name(column::KEYS).map(|f| f.data_type()) {
            Ok(DataType::Struct(fields)) => fields.iter().map(|f| f.name().clone()).collect(),
            _ => topic.key.clone(),
        };
        let event_time = topic.event_time.clone();
        Ok(Self {
            envelope: topic.envelope,
            event_time,
            whole_snapshots: topic.snapshots == Snapshots::Whole,
            placeholder: Placeholder::new(topic.placeholder.as_deref().unwrap_or(UNCHANGED)),
            keys,
            schema,
            width,
            absent: Absent::default(),
        })
    }
    /// Adds the defaults from this property of the bronze table, for rows that lack columns.
    pub fn with_defaults(self, property: Option<&str>) -> Result<Self, String> {
        Ok(Self { absent: Absent::of(property)?, ..self })
    }
    /// The columns of `changes(…)`.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    /// Columns of the source's key, in its order.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }
    /// Number of the row's own columns.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Columns of the bronze table that are read.
    pub fn needs(&self, bronze: &Schema) -> Vec<String> {
        // The key's bytes only distinguish an unreadable key from a missing one.
        let has_keys = bronze.field_with_name(column::KEYS).is_ok();
        let skipped = |name: &str| match name {
            column::RAW | column::INGESTED_AT | column::INGESTED_DATE => true,
            column::KEY => !has_keys,
            _ => false,
        };
        bronze.fields().iter().map(|f| f.name().clone()).filter(|name| !skipped(name)).collect()
    }

    /// The newest event time of these rows, for a clock that follows events. Ignores a time more than a day
    /// after its record reached Kafka, which is a mistake of the source.
    pub fn newest_event(&self, bronze: &RecordBatch) -> Result<Option<Micros>, ArrowError> {
        let bronze = &self.absent.fill(bronze)?;
        // Kafka's time is used only if the source has no event times at all. So a tombstone or an undecodable
        // record does not move the clock.
        let times = match time::own_time(bronze, self.event_time.as_deref(), self.envelope)? {
            Some(own) => own,
            None => time::event_time(bronze, None, self.envelope)?,
        };
        let arrived = bronze
            .column_by_name(column::TIMESTAMP)
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let plausible = |row: usize, at: i64| {
            let arrived = arrived.filter(|arrived| arrived.is_valid(row)).map(|arrived| arrived.value(row));
            arrived.is_none_or(|arrived| at <= arrived.saturating_add(A_DAY))
        };
        let newest = times.iter().enumerate().filter_map(|(row, at)| at.filter(|at| plausible(row, *at)));
        Ok(newest.max().map(Micros))
    }

    /// Reads a batch of bronze rows.
    pub fn read(&self, bronze: &RecordBatch) -> Result<Changes, ArrowError> {
        let bronze = &self.absent.fill(bronze)?;
        let rows = bronze.num_rows();
        let (ops, mut last_of_snapshot) = self.ops(bronze)?;
        let mut columns = self.row_columns(bronze, &ops, false)?;
        let order = self.order(bronze);
        let at = time::event_time(bronze, self.event_time.as_deref(), self.envelope)?;
        let (list, unchanged) = self.mark_unchanged(&mut columns, rows)?;
        columns.extend([
            Arc::new(ops.iter().map(|op| op.code()).collect::<StringArray>()) as ArrayRef,
            Arc::new(order.epoch.clone()),
            Arc::new(order.lsn.clone()),
            Arc::new(order.tx_order.clone()),
            Arc::new(order.offset.clone()),
            Arc::new(at),
            Arc::new(list),
        ]);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let view = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        // Only our own sources are known to read all rows: others may filter.
        let whole = |row: &usize| self.whole_snapshots || !order.by_offset[*row];
        last_of_snapshot.retain(whole);
        let read = |row: &usize| {
            self.whole_snapshots && order.by_offset[*row] && ops[*row] == Op::Read && order.lsn.is_valid(*row)
        };
        let redriven = bronze.column_by_name(column::REDRIVE).map(|c| c.as_string::<i32>().clone());
        let redriven = redriven.iter().flat_map(|c| c.iter().enumerate());
        Ok(Changes {
            view,
            seqs: order.seqs()?,
            names: order.names(&ops),
            of_snapshot: (0..rows).filter(read).collect(),
            last_of_snapshot,
            unchanged,
            unread_keys: unread_keys(bronze),
            old_keys: headers::values(bronze, header::OLD_KEY, |row| ops[row].is_row()),
            redriven: redriven.filter_map(|(row, id)| Some((row, Arc::from(id?)))).collect(),
            ops,
        })
    }

    /// Rows of `changes(…)` with only the key columns, to find the rows of a key.
    pub fn read_keys(&self, bronze: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let bronze = &self.absent.fill(bronze)?;
        let (ops, _) = self.ops(bronze)?;
        let mut columns = self.row_columns(bronze, &ops, true)?;
        let behind = self.schema.fields()[self.width..].iter();
        columns.extend(behind.map(|f| new_null_array(f.data_type(), bronze.num_rows())));
        let options = RecordBatchOptions::new().with_row_count(Some(bronze.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    /// Rows of `changes(…)` with these old keys, which are JSON from a header. An unreadable key gives a row
    /// of nulls.
    pub fn old_key_rows(&self, keys: &[(usize, Vec<u8>)]) -> Result<RecordBatch, ArrowError> {
        headers::key_rows(keys, &self.keys, &self.schema)
    }

    /// The kind of each row, and the rows that end a snapshot.
    fn ops(&self, bronze: &RecordBatch) -> Result<(Vec<Op>, Vec<usize>), ArrowError> {
        let rows = bronze.num_rows();
        let failed = bronze.column_by_name(column::ERROR);
        let decoded = bronze.column_by_name(column::SCHEMA_ID);
        let is_error = |row: usize| failed.is_some_and(|c| c.is_valid(row));
        let fields = bronze.schema();
        let values = fields.fields().iter().zip(bronze.columns()).filter(|(f, _)| !is_meta(f.name()));
        let values: Vec<&ArrayRef> = values.map(|(_, column)| column).collect();
        // A value without a registered schema is recognised by its columns.
        let has_value = |row: usize| {
            decoded.is_some_and(|c| c.is_valid(row)) || values.iter().any(|column| column.is_valid(row))
        };
        if self.envelope != Envelope::Debezium {
            let flat = flat::Marks::of(self.envelope, bronze)?;
            let op = |row: usize| match () {
                () if is_error(row) => Op::Error,
                // Without an envelope, a null value is itself the delete.
                () if !has_value(row) => flat.without_value(),
                () => flat.op(row),
            };
            let ops: Vec<Op> = (0..rows).map(op).collect();
            let last = (0..rows).filter(|row| ops[*row] == Op::Read && flat.ends_snapshot(*row)).collect();
            return Ok((ops, last));
        }
        let codes = text(bronze.column_by_name("op"))?;
        let after = bronze.column_by_name("after");
        let op = |row: usize| {
            if is_error(row) {
                return Op::Error;
            }
            let code = codes.as_ref().filter(|c| c.is_valid(row)).map(|c| c.value(row));
            match (code, after.is_some_and(|a| a.is_valid(row))) {
                (None, false) if !has_value(row) => Op::Tombstone,
                (Some("c"), true) => Op::Create,
                (Some("u"), true) => Op::Update,
                (Some("r"), true) => Op::Read,
                (Some("d"), _) => Op::Delete,
                (Some("t"), _) => Op::Truncate,
                (Some("m"), _) => Op::Message,
                (Some("c" | "u" | "r"), false) => Op::Unknown(Unknown::NoRow),
                (Some(_), _) => Op::Unknown(Unknown::OtherOp),
                (None, _) => Op::Unknown(Unknown::NoOp),
            }
        };
        let ops: Vec<Op> = (0..rows).map(op).collect();
        let snapshot = text(path(bronze, "source.snapshot").as_ref())?;
        let last = |row: &usize| ops[*row] == Op::Read && ends_snapshot(snapshot.as_ref(), *row);
        let last = (0..rows).filter(last).collect();
        Ok((ops, last))
    }

    /// The row's own columns, still with placeholders; a delete has only its key columns. With `keys_only`
    /// all other columns are null.
    fn row_columns(
        &self,
        bronze: &RecordBatch,
        ops: &[Op],
        keys_only: bool,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = bronze.num_rows();
        let deletes: BooleanArray = ops.iter().map(|op| Some(*op == Op::Delete)).collect();
        let any_delete = deletes.true_count() > 0;
        let keys = bronze.column_by_name(column::KEYS).and_then(|c| c.as_struct_opt());
        let before = bronze.column_by_name("before").and_then(|c| c.as_struct_opt());
        let after = bronze.column_by_name("after").and_then(|c| c.as_struct_opt());
        let mut columns = Vec::with_capacity(self.width + 7);
        for field in &self.schema.fields()[..self.width] {
            let name = field.name();
            let is_key = self.keys.contains(name);
            if keys_only && !is_key {
                columns.push(new_null_array(field.data_type(), rows));
                continue;
            }
            let own = match self.envelope {
                Envelope::Debezium => after.and_then(|a| child(a, name)),
                Envelope::None | Envelope::DebeziumFlat => bronze.column_by_name(name).cloned(),
            };
            // A key column that only the message key has.
            let own = own.or_else(|| keys.filter(|_| is_key).and_then(|k| child(k, name)));
            let own = own.unwrap_or_else(|| new_null_array(field.data_type(), rows));
            if !any_delete {
                columns.push(own);
                continue;
            }
            let of_key =
                is_key.then(|| self.delete_key(keys, before, name, field.data_type(), rows)).transpose()?;
            let of_key = match of_key {
                // A flattened delete is a row whose key columns are correct.
                Some(_) if self.envelope == Envelope::DebeziumFlat && keys.is_none() => Arc::clone(&own),
                Some(of_key) => of_key,
                None => new_null_array(field.data_type(), rows),
            };
            columns.push(zip(&deletes, &of_key, &own)?);
        }
        Ok(columns)
    }

    /// A key column of deletes: from the message key, else from `before`, of which only the key columns are
    /// correct.
    fn delete_key(
        &self,
        keys: Option<&StructArray>,
        before: Option<&StructArray>,
        name: &str,
        kind: &DataType,
        rows: usize,
    ) -> Result<ArrayRef, ArrowError> {
        let of = |parent: Option<&StructArray>| -> Result<Option<ArrayRef>, ArrowError> {
            let Some(column) = parent.and_then(|p| child(p, name)) else { return Ok(None) };
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&column, kind, &options).map(Some)
        };
        match (of(keys)?, of(before)?) {
            (Some(key), Some(before)) if key.null_count() > 0 => {
                let valid: BooleanArray = (0..rows).map(|row| Some(key.is_valid(row))).collect();
                zip(&valid, &key, &before)
            }
            (Some(key), _) => Ok(key),
            (None, Some(before)) => Ok(before),
            (None, None) => Ok(new_null_array(kind, rows)),
        }
    }

    /// Replaces placeholders by null, and lists for each row the columns that had one.
    fn mark_unchanged(
        &self,
        columns: &mut [ArrayRef],
        rows: usize,
    ) -> Result<(ListArray, AHashMap<usize, BooleanArray>), ArrowError> {
        let mut marks = AHashMap::new();
        if self.envelope != Envelope::None {
            for (at, column) in columns.iter_mut().enumerate() {
                let Some(mask) = self.placeholder.find(column)? else { continue };
                *column = zip(&mask, &new_null_array(column.data_type(), rows), &*column)?;
                marks.insert(at, mask);
            }
        }
        let DataType::List(item) = self.schema.field(self.width + 6).data_type() else {
            unreachable!("`_unchanged` is the last column, and a list");
        };
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(item));
        if marks.is_empty() {
            for _ in 0..rows {
                list.append(true);
            }
            return Ok((list.finish(), marks));
        }
        for row in 0..rows {
            for (at, field) in self.schema.fields()[..self.width].iter().enumerate() {
                if marks.get(&at).is_some_and(|m: &BooleanArray| m.value(row)) {
                    list.values().append_value(field.name());
                }
            }
            list.append(true);
        }
        Ok((list.finish(), marks))
    }
}

/// Rows whose key has bytes but no columns.
fn unread_keys(bronze: &RecordBatch) -> AHashSet<usize> {
    let (Some(bytes), Some(keys)) = (bronze.column_by_name(column::KEY), bronze.column_by_name(column::KEYS))
    else {
        return AHashSet::new();
    };
    (0..bronze.num_rows()).filter(|&row| bytes.is_valid(row) && keys.is_null(row)).collect()
}

/// True if a row is the last of its table in a snapshot.
fn ends_snapshot(snapshot: Option<&StringArray>, row: usize) -> bool {
    let says = snapshot.filter(|s| s.is_valid(row)).map(|s| s.value(row));
    matches!(says, Some("last" | "last_in_data_collection"))
}

#[cfg(test)]
mod tests;
