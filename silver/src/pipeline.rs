//! One table's loop: reads bronze versions in bounded batches, decides, commits, announces.
//!
//! Everything kept between two batches (open tables, compiled rules, [`crate::memory::Memory`]) can be read
//! again from the lake. After any doubt it is dropped, and the loop goes on from the table's position.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use catalog::{Kind, Model, Otherwise};
use lake::Compaction;
use model::{Micros, Positions, TableName, Version, column};
use runtime::traces::Role;
use runtime::{After, Due, Meter, Retry, State};
use stage::Control;
use stage::halts::{chain, note, unnote};
use tokio::sync::Semaphore;

use crate::append::Appender;
use crate::commit::{Committer, InputRange, by_columns};
use crate::decide::{Collected, Decision, Recall, Settled, Wanted};
use crate::error::{Error, OfTable as _, Result};
use crate::judge::Rules;
use crate::refold::every_row;
use crate::run::Context;
use crate::table::{quarantine_name, seq_fields};
use crate::{measures, rebuild};

mod batch;
mod open;

use batch::BronzeBatch;
use open::{CompiledFor, Open};

/// The pipeline of one table.
pub struct Pipeline {
    ctx: Context,
    name: TableName,
    meter: Meter,
    control: Control,
    committer: Committer,
    turns: Arc<Semaphore>,
    commits: u32,
    /// When measures are due.
    due: Due,
    /// True once it was logged that rows are quarantined because they are not events.
    warned: bool,
    /// True once the table is known to have read a bronze row.
    seen: bool,
    /// The position in bronze at which a measure was out of its bounds.
    out: Option<i64>,
    /// The failures so far.
    retry: Retry,
    /// True if the lake may have a halt note of an earlier process or attempt.
    noted: bool,
    /// True if a measure that can halt the table could not be taken.
    lacks: bool,
}

impl Pipeline {
    /// The pipeline of a silver table of the project. It takes one of `turns` for each batch.
    pub fn new(ctx: Context, name: TableName, turns: Arc<Semaphore>, control: Control) -> Self {
        let meter = ctx.meters.stage("silver", &name.to_string());
        let committer = Committer {
            lake: ctx.lake.clone(),
            project: ctx.project.name.clone(),
            ids: Arc::clone(&ctx.ids),
            stop: control.stop.clone(),
        };
        Self {
            ctx,
            name,
            meter,
            control,
            committer,
            turns,
            commits: 0,
            due: Due::default(),
            seen: false,
            out: None,
            retry: Retry::new(Duration::from_millis(100)),
            noted: true,
            lacks: false,
            warned: false,
        }
    }

    /// Runs until stopped, or until the table halts.
    pub async fn run(mut self) -> Result<()> {
        self.meter.state(State::Starting);
        while !self.control.stop.is_cancelled() {
            let Err(error) = self.follow().await else { break };
            match self.retry.after(&error) {
                After::Halt { reason } => {
                    self.halt(reason, Positions::default()).await;
                    return Err(error);
                }
                After::Reload => {
                    self.meter.conflict();
                    tracing::info!(table = %self.name, reason = %error, "reading the table again");
                    self.retry.pause(&self.control.stop).await;
                }
                After::Retry => {
                    self.retry.again(&self.name, "trying again", &error, &self.control.stop).await;
                }
            }
        }
        Ok(())
    }

    /// Halts the table in the log, the metrics and the lake. `tried`: the bronze versions that it has read,
    /// if a later one may fix it.
    async fn halt(&mut self, reason: String, tried: Positions) {
        tracing::error!(table = %self.name, error = %reason, "table halted");
        note(&self.ctx.lake, "silver", &self.name, reason.clone(), tried).await;
        self.noted = true;
        self.meter.halt(reason);
    }

    /// Resets the retries and deletes the halt note.
    async fn go_on(&mut self) {
        self.retry.reset();
        if self.out.is_some() || self.lacks || !std::mem::take(&mut self.noted) {
            return;
        }
        unnote(&self.ctx.lake, "silver", &self.name).await;
    }

    /// Opens the tables and runs until the first error.
    async fn follow(&mut self) -> Result<()> {
        let mut open: Option<Open> = None;
        while !self.control.stop.is_cancelled() {
            if open.is_none() {
                open = self.open().await?;
            }
            let moved = match &mut open {
                Some(open) => {
                    let moved = self.step(open).await?;
                    self.measure(open).await?;
                    moved
                }
                None => false,
            };
            if open.is_some() {
                self.go_on().await;
            }
            if moved {
                continue;
            }
            self.meter.lag(0);
            if self.out.is_none() {
                self.meter.state(if open.is_some() { State::Idle } else { State::Starting });
            }
            tokio::select! {
                biased;
                () = self.control.stop.cancelled() => {}
                () = self.control.wake.notified() => {}
                () = runtime::time::sleep(self.ctx.settings.poll) => {}
            }
        }
        Ok(())
    }

    fn model(&self) -> Result<&Model> {
        let missing = || Error::Unfit {
            table: self.name.clone(),
            bronze: self.name.clone(),
            fault: "it is no model of the project".into(),
        };
        self.ctx.project.catalog.models.get(&self.name).ok_or_else(missing)
    }

    /// Runs one batch. Returns false if there was nothing to read.
    async fn step(&mut self, open: &mut Open) -> Result<bool> {
        if !self.is_behind(open).await? {
            return Ok(false);
        }
        // Limits memory: the turn is kept until the batch is committed.
        let turn = Arc::clone(&self.turns).acquire_owned();
        let _turn = tokio::select! {
            biased;
            () = self.control.stop.cancelled() => return Ok(false),
            turn = turn => turn.expect("nobody closes the turns"),
        };
        let [position, deleted, aside] = open.tables.positions(&open.input);
        let batch = match self.next_batch(open, position, deleted.max(aside)).await {
            // The first entries of bronze's log were cleaned up, but its newest version still has every event.
            Err(Error::Lake { source, .. })
                if position.is_none() && matches!(*source, lake::Error::LogGone { .. }) =>
            {
                rebuild::rebuild(&self.ctx.project.catalog, self.model()?, &self.committer).await?;
                return Err(Error::Moved { table: self.name.clone() });
            }
            batch => batch?,
        };
        self.meter.state(State::Running);
        let compiled_for = CompiledFor::of(&open.bronze);
        if open.compiled_for != compiled_for {
            let model = self.model()?.clone();
            let topic = self.ctx.project.catalog.topic_of(&open.rules.bronze);
            if let Some(topic) = topic {
                open.rules = Rules::compile(&model, topic, open.bronze.schema()).await?.over(&open.bronze)?;
            }
            open.compiled_for = compiled_for;
        }
        let started = self.ctx.clock.now();
        let records = batch.records();
        let (arrived, newest_event) = (batch.arrived(), batch.newest_event(&open.rules)?);
        self.meter.records_in(records as u64);
        let (upto, torn) = (batch.upto, deleted > position);
        let mut trace = self.meter.traces().span("silver commit", Role::Writes, &batch.causes);
        trace.set_attribute("lakepulse.table", self.name.to_string());
        trace.set_attribute("lakepulse.input", open.rules.bronze.to_string());
        trace.set_attribute("lakepulse.input.version", upto.position());
        let decision = if open.rules.kind == Kind::Append {
            self.append(open, batch, aside).await?
        } else {
            self.fold(open, batch, aside, torn).await?
        };
        let (outcomes, learnt) = (decision.outcomes, decision.memory.clone());
        self.count(&decision);
        let range = InputRange {
            bronze: open.rules.bronze.clone(),
            input: open.input.clone(),
            from: position,
            to: upto,
            plan: self.model()?.fingerprint,
            newest_event: newest_event.map(Micros::millis),
            newest_arrival: arrived.map(Micros::millis),
            cause: trace.cause(),
        };
        let landed = self.committer.land(&open.rules, &mut open.tables, &range, decision).await;
        match &landed {
            Ok(version) => trace.set_attribute("lakepulse.version", version.position()),
            Err(error) => trace.failed(error),
        }
        drop(trace);
        let version = landed?;
        open.memory = learnt;
        let now = self.ctx.clock.now();
        self.meter.commit(now.seconds_since(started));
        self.meter.version(version);
        self.meter.records_out(outcomes.applied);
        if let Some(arrived) = arrived {
            self.meter.fresh(now, arrived.millis());
        }
        if let Some(newest) = newest_event {
            self.meter.event_time_lag(now.seconds_since(newest.millis().on_clock()));
        }
        self.meter.set_table_size(open.tables.main.rows(), open.tables.main.files());
        tracing::debug!(table = %self.name, version = version.0, upto = upto.0, records, "batch committed");
        for downstream in self.ctx.project.catalog.followers(&self.name) {
            self.ctx.announce.announce(&downstream, &self.name, version);
        }
        self.keep_up(open).await?;
        Ok(true)
    }

    /// Decides for a table that keeps rows by key.
    async fn fold(
        &self,
        open: &Open,
        batch: BronzeBatch,
        aside: Option<i64>,
        torn: bool,
    ) -> Result<Decision> {
        let upto = batch.upto;
        let mut events = Collected::try_new(open.rules.clone(), open.memory.clone(), torn)?;
        let lookup = runtime::cpu::run(move || {
            for (version, rows) in &batch.rows {
                let keep = Some(version.position()) > aside;
                rows.iter().try_for_each(|rows| events.take(rows, *version, keep))?;
            }
            events.close()
        })
        .await?;
        let (rows, notes) = self.look_up(open, lookup.wanted(), lookup.columns()).await?;
        let settled = runtime::cpu::run(move || lookup.fold(&rows, &notes)).await?;
        let refold = match settled {
            Settled::Decided(decision) => return Ok(*decision),
            Settled::NeedsHistory(refold) => refold,
        };
        let (rows, notes) = self.look_up(open, refold.wanted(), refold.columns()).await?;
        let recall = runtime::cpu::run(move || refold.hold(&rows, &notes)).await?;
        let bronze = open.bronze.at(upto).await.of(&self.name)?;
        let recall = every_row(&open.rules, &bronze, recall, Recall::take).await?;
        runtime::cpu::run(move || recall.decide()).await
    }

    /// Reads the wanted rows of the table and notes.
    async fn look_up(
        &self,
        open: &Open,
        wanted: &Wanted,
        columns: &[String],
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        match wanted {
            Wanted::Nothing => Ok((Vec::new(), Vec::new())),
            Wanted::Keys(keys) => self.find(open, keys.clone(), columns).await,
            Wanted::Everything => {
                let rows = open.tables.main.scan(Some(columns)).await.of(&self.name)?;
                let notes = match &open.tables.deleted {
                    Some(deleted) => deleted.scan(None).await.of(&self.name)?,
                    None => Vec::new(),
                };
                Ok((rows, notes))
            }
        }
    }

    /// Reads the rows of the table and the notes with these keys.
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
    async fn append(&self, open: &Open, batch: BronzeBatch, aside: Option<i64>) -> Result<Decision> {
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
            seq_fields().iter().map(|f| f.name().clone()).chain([column::CARRIED.to_owned()]).collect();
        for names in appender.wanted()? {
            let rows = open.tables.main.find(&by_columns(names), &columns).await.of(&self.name)?;
            appender.hold(&rows)?;
        }
        runtime::cpu::run(move || appender.decide()).await
    }

    fn count(&mut self, decision: &Decision) {
        if decision.no_event > 0 && !self.warned {
            self.warned = true;
            let (rows, aside) = (decision.no_event, quarantine_name(&self.name));
            tracing::warn!(table = %self.name, rows, "records are no event and put aside: see `_reason` in `{aside}`");
        }
        let outcomes = &decision.outcomes;
        self.meter.quarantined(outcomes.quarantined);
        self.meter.late("superseded", outcomes.superseded);
        self.meter.late("repeat", outcomes.repeat);
        for (expectation, asked) in &decision.asked {
            self.meter.expectation(expectation, "passed", asked.passed);
            self.meter.expectation(expectation, asked.outcome(), asked.broken);
            if asked.broken > 0 && asked.otherwise == Otherwise::Warn {
                tracing::warn!(table = %self.name, expectation, rows = asked.broken, "expectation does not hold");
            }
        }
        if decision.refolded > 0 {
            tracing::debug!(table = %self.name, keys = decision.refolded, "keys folded again from bronze");
        }
    }

    /// Takes the measures that are due. If one with `fail` is out of its bounds, the table halts until it has
    /// read more of bronze, because a later row may fix it.
    async fn measure(&mut self, open: &Open) -> Result<()> {
        let [position, ..] = open.tables.positions(&open.input);
        let Some(position) = position else { return Ok(()) };
        if self.out == Some(position) {
            return Ok(());
        }
        // A measure that was out of its bounds is taken again after each new version.
        let every = if self.out.is_some() { Duration::ZERO } else { self.ctx.settings.measure };
        if !self.has_seen_rows(open, position).await? || !self.due.take(self.ctx.clock.now(), every) {
            return Ok(());
        }
        let (model, main) = (self.model()?, &open.tables.main);
        let measures::Timed { model, as_of, lacks } =
            measures::timed(self.ctx.project.clock, self.ctx.clock.now(), model, main).await?;
        let taken = stage::measures::take(&self.ctx.lake, &model, main, as_of, &self.meter).await;
        let is_told = std::mem::replace(&mut self.lacks, lacks);
        match taken.of(&self.name) {
            // What was out of its bounds may still be: it could not be measured.
            Ok(()) if lacks && is_told => {}
            Ok(()) if lacks => {
                tracing::warn!(table = %self.name, "measures that use the time are left out: no commit that is left in the log says the time of an event");
            }
            Ok(()) => {
                self.out = None;
                self.control.set_waiting(None);
            }
            Err(error @ Error::MeasureFailed { .. }) => {
                let tried = Positions::default().with(open.input.clone(), position);
                let reason = chain(&error);
                self.halt(reason.clone(), tried).await;
                self.control.set_waiting(Some(reason));
                self.out = Some(position);
                self.due.mark_dirty();
            }
            Err(error) => {
                self.due.mark_dirty();
                return Err(error);
            }
        }
        Ok(())
    }

    /// True if the table has read a bronze row. Before that, nothing is measured.
    async fn has_seen_rows(&mut self, open: &Open, position: i64) -> Result<bool> {
        if let (false, Some(read)) = (self.seen, Version::of_position(position)) {
            self.seen = open.tables.main.rows() != Some(0)
                || match open.bronze.changes(None, read).await {
                    // Bronze only grows: if the deleted versions had a row, it still has one.
                    Err(lake::Error::LogGone { .. }) => open.bronze.rows() != Some(0),
                    changes => !changes.of(&self.name)?.is_empty(),
                };
        }
        Ok(self.seen)
    }

    /// Upkeep between two commits.
    async fn keep_up(&mut self, open: &mut Open) -> Result<()> {
        self.due.mark_dirty();
        self.commits += 1;
        if self.commits >= self.ctx.settings.compact_every {
            self.commits = 0;
            let compaction =
                Compaction { sort_by: self.model()?.cluster_by.clone(), ..Compaction::default() };
            open.tables.main.compact(&compaction).await.of(&self.name)?;
            for sibling in [&mut open.tables.deleted, &mut open.tables.quarantine].into_iter().flatten() {
                sibling.compact(&Compaction::default()).await.of(&self.name)?;
            }
        }
        Ok(())
    }
}
