//! Turns bronze rows into changes, one row at a time.
//!
//! Written from `docs/debezium.md` and `docs/architecture.md`: the kind of a row, which of its columns count,
//! and which values the source left out because they did not change.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{
    Array, ArrayRef, AsArray as _, Int64Array, ListBuilder, RecordBatch, RecordBatchOptions, StringArray,
    StringBuilder, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options, interleave};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use catalog::{Envelope, Snapshots, Topic};

use super::lacking::Lacking;
use super::marker::{USUAL, UnchangedMarker};
use super::place::{Name, Place};

/// The kind of a bronze row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A row of the source that was inserted, updated, or read by a snapshot; the operation's code.
    Row(char),
    /// The source deleted the row.
    Delete,
    /// The source deleted all rows.
    Truncate,
    /// A tombstone after a delete.
    Tombstone,
    /// A message, which concerns no row.
    Message,
    /// Bronze could not decode it.
    Error,
    /// An envelope without a known meaning, and why.
    Unknown(&'static str),
}

/// The changes of a batch of bronze rows. Each list has one entry per row.
pub struct Changes {
    /// The columns of `changes(…)`.
    pub view: RecordBatch,
    /// The kind.
    pub ops: Vec<Op>,
    /// The place in the order of changes.
    pub places: Vec<Place>,
    /// The time of the change, in microseconds.
    pub times: Vec<Option<i64>>,
    /// Columns of the source whose values were left out.
    pub unchanged: Vec<Vec<usize>>,
    /// The row's previous key as JSON.
    pub old_keys: Vec<Option<Vec<u8>>>,
    /// The redrive that appended the row.
    pub redrives: Vec<Option<String>>,
    /// What identifies an event of a source that is not ours if it is sent again.
    pub names: Vec<Option<Name>>,
    /// Whether it is a row of a whole snapshot.
    pub reads: Vec<bool>,
    /// Whether it is the last row of a snapshot that replaces the table.
    pub ends: Vec<bool>,
    /// Deletes and rows without a value in the column of `sequence_by`.
    pub unplaced: Vec<bool>,
    /// Rows that nothing orders.
    pub orderless: Vec<bool>,
}

/// Reads the rows of one topic.
pub struct Reader {
    topic: Topic,
    /// The columns of `changes(…)`.
    pub schema: SchemaRef,
    /// How many of them belong to the row itself.
    width: usize,
    /// Columns of the source's key.
    keys: Vec<String>,
    marker: UnchangedMarker,
    /// Values that its rows lack.
    pub lacking: Lacking,
}

impl Reader {
    /// A reader for a bronze table with these columns.
    pub fn try_new(topic: &Topic, bronze: &Schema) -> Result<Self> {
        let schema = catalog::columns::changes_schema(topic, bronze)?;
        let width = schema.index_of("_op")?;
        let keys = match bronze.field_with_name("_keys").map(|field| field.data_type()) {
            Ok(DataType::Struct(fields)) => fields.iter().map(|field| field.name().clone()).collect(),
            _ => topic.key.clone(),
        };
        Ok(Self {
            topic: topic.clone(),
            schema,
            width,
            keys,
            marker: UnchangedMarker::new(topic.placeholder.as_deref().unwrap_or(USUAL)),
            lacking: Lacking::default(),
        })
    }

    /// The bronze columns that are read.
    pub fn needs(bronze: &Schema) -> Vec<&str> {
        let aside = ["_raw", "_key", "_ingested_at", "_ingested_date"];
        bronze
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| !aside.contains(name))
            .collect()
    }

    /// Reads a batch.
    pub fn read(&self, bronze: &RecordBatch) -> Result<Changes> {
        let bronze = &self.lacking.put(bronze)?;
        let rows = bronze.num_rows();
        let flat = Flat::of(&self.topic, bronze);
        let own =
            |name: &str| name != "_keys" && !catalog::columns::meta_names().iter().any(|meta| meta == name);
        let fields = bronze.schema();
        let values = fields.fields().iter().zip(bronze.columns()).filter(|(field, _)| own(field.name()));
        let values: Vec<&ArrayRef> = values.map(|(_, column)| column).collect();
        let codes = bronze.column_by_name("op").filter(|_| self.topic.envelope == Envelope::Debezium);
        let codes = codes.map(texts).transpose()?;
        let op = |row: usize| {
            let code = codes.as_ref().and_then(|codes| codes[row].as_deref());
            self.op(bronze, &flat, &values, code, row)
        };
        let ops: Vec<Op> = (0..rows).map(op).collect();
        let places = super::place::places(&self.topic, bronze)?;
        let times = self.times(bronze)?;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let mut unchanged: Vec<Vec<usize>> = vec![Vec::new(); rows];
        for at in 0..self.width {
            let column = self.column(bronze, at, &ops)?;
            columns.push(self.without_markers(at, column, &mut unchanged)?);
        }
        columns.push(Arc::new(ops.iter().map(|op| code(*op)).collect::<StringArray>()));
        let number = |part: fn(&Place) -> Option<i64>| -> ArrayRef {
            Arc::new(places.iter().map(part).collect::<Int64Array>())
        };
        columns.extend([
            number(|p| p.epoch),
            number(|p| p.lsn),
            number(|p| p.tx_order),
            number(|p| Some(p.offset)),
            Arc::new(times.iter().copied().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            self.list(&unchanged),
        ]);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let view = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let snapshot = match self.topic.envelope {
            Envelope::Debezium => path(bronze, "source.snapshot"),
            Envelope::DebeziumFlat => {
                path(bronze, "__source_snapshot").or_else(|| path(bronze, "__snapshot"))
            }
            Envelope::None => None,
        };
        let snapshot = snapshot.map(|column| texts(&column)).transpose()?;
        // Our own sources always snapshot whole tables; for others the contract says so.
        let whole = self.topic.snapshots == Snapshots::Whole;
        let ends = |row: usize| {
            let says = snapshot.as_ref().and_then(|texts| texts[row].as_deref());
            ops[row] == Op::Row('r')
                && (whole || !places[row].by_offset)
                && matches!(says, Some("last" | "last_in_data_collection"))
        };
        let reads = |row: usize| {
            whole && places[row].by_offset && places[row].lsn.is_some() && ops[row] == Op::Row('r')
        };
        let redrives = match bronze.column_by_name("_redrive") {
            Some(column) => texts(column)?,
            None => vec![None; rows],
        };
        Ok(Changes {
            ends: (0..rows).map(ends).collect(),
            reads: (0..rows).map(reads).collect(),
            names: super::place::names(&self.topic, bronze, &places, |row| code(ops[row])),
            unplaced: vec![false; rows],
            orderless: vec![false; rows],
            old_keys: (0..rows).map(|row| header(bronze, row, "__debezium.oldkey")).collect(),
            view,
            ops,
            places,
            times,
            unchanged,
            redrives,
        })
    }

    fn op(
        &self,
        bronze: &RecordBatch,
        flat: &Flat,
        values: &[&ArrayRef],
        code: Option<&str>,
        row: usize,
    ) -> Op {
        let there = |name: &str| bronze.column_by_name(name).is_some_and(|column| column.is_valid(row));
        if there("_error") {
            return Op::Error;
        }
        let has_value = there("_schema_id") || values.iter().any(|column| column.is_valid(row));
        match (self.topic.envelope, has_value) {
            (Envelope::None, true) => Op::Row('c'),
            (Envelope::None, false) => Op::Delete,
            (Envelope::DebeziumFlat, has_value) => flat.op(row, has_value),
            (Envelope::Debezium, has_value) => match (code, there("after")) {
                (None, false) if !has_value => Op::Tombstone,
                (Some("c"), true) => Op::Row('c'),
                (Some("u"), true) => Op::Row('u'),
                (Some("r"), true) => Op::Row('r'),
                (Some("d"), _) => Op::Delete,
                (Some("t"), _) => Op::Truncate,
                (Some("m"), _) => Op::Message,
                (Some("c" | "u" | "r"), false) => {
                    Op::Unknown("its envelope's `op` is of a row, and `after` is null")
                }
                (Some(_), _) => Op::Unknown("its envelope's `op` is none of c, u, r, d, t, m"),
                (None, _) => Op::Unknown("its envelope has no `op`"),
            },
        }
    }

    /// One column of the row itself. For a delete only the key columns count.
    fn column(&self, bronze: &RecordBatch, at: usize, ops: &[Op]) -> Result<ArrayRef> {
        let field = self.schema.field(at);
        let (name, kind) = (field.name(), field.data_type());
        let is_key = self.keys.contains(name);
        let of_key = path(bronze, &format!("_keys.{name}")).filter(|_| is_key);
        let before = path(bronze, &format!("before.{name}")).filter(|_| is_key);
        let own = match self.topic.envelope {
            Envelope::Debezium => path(bronze, &format!("after.{name}")),
            Envelope::None | Envelope::DebeziumFlat => bronze.column_by_name(name).cloned(),
        };
        let flat_key = own.clone().filter(|_| {
            is_key
                && self.topic.envelope == Envelope::DebeziumFlat
                && bronze.column_by_name("_keys").is_none()
        });
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let typed = |column: ArrayRef| cast_with_options(&column, kind, &options);
        let nothing = new_null_array(kind, 1);
        // Sources of the column for a row and for a delete, the preferred one first.
        let for_row = own.clone().or_else(|| of_key.clone()).map(typed).transpose()?;
        let for_delete: Vec<ArrayRef> =
            [flat_key, of_key, before].into_iter().flatten().map(typed).collect::<Result<_, _>>()?;
        let mut arrays: Vec<&dyn Array> = vec![nothing.as_ref()];
        arrays.extend(for_row.as_ref().map(AsRef::as_ref));
        let first = arrays.len();
        arrays.extend(for_delete.iter().map(AsRef::as_ref));
        let pick = |row: usize| match ops[row] {
            Op::Delete => {
                let valid = for_delete.iter().position(|column| column.is_valid(row));
                valid.map_or((0, 0), |at| (first + at, row))
            }
            _ if first == 2 => (1, row),
            _ => (0, 0),
        };
        let places: Vec<(usize, usize)> = (0..ops.len()).map(pick).collect();
        Ok(interleave(&arrays, &places)?)
    }

    /// Replaces markers of unchanged values by null, and records the column in `unchanged`.
    fn without_markers(&self, at: usize, column: ArrayRef, unchanged: &mut [Vec<usize>]) -> Result<ArrayRef> {
        if self.topic.envelope == Envelope::None {
            return Ok(column);
        }
        let marked: Vec<bool> = (0..column.len()).map(|row| self.marker.is(&column, row)).collect();
        if !marked.contains(&true) {
            return Ok(column);
        }
        for (row, _) in marked.iter().enumerate().filter(|(_, marked)| **marked) {
            unchanged[row].push(at);
        }
        let nothing = new_null_array(column.data_type(), 1);
        let places: Vec<(usize, usize)> =
            marked.iter().enumerate().map(|(row, marked)| if *marked { (1, 0) } else { (0, row) }).collect();
        Ok(interleave(&[column.as_ref(), nothing.as_ref()], &places)?)
    }

    fn list(&self, unchanged: &[Vec<usize>]) -> ArrayRef {
        let item = match self.schema.field(self.width + 6).data_type() {
            DataType::List(item) => Arc::clone(item),
            _ => Arc::new(arrow::datatypes::Field::new("element", DataType::Utf8, true)),
        };
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(item);
        for columns in unchanged {
            for at in columns {
                list.values().append_value(self.schema.field(*at).name());
            }
            list.append(true);
        }
        Arc::new(list.finish())
    }

    /// Times from the contract's column, else from the source, else from Kafka.
    fn times(&self, bronze: &RecordBatch) -> Result<Vec<Option<i64>>> {
        let usual = match self.topic.envelope {
            Envelope::Debezium => Some("source.ts_ms"),
            Envelope::DebeziumFlat => Some("__source_ts_ms"),
            Envelope::None => None,
        };
        let named = self.topic.event_time.as_deref().or(usual);
        let own = named.and_then(|name| Some((path(bronze, name)?, name)));
        let own = own.map(|(column, name)| micros(&column, name)).transpose()?;
        let kafka = bronze.column_by_name("_timestamp").map(|c| micros(c, "_timestamp")).transpose()?;
        let value =
            |times: &Option<Vec<Option<i64>>>, row: usize| times.as_ref().and_then(|times| times[row]);
        Ok((0..bronze.num_rows()).map(|row| value(&own, row).or_else(|| value(&kafka, row))).collect())
    }

    /// The rows of `changes(…)` with only these keys, given as JSON. An unreadable key gives a row of nulls.
    pub fn keys_of(&self, texts: &[&[u8]]) -> Result<RecordBatch> {
        let objects: Vec<serde_json::Value> = texts
            .iter()
            .map(|text| match serde_json::from_slice::<serde_json::Value>(text) {
                Ok(mut value) if value.get("payload").is_some() => value["payload"].take(),
                Ok(value) => value,
                Err(_) => serde_json::Value::Null,
            })
            .collect();
        let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef> {
            if !self.keys.contains(field.name()) {
                return Ok(new_null_array(field.data_type(), texts.len()));
            }
            let values = objects.iter().map(|object| object.get(field.name()));
            json_column(values, field.data_type())
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(texts.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn code(op: Op) -> Option<&'static str> {
    match op {
        Op::Row('u') => Some("u"),
        Op::Row('r') => Some("r"),
        Op::Row(_) => Some("c"),
        Op::Delete => Some("d"),
        Op::Truncate => Some("t"),
        Op::Tombstone | Op::Message | Op::Error | Op::Unknown(_) => None,
    }
}

/// The added fields of a flattened record.
struct Flat {
    op: Vec<Option<String>>,
    deleted: Vec<Option<String>>,
    is_rewritten: bool,
}
impl Flat {
    fn of(topic: &Topic, bronze: &RecordBatch) -> Self {
        let none = || vec![None; bronze.num_rows()];
        let column = |name: &str| {
            let column = bronze.column_by_name(name).filter(|_| topic.envelope == Envelope::DebeziumFlat);
            column.and_then(|column| texts(column).ok()).unwrap_or_else(none)
        };
        let is_rewritten = bronze.column_by_name("__deleted").is_some();
        Self { op: column("__op"), deleted: column("__deleted"), is_rewritten }
    }
    fn op(&self, row: usize, has_value: bool) -> Op {
        match (has_value, self.deleted[row].as_deref(), self.op[row].as_deref()) {
            (false, ..) if self.is_rewritten => Op::Tombstone,
            (false, ..) | (_, Some("true"), _) | (_, _, Some("d")) => Op::Delete,
            (_, _, Some("t")) => Op::Truncate,
            (_, _, Some("m")) => Op::Message,
            (_, _, Some("u")) => Op::Row('u'),
            (_, _, Some("r")) => Op::Row('r'),
            (_, _, Some("c") | None) => Op::Row('c'),
            _ => Op::Unknown("its envelope's `op` is none of c, u, r, d, t, m"),
        }
    }
}

/// The column at a dotted path. A null parent makes the value null.
pub fn path(batch: &RecordBatch, dotted: &str) -> Option<ArrayRef> {
    let mut parts = dotted.split('.');
    let mut column = Arc::clone(batch.column_by_name(parts.next()?)?);
    for part in parts {
        let parent: StructArray = column.as_struct_opt()?.clone();
        let child = parent.column_by_name(part)?;
        let nulls = NullBuffer::union(parent.nulls(), child.nulls());
        column = arrow::array::make_array(child.to_data().into_builder().nulls(nulls).build().ok()?);
    }
    Some(column)
}

/// A column as texts.
pub fn texts(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let column = arrow::compute::cast(column, &DataType::Utf8)?;
    Ok(column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

/// A column as integers; null if the value is none.
pub fn numbers(column: Option<ArrayRef>, rows: usize) -> Vec<Option<i64>> {
    let column = column.and_then(|column| arrow::compute::cast(&column, &DataType::Int64).ok());
    match column {
        Some(column) => column.as_primitive::<Int64Type>().iter().collect(),
        None => vec![None; rows],
    }
}

/// A column as microseconds. A number is in the unit that ends the column's name, else in milliseconds.
fn micros(column: &ArrayRef, name: &str) -> Result<Vec<Option<i64>>> {
    if *column.data_type() == DataType::Int64 {
        let scale = |n: i64| match name.rsplit('_').next() {
            Some("us") => Some(n),
            Some("ns") => Some(n.div_euclid(1_000)),
            _ => n.checked_mul(1_000),
        };
        return Ok(column.as_primitive::<Int64Type>().iter().map(|n| n.and_then(scale)).collect());
    }
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = arrow::compute::cast(column, &utc).context("an event time")?;
    Ok(column.as_primitive::<TimestampMicrosecondType>().iter().collect())
}

/// The value of a record's last header of this name.
pub fn header(bronze: &RecordBatch, row: usize, name: &str) -> Option<Vec<u8>> {
    let column = bronze.column_by_name("_headers")?;
    if column.is_null(row) {
        return None;
    }
    let pairs = match column.as_list_opt::<i32>() {
        Some(list) => list.value(row).as_struct_opt()?.clone(),
        None => column.as_map_opt()?.value(row),
    };
    let (names, values) = (pairs.column(0).as_string_opt::<i32>()?, pairs.column(1).as_binary_opt::<i32>()?);
    let at = (0..names.len())
        .rev()
        .find(|&at| names.is_valid(at) && names.value(at) == name && values.is_valid(at))?;
    Some(values.value(at).to_vec())
}

/// JSON values as a column. A date or time is a text, or its number since 1970.
fn json_column<'a>(
    values: impl Iterator<Item = Option<&'a serde_json::Value>>,
    kind: &DataType,
) -> Result<ArrayRef> {
    use serde_json::Value as Json;
    let text = |value: Option<&Json>| match value? {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let texts: StringArray = values.map(text).collect();
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    if kind.is_temporal() {
        let numbers = cast_with_options(&texts, &DataType::Int64, &safe)?;
        if numbers.null_count() == texts.null_count() {
            let width = if *kind == DataType::Date32 { DataType::Int32 } else { DataType::Int64 };
            let numbers = cast_with_options(&numbers, &width, &safe)?;
            return Ok(cast_with_options(&numbers, kind, &safe)?);
        }
    }
    Ok(cast_with_options(&texts, kind, &safe)?)
}

/// Adds the last redrive of each coordinate to `into`.
pub fn last_redrives(bronze: &RecordBatch, into: &mut BTreeMap<(String, i64, i64), String>) -> Result<()> {
    let Some(column) = bronze.column_by_name("_redrive").filter(|c| c.null_count() < c.len()) else {
        return Ok(());
    };
    let redrives = texts(column)?;
    let rows = bronze.num_rows();
    let topics = bronze.column_by_name("_topic_id").map(texts).transpose()?.unwrap_or_default();
    let partitions = numbers(bronze.column_by_name("_partition").cloned(), rows);
    let offsets = numbers(bronze.column_by_name("_offset").cloned(), rows);
    for (row, redrive) in redrives.into_iter().enumerate() {
        let Some(redrive) = redrive else { continue };
        let topic = topics.get(row).cloned().flatten().unwrap_or_default();
        let place = (topic, partitions[row].unwrap_or_default(), offsets[row].unwrap_or_default());
        let last = into.entry(place).or_default();
        if redrive > *last {
            *last = redrive;
        }
    }
    Ok(())
}
