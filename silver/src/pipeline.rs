//! One table's loop: read bronze versions in bounded batches, decide, commit, announce.
//!
//! What is held between two batches (open tables, compiled rules, [`Memory`]) can all be read again
//! from the lake: after any doubt it is dropped and the loop goes on from the table's position.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use catalog::{Kind, Model};
use lake::{ChangedVersion, Compaction, Table};
use model::{AppId, Reaction, TableName, Version};
use runtime::{Backoff, CancellationToken, Meter, State};
use tokio::sync::Notify;

use crate::append::Appender;
use crate::commit::{Committer, Span, Tables, by_columns};
use crate::decide::{Decider, Decision, Wanted};
use crate::error::{Error, Fitting as _, OfTable as _, Result};
use crate::judge::Rules;
use crate::keys::Keys;
use crate::memory::{self, KIND, Memory, Note};
use crate::refold::every_row;
use crate::run::Context;
use crate::table::{self, CARRIED, seq_fields};
use crate::{measures, rebuild};

/// One table.
pub struct Pipeline {
    ctx: Context,
    name: TableName,
    meter: Meter,
    stop: CancellationToken,
    committer: Committer,
    commits: u32,
    measured: Option<i64>,
}

/// What is open.
struct Open {
    rules: Rules,
    /// The columns that the rules were compiled for.
    compiled_for: SchemaRef,
    bronze: Table,
    tables: Tables,
    input: AppId,
    memory: Memory,
    /// Bronze versions that were listed and not yet read.
    pending: VecDeque<ChangedVersion>,
    /// Up to here they were listed.
    listed: Option<Version>,
}

/// Rows of some bronze versions.
struct Batch {
    rows: Vec<(Version, Vec<RecordBatch>)>,
    upto: Version,
}

impl Pipeline {
    /// A pipeline of a silver table of the project.
    pub fn new(ctx: Context, name: TableName, stop: CancellationToken) -> Self {
        let meter = ctx.meters.stage("silver", &name.to_string());
        let committer = Committer {
            lake: ctx.lake.clone(),
            project: ctx.project.name.clone(),
            ids: Arc::clone(&ctx.ids),
            stop: stop.clone(),
        };
        Self { ctx, name, meter, stop, committer, commits: 0, measured: None }
    }

    /// Runs until stopped, or until the table has to wait for a person.
    pub async fn run(mut self, wake: Arc<Notify>) -> Result<()> {
        let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        self.meter.state(State::Starting);
        while !self.stop.is_cancelled() {
            let Err(error) = self.follow(&wake, &mut pauses).await else { return Ok(()) };
            match error.reaction() {
                Reaction::Halt => {
                    self.meter.state(State::Halted);
                    tracing::error!(table = %self.name, error = %Chain(&error), "table halted");
                    return Err(error);
                }
                Reaction::Reload => {
                    self.meter.conflict();
                    tracing::info!(table = %self.name, reason = %error, "reading the table again");
                }
                Reaction::Retry => {
                    tracing::warn!(table = %self.name, error = %Chain(&error), "trying again");
                }
            }
            let pause = pauses.pause();
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// From opening the tables to the first error.
    async fn follow(&mut self, wake: &Notify, pauses: &mut Backoff) -> Result<()> {
        let mut open: Option<Open> = None;
        while !self.stop.is_cancelled() {
            if open.is_none() {
                open = self.open().await?;
            }
            let moved = match &mut open {
                Some(open) => self.step(open).await?,
                None => false,
            };
            if moved {
                pauses.reset();
                continue;
            }
            self.meter.lag(0);
            self.meter.state(if open.is_some() { State::Idle } else { State::Starting });
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = wake.notified() => {}
                () = tokio::time::sleep(self.ctx.settings.poll) => {}
            }
        }
        Ok(())
    }

    fn model(&self) -> Result<&Model> {
        let missing = || Error::Unfit {
            table: self.name.clone(),
            bronze: self.name.clone(),
            fault: "it is no model of the project".to_owned(),
        };
        self.ctx.project.catalog.models.get(&self.name).ok_or_else(missing)
    }

    /// Opens everything. `None`: there is no bronze table yet, or no table and none may be created.
    async fn open(&self) -> Result<Option<Open>> {
        let model = self.model()?;
        let Some(source) = &model.source else { return Ok(None) };
        if self.ctx.lake.table(source).await.of(&self.name)?.is_none() {
            return Ok(None);
        }
        let (rules, bronze) = rebuild::open(&self.ctx.project.catalog, model, &self.ctx.lake).await?;
        let main = match self.ctx.lake.table(&self.name).await.of(&self.name)? {
            Some(table) => table,
            None if self.ctx.settings.create => table::create(&self.ctx.lake, &self.ctx.project.name, model).await?,
            None => return Ok(None),
        };
        let input = AppId::table(bronze.id());
        check(model, &main, &bronze, &input)?;
        let tables = Tables::around(&self.ctx.lake, main).await?;
        let memory = recall(&rules, tables.deleted.as_ref()).await?;
        let compiled_for = Arc::clone(bronze.schema());
        let (pending, listed) = (VecDeque::new(), None);
        Ok(Some(Open { rules, compiled_for, bronze, tables, input, memory, pending, listed }))
    }

    /// One batch. False: there was nothing to read.
    async fn step(&mut self, open: &mut Open) -> Result<bool> {
        let [position, deleted, aside] = open.tables.positions(&open.input);
        let batch = match self.next_batch(open, position, deleted.max(aside)).await {
            // The first versions are gone from bronze's log, yet its newest one holds every event.
            Err(Error::Lake { source: lake::Error::LogGone { .. }, .. }) if position.is_none() => {
                rebuild::rebuild(&self.ctx.project.catalog, self.model()?, &self.committer).await?;
                return Err(Error::Moved { table: self.name.clone() });
            }
            batch => batch?,
        };
        let Some(batch) = batch else { return Ok(false) };
        self.meter.state(State::Running);
        if open.bronze.schema() != &open.compiled_for {
            let model = self.model()?.clone();
            let topic = self.ctx.project.catalog.topic_of(&open.rules.bronze);
            if let Some(topic) = topic {
                open.rules = Rules::compile(&model, topic, open.bronze.schema()).await?;
            }
            open.compiled_for = Arc::clone(open.bronze.schema());
        }
        let started = self.ctx.clock.now();
        let records: usize = batch.rows.iter().flat_map(|(_, rows)| rows).map(RecordBatch::num_rows).sum();
        let newest = newest(&batch);
        self.meter.records_in(records as u64);
        let (upto, torn) = (batch.upto, deleted > position);
        let decision = if open.rules.kind == Kind::Append {
            self.append(open, batch, aside).await?
        } else {
            self.fold(open, batch, aside, torn).await?
        };
        let (outcomes, learnt) = (decision.outcomes, decision.memory.clone());
        self.count(&decision);
        let span = Span {
            bronze: open.rules.bronze.clone(),
            input: open.input.clone(),
            from: position,
            to: upto,
            plan: self.model()?.fingerprint,
        };
        let version = self.committer.land(&open.rules, &mut open.tables, &span, decision).await?;
        open.memory = learnt;
        let now = self.ctx.clock.now();
        self.meter.commit(seconds(now.0 - started.0));
        self.meter.version(version);
        self.meter.records_out(outcomes.applied);
        if let Some(newest) = newest {
            self.meter.freshness(seconds(now.0 - newest / 1000));
        }
        tracing::debug!(table = %self.name, version = version.0, upto = upto.0, records, "batch committed");
        for downstream in self.ctx.project.catalog.downstream(&self.name) {
            self.ctx.announce.announce(&downstream.name, &self.name, version);
        }
        self.keep_up(open).await?;
        Ok(true)
    }

    /// Bronze versions behind the position, up to the bound; at least up to `floor`, where a sibling
    /// already is.
    async fn next_batch(&self, open: &mut Open, position: Option<i64>, floor: Option<i64>) -> Result<Option<Batch>> {
        let consumed = position.map(|p| Version(p.max(0).cast_unsigned()));
        if open.pending.is_empty() {
            open.bronze.refresh().await.of(&self.name)?;
            let newest = open.bronze.version();
            if consumed >= Some(newest) {
                return Ok(None);
            }
            open.pending = open.bronze.changes(consumed, newest).await.of(&self.name)?.into();
            open.listed = Some(newest);
        }
        let mut batch = Batch { rows: Vec::new(), upto: open.listed.unwrap_or(open.bronze.version()) };
        let mut rows = 0;
        while let Some(version) = open.pending.pop_front() {
            let change = open.bronze.read_change(&version).await.of(&self.name)?;
            rows += change.added.iter().map(RecordBatch::num_rows).sum::<usize>();
            batch.rows.push((change.version, change.added));
            let full = rows >= self.ctx.settings.max_rows.get() && Some(change.version.position()) >= floor;
            if full && !open.pending.is_empty() {
                batch.upto = change.version;
                break;
            }
        }
        let waiting: i64 = open.pending.iter().map(rows_of).sum();
        self.meter.lag(waiting + i64::try_from(rows).unwrap_or(i64::MAX));
        Ok(Some(batch))
    }

    /// Decides for a table that keeps rows by key.
    async fn fold(&self, open: &Open, batch: Batch, aside: Option<i64>, torn: bool) -> Result<Decision> {
        let upto = batch.upto;
        let mut decider = Decider::try_new(open.rules.clone(), open.memory.clone(), torn)?;
        let mut decider = runtime::cpu::run(move || {
            for (version, rows) in &batch.rows {
                let keep = Some(version.position()) > aside;
                rows.iter().try_for_each(|rows| decider.take(rows, *version, keep))?;
            }
            Ok::<_, Error>(decider)
        })
        .await?;
        let columns = decider.columns();
        let (rows, notes) = match decider.wanted()? {
            Wanted::Nothing => (Vec::new(), Vec::new()),
            Wanted::Keys(keys) => self.find(open, keys, &columns).await?,
            Wanted::Everything => {
                let rows = open.tables.main.scan(Some(&columns)).await.of(&self.name)?;
                let notes = match &open.tables.deleted {
                    Some(deleted) => deleted.scan(None).await.of(&self.name)?,
                    None => Vec::new(),
                };
                (rows, notes)
            }
        };
        let (mut decider, again) = runtime::cpu::run(move || {
            decider.hold(&rows, &notes)?;
            let again = decider.settle()?;
            Ok::<_, Error>((decider, again))
        })
        .await?;
        if let Some(unheld) = again {
            if unheld.num_rows() > 0 {
                let (rows, notes) = self.find(open, unheld, &columns).await?;
                decider.hold(&rows, &notes)?;
            }
            let bronze = open.bronze.at(upto).await.of(&self.name)?;
            decider = every_row(&open.rules, &bronze, decider, Decider::recall).await?;
        }
        runtime::cpu::run(move || decider.decide()).await
    }

    /// Rows of the table and notes with these keys.
    async fn find(
        &self,
        open: &Open,
        keys: RecordBatch,
        columns: &[String],
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let keys = by_columns(keys);
        let rows = open.tables.main.find(&keys, columns).await.of(&self.name)?;
        let Some(deleted) = &open.tables.deleted else { return Ok((rows, Vec::new())) };
        let all: Vec<String> = deleted.schema().fields().iter().map(|f| f.name().clone()).collect();
        Ok((rows, deleted.find(&keys, &all).await.of(&self.name)?))
    }

    /// Decides for a table that keeps every event.
    async fn append(&self, open: &Open, batch: Batch, aside: Option<i64>) -> Result<Decision> {
        let mut appender = Appender::try_new(open.rules.clone())?;
        let mut appender = runtime::cpu::run(move || {
            for (version, rows) in &batch.rows {
                let keep = Some(version.position()) > aside;
                rows.iter().try_for_each(|rows| appender.take(rows, *version, keep))?;
            }
            Ok::<_, Error>(appender)
        })
        .await?;
        let columns: Vec<String> =
            seq_fields().iter().map(|f| f.name().clone()).chain([CARRIED.to_owned()]).collect();
        for names in appender.wanted()? {
            let rows = open.tables.main.find(&by_columns(names), &columns).await.of(&self.name)?;
            appender.hold(&rows)?;
        }
        runtime::cpu::run(move || appender.decide()).await
    }

    fn count(&self, decision: &Decision) {
        let outcomes = &decision.outcomes;
        self.meter.quarantined(outcomes.quarantined);
        self.meter.late("superseded", outcomes.superseded);
        self.meter.late("repeat", outcomes.repeat);
        for (expectation, rows) in &decision.warned {
            tracing::warn!(table = %self.name, expectation, rows, "expectation does not hold");
        }
        if decision.refolded > 0 {
            tracing::debug!(table = %self.name, keys = decision.refolded, "keys folded again from bronze");
        }
    }

    /// Between two commits: measures, compaction.
    async fn keep_up(&mut self, open: &mut Open) -> Result<()> {
        let now = self.ctx.clock.now().0;
        let pause = i64::try_from(self.ctx.settings.measure.as_millis()).unwrap_or(i64::MAX);
        if self.measured.is_none_or(|at| now.saturating_sub(at) >= pause) {
            measures::take(&self.ctx.lake, self.model()?, &open.tables.main).await?;
            self.measured = Some(now);
        }
        self.commits += 1;
        if self.commits >= self.ctx.settings.compact_every {
            self.commits = 0;
            let compaction = Compaction { sort_by: self.model()?.cluster_by.clone(), ..Compaction::default() };
            open.tables.main.compact(&compaction).await.of(&self.name)?;
            for sibling in [&mut open.tables.deleted, &mut open.tables.quarantine].into_iter().flatten() {
                sibling.compact(&Compaction::default()).await.of(&self.name)?;
            }
        }
        Ok(())
    }
}

/// Refuses a table of another plan, of another bronze table, or ahead of it.
fn check(model: &Model, table: &Table, bronze: &Table, input: &AppId) -> Result<()> {
    let (name, positions) = (model.name.clone(), table.positions());
    let plan = positions.get(&AppId::plan());
    if plan != Some(model.fingerprint) {
        let found = plan.map_or_else(|| "none".to_owned(), |p| p.to_string());
        return Err(Error::OtherPlan { table: name, found, expected: model.fingerprint });
    }
    let foreign = positions.0.keys().find(|app| **app != AppId::plan() && *app != input);
    if let Some(found) = foreign {
        let found = found.to_string();
        return Err(Error::OtherInput { table: name, bronze: bronze.name().clone(), found });
    }
    match positions.get(input) {
        Some(position) if position > bronze.version().position() => Err(Error::AheadOfInput {
            table: name,
            bronze: bronze.name().clone(),
            position,
            newest: bronze.version().0,
        }),
        _ => Ok(()),
    }
}

/// Truncates and key changes, which concern more than the keys of one batch.
async fn recall(rules: &Rules, deleted: Option<&Table>) -> Result<Memory> {
    let mut memory = Memory::default();
    let Some(deleted) = deleted else { return Ok(memory) };
    let kinds: arrow::array::StringArray = ["truncated", "moved"].into_iter().map(Some).collect();
    let field = arrow::datatypes::Field::new(KIND, arrow::datatypes::DataType::Utf8, true);
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let kinds = RecordBatch::try_new(schema, vec![Arc::new(kinds)]).fitting(&rules.table, "kinds of notes")?;
    let all: Vec<String> = deleted.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut keys = Keys::try_new(rules.key_schema()).fitting(&rules.table, "the key columns")?;
    for rows in deleted.find(&by_columns(kinds), &all).await.of(&rules.table)? {
        let notes: Vec<Note> = memory::read(&rows, &mut keys).fitting(&rules.table, "notes")?;
        memory.learn(&notes, &keys);
    }
    Ok(memory)
}

/// How many rows bronze says a version added.
fn rows_of(version: &ChangedVersion) -> i64 {
    let ranges = version.entry().info.get("ranges").and_then(|r| r.as_array());
    ranges.into_iter().flatten().filter_map(|range| range.get("rows")?.as_i64()).sum()
}

/// The newest Kafka timestamp of a batch, microseconds.
fn newest(batch: &Batch) -> Option<i64> {
    let column = |rows: &RecordBatch| rows.column_by_name("_timestamp").cloned();
    let newest = |column: arrow::array::ArrayRef| {
        use arrow::array::AsArray as _;
        arrow::compute::max(column.as_primitive_opt::<TimestampMicrosecondType>()?)
    };
    batch.rows.iter().flat_map(|(_, rows)| rows).filter_map(column).filter_map(newest).max()
}

fn seconds(millis: i64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a span of milliseconds for a metric")]
    let millis = millis.max(0) as f64;
    millis / 1000.0
}

/// An error with its causes.
struct Chain<'a>(&'a Error);
impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut cause: Option<&dyn std::error::Error> = Some(self.0);
        let mut first = true;
        while let Some(error) = cause {
            write!(f, "{}{error}", if first { "" } else { ": " })?;
            (first, cause) = (false, error.source());
        }
        Ok(())
    }
}
