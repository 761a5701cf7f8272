//! Applies a model's SQL and expectations to bronze rows: from rows to events with a verdict.
//!
//! The verdict depends on the row alone, so it does not matter when and with which other rows the row is
//! read. A bad row never affects its batch: if an expression fails, halving finds the failing rows; they are
//! quarantined with the engine's message and the rest goes on.
//!
//! - WHERE and expectations do not apply to deletes.
//! - An expectation is skipped if it reads a value that the source left out as unchanged, because that value
//!   was checked when it came. A WHERE that reads only such values keeps its earlier result.
//! - A row whose key is null is quarantined, and so is one with a value that the table's partition columns
//!   cannot hold.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::Rows;
use catalog::{Kind, Otherwise};
use model::{Micros, Sequence, TableName, Version, column};
use query::expectations::{Condition, Expectations};
use query::projection::Projection;

use crate::changes::{Changes, Op, Reader};
use crate::error::{Fitting as _, Result};
use crate::event::{Event, KeyId, Outcome, Outcomes, RowRef, Truncate, Verdict};
use crate::keys::{Keys, any_null};
use crate::pool::Pool;
use crate::snapshots::Snapshots;

mod compile;
mod robust;
mod verdict;

pub use verdict::Asked;
use verdict::{Facts, LeftOut, Ordered};

/// A model, compiled for one bronze schema. Cheap to clone.
#[derive(Clone)]
pub struct Rules {
    /// The table.
    pub table: TableName,
    /// Its bronze table.
    pub bronze: TableName,
    /// How events become rows.
    pub kind: Kind,
    /// Columns of the model, as the table stores them.
    pub columns: SchemaRef,
    /// Indexes of its key columns.
    pub keys: Vec<usize>,
    /// Columns whose change opens a version.
    pub tracked: Arc<[usize]>,
    /// Columns that the table is partitioned by.
    partitioned: Arc<[usize]>,
    /// Reads bronze rows.
    pub reader: Arc<Reader>,
    projection: Arc<Projection>,
    expectations: Arc<Expectations>,
    otherwise: Arc<[Otherwise]>,
    sequence_by: Option<usize>,
    times: Times,
    deletes_when: Option<Arc<Condition>>,
    truncates_when: Option<Arc<Condition>>,
    /// For each output column, the source columns that it reads.
    made_of: Arc<[Vec<usize>]>,
    where_reads: Arc<[usize]>,
}

/// Which times a history has beside its sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Times {
    /// The source's event time.
    #[default]
    OfEvent,
    /// The sequence itself, which is a time with this many microseconds per unit.
    OfSequence(i64),
    /// None: the sequence is not a time, and the time of arrival does not follow its order.
    Unknown,
}
impl Times {
    /// The time of a sequence.
    pub fn at(self, sequence: Option<i64>) -> Option<Micros> {
        match self {
            Self::OfSequence(unit) => sequence?.checked_mul(unit).map(Micros),
            Self::OfEvent | Self::Unknown => None,
        }
    }
}

/// Collects judged rows and their keys.
pub struct Desk {
    /// Projected rows.
    pub pool: Pool,
    /// Their keys.
    pub keys: Keys,
}

/// The result of judging bronze rows.
#[derive(Debug, Default)]
pub struct Judged {
    /// Events of single keys, in the order of the rows.
    pub events: Vec<Event>,
    /// Events of all keys.
    pub truncates: Vec<Truncate>,
    /// Whole snapshots that are ordered by offset.
    pub snapshots: Snapshots,
    /// Outcomes of the other rows.
    pub outcomes: Outcomes,
    /// Quarantined rows: the columns of `changes(…)`, their coordinates and the reason.
    pub quarantine: Option<RecordBatch>,
    /// Rows that are quarantined because they are not events: an envelope that is not understood, or a key or
    /// sequence that is null.
    pub no_event: u64,
    /// Results of each expectation.
    pub asked: Vec<(String, Asked)>,
}

impl Rules {
    /// Which times its history has.
    pub fn times(&self) -> Times {
        self.times
    }

    /// The keys of bronze rows, if the desk has met them. Reads only the key columns.
    pub fn keys_of(&self, bronze: &RecordBatch, desk: &Desk) -> Result<Vec<Option<KeyId>>> {
        let view = self.reader.read_keys(bronze).fitting(&self.table, "keys of bronze rows")?;
        let columns = self.key_columns(&view)?;
        desk.keys.look_up(&columns).fitting(&self.table, "keys of bronze rows")
    }

    /// Judges a batch of bronze rows. `aside` is their bronze version if quarantined rows are to be kept.
    pub fn judge(&self, bronze: &RecordBatch, desk: &mut Desk, aside: Option<Version>) -> Result<Judged> {
        let mut changes = self.reader.read(bronze).fitting(&self.table, "bronze rows")?;
        let mut faults: AHashMap<usize, String> = AHashMap::new();
        let order = self.redefine(&mut changes, &mut faults)?;
        let matches = |b: &RecordBatch| self.projection.matches(b);
        let passes = robust::mask(&changes.view, matches, |row, e| {
            faults.entry(row).or_insert_with(|| format!("WHERE: {e}"));
        });
        let passes = passes.fitting(&self.table, "the WHERE of the model")?;
        let projected = self.project(&changes, &passes, &mut faults)?;
        let left_out = self.left_out(&changes)?;
        let (broken, passed) = self.broken(&changes, &projected, &passes, &left_out)?;

        let columns: Vec<ArrayRef> = self.keys.iter().map(|&at| Arc::clone(projected.column(at))).collect();
        let unheld = self.unheld(&projected);
        let null_keys = any_null(&columns, bronze.num_rows());
        let encode = || desk.keys.encode(&columns).fitting(&self.table, "keys");
        let keys = (!columns.is_empty()).then(encode).transpose()?;
        let old_keys = self.old_keys(&changes, &left_out, desk)?;
        let batch = desk.pool.add(projected);
        let facts = Facts {
            changes: &changes,
            passes,
            faults,
            unheld,
            left_out,
            broken,
            passed,
            null_keys,
            old_keys,
            order,
        };
        self.sort_out(&facts, keys.as_ref(), batch, desk, aside)
    }

    /// Turns every row into an event, an outcome or a quarantined row.
    fn sort_out(
        &self,
        facts: &Facts<'_>,
        keys: Option<&Rows>,
        batch: u32,
        desk: &mut Desk,
        aside: Option<Version>,
    ) -> Result<Judged> {
        let changes = facts.changes;
        let redriven: AHashMap<usize, Arc<str>> = changes.redriven.iter().cloned().collect();
        let times =
            changes.view.column_by_name(column::TS).map(|c| c.as_primitive::<TimestampMicrosecondType>());
        let time = |row: usize| match self.times {
            Times::OfEvent => times.and_then(|c| c.is_valid(row).then(|| Micros(c.value(row)))),
            by_sequence => by_sequence.at(changes.seqs[row].lsn),
        };
        let mut judged = Judged { asked: self.asked(facts), ..Judged::default() };
        judged.events.reserve(changes.ops.len());
        for &row in &changes.of_snapshot {
            judged.snapshots.read(&changes.seqs[row]);
        }
        for &row in &changes.last_of_snapshot {
            let seq = &changes.seqs[row];
            if seq.by_offset {
                judged.snapshots.end(seq, time(row));
            } else {
                judged.truncates.push(Truncate::new(snapshot_start(seq), time(row)));
            }
        }
        let mut put_aside: Vec<(u32, String)> = Vec::new();
        for (row, (op, seq)) in changes.ops.iter().zip(&changes.seqs).enumerate() {
            match op {
                Op::Tombstone => judged.outcomes.count(Outcome::Tombstone),
                Op::Error => judged.outcomes.count(Outcome::Error),
                Op::Message => judged.outcomes.count(Outcome::Filtered),
                Op::Unknown(what) => {
                    let number = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
                    put_aside.push((number, what.reason().to_owned()));
                    judged.no_event += 1;
                    judged.outcomes.count(Outcome::Quarantined);
                }
                Op::Truncate if self.kind != Kind::Append && !facts.order.is_missing(row) => {
                    judged.truncates.push(Truncate::new(seq.clone(), time(row)));
                    judged.outcomes.count(Outcome::Applied);
                }
                Op::Create | Op::Update | Op::Read | Op::Delete | Op::Truncate => {
                    let (verdict, reasons) = self.verdict(facts, row)?;
                    let number = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
                    if verdict == Verdict::Quarantined {
                        put_aside.push((number, reasons.join("; ")));
                    }
                    if facts.null_keys[row] || facts.order.is_missing(row) {
                        judged.no_event += 1;
                        judged.outcomes.count(Outcome::Quarantined);
                        continue;
                    }
                    let unchanged = facts.left_out.of(row);
                    judged.events.push(Event {
                        key: keys.map_or(KeyId(0), |keys| desk.keys.number(keys.row(row).data())),
                        seq: seq.clone(),
                        name: changes.names[row],
                        unplaced: facts.order.is_unplaced(row),
                        at: time(row),
                        row: RowRef { batch, row: number },
                        verdict,
                        moved_from: unchanged
                            .as_ref()
                            .and_then(|_| facts.old_keys.get(&row).copied().flatten()),
                        unchanged,
                        redrive: redriven.get(&row).cloned(),
                    });
                }
            }
        }
        if let Some(version) = aside.filter(|_| !put_aside.is_empty()) {
            judged.quarantine = Some(self.put_aside(changes, &put_aside, version)?);
        }
        Ok(judged)
    }

    /// Applies the model's header to a topic without an envelope: order, deletes and truncates.
    ///
    /// A row of which nobody can say whether it is a delete is a fault.
    fn redefine(&self, changes: &mut Changes, faults: &mut AHashMap<usize, String>) -> Result<Ordered> {
        let mut ordered = Ordered::default();
        let fit = |e| Err(e).fitting(&self.table, "the column of `sequence_by`");
        if let Some(at) = self.sequence_by {
            let numbers = match cast(changes.view.column(at), &DataType::Int64) {
                Ok(numbers) => numbers,
                Err(e) => return fit(e),
            };
            let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
            let null = |row: &usize| numbers.is_null(*row);
            // If every event is kept, none needs a place in the order.
            if self.kind != Kind::Append && numbers.null_count() > 0 {
                let rows = || 0..changes.ops.len();
                // A null value is a delete without columns.
                ordered.unplaced =
                    rows().filter(|row| changes.ops[*row] == Op::Delete).filter(null).collect();
                ordered.missing = rows().filter(|row| changes.ops[*row].is_row()).filter(null).collect();
                ordered.column = self.reader.schema().field(at).name().clone();
            }
            for (row, seq) in changes.seqs.iter_mut().enumerate() {
                seq.lsn = numbers.is_valid(row).then(|| numbers.value(row));
            }
            let mut columns = changes.view.columns().to_vec();
            columns[self.reader.width() + 2] = Arc::new(numbers.clone());
            changes.view = match RecordBatch::try_new(changes.view.schema(), columns) {
                Ok(view) => view,
                Err(e) => return fit(e),
            };
        }
        let conditions = [
            ("deletes_when", &self.deletes_when, Op::Delete),
            ("truncates_when", &self.truncates_when, Op::Truncate),
        ];
        for (key, condition, op) in conditions {
            let Some(condition) = condition else { continue };
            let ops = &changes.ops;
            let says = robust::mask(
                &changes.view,
                |b| condition.is_true(b),
                |row, e| {
                    if ops[row].is_row() {
                        faults.entry(row).or_insert_with(|| format!("`{key}`: {e}"));
                    }
                },
            );
            let says = says.fitting(&self.table, "deletes and truncates of the model")?;
            for (row, current) in changes.ops.iter_mut().enumerate() {
                if current.is_row() && says.value(row) {
                    *current = op;
                }
            }
        }
        Ok(ordered)
    }

    /// The model's columns for every row. A value that cannot be computed is null.
    fn project(
        &self,
        changes: &Changes,
        passes: &BooleanArray,
        faults: &mut AHashMap<usize, String>,
    ) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.columns.fields().len());
        for field in self.columns.fields() {
            let at = self
                .projection
                .schema()
                .index_of(field.name())
                .fitting(&self.table, "a column of the model")?;
            let kind = field.data_type();
            let column = robust::column(
                &changes.view,
                kind,
                |b| self.projection.column(b, at),
                |row, e| {
                    if passes.value(row) && changes.ops[row].is_row() {
                        faults.entry(row).or_insert_with(|| format!("`{}`: {e}", field.name()));
                    }
                },
            );
            columns.push(column.fitting(&self.table, "a column of the model")?);
        }
        RecordBatch::try_new(Arc::clone(&self.columns), columns).fitting(&self.table, "the model's rows")
    }

    fn key_columns(&self, view: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |&at: &usize| {
            let field = self.columns.field(at);
            let at = self.projection.schema().index_of(field.name()).fitting(&self.table, "a key column")?;
            let column =
                robust::column(view, field.data_type(), |b| self.projection.column(b, at), |_, _| {});
            column.fitting(&self.table, "a key column")
        };
        self.keys.iter().map(column).collect()
    }

    /// Old keys of rows with values left out. `None`: there is one, but it cannot be read.
    fn old_keys(
        &self,
        changes: &Changes,
        left_out: &LeftOut,
        desk: &mut Desk,
    ) -> Result<AHashMap<usize, Option<KeyId>>> {
        let wanted: Vec<(usize, Vec<u8>)> =
            changes.old_keys.iter().filter(|(row, _)| left_out.rows.contains_key(row)).cloned().collect();
        if wanted.is_empty() {
            return Ok(AHashMap::new());
        }
        let rows = self.reader.old_key_rows(&wanted).fitting(&self.table, "old keys")?;
        let columns = self.key_columns(&rows)?;
        let nulls = any_null(&columns, wanted.len());
        let encoded = desk.keys.encode(&columns).fitting(&self.table, "old keys")?;
        let number =
            |at: usize, desk: &mut Desk| (!nulls[at]).then(|| desk.keys.number(encoded.row(at).data()));
        Ok(wanted.iter().enumerate().map(|(at, (row, _))| (*row, number(at, desk))).collect())
    }

    /// Quarantined rows, as their table stores them.
    fn put_aside(&self, changes: &Changes, rows: &[(u32, String)], version: Version) -> Result<RecordBatch> {
        let picked = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
        let original = take_record_batch(&changes.view, &picked).fitting(&self.table, "rows put aside")?;
        let seq = |(row, _): &(u32, String)| &changes.seqs[*row as usize];
        let mut columns = original.columns().to_vec();
        columns
            .push(Arc::new(rows.iter().map(|r| Some(seq(r).topic_id.to_string())).collect::<StringArray>()));
        columns
            .push(Arc::new(rows.iter().map(|r| Some(i64::from(seq(r).partition))).collect::<Int64Array>()));
        columns.push(Arc::new(Int64Array::from(vec![version.position(); rows.len()])));
        columns.push(Arc::new(rows.iter().map(|(_, reason)| Some(reason.as_str())).collect::<StringArray>()));
        RecordBatch::try_new(self.quarantine_schema(), columns).fitting(&self.table, "rows put aside")
    }
}

/// A whole snapshot acts as a truncate at its LSN: before its own rows, after everything older.
fn snapshot_start(last: &Sequence) -> Sequence {
    Sequence { tx_order: None, offset: -1, ..last.clone() }
}
