//! Decodes a sample of a topic's records with libraries that bronze does not use.
//!
//! Partition and offset decide which records are in the sample, so every run takes the same ones. It contains
//! every error row (up to a limit): the row must keep the record's bytes, and the bytes must fail again for
//! the same reason. Of the others it compares key, time, headers and schema id directly, and each column by
//! its type. Types without a rule for comparing are counted, by reason.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use avro::{Frame, FrameError};
use catalog::{Envelope, Topic, ValueFormat};
use stream::{Records, Registry};

use super::Finding;
use super::json;
use super::refold::change::texts;
use super::value::{Agrees, Writer};

/// About how many records of a table are decoded again.
pub const SAMPLE: u64 = 20_000;
/// The most error rows that are held; the report gives the number of the rest.
const MOST_ERRORS: usize = 100_000;
/// How many faulty records are named.
const NAMED: usize = 5;

/// Error reasons that depend on the bytes alone, so another library must refuse them too.
const OF_BYTES: [&str; 6] = [
    "truncated",
    "trailing_bytes",
    "bad_union_branch",
    "bad_enum_symbol",
    "bad_boolean",
    "refused_by_decoder",
];

/// Rows of the table to check again, and their records.
#[derive(Default)]
pub struct Sample {
    /// One of this many records is in the sample.
    step: u64,
    batches: Vec<RecordBatch>,
    /// Batch and row number, by partition and offset.
    places: HashMap<(i32, i64), (usize, usize)>,
    errors: usize,
    beyond: u64,
    repaired: u64,
    records: Vec<SampledRecord>,
}

/// A record as it is on the topic.
struct SampledRecord {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Sample {
    /// A sample for a table with this many rows. `deep`: of all of them.
    pub fn new(rows: u64, deep: bool) -> Self {
        Self { step: if deep { 1 } else { rows / SAMPLE + 1 }, ..Self::default() }
    }

    fn holds(&self, partition: i64, offset: i64) -> bool {
        let mixed =
            (partition.cast_unsigned() << 48 ^ offset.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 24).is_multiple_of(self.step)
    }

    /// Adds rows of the table that belong to the topic's current incarnation.
    pub fn take_rows(&mut self, batch: &RecordBatch, topic_id: &str) -> Result<()> {
        let number =
            |name: &str| batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>()).cloned();
        let (Some(partitions), Some(offsets)) = (number("_partition"), number("_offset")) else {
            return Ok(());
        };
        let topics = batch.column_by_name("_topic_id").and_then(|c| c.as_string_opt::<i32>());
        let valid = |name: &str, row: usize| batch.column_by_name(name).is_some_and(|c| c.is_valid(row));
        let mut taken = Vec::new();
        let mask: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let own = topics.is_some_and(|topics| topics.value(row) == topic_id);
                let error = valid("_error", row);
                if !own || !(error || self.holds(partitions.value(row), offsets.value(row))) {
                    return Some(false);
                }
                if valid("_redrive", row) {
                    self.repaired += 1;
                    return Some(false);
                }
                if error && self.errors >= MOST_ERRORS {
                    self.beyond += 1;
                    return Some(false);
                }
                self.errors += usize::from(error);
                taken.push((partitions.value(row), offsets.value(row)));
                Some(true)
            })
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        for (row, (partition, offset)) in taken.into_iter().enumerate() {
            self.places.insert((i32::try_from(partition).unwrap_or(-1), offset), (self.batches.len(), row));
        }
        self.batches.push(filter_record_batch(batch, &mask)?);
        Ok(())
    }

    /// Adds those of these records that are in the sample.
    pub fn take_records(&mut self, records: &Records) {
        for row in 0..records.len() {
            let place = (records.partition, records.offset(row).0);
            if !self.places.contains_key(&place) {
                continue;
            }
            self.records.push(SampledRecord {
                partition: place.0,
                offset: place.1,
                timestamp: records.timestamp(row),
                key: records.key(row).map(<[u8]>::to_vec),
                value: records.value(row).map(<[u8]>::to_vec),
                headers: records.headers(row).map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec))).collect(),
            });
        }
    }

    /// Decodes the records and compares them with their rows. Returns a text with their number.
    pub async fn check(self, topic: &Topic, registry: &Registry, finding: &mut Finding) -> Result<String> {
        let (mut wrong, mut named) = (0_u64, 0);
        let (mut unknown, mut errors): (BTreeMap<String, u64>, BTreeMap<String, u64>) = Default::default();
        let mut writers = Writers { registry, known: HashMap::new() };
        for record in &self.records {
            let Some(&(batch, row)) = self.places.get(&(record.partition, record.offset)) else { continue };
            let rows = &self.batches[batch];
            let error = text(rows, "_error", row);
            let said = match &error {
                Some(error) => {
                    let label = error.split(':').next().unwrap_or_default();
                    *errors.entry(label.to_owned()).or_default() += 1;
                    refused(record, label, topic, &mut writers, rows, row).await?
                }
                None => accepted(record, topic, &mut writers, rows, row).await?,
            };
            match said.and(|| envelope(record, rows, row)) {
                Agrees::Yes => {}
                Agrees::Unknown(why) => *unknown.entry(why).or_default() += 1,
                Agrees::No(what) => {
                    wrong += 1;
                    named += 1;
                    if named <= NAMED {
                        finding.fault(format!(
                            "partition {} offset {}: {what}",
                            record.partition, record.offset
                        ));
                    }
                }
            }
        }
        if wrong > 0 {
            finding.fault(format!("{wrong} records are not what their rows say"));
        }
        for (why, count) in unknown.iter().take(NAMED) {
            finding.leave_out(format!("{count} records: {why}"));
        }
        if self.repaired > 0 {
            finding.leave_out(format!(
                "{} rows of redrives, whose values are not those on the topic",
                self.repaired
            ));
        }
        if self.beyond > 0 {
            finding.leave_out(format!("{} error rows beyond the first {MOST_ERRORS}", self.beyond));
        }
        let mut said = format!("{} decoded twice", self.records.len());
        if !errors.is_empty() {
            let texts: Vec<String> = errors.iter().map(|(label, count)| format!("{count} {label}")).collect();
            said.push_str(&format!(", refused: {}", texts.join(", ")));
        }
        Ok(said)
    }
}

/// Schemas of the registry, parsed by the other library.
struct Writers<'a> {
    registry: &'a Registry,
    known: HashMap<u32, Option<Arc<Writer>>>,
}
impl Writers<'_> {
    /// `None`: the registry has no such schema, or the library cannot parse it.
    async fn of(&mut self, id: u32) -> Result<Option<Arc<Writer>>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let writer = match self.registry.schema(id).await {
            Ok(json) => Writer::parse(&json).ok().map(Arc::new),
            Err(stream::registry::RegistryError::UnknownSchema { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        self.known.insert(id, writer.clone());
        Ok(writer)
    }
}

/// Compares everything except the value: key, time, headers.
fn envelope(record: &SampledRecord, rows: &RecordBatch, row: usize) -> Agrees {
    let bytes = |name: &str| bytes(rows, name, row);
    if bytes("_key") != record.key {
        return Agrees::No("`_key` is not the record's key".to_owned());
    }
    let stored = rows.column_by_name("_timestamp").filter(|c| c.is_valid(row));
    let stored = stored.and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>()).map(|c| c.value(row));
    let right = Some(record.timestamp).filter(|at| *at >= 0).and_then(|at| at.checked_mul(1_000));
    if stored != right {
        return Agrees::No(format!("`_timestamp` is {stored:?} where {right:?} is right"));
    }
    match headers(rows, row) {
        Some(stored) if stored != record.headers => Agrees::No("`_headers` are not the record's".to_owned()),
        _ => Agrees::Yes,
    }
}

/// Checks a record whose row was decoded.
async fn accepted(
    record: &SampledRecord,
    topic: &Topic,
    writers: &mut Writers<'_>,
    rows: &RecordBatch,
    row: usize,
) -> Result<Agrees> {
    let of_key = key(record, writers, rows, row).await?;
    let Some(value) = &record.value else {
        let filled = rows.schema().fields().iter().zip(rows.columns()).find_map(|(field, column)| {
            (is_own(field.name()) && column.is_valid(row)).then(|| field.name().clone())
        });
        return Ok(of_key.and(|| match filled {
            Some(name) => Agrees::No(format!("`{name}` has a value, and the record has none")),
            None => Agrees::Yes,
        }));
    };
    let of_value = match topic.value {
        ValueFormat::Avro => {
            let Ok(Frame { id, body }) = Frame::decode(value) else {
                return Ok(Agrees::No("its value has no registry frame, and yet it was decoded".to_owned()));
            };
            let stored = rows.column_by_name("_schema_id").filter(|c| c.is_valid(row));
            let stored = stored.and_then(|c| c.as_primitive_opt::<Int64Type>()).map(|c| c.value(row));
            if stored != Some(i64::from(id)) {
                return Ok(Agrees::No(format!("`_schema_id` is {stored:?} where {id} is right")));
            }
            match writers.of(id).await? {
                None => Agrees::Unknown(format!("schema {id} cannot be read by another library")),
                Some(writer) => match writer.datum(body) {
                    Ok(value) => writer.agrees(&value, rows, row),
                    Err(error) => Agrees::No(format!("another library cannot decode its value: {error}")),
                },
            }
        }
        ValueFormat::Json => {
            let plain = topic.envelope == Envelope::None;
            json::agrees(value, plain && topic.value_schema.is_none(), plain, rows, row)
        }
        ValueFormat::Bytes => match bytes(rows, "value", row) {
            Some(stored) if stored == *value => Agrees::Yes,
            _ => Agrees::No("`value` is not the record's value".to_owned()),
        },
    };
    Ok(of_key.and(|| of_value))
}

/// Compares the columns of a framed Avro key. Other keys are compared only as bytes.
async fn key(
    record: &SampledRecord,
    writers: &mut Writers<'_>,
    rows: &RecordBatch,
    row: usize,
) -> Result<Agrees> {
    let Some(column) = rows.column_by_name("_keys").filter(|column| column.is_valid(row)) else {
        return Ok(Agrees::Yes);
    };
    let Some(framed) = record.key.as_deref().filter(|key| Frame::is_begun_by(key)) else {
        return Ok(match &record.key {
            None => Agrees::No("`_keys` has a value, and the record has no key".to_owned()),
            Some(_) => Agrees::Yes,
        });
    };
    let Ok(Frame { id, body }) = Frame::decode(framed) else { return Ok(Agrees::Yes) };
    Ok(match writers.of(id).await? {
        None => Agrees::Unknown(format!("key schema {id} cannot be read by another library")),
        Some(writer) => match writer.datum(body) {
            Ok(value) => writer.holds(&value, column, row),
            Err(error) => Agrees::No(format!("another library cannot decode its key: {error}")),
        },
    })
}

/// Checks a record whose row is an error row: it keeps the bytes, and they fail for the stated reason.
async fn refused(
    record: &SampledRecord,
    label: &str,
    topic: &Topic,
    writers: &mut Writers<'_>,
    rows: &RecordBatch,
    row: usize,
) -> Result<Agrees> {
    let raw = bytes(rows, "_raw", row);
    if raw != record.value {
        return Ok(Agrees::No("it is an error row, and `_raw` is not the record's value".to_owned()));
    }
    let value = record.value.as_deref().unwrap_or_default();
    let holds = match label {
        "empty" => value.is_empty(),
        "wrong_magic_byte" => matches!(Frame::decode(value), Err(FrameError::Magic(_))),
        "short_frame" => matches!(Frame::decode(value), Err(FrameError::Short)),
        "bad_json" => json::parse(value).is_none(),
        _ if OF_BYTES.contains(&label) && topic.value == ValueFormat::Avro => match Frame::decode(value) {
            Ok(Frame { id, body }) => match writers.of(id).await? {
                Some(writer) => writer.datum(body).is_err(),
                None => return Ok(Agrees::Unknown(format!("schema {id} cannot be read by another library"))),
            },
            Err(_) => false,
        },
        // Whether a value fits the table's types depends on the table alone.
        _ => true,
    };
    Ok(if holds { Agrees::Yes } else { Agrees::No(format!("it was refused as `{label}`, and it is not")) })
}

fn is_own(name: &str) -> bool {
    !catalog::columns::meta_names().iter().any(|meta| meta == name) && name != "_keys"
}

fn text(rows: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column: &ArrayRef = rows.column_by_name(name).filter(|column| column.is_valid(row))?;
    texts(&column.slice(row, 1)).ok()?.into_iter().next().flatten()
}

fn bytes(rows: &RecordBatch, name: &str, row: usize) -> Option<Vec<u8>> {
    let column = rows.column_by_name(name).filter(|column| column.is_valid(row))?;
    Some(column.as_binary_opt::<i32>()?.value(row).to_vec())
}

type Header = (String, Option<Vec<u8>>);

fn headers(rows: &RecordBatch, row: usize) -> Option<Vec<Header>> {
    let column = rows.column_by_name("_headers")?;
    if column.is_null(row) {
        return Some(Vec::new());
    }
    let pairs = column.as_list_opt::<i32>()?.value(row);
    let pairs = pairs.as_struct_opt()?;
    let (names, values) = (pairs.column(0).as_string_opt::<i32>()?, pairs.column(1).as_binary_opt::<i32>()?);
    let one =
        |at: usize| (names.value(at).to_owned(), values.is_valid(at).then(|| values.value(at).to_vec()));
    Some((0..names.len()).map(one).collect())
}
