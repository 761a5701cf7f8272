//! A model's SQL and expectations on bronze rows: from rows to events with a verdict.
//!
//! The verdict is a function of the row alone, so it is the same whenever and with whatever else the
//! row is read. One bad row never spoils its batch: where an expression fails, the rows it fails for
//! are found by halving, put aside with the engine's message, and the rest goes on.
//!
//! - WHERE and expectations are not asked about deletes.
//! - An expectation that reads a value which the source left out as unchanged is not asked either: that
//!   value was judged when it came. So is a WHERE that reads nothing else: what it said stands.
//! - A row whose key is null belongs nowhere and is put aside.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use catalog::{Kind, Model, Otherwise, Topic};
use model::{TableName, Version};
use query::expectations::{Condition, Expectations};
use query::projection::Projection;

use crate::changes::{Changes, Op, Reader};
use crate::error::{Error, Fitting as _, OfTable as _, Result};
use crate::event::{Event, KeyId, Outcome, Outcomes, RowRef, Seq, Truncate, Unchanged, Verdict};
use crate::keys::{Keys, any_null};
use crate::pool::Pool;

mod robust;

/// What a model says, compiled for one bronze schema. Cheap to clone.
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
    /// Key columns among them.
    pub keys: Vec<usize>,
    /// Columns whose change opens a version.
    pub tracked: Arc<[usize]>,
    /// Reads bronze rows.
    pub reader: Arc<Reader>,
    projection: Arc<Projection>,
    expectations: Arc<Expectations>,
    otherwise: Arc<[Otherwise]>,
    sequence_by: Option<usize>,
    deletes_when: Option<Arc<Condition>>,
    truncates_when: Option<Arc<Condition>>,
    /// For each output column the source columns it is made of.
    made_of: Arc<[Vec<usize>]>,
    where_reads: Arc<[usize]>,
}

/// Where judged rows and their keys are collected.
pub struct Desk {
    /// Projected rows.
    pub pool: Pool,
    /// Their keys.
    pub keys: Keys,
}

/// Bronze rows, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// Those that say something of a key, in the order of the rows.
    pub events: Vec<Event>,
    /// Those that say something of all keys.
    pub truncates: Vec<Truncate>,
    /// What became of the others.
    pub outcomes: Outcomes,
    /// Rows put aside: the columns of `changes(…)`, where they stand, and why.
    pub quarantine: Option<RecordBatch>,
    /// For each expectation that only warns, how many rows break it.
    pub warned: Vec<(String, u64)>,
}

impl Rules {
    /// Compiles `model` for a bronze table with these columns.
    pub async fn compile(model: &Model, topic: &Topic, bronze: &Schema) -> Result<Self> {
        let source = model.source.clone().unwrap_or_else(|| topic.table.clone());
        let unfit = |fault: String| Error::Unfit { table: model.name.clone(), bronze: source.clone(), fault };
        if model.unlearned {
            return Err(unfit("its columns are not known yet; load the project with the registry's schema".to_owned()));
        }
        let reader = Reader::try_new(topic, bronze).map_err(unfit)?;
        let ctx = query::session();
        let parsed = query::sql::parse(&model.sql).of(&model.name)?;
        let projection = Projection::compile(&ctx, &parsed, reader.schema()).await.of(&model.name)?;
        let columns = Arc::clone(&model.schema);
        let output = |name: &String| {
            let missing = || unfit(format!("the model has no column `{name}`"));
            columns.index_of(name).map_err(|_| missing())
        };
        let keys = if model.kind == Kind::Append { Vec::new() } else { model.keys.iter().map(output).collect::<Result<_>>()? };
        let tracked = if model.track_history.is_empty() {
            (0..columns.fields().len()).filter(|at| !keys.contains(at)).collect()
        } else {
            model.track_history.iter().map(output).collect::<Result<Arc<[usize]>>>()?
        };
        let rules = model.expectations.iter().map(|e| (e.name.as_str(), e.predicate.as_str()));
        let expectations = Expectations::compile(&ctx, rules, &columns).of(&model.name)?;
        let view = reader.schema();
        let at = |name: &&str| view.index_of(name).ok();
        let made_of = columns.fields().iter().map(|f| {
            let reads = projection.dependencies(f.name());
            let reads = reads.ok_or_else(|| unfit(format!("its SQL gives no column `{}`", f.name())))?;
            Ok(reads.iter().filter_map(at).collect())
        });
        let made_of = made_of.collect::<Result<Arc<[Vec<usize>]>>>()?;
        let where_reads = projection.filter_dependencies().iter().filter_map(at).collect();
        let condition = |text: &Option<String>| {
            let compiled = text.as_deref().map(|text| Condition::compile(&ctx, text, view));
            Ok::<_, Error>(compiled.transpose().of(&model.name)?.map(Arc::new))
        };
        let sequence_by = match &model.sequence_by {
            Some(name) => Some(view.index_of(name).map_err(|_| unfit(format!("`sequence_by`: no column `{name}`")))?),
            None => None,
        };
        Ok(Self {
            table: model.name.clone(),
            bronze: source.clone(),
            kind: model.kind,
            keys,
            tracked,
            deletes_when: condition(&model.deletes_when)?,
            truncates_when: condition(&model.truncates_when)?,
            reader: Arc::new(reader),
            projection: Arc::new(projection),
            otherwise: model.expectations.iter().map(|e| e.otherwise).collect(),
            expectations: Arc::new(expectations),
            sequence_by,
            made_of,
            where_reads,
            columns,
        })
    }

    /// An empty desk for rows of this model.
    pub fn desk(&self) -> Result<Desk> {
        let keys = Keys::try_new(self.key_schema()).fitting(&self.table, "the key columns")?;
        Ok(Desk { pool: Pool::new(Arc::clone(&self.columns)), keys })
    }
    /// The key columns.
    pub fn key_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.keys.iter().map(|&at| self.columns.field(at).clone()).collect::<Vec<_>>()))
    }
    /// What opens a version, where versions are kept.
    pub fn history(&self) -> Option<&[usize]> {
        (self.kind == Kind::Scd2).then_some(&*self.tracked)
    }
    /// Columns of a row put aside.
    pub fn quarantine_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.reader.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend([
            Field::new("_topic_id", DataType::Utf8, true),
            Field::new("_partition", DataType::Int64, true),
            Field::new("_bronze_version", DataType::Int64, true),
            Field::new("_reason", DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(fields))
    }

    /// The keys of bronze rows among those the desk has met, without looking at anything else.
    pub fn keys_of(&self, bronze: &RecordBatch, desk: &Desk) -> Result<Vec<Option<KeyId>>> {
        let view = self.reader.read_keys(bronze).fitting(&self.table, "keys of bronze rows")?;
        let columns = self.key_columns(&view)?;
        desk.keys.look_up(&columns).fitting(&self.table, "keys of bronze rows")
    }

    /// Judges a batch of bronze rows. `aside` says of which bronze version they are when rows that are
    /// put aside are to be kept.
    pub fn judge(&self, bronze: &RecordBatch, desk: &mut Desk, aside: Option<Version>) -> Result<Judged> {
        let table = &self.table;
        let rows = bronze.num_rows();
        let mut changes = self.reader.read(bronze).fitting(table, "bronze rows")?;
        self.redefine(&mut changes)?;
        let asks_deletes = self.kind == Kind::Append;
        let asked = |op: Op| op.is_row() || (asks_deletes && matches!(op, Op::Delete | Op::Truncate));

        let mut faults: AHashMap<usize, String> = AHashMap::new();
        let passes = robust::mask(&changes.view, |b| self.projection.matches(b), |row, e| {
            faults.insert(row, format!("WHERE: {e}"));
        });
        let projected = self.project(&changes, &passes, &mut faults)?;
        let unchanged = self.unchanged(&changes)?;
        let broken = self.broken(&changes, &projected, &passes, &unchanged)?;

        let columns: Vec<ArrayRef> = self.keys.iter().map(|&at| Arc::clone(projected.column(at))).collect();
        let null_keys = any_null(&columns, rows);
        let encoded = if columns.is_empty() { None } else { Some(desk.keys.encode(&columns).fitting(table, "keys")?) };
        let old_keys = self.old_keys(&changes, &unchanged, desk)?;
        let redriven: AHashMap<usize, Arc<str>> = changes.redriven.iter().cloned().collect();
        let at = changes.view.column_by_name("_ts").map(|c| c.as_primitive::<TimestampMicrosecondType>().clone());
        let at = |row: usize| at.as_ref().and_then(|c| c.is_valid(row).then(|| c.value(row)));

        let batch = desk.pool.add(projected);
        let mut judged = Judged { warned: self.warnings(&broken, &changes), ..Judged::default() };
        let mut aside_rows: Vec<(u32, String)> = Vec::new();
        let mut snapshot_ends = changes.last_of_snapshot.iter().peekable();
        judged.events.reserve(rows);
        for row in 0..rows {
            let op = changes.ops[row];
            if snapshot_ends.next_if(|&&end| end == row).is_some() {
                judged.truncates.push(Truncate { seq: snapshot_start(&changes.seqs[row]), at: at(row) });
            }
            match op {
                Op::Tombstone => judged.outcomes.count(Outcome::Tombstone),
                Op::Error => judged.outcomes.count(Outcome::Error),
                Op::Message => judged.outcomes.count(Outcome::Filtered),
                Op::Truncate if !asks_deletes => {
                    judged.truncates.push(Truncate { seq: changes.seqs[row].clone(), at: at(row) });
                    judged.outcomes.count(Outcome::Applied);
                }
                Op::Create | Op::Update | Op::Read | Op::Delete | Op::Truncate => {
                    let (mut verdict, mut reasons) = (Verdict::Delete, Vec::new());
                    if asked(op) {
                        verdict = if passes.value(row) || unchanged.verdict_stands(row) { Verdict::Row } else { Verdict::Filtered };
                    }
                    if asked(op) && (verdict == Verdict::Row || faults.contains_key(&row)) {
                        (verdict, reasons) = self.expect(&broken, row, op, &changes.seqs[row])?;
                    }
                    if asked(op) && let Some(fault) = faults.get(&row) {
                        verdict = Verdict::Quarantined;
                        reasons.push(fault.clone());
                    }
                    if null_keys[row] {
                        verdict = Verdict::Quarantined;
                        reasons.push("the key is null".to_owned());
                    }
                    if unchanged.of(row).is_some() && old_keys.get(&row) == Some(&None) {
                        verdict = Verdict::Quarantined;
                        reasons.push("the key it had before cannot be read".to_owned());
                    }
                    let number = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
                    if verdict == Verdict::Quarantined {
                        aside_rows.push((number, reasons.join("; ")));
                    }
                    if null_keys[row] {
                        judged.outcomes.count(Outcome::Quarantined);
                        continue;
                    }
                    let key = encoded.as_ref().map_or(KeyId(0), |e| desk.keys.number(e.row(row).data()));
                    let before = unchanged.of(row).filter(|_| op.is_row());
                    judged.events.push(Event {
                        key,
                        seq: changes.seqs[row].clone(),
                        at: at(row),
                        row: RowRef { batch, row: number },
                        verdict,
                        moved_from: before.as_ref().and_then(|_| old_keys.get(&row).copied().flatten()),
                        unchanged: before,
                        redrive: redriven.get(&row).cloned(),
                    });
                }
            }
        }
        if let Some(version) = aside.filter(|_| !aside_rows.is_empty()) {
            judged.quarantine = Some(self.aside(&changes, &aside_rows, version)?);
        }
        Ok(judged)
    }

    /// What the model's header says of order, deletes and truncates of a topic without an envelope.
    fn redefine(&self, changes: &mut Changes) -> Result<()> {
        let fit = |e| Err(e).fitting(&self.table, "the column of `sequence_by`");
        if let Some(at) = self.sequence_by {
            let numbers = match cast(changes.view.column(at), &DataType::Int64) {
                Ok(numbers) => numbers,
                Err(e) => return fit(e),
            };
            let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
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
        for (condition, op) in [(&self.deletes_when, Op::Delete), (&self.truncates_when, Op::Truncate)] {
            let Some(condition) = condition else { continue };
            let says = robust::mask(&changes.view, |b| condition.is_true(b), |_, _| {});
            for (row, current) in changes.ops.iter_mut().enumerate() {
                if current.is_row() && says.value(row) {
                    *current = op;
                }
            }
        }
        Ok(())
    }

    /// The model's columns for every row. A column that cannot be computed for a row is null there.
    fn project(
        &self,
        changes: &Changes,
        passes: &BooleanArray,
        faults: &mut AHashMap<usize, String>,
    ) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.columns.fields().len());
        for field in self.columns.fields() {
            let at = self.projection.schema().index_of(field.name()).fitting(&self.table, "a column of the model")?;
            let kind = field.data_type();
            let column = robust::column(&changes.view, kind, |b| self.projection.column(b, at), |row, e| {
                if passes.value(row) && changes.ops[row].is_row() {
                    faults.entry(row).or_insert_with(|| format!("`{}`: {e}", field.name()));
                }
            });
            columns.push(column);
        }
        RecordBatch::try_new(Arc::clone(&self.columns), columns).fitting(&self.table, "the model's rows")
    }

    fn key_columns(&self, view: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let column = |&at: &usize| {
            let field = self.columns.field(at);
            let at = self.projection.schema().index_of(field.name()).fitting(&self.table, "a key column")?;
            Ok(robust::column(view, field.data_type(), |b| self.projection.column(b, at), |_, _| {}))
        };
        self.keys.iter().map(column).collect()
    }

    /// For each row with values left out: which output columns they are, and whether the WHERE is.
    fn unchanged(&self, changes: &Changes) -> Result<LeftOut> {
        if changes.unchanged.is_empty() || self.kind == Kind::Append {
            return Ok(LeftOut::default());
        }
        let mut patterns: AHashMap<Vec<usize>, Unchanged> = AHashMap::new();
        let mut rows = AHashMap::new();
        for (row, op) in changes.ops.iter().enumerate().filter(|(_, op)| op.is_row()) {
            debug_assert!(op.is_row());
            let mut pattern: Vec<usize> =
                changes.unchanged.iter().filter(|(_, mask)| mask.value(row)).map(|(&at, _)| at).collect();
            if pattern.is_empty() {
                continue;
            }
            pattern.sort_unstable();
            if !patterns.contains_key(&pattern) {
                patterns.insert(pattern.clone(), self.carries(&pattern)?);
            }
            // A value that the model does not use is not missed.
            let unchanged = &patterns[&pattern];
            if unchanged.verdict || unchanged.columns.contains(&true) {
                rows.insert(row, unchanged.clone());
            }
        }
        Ok(LeftOut { rows })
    }

    /// What is carried over when these source columns are left out.
    fn carries(&self, left_out: &[usize]) -> Result<Unchanged> {
        let all = |name: &str, reads: &[usize]| {
            let missing = reads.iter().filter(|at| left_out.contains(at)).count();
            if missing > 0 && missing < reads.len() {
                let unchanged = left_out.iter().find(|at| reads.contains(at)).copied().unwrap_or_default();
                let unchanged = self.reader.schema().field(unchanged).name().clone();
                return Err(Error::MixesUnchanged { table: self.table.clone(), column: name.to_owned(), unchanged });
            }
            Ok(missing > 0)
        };
        let columns = self.columns.fields().iter().zip(self.made_of.iter());
        let columns = columns.map(|(field, reads)| all(field.name(), reads)).collect::<Result<Arc<[bool]>>>()?;
        Ok(Unchanged { columns, verdict: all("WHERE", &self.where_reads)? })
    }

    /// For each expectation, the rows that break it. Rows that are no rows, that the WHERE rejects or
    /// for which it reads a value that was left out do not.
    fn broken(
        &self,
        changes: &Changes,
        projected: &RecordBatch,
        passes: &BooleanArray,
        unchanged: &LeftOut,
    ) -> Result<Vec<BooleanArray>> {
        let mut all = Vec::with_capacity(self.expectations.len());
        for rule in 0..self.expectations.len() {
            let mut failed = Vec::new();
            let holds = robust::mask(projected, |b| self.expectations.holds(b, rule), |row, _| failed.push(row));
            let reads = self.expectations.dependencies(rule);
            let reads: Vec<usize> = reads.iter().filter_map(|name| self.columns.index_of(name).ok()).collect();
            let judged = |row: usize| {
                let left_out = unchanged.rows.get(&row);
                changes.ops[row].is_row()
                    && (passes.value(row) || left_out.is_some_and(|u| u.verdict))
                    && !left_out.is_some_and(|u| reads.iter().any(|&at| u.columns[at]))
            };
            let breaks = |row: usize| Some(!holds.value(row) && judged(row));
            all.push((0..projected.num_rows()).map(breaks).collect());
        }
        Ok(all)
    }

    /// The verdict of the expectations on one row, and the names of those that put it aside.
    fn expect(&self, broken: &[BooleanArray], row: usize, op: Op, seq: &Seq) -> Result<(Verdict, Vec<String>)> {
        let mut verdict = Verdict::Row;
        let mut reasons = Vec::new();
        if !op.is_row() {
            return Ok((verdict, reasons));
        }
        let broken = broken.iter().zip(self.otherwise.iter()).zip(self.expectations.names());
        for ((_, otherwise), name) in broken.filter(|((mask, _), _)| mask.value(row)) {
            match otherwise {
                Otherwise::Warn => {}
                Otherwise::Drop if verdict == Verdict::Row => verdict = Verdict::Dropped,
                Otherwise::Drop => {}
                Otherwise::Quarantine => {
                    verdict = Verdict::Quarantined;
                    reasons.push(name.to_owned());
                }
                Otherwise::Fail => {
                    let place = format!("topic {} partition {} offset {}", seq.topic_id, seq.partition, seq.offset);
                    let (table, expectation) = (self.table.clone(), name.to_owned());
                    return Err(Error::ExpectationFailed { table, expectation, place });
                }
            }
        }
        Ok((verdict, reasons))
    }

    fn warnings(&self, broken: &[BooleanArray], changes: &Changes) -> Vec<(String, u64)> {
        debug_assert!(broken.iter().all(|mask| mask.len() == changes.ops.len()));
        let all = broken.iter().zip(self.otherwise.iter()).zip(self.expectations.names());
        let warns = all.filter(|((mask, otherwise), _)| **otherwise == Otherwise::Warn && mask.true_count() > 0);
        warns.map(|((mask, _), name)| (name.to_owned(), mask.true_count() as u64)).collect()
    }

    /// Keys that rows with values left out had before. `None`: there was one, but it cannot be read.
    fn old_keys(
        &self,
        changes: &Changes,
        unchanged: &LeftOut,
        desk: &mut Desk,
    ) -> Result<AHashMap<usize, Option<KeyId>>> {
        let wanted: Vec<(usize, Vec<u8>)> =
            changes.old_keys.iter().filter(|(row, _)| unchanged.rows.contains_key(row)).cloned().collect();
        if wanted.is_empty() {
            return Ok(AHashMap::new());
        }
        let rows = self.reader.old_key_rows(&wanted).fitting(&self.table, "old keys")?;
        let columns = self.key_columns(&rows)?;
        let nulls = any_null(&columns, wanted.len());
        let encoded = desk.keys.encode(&columns).fitting(&self.table, "old keys")?;
        let number = |at: usize, desk: &mut Desk| (!nulls[at]).then(|| desk.keys.number(encoded.row(at).data()));
        Ok(wanted.iter().enumerate().map(|(at, (row, _))| (*row, number(at, desk))).collect())
    }

    /// Rows put aside, as their table stores them.
    fn aside(&self, changes: &Changes, rows: &[(u32, String)], version: Version) -> Result<RecordBatch> {
        let picked = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
        let original = take_record_batch(&changes.view, &picked).fitting(&self.table, "rows put aside")?;
        let seq = |(row, _): &(u32, String)| &changes.seqs[*row as usize];
        let mut columns = original.columns().to_vec();
        columns.push(Arc::new(rows.iter().map(|r| Some(seq(r).topic_id.to_string())).collect::<StringArray>()));
        columns.push(Arc::new(rows.iter().map(|r| Some(i64::from(seq(r).partition))).collect::<Int64Array>()));
        columns.push(Arc::new(Int64Array::from(vec![version.position(); rows.len()])));
        columns.push(Arc::new(rows.iter().map(|(_, reason)| Some(reason.as_str())).collect::<StringArray>()));
        RecordBatch::try_new(self.quarantine_schema(), columns).fitting(&self.table, "rows put aside")
    }
}

/// Values that the source left out, by row.
#[derive(Default)]
struct LeftOut {
    rows: AHashMap<usize, Unchanged>,
}
impl LeftOut {
    fn of(&self, row: usize) -> Option<Unchanged> {
        if self.rows.is_empty() { None } else { self.rows.get(&row).cloned() }
    }
    fn verdict_stands(&self, row: usize) -> bool {
        !self.rows.is_empty() && self.rows.get(&row).is_some_and(|u| u.verdict)
    }
}

/// A whole snapshot acts as a truncate at its LSN: below its own rows, above everything older.
fn snapshot_start(last: &Seq) -> Seq {
    Seq { tx_order: None, offset: -1, ..last.clone() }
}
