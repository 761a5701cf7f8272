//! Builds the table's rows from records and their decoded values.
//!
//! Every record gives exactly one row, in offset order. A decoded record has its columns, a tombstone has
//! nulls, and an undecodable record has nulls with `_error` and the value's bytes in `_raw`. So a bad record
//! is counted, stored and committed with its neighbours. If a value has fields that no column takes, its row
//! has the known columns and all bytes in `_raw`: nothing is dropped.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, Date32Array, Int64Array, Int64Builder, ListArray, MapArray, RecordBatch,
    StringArray, StringBuilder, StructArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use model::{ClockMs, Micros, Millis, column, header};
use stream::Records;

use crate::absent::Values as Defaults;
use crate::decode::{Decoded, Refusal, join};

/// The role of each column of a table.
#[derive(Debug, Clone)]
pub struct Layout {
    schema: SchemaRef,
    values: Fields,
    keys: Option<Fields>,
    defaults: Defaults,
}
impl Layout {
    /// The layout of a bronze table.
    pub fn new(schema: SchemaRef) -> Self {
        let fields = schema.fields();
        let values = fields.iter().filter(|field| !column::OF_BRONZE.contains(&field.name().as_str()));
        let values = values.cloned().collect();
        let keys = fields.find(column::KEYS).and_then(|(_, field)| match field.data_type() {
            DataType::Struct(fields) => Some(fields.clone()),
            _ => None,
        });
        Self { schema, values, keys, defaults: Defaults::new() }
    }
    /// Sets the defaults for rows whose writers did not know a column.
    #[must_use]
    pub fn with_defaults(mut self, defaults: Defaults) -> Self {
        self.defaults = defaults;
        self
    }
    /// The defaults for rows whose writers did not know a column.
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }
    /// All columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    /// Columns of the value.
    pub fn values(&self) -> &Fields {
        &self.values
    }
    /// Columns of the key, if the topic has one.
    pub fn keys(&self) -> Option<&Fields> {
        self.keys.as_ref()
    }
}

/// What all records of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Id of their topic.
    pub topic_id: &'a str,
    /// Their partition.
    pub partition: i32,
    /// Epoch of the source, unless a header gives another one.
    pub epoch: Option<i64>,
    /// When bronze read them.
    pub ingested_at: ClockMs,
}

/// The decoded values: position `i` is the `i`th kept row.
#[derive(Debug, Default)]
pub struct Values {
    /// Parts by schema, in the layout's value columns.
    pub parts: Vec<Decoded>,
    /// Rows refused before any decoder saw them.
    pub refused: Vec<(u32, Refusal)>,
    /// Rows with fields that no column takes: their bytes are kept too.
    pub partly: Vec<u32>,
    /// For each writer schema of decoded values, the first row that it wrote.
    pub writers: Vec<(SchemaRef, u32)>,
    /// Registry id of each row's schema, if its value has one.
    pub schema_ids: Vec<Option<u32>>,
}

/// Assembles the rows at `kept` (indexes into `rows`, ascending).
pub fn assemble(
    layout: &Layout,
    origin: Origin<'_>,
    rows: &Records,
    kept: &[u32],
    values: Values,
    keys: Vec<Decoded>,
) -> RecordBatch {
    let len = kept.len();
    let mut errors: Vec<Option<Refusal>> = vec![None; len];
    for (row, refusal) in values.refused {
        errors[row as usize] = Some(refusal);
    }
    let mut keeps_raw: Vec<bool> = vec![false; len];
    values.partly.iter().for_each(|&row| keeps_raw[row as usize] = true);
    let mut value_parts = values.parts;
    for (row, refusal) in value_parts.iter_mut().flat_map(|part| part.refused.drain(..)) {
        errors[row as usize] = Some(refusal);
    }
    let mut value_columns =
        spread(&value_parts, layout.values(), len, |row| errors[row].is_some()).into_iter();
    let meta = Meta::gather(origin, rows, kept);
    let wire = |row: usize| kept[row] as usize;
    let Micros(micros) = origin.ingested_at.micros();
    let columns = layout.schema().fields().iter().map(|field| -> ArrayRef {
        let kind = field.data_type();
        match field.name().as_str() {
            column::KEYS => match layout.keys() {
                Some(fields) => key_column(&keys, fields, len),
                None => new_null_array(kind, len),
            },
            column::KEY => bytes(len, |row| rows.key(wire(row))),
            column::TOPIC_ID => {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(origin.topic_id, len)))
            }
            column::PARTITION => Arc::new(Int64Array::from_value(i64::from(origin.partition), len)),
            column::OFFSET => {
                Arc::new(Int64Array::from_iter_values((0..len).map(|row| rows.offset(wire(row)).0)))
            }
            column::TIMESTAMP => {
                let at = |row| readable_micros(Millis(rows.timestamp(wire(row))));
                let times: TimestampMicrosecondArray = (0..len).map(at).collect();
                Arc::new(times.with_timezone("UTC"))
            }
            column::HEADERS => meta.headers(kind),
            column::SCHEMA_ID => {
                Arc::new(Int64Array::from_iter(values.schema_ids.iter().map(|id| id.map(i64::from))))
            }
            column::EPOCH => Arc::new(meta.epochs.clone()),
            column::INGESTED_AT => {
                Arc::new(TimestampMicrosecondArray::from_value(micros, len).with_timezone("UTC"))
            }
            column::ERROR => error_column(&errors),
            column::RAW => {
                bytes(len, |row| rows.value(wire(row)).filter(|_| errors[row].is_some() || keeps_raw[row]))
            }
            column::INGESTED_DATE => {
                let day = i32::try_from(origin.ingested_at.0.div_euclid(86_400_000))
                    .expect("the clock is within five million years");
                Arc::new(Date32Array::from_value(day, len))
            }
            column::REDRIVE => new_null_array(kind, len),
            _ => value_columns.next().expect("one column a value field, in the layout's order"),
        }
    });
    RecordBatch::try_new(layout.schema().clone(), columns.collect())
        .expect("each column was built for its field's type and the rows that are kept")
}

/// The broker's timestamp as tables store it, within the years that readers can show. Negative means none.
fn readable_micros(Millis(millis): Millis) -> Option<i64> {
    (0..253_402_300_800_000).contains(&millis).then(|| millis * 1_000)
}

/// Puts the rows of all parts at their positions; every other position is null.
fn spread(parts: &[Decoded], fields: &Fields, len: usize, void: impl Fn(usize) -> bool) -> Vec<ArrayRef> {
    let in_place =
        |part: &Decoded| part.rows.len() == len && part.rows.first().is_none_or(|&first| first == 0);
    // One schema and no bad row: the columns need no change.
    if let [part] = parts
        && in_place(part)
        && !(0..len).any(&void)
    {
        return part.columns.clone();
    }
    let mut from: Vec<Option<u32>> = vec![None; len];
    for (at, &row) in (0..).zip(parts.iter().flat_map(|part| &part.rows)) {
        from[row as usize] = Some(at).filter(|_| !void(row as usize));
    }
    let from = UInt32Array::from(from);
    let column = |(at, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let parts = parts.iter().map(|part| part.columns[at].clone()).collect();
        let joined = join(parts, field.data_type());
        if joined.is_empty() {
            return new_null_array(field.data_type(), len);
        }
        take(&joined, &from, None).expect("every index is below the number of joined rows")
    };
    fields.iter().enumerate().map(column).collect()
}

/// The key struct. It is null if the key is null or could not be decoded.
fn key_column(parts: &[Decoded], fields: &Fields, len: usize) -> ArrayRef {
    let mut present = vec![false; len];
    for part in parts {
        part.rows.iter().for_each(|&row| present[row as usize] = true);
        part.refused.iter().for_each(|(row, _)| present[*row as usize] = false);
    }
    let columns = spread(parts, fields, len, |row| !present[row]);
    if fields.is_empty() {
        return Arc::new(StructArray::new_empty_fields(len, Some(NullBuffer::from(present))));
    }
    Arc::new(StructArray::new(fields.clone(), columns, Some(NullBuffer::from(present))))
}

fn bytes<'a>(len: usize, at: impl Fn(usize) -> Option<&'a [u8]>) -> ArrayRef {
    let size = (0..len).filter_map(&at).map(<[u8]>::len).sum();
    let mut builder = BinaryBuilder::with_capacity(len, size);
    (0..len).for_each(|row| builder.append_option(at(row)));
    Arc::new(builder.finish())
}

fn error_column(errors: &[Option<Refusal>]) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(errors.len(), 0);
    for error in errors {
        builder.append_option(error.as_ref().map(|refusal| format!("{}: {refusal}", refusal.label())));
    }
    Arc::new(builder.finish())
}

/// Headers of all rows, with the epochs read from them.
struct Meta {
    offsets: OffsetBuffer<i32>,
    names: ArrayRef,
    contents: ArrayRef,
    epochs: Int64Array,
}
impl Meta {
    fn gather(origin: Origin<'_>, rows: &Records, kept: &[u32]) -> Self {
        let mut offsets = Vec::with_capacity(kept.len() + 1);
        let mut names = StringBuilder::new();
        let mut contents = BinaryBuilder::new();
        let mut epochs = Int64Builder::with_capacity(kept.len());
        let mut total = 0_i32;
        offsets.push(0);
        for &row in kept {
            let mut epoch = origin.epoch;
            for (name, value) in rows.headers(row as usize) {
                names.append_value(name);
                contents.append_option(value);
                total += 1;
                if name == header::EPOCH {
                    let said = value.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
                    epoch = said.or(epoch);
                }
            }
            offsets.push(total);
            epochs.append_option(epoch);
        }
        Self {
            offsets: OffsetBuffer::new(ScalarBuffer::from(offsets)),
            names: Arc::new(names.finish()),
            contents: Arc::new(contents.finish()),
            epochs: epochs.finish(),
        }
    }

    fn headers(&self, kind: &DataType) -> ArrayRef {
        let pairs = |fields: &Fields| {
            StructArray::new(fields.clone(), vec![self.names.clone(), self.contents.clone()], None)
        };
        match kind {
            DataType::Map(entries, sorted) => match entries.data_type() {
                DataType::Struct(fields) => {
                    let offsets = self.offsets.clone();
                    Arc::new(MapArray::new(entries.clone(), offsets, pairs(fields), None, *sorted))
                }
                _ => new_null_array(kind, self.epochs.len()),
            },
            DataType::List(item) => match item.data_type() {
                DataType::Struct(fields) => {
                    let pairs = Arc::new(pairs(fields));
                    Arc::new(ListArray::new(item.clone(), self.offsets.clone(), pairs, None))
                }
                _ => new_null_array(kind, self.epochs.len()),
            },
            _ => new_null_array(kind, self.epochs.len()),
        }
    }
}
