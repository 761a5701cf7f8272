//! Applies a model to changes: the row that each becomes, and whether the table takes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};
use catalog::{Kind, Model, Otherwise, Topic};
use datafusion::sql::parser::Statement;
use model::{ClockMs, TableName};

use super::change::{Changes, Op, Reader};
use super::lacking::Lacking;
use super::place::{Name, Place};
use super::program::{Bench, Failed, Program, Taken, take};

/// What happens with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The key gets this row.
    Row,
    /// The WHERE rejects it: the key has no row.
    Filtered,
    /// Quarantined; the key keeps what it had.
    Aside,
    /// Dropped; the key keeps what it had.
    Dropped,
    /// The key loses its row.
    Delete,
    /// All keys lose their rows.
    Truncate,
    /// A tombstone, which changes no key.
    Tombstone,
    /// A message, which concerns no row.
    Message,
    /// Bronze could not decode it.
    Error,
    /// Its key is in another part of the table.
    Elsewhere,
}

/// Values that the source left out of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchanged {
    /// Columns of the model that are taken from the row before.
    pub columns: Vec<bool>,
    /// The WHERE reads only left-out values, so its result for the row before still holds.
    pub verdict: bool,
}

/// One change with its verdict.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Its key as bytes; equal keys have equal bytes. `None`: part of it is null, or the table has no key.
    pub key: Option<Arc<[u8]>>,
    /// Its place in the order.
    pub place: Place,
    /// When it happened.
    pub at: Option<i64>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why it is quarantined.
    pub reasons: Vec<String>,
    /// The values it leaves out.
    pub unchanged: Option<Arc<Unchanged>>,
    /// The previous key of its row.
    pub moved_from: Option<Arc<[u8]>>,
    /// The redrive that appended it.
    pub redrive: Option<String>,
    /// Identifies it if a source that is not ours sends it again.
    pub name: Option<Name>,
    /// A delete without a value of `sequence_by`.
    pub unplaced: bool,
    /// Nothing orders it.
    pub orderless: bool,
    /// It is a row of a whole snapshot.
    pub reads: bool,
    /// It is the last row of a snapshot.
    pub ends: bool,
}

/// The rows of a batch with their verdicts.
pub struct JudgedBatch {
    /// The model's rows.
    pub rows: RecordBatch,
    /// The columns of `changes(…)`.
    pub view: RecordBatch,
    /// One per row.
    pub judged: Vec<Judged>,
}

/// Where the times of a history come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// From the event.
    OfEvent,
    /// From the sequence, whose unit is this many microseconds.
    OfSequence(i64),
    /// Unknown, because the sequence is not a time.
    Unknown,
}

struct ExpectationProgram {
    name: String,
    otherwise: Otherwise,
    program: Program,
}

/// A model over one bronze table.
pub struct Rules {
    /// The model's kind.
    pub kind: Kind,
    /// Its columns.
    pub schema: SchemaRef,
    /// Indices of its key columns.
    pub keys: Vec<usize>,
    /// Indices of the columns whose change opens a version.
    pub tracked: Vec<usize>,
    /// The columns of `changes(…)`.
    pub changes: SchemaRef,
    reader: Reader,
    whole: Program,
    passes: Program,
    columns: Vec<Program>,
    /// For each column of the model, its index in the result of `whole`.
    order: Vec<usize>,
    made_of: Vec<BTreeSet<usize>>,
    filters: BTreeSet<usize>,
    expectations: Vec<ExpectationProgram>,
    sequence_by: Option<usize>,
    times: Times,
    partitioned: Vec<usize>,
    deletes_when: Option<Program>,
    truncates_when: Option<Program>,
    encoder: RowConverter,
    table: TableName,
}

impl Rules {
    /// The same rules with the defaults of a bronze table.
    pub fn lacking(mut self, lacking: Lacking) -> Self {
        self.reader.lacking = lacking;
        self
    }

    /// Reads a model for a bronze table with these columns.
    pub async fn read(model: &Model, topic: &Topic, bronze: &Schema) -> Result<Self> {
        let reader = Reader::try_new(topic, bronze)?;
        let source = model.source.as_ref().context("the model reads no `changes(…)`")?;
        let changes = Bench::of_changes(source, &reader.schema)?;
        let parsed = query::sql::parse(&model.sql)?;
        let plan = changes.plan(Statement::Statement(Box::new(parsed.at(ClockMs(0))))).await?;
        let taken = Taken::of(&plan)?;
        let schema = Arc::clone(&model.schema);
        let mut places = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let named = |given: &Arc<arrow::datatypes::Field>| given.name() == field.name();
            let place = plan.schema().fields().iter().position(named);
            places.push(place.with_context(|| format!("its SQL gives no column `{}`", field.name()))?);
        }
        let all: BTreeSet<usize> = places.iter().copied().collect();
        let whole = changes.program(take(&plan, &all, true)?).await?;
        let passes = changes.program(take(&plan, &BTreeSet::new(), true)?).await?;
        let mut columns = Vec::with_capacity(places.len());
        for &place in &places {
            columns.push(changes.program(take(&plan, &BTreeSet::from([place]), false)?).await?);
        }
        let rows = Bench::new(&"checked.made".parse()?, &schema)?;
        let mut expectations = Vec::new();
        for rule in &model.expectations {
            let program = rows.expression(&rule.predicate).await.with_context(|| rule.name.clone())?;
            expectations.push(ExpectationProgram {
                name: rule.name.clone(),
                otherwise: rule.otherwise,
                program,
            });
        }
        let when = async |text: &Option<String>| match text {
            Some(text) => changes.expression(text).await.map(Some),
            None => Ok(None),
        };
        let (deletes_when, truncates_when) =
            (when(&model.deletes_when).await?, when(&model.truncates_when).await?);
        let at = |name: &String| schema.index_of(name).with_context(|| format!("no column `{name}`"));
        let keys: Vec<usize> = match model.kind {
            Kind::Append => Vec::new(),
            _ => model.keys.iter().map(at).collect::<Result<_>>()?,
        };
        let tracked = if model.track_history.is_empty() {
            (0..schema.fields().len()).filter(|at| !keys.contains(at)).collect()
        } else {
            model.track_history.iter().map(at).collect::<Result<_>>()?
        };
        let sequence_by = model.sequence_by.as_ref().map(|name| reader.schema.index_of(name)).transpose()?;
        let times = match sequence_by {
            Some(at) if model.kind == Kind::Scd2 && topic.event_time.is_none() => {
                match reader.schema.field(at).data_type() {
                    DataType::Date32 => Times::OfSequence(86_400_000_000),
                    DataType::Timestamp(TimeUnit::Second, _) => Times::OfSequence(1_000_000),
                    DataType::Timestamp(TimeUnit::Millisecond, _) => Times::OfSequence(1_000),
                    DataType::Timestamp(TimeUnit::Microsecond, _) => Times::OfSequence(1),
                    _ => Times::Unknown,
                }
            }
            _ => Times::OfEvent,
        };
        let partitioned = model.partition_by.iter().map(at).collect::<Result<_>>()?;
        let field = |at: &usize| SortField::new(schema.field(*at).data_type().clone());
        Ok(Self {
            kind: model.kind,
            encoder: RowConverter::new(keys.iter().map(field).collect())?,
            keys,
            tracked,
            changes: Arc::clone(&reader.schema),
            reader,
            whole,
            passes,
            columns,
            order: places.iter().map(|place| all.range(..place).count()).collect(),
            made_of: places.iter().map(|&at| taken.reads[at].clone()).collect(),
            filters: taken.filters,
            expectations,
            sequence_by,
            times,
            partitioned,
            deletes_when,
            truncates_when,
            table: model.name.clone(),
            schema,
        })
    }

    /// Judges a batch of bronze rows.
    pub async fn judge(&self, bronze: &RecordBatch) -> Result<JudgedBatch> {
        let mut changes = self.reader.read(bronze)?;
        let undecided = self.redefine(&mut changes).await?;
        let (rows, passes, mut failed) = self.project(&changes).await?;
        for (row, why) in undecided {
            failed[row] = Some(why);
        }
        let left_out = self.left_out(&changes)?;
        let broken = self.broken(&rows, &changes, &passes, &left_out).await?;
        let keys = self.encode(&rows)?;
        let old_keys = self.old_keys(&changes, &left_out).await?;
        let mut unfit: BTreeMap<usize, String> = BTreeMap::new();
        for &at in &self.partitioned {
            for (row, why) in lake::partition::unfit(rows.column(at)) {
                let column = self.schema.field(at).name();
                unfit.entry(row).or_insert_with(|| format!("partition column `{column}`: {why}"));
            }
        }
        let mut judged = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let mut one = Judged {
                key: keys[row].clone(),
                place: changes.places[row].clone(),
                at: self.time(changes.times[row], changes.places[row].lsn),
                verdict: Verdict::Error,
                reasons: Vec::new(),
                unchanged: left_out[row].clone(),
                moved_from: old_keys[row].clone().flatten(),
                redrive: changes.redrives[row].clone(),
                name: changes.names[row],
                unplaced: changes.unplaced[row],
                orderless: changes.orderless[row],
                reads: changes.reads[row],
                ends: changes.ends[row],
            };
            let op = changes.ops[row];
            one.verdict = match op {
                Op::Tombstone => Verdict::Tombstone,
                Op::Message => Verdict::Message,
                Op::Error => Verdict::Error,
                Op::Unknown(why) => {
                    one.reasons.push(why.to_owned());
                    one.orderless = true;
                    Verdict::Aside
                }
                Op::Truncate if self.kind != Kind::Append && !one.orderless => Verdict::Truncate,
                Op::Row(_) | Op::Delete | Op::Truncate => {
                    let is_row = matches!(op, Op::Row(_));
                    let asked = is_row || self.kind == Kind::Append;
                    let stands = one.unchanged.as_ref().is_some_and(|u| u.verdict);
                    let verdict = match (asked, passes.value(row) || stands) {
                        (false, _) => Verdict::Delete,
                        (true, false) => Verdict::Filtered,
                        (true, true) if is_row => self.expect(&broken, row, &one.place, &mut one.reasons)?,
                        (true, true) => Verdict::Row,
                    };
                    if asked {
                        one.reasons.extend(failed[row].take());
                        one.reasons.extend(unfit.remove(&row).filter(|_| verdict == Verdict::Row));
                    }
                    if one.key.is_none() && self.kind != Kind::Append {
                        one.reasons.push("the key is null".to_owned());
                    }
                    if one.orderless {
                        one.reasons
                            .push(format!("`{}` is null: nothing orders the event", self.ordered_by()));
                    }
                    if matches!(old_keys[row], Some(None)) {
                        one.reasons.push("the key it had before cannot be read".to_owned());
                    }
                    if one.reasons.is_empty() { verdict } else { Verdict::Aside }
                }
            };
            judged.push(one);
        }
        Ok(JudgedBatch { rows, view: changes.view, judged })
    }

    /// The time of a change with this event time and this sequence.
    pub fn time(&self, at: Option<i64>, sequence: Option<i64>) -> Option<i64> {
        match self.times {
            Times::OfEvent => at,
            Times::OfSequence(unit) => sequence.and_then(|sequence| sequence.checked_mul(unit)),
            Times::Unknown => None,
        }
    }

    fn ordered_by(&self) -> &str {
        self.sequence_by.map_or("", |at| self.changes.field(at).name())
    }

    /// Applies the model's header: order, deletes and truncates. Returns the rows of which it cannot be said whether
    /// they delete, with the first reason of each.
    async fn redefine(&self, changes: &mut Changes) -> Result<BTreeMap<usize, String>> {
        let mut undecided = BTreeMap::new();
        if let Some(at) = self.sequence_by {
            let numbers = cast(changes.view.column(at), &DataType::Int64)?;
            let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
            for (row, place) in changes.places.iter_mut().enumerate() {
                place.lsn = numbers.is_valid(row).then(|| numbers.value(row));
                // A table that keeps every event needs no order.
                let missing = self.kind != Kind::Append && place.lsn.is_none();
                changes.unplaced[row] = missing && changes.ops[row] == Op::Delete;
                changes.orderless[row] = missing && matches!(changes.ops[row], Op::Row(_));
            }
            let lsn = changes.view.schema().index_of("_lsn")?;
            let mut columns = changes.view.columns().to_vec();
            columns[lsn] = Arc::new(numbers.clone());
            changes.view = RecordBatch::try_new(changes.view.schema(), columns)?;
        }
        let programs = [
            ("deletes_when", &self.deletes_when, Op::Delete),
            ("truncates_when", &self.truncates_when, Op::Truncate),
        ];
        for (key, program, op) in programs {
            let Some(program) = program else { continue };
            let (says, failed) = program.mask(&changes.view, false).await?;
            for (row, why) in failed {
                if matches!(changes.ops[row], Op::Row(_)) {
                    undecided.entry(row).or_insert_with(|| format!("`{key}`: {why}"));
                }
            }
            for (row, current) in changes.ops.iter_mut().enumerate() {
                if matches!(current, Op::Row(_)) && says.value(row) {
                    *current = op;
                }
            }
        }
        Ok(undecided)
    }

    /// The model's rows, whether the WHERE accepts each, and why a row cannot be computed.
    async fn project(&self, changes: &Changes) -> Result<(RecordBatch, BooleanArray, Vec<Option<String>>)> {
        let view = &changes.view;
        let count = RecordBatchOptions::new().with_row_count(Some(view.num_rows()));
        if let Ok(mut columns) = self.whole.run(view).await
            && let Some(passes) = columns.pop()
        {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let typed: Result<Vec<ArrayRef>, _> = self
                .by_place(&columns)
                .iter()
                .zip(self.schema.fields())
                .map(|(column, field)| cast_with_options(column, field.data_type(), &options))
                .collect();
            if let Ok(columns) = typed {
                let passes = passes.as_boolean().iter().map(|p| Some(p == Some(true))).collect();
                let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count)?;
                return Ok((rows, passes, vec![None; view.num_rows()]));
            }
        }
        let (passes, where_failed): (BooleanArray, Failed) = self.passes.mask(view, false).await?;
        let mut failed: Vec<Option<String>> = vec![None; view.num_rows()];
        for (row, why) in where_failed {
            failed[row] = Some(format!("WHERE: {why}"));
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (program, field) in self.columns.iter().zip(self.schema.fields()) {
            let (column, bad) = program.column(view, field.data_type()).await?;
            for (row, why) in bad {
                if passes.value(row) && matches!(changes.ops[row], Op::Row(_)) {
                    failed[row].get_or_insert_with(|| format!("`{}`: {why}", field.name()));
                }
            }
            columns.push(column);
        }
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count)?;
        Ok((rows, passes, failed))
    }

    /// Brings columns from the plan's order into the model's.
    fn by_place(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.order.iter().filter_map(|&at| columns.get(at)).cloned().collect()
    }

    /// For each row with values left out, what that means for the model.
    fn left_out(&self, changes: &Changes) -> Result<Vec<Option<Arc<Unchanged>>>> {
        let mut known: Vec<(&[usize], Option<Arc<Unchanged>>)> = Vec::new();
        let mut all = Vec::with_capacity(changes.unchanged.len());
        for (row, missing) in changes.unchanged.iter().enumerate() {
            let concerns =
                !missing.is_empty() && matches!(changes.ops[row], Op::Row(_)) && self.kind != Kind::Append;
            if !concerns {
                all.push(None);
                continue;
            }
            if let Some((_, unchanged)) = known.iter().find(|(columns, _)| columns == missing) {
                all.push(unchanged.clone());
                continue;
            }
            let carried = |reads: &BTreeSet<usize>| {
                let left = reads.iter().filter(|at| missing.contains(at)).count();
                if left > 0 && left < reads.len() {
                    bail!("`{}` mixes a value that was left out with one that was not", self.table);
                }
                Ok(left > 0)
            };
            let columns = self.made_of.iter().map(carried).collect::<Result<Vec<_>>>()?;
            let verdict = carried(&self.filters)?;
            let concerns = verdict || columns.contains(&true);
            let unchanged = concerns.then(|| Arc::new(Unchanged { columns, verdict }));
            known.push((missing, unchanged.clone()));
            all.push(unchanged);
        }
        Ok(all)
    }

    /// The rows that break each expectation. Skips deletes and the like, rows that the WHERE rejects, and
    /// rows where the expectation reads a left-out value.
    async fn broken(
        &self,
        rows: &RecordBatch,
        changes: &Changes,
        passes: &BooleanArray,
        left_out: &[Option<Arc<Unchanged>>],
    ) -> Result<Vec<Vec<bool>>> {
        let mut all = Vec::with_capacity(self.expectations.len());
        for rule in &self.expectations {
            let (holds, failed) = rule.program.mask(rows, true).await?;
            let failed: BTreeSet<usize> = failed.into_iter().map(|(row, _)| row).collect();
            let breaks = |row: usize| {
                let unchanged = left_out[row].as_ref();
                let reads_it = |u: &Arc<Unchanged>| rule.program.reads.iter().any(|&at| u.columns[at]);
                matches!(changes.ops[row], Op::Row(_))
                    && (passes.value(row) || unchanged.is_some_and(|u| u.verdict))
                    && !unchanged.is_some_and(reads_it)
                    && (!holds.value(row) || failed.contains(&row))
            };
            all.push((0..rows.num_rows()).map(breaks).collect());
        }
        Ok(all)
    }

    fn expect(
        &self,
        broken: &[Vec<bool>],
        row: usize,
        place: &Place,
        reasons: &mut Vec<String>,
    ) -> Result<Verdict> {
        let mut verdict = Verdict::Row;
        for (rule, _) in self.expectations.iter().zip(broken).filter(|(_, broken)| broken[row]) {
            match rule.otherwise {
                Otherwise::Warn => {}
                Otherwise::Drop => verdict = Verdict::Dropped,
                Otherwise::Quarantine => reasons.push(rule.name.clone()),
                Otherwise::Fail => bail!(
                    "the expectation `{}` halts the table at partition {} offset {}",
                    rule.name,
                    place.partition,
                    place.offset
                ),
            }
        }
        Ok(verdict)
    }

    /// The key of each row; `None` if part of it is null.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Vec<Option<Arc<[u8]>>>> {
        if self.keys.is_empty() {
            return Ok(vec![None; rows.num_rows()]);
        }
        let names: Vec<&str> = self.keys.iter().map(|&at| self.schema.field(at).name().as_str()).collect();
        let column = |name: &&str| {
            let column = rows.column_by_name(name).with_context(|| format!("no key column `{name}`"))?;
            Ok(cast(column, self.schema.field_with_name(name)?.data_type())?)
        };
        let columns = names.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let encoded = self.encoder.convert_columns(&columns)?;
        let key = |row: usize| {
            columns.iter().all(|column| column.is_valid(row)).then(|| Arc::from(encoded.row(row).data()))
        };
        Ok((0..rows.num_rows()).map(key).collect())
    }

    /// `None`: the row has no other key. `Some(None)`: it had one that cannot be read.
    async fn old_keys(
        &self,
        changes: &Changes,
        left_out: &[Option<Arc<Unchanged>>],
    ) -> Result<Vec<Option<Option<Arc<[u8]>>>>> {
        let mut all = vec![None; changes.ops.len()];
        let concerns = |row: &usize| {
            left_out[*row].is_some()
                && matches!(changes.ops[*row], Op::Row(_))
                && changes.old_keys[*row].is_some()
        };
        let rows: Vec<usize> = (0..changes.ops.len()).filter(concerns).collect();
        if rows.is_empty() {
            return Ok(all);
        }
        let texts: Vec<&[u8]> = rows.iter().filter_map(|&row| changes.old_keys[row].as_deref()).collect();
        let view = self.reader.keys_of(&texts)?;
        let mut columns = Vec::with_capacity(self.keys.len());
        let mut fields = Vec::with_capacity(self.keys.len());
        for &at in &self.keys {
            let field = self.schema.field(at);
            columns.push(self.columns[at].column(&view, field.data_type()).await?.0);
            fields.push(field.clone());
        }
        let keys = self.encode(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)?;
        for (row, key) in rows.into_iter().zip(keys) {
            all[row] = Some(key);
        }
        Ok(all)
    }
}
