//! One gold table: its refresh, and the loop that repeats it.
//!
//! A [`Keeper`] holds open snapshots, the plan, and up to which versions the rows were found
//! unchanged. All of it can be dropped at any time: the pins in the table say where to go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use catalog::{Model, project::ClockKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::{Compaction, Keys, Landing, Table};
use model::{AppId, ClockMs, Positions, Reaction, TableName, Version};
use query::affected::Affected;
use runtime::traces::{Cause, Role};
use runtime::{Due, Meter, Retry, State};
use stage::halts::{chain, note, unnote};
use stage::{Control, columns_of};

use crate::Settings;
use crate::commit::{broken, commit, info};
use crate::culprit;
use crate::difference::{Difference, difference};
use crate::error::{Error, OfTable as _, Result};
use crate::halt::judge;
use crate::inputs::{Between, Inputs};
use crate::judge::{Judge, Verdict};
use crate::refresh::{Decision, Input, Standing, Step, decide, floor, pins, pins_due};
use crate::run::Context;
use crate::table::{Query, create, plan};

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing moved.
    Idle,
    /// Inputs moved, no row changed, and the pins wait for company.
    Unchanged,
    /// The pins alone were committed.
    Pinned(Version),
    /// Rows changed.
    Changed(Version),
    /// Someone else moved the table on: this refresh was dropped.
    Overtaken,
    /// Its inputs never held a row, and of nothing the query cannot be computed.
    Waiting,
}

/// Keeps one table.
pub struct Keeper {
    ctx: Arc<Context>,
    model: Arc<Model>,
    control: Control,
    meter: Meter,
    held: Option<Held>,
    /// When pins alone were last committed, on the pipeline's clock.
    pinned: Option<ClockMs>,
    /// When measures are to be taken.
    due: Due,
    /// Commits since the last compaction.
    commits: u32,
    /// Versions of the inputs that the last step took, or tried to.
    tried: Positions,
    /// Whether the last measures could not be taken, or were out of their bounds.
    unmeasured: bool,
}

/// What is dropped when it may be wrong.
struct Held {
    table: Table,
    inputs: Inputs,
    query: Query,
    judge: Judge,
    /// The time in `query`'s plan.
    planned_at: ClockMs,
    checked: BTreeMap<TableName, Version>,
}

/// Rows as they should be, and the rows at hand that they replace.
struct Refresh {
    fresh: Vec<RecordBatch>,
    held: Vec<RecordBatch>,
    method: String,
    /// The newest Kafka timestamp behind what changed, milliseconds.
    arrived: Option<i64>,
    /// The commits that brought it, where those were traced.
    causes: Vec<Cause>,
}

/// What a refresh of the keys that changes touch comes to.
enum Narrow {
    /// No row may differ.
    Unchanged,
    /// These may.
    Rows(Refresh),
    /// Everything is to be computed, for this reason.
    Full(String),
}

/// What a refresh found to write.
struct Found {
    difference: Difference,
    verdicts: Vec<Verdict>,
    method: String,
    arrived: Option<i64>,
}

impl Keeper {
    /// Keeps the table of a model.
    pub fn new(ctx: Arc<Context>, model: Arc<Model>, control: Control) -> Self {
        let meter = ctx.meters.stage("gold", &model.name.to_string());
        Self {
            ctx,
            model,
            control,
            meter,
            held: None,
            pinned: None,
            due: Due::default(),
            commits: 0,
            tried: Positions::default(),
            unmeasured: false,
        }
    }

    /// Refreshes once, to the newest versions of the inputs.
    pub fn step(&mut self) -> BoxFuture<'_, Result<Outcome>> {
        // An error leaves nothing in `held`: the next step starts from the table.
        self.try_step().boxed()
    }

    async fn try_step(&mut self) -> Result<Outcome> {
        let name = &self.model.name;
        let mut now = match self.held.take() {
            Some(mut held) => {
                held.table.refresh().await.of(name)?;
                held.inputs.refresh().await?;
                held
            }
            None => self.open().await?,
        };
        let inputs = now.inputs.now();
        self.tried = inputs.iter().map(|i| (AppId::table(&i.id), i.version.position())).collect();
        let decision = decide(&Standing {
            table: name,
            positions: now.table.positions(),
            fingerprint: self.model.fingerprint,
            uses_as_of: now.query.uses_as_of,
            time: self.time(&now).await?,
            inputs: &inputs,
            checked: &now.checked,
        })?;
        if now.query.uses_as_of && decision.as_of != now.planned_at {
            now.query = plan(&self.ctx.project.catalog, &self.model, decision.as_of)?;
            now.planned_at = decision.as_of;
        }
        let started = self.ctx.clock.now();
        let begun = self.meter.traces().begin();
        let fill = decision.step == Step::Fill;
        let idle = decision.step == Step::Idle;
        let (found, causes) = match self.find(&now, &decision).await {
            Ok(found) => found,
            Err(error) if fill && error.is_about_rows() && now.inputs.have_seen_nothing().await? => {
                tracing::debug!(table = %name, reason = chain(&error), "waiting for the first rows of the inputs");
                self.held = Some(now);
                return Ok(Outcome::Waiting);
            }
            Err(error) => return Err(error),
        };
        let set = pins(self.model.fingerprint, decision.as_of, &inputs);
        let changed = found.as_ref().is_some_and(|found| !found.difference.is_empty());
        let clock = self.ctx.clock.now();
        let draining = self.ctx.draining.is_cancelled();
        if !changed
            && !fill
            && !pins_due(now.table.positions(), &set, self.pinned, clock, self.ctx.settings.pins, draining)
        {
            now.checked = inputs.iter().map(|i| (i.name.clone(), i.version)).collect();
            self.held = Some(now);
            return Ok(if idle { Outcome::Idle } else { Outcome::Unchanged });
        }
        let mut span = begun.span("gold commit", Role::Writes, &causes);
        span.says("lakepulse.table", name.to_string());
        let op = self.ctx.ids.ulid();
        span.says("lakepulse.op", op.clone());
        let mut info = info(&self.ctx.project.name, &inputs, decision.as_of, "pins");
        info.traceparent = span.cause().map(|cause| cause.to_string());
        let mut verdicts = Vec::new();
        let (mut rows_in, mut rows_out, mut difference) = (0, 0, None);
        if let Some(found) = found {
            rows_out = found.difference.append.num_rows();
            rows_in = rows_out + found.difference.deleted();
            (info.method, info.newest_arrival_ms) = (found.method, found.arrived);
            verdicts = found.verdicts;
            info.broken = broken(&verdicts);
            difference = Some(found.difference);
        }
        // Pins alone: what came changes no row, and the table is as fresh as what it has seen. For a metric
        // no refresh fails.
        let seen = match info.newest_arrival_ms {
            Some(_) => None,
            None => now.inputs.newest_arrival(now.table.positions()).await.ok().flatten(),
        };
        let (method, arrived) = (info.method.clone(), info.newest_arrival_ms);
        match commit(&mut now.table, op.clone(), difference, set, info, &self.control.stop).await? {
            Landing::Moved => {
                span.failed(&"another process has moved the table on");
                self.meter.conflict();
                Ok(Outcome::Overtaken)
            }
            Landing::Landed(version) => {
                span.says("lakepulse.version", version.position());
                span.says("lakepulse.method", method.clone());
                now.checked.clear();
                let (rows, files) = (now.table.rows(), now.table.files());
                self.commits += 1;
                self.held = Some(now);
                self.pinned = Some(clock);
                self.meter.version(version);
                self.meter.records_in(rows_in as u64);
                self.meter.records_out(rows_out as u64);
                let committed = self.ctx.clock.now().0;
                self.meter.commit(seconds(committed - started.0));
                match arrived {
                    Some(arrived) => self.meter.fresh(committed, arrived),
                    None => seen.into_iter().for_each(|seen| self.meter.newest(seen)),
                }
                self.meter.holds(rows, files);
                self.tell(&verdicts);
                if changed || fill {
                    self.due.owe();
                }
                let pins = Pins(&inputs);
                tracing::info!(table = %name, version = version.0, op, rows = rows_out, method, %pins, "gold committed");
                Ok(if changed || fill { Outcome::Changed(version) } else { Outcome::Pinned(version) })
            }
        }
    }

    /// What to write, and the commits that are the cause of it. `None`: no row may differ.
    async fn find(&self, now: &Held, decision: &Decision) -> Result<(Option<Found>, Vec<Cause>)> {
        let name = &self.model.name;
        let refresh = match self.refresh(now, decision).await {
            Ok(refresh) => refresh,
            Err(error) => return Err(culprit::named(&now.query, &now.inputs, error).await),
        };
        let Some(Refresh { fresh, held, method, arrived, causes }) = refresh else {
            return Ok((None, Vec::new()));
        };
        let (schema, keys) = (now.table.schema().clone(), self.model.keys.clone());
        let (table, judge) = (name.clone(), now.judge.clone());
        let compared = runtime::cpu::run(move || {
            let fresh = columns_of(&fresh, &schema).of(&table)?;
            let difference = difference(&table, &schema, &keys, &held, &fresh)?;
            let verdicts = judge.judge(&difference.append)?;
            Ok::<_, Error>((difference, verdicts))
        });
        let (difference, verdicts) = compared.await?;
        Ok((Some(Found { difference, verdicts, method, arrived }), causes))
    }

    /// Between two commits: measures, compaction.
    pub fn keep_up(&mut self) -> BoxFuture<'_, Result<()>> {
        self.try_keep_up().boxed()
    }

    async fn try_keep_up(&mut self) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        // What was out of its bounds is measured again as soon as it may have been put right.
        let every = if self.unmeasured { Duration::ZERO } else { self.ctx.settings.measure };
        // Of a table whose inputs never held a row nothing is said.
        if !held.inputs.have_seen_nothing().await? && self.due.take(self.ctx.clock.now(), every) {
            let (lake, table) = (&self.ctx.lake, &held.table);
            // The time that the table's rows were computed at.
            let as_of = ClockMs(table.positions().get(&AppId::as_of()).unwrap_or_default());
            let taken = stage::measures::take(lake, &self.model, table, as_of, &self.meter).await;
            let taken = taken.of(&self.model.name);
            self.unmeasured = taken.is_err();
            if taken.is_err() {
                self.due.owe();
            }
            taken?;
        }
        if self.commits >= self.ctx.settings.compact_every {
            self.commits = 0;
            let compaction = Compaction { sort_by: self.model.cluster_by.clone(), ..Compaction::default() };
            held.table.compact(&compaction).await.of(&self.model.name)?;
        }
        Ok(())
    }

    /// Counts what expectations found of rows that are committed.
    fn tell(&self, verdicts: &[Verdict]) {
        for Verdict { name, passed, failed } in verdicts {
            self.meter.expectation(name, "passed", *passed);
            self.meter.expectation(name, "failed", *failed);
            if *failed > 0 {
                tracing::warn!(table = %self.model.name, expectation = name, rows = failed, "expectation does not hold");
            }
        }
    }

    /// Opens the table and its inputs, and plans the query.
    async fn open(&self) -> Result<Held> {
        let (project, lake, name) = (&self.ctx.project, &self.ctx.lake, &self.model.name);
        let query = plan(&project.catalog, &self.model, ClockMs(0))?;
        let inputs = Inputs::open(lake, name, &query.inputs).await?;
        let table = match lake.table(name).await.of(name)? {
            Some(table) => table,
            None if self.ctx.create => create(lake, &project.name, &self.model).await?,
            None => return Err(Error::NoTable { table: name.clone() }),
        };
        if table.project() != Some(project.name.as_str()) {
            let owner = table.project().unwrap_or("(none)").to_owned();
            let (table, project) = (name.to_string(), project.name.to_string());
            return Err(lake::Error::ForeignTable { table, owner, project }).of(name);
        }
        let judge = Judge::compile(&self.model, table.schema())?;
        Ok(Held { table, inputs, query, judge, planned_at: ClockMs(0), checked: BTreeMap::new() })
    }

    /// Returns once an input has other rows than at the versions `tried`, or when stopped.
    async fn wait_for_other_rows(&self, tried: &Positions) {
        let Control { wake, stop, .. } = &self.control;
        let (lake, name) = (&self.ctx.lake, &self.model.name);
        let names = self.ctx.project.catalog.stored_inputs(name);
        let mut open: Option<Inputs> = None;
        while !stop.is_cancelled() {
            let looked = async {
                let mut inputs = match open.take() {
                    Some(inputs) => inputs,
                    None => Inputs::open(lake, name, &names).await?,
                };
                inputs.refresh().await?;
                let moved = inputs.moved_since(tried).await?;
                open = Some(inputs);
                Ok::<_, Error>(moved)
            };
            match looked.await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(table = %name, reason = chain(&error), "cannot look at the inputs")
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified() => {}
                () = tokio::time::sleep(self.ctx.settings.poll) => {}
            }
        }
    }

    /// The project's time, floored to the model's tick.
    async fn time(&self, now: &Held) -> Result<ClockMs> {
        let time = match self.ctx.project.clock {
            ClockKind::Wall => self.ctx.clock.now(),
            ClockKind::Events
                if now.query.uses_as_of || now.table.positions().get(&model::AppId::as_of()).is_none() =>
            {
                ClockMs(now.inputs.newest_event(now.table.positions()).await?.unwrap_or_default())
            }
            ClockKind::Events => ClockMs(0),
        };
        Ok(floor(time, self.model.tick))
    }

    /// The rows as they should be, where they may differ. `None`: no input has another row.
    async fn refresh(&self, now: &Held, decision: &Decision) -> Result<Option<Refresh>> {
        let name = &self.model.name;
        let why = match &decision.step {
            Step::Idle => return Ok(None),
            Step::Fill => "fill".to_owned(),
            Step::Full(why) => format!("full: {why}"),
            Step::Moved(from) => match self.narrow(now, from).await {
                Ok(Narrow::Unchanged) => return Ok(None),
                Ok(Narrow::Rows(refresh)) => return Ok(Some(refresh)),
                Ok(Narrow::Full(why)) => format!("full: {why}"),
                // What the engine cannot do with the narrowed query it may do with the query itself.
                Err(Error::Query { source, .. }) if source.patience().is_some() && !source.is_of_memory() => {
                    let source: &dyn std::error::Error = &*source;
                    tracing::debug!(table = %name, error = source, "the narrowed query cannot be computed");
                    "full: the query cannot be computed for some keys alone".to_owned()
                }
                Err(error) => return Err(error),
            },
        };
        let world = now.inputs.world(BTreeMap::new())?;
        let fresh = now.query.maintenance.compute(&world, None).await.of(name)?;
        let held = now.table.scan(None).await.of(name)?;
        let arrived = now.inputs.newest_arrival(now.table.positions()).await?;
        Ok(Some(Refresh { fresh, held, method: why, arrived, causes: Vec::new() }))
    }

    /// The rows of the keys that the changes of the inputs touch.
    async fn narrow(&self, now: &Held, from: &BTreeMap<TableName, Version>) -> Result<Narrow> {
        let (name, maintenance) = (&self.model.name, &now.query.maintenance);
        let limit = self.ctx.settings.max_changed_rows;
        let (changes, arrived, causes) = match now.inputs.between(from, limit, maintenance).await? {
            Between::Unknown(why) => return Ok(Narrow::Full(why)),
            Between::Rows { changes, .. } if changes.is_empty() => return Ok(Narrow::Unchanged),
            Between::Rows { changes, arrived, causes } => (changes, arrived, causes),
        };
        let world = now.inputs.world(changes)?;
        let keys = match maintenance.affected(&world).await.of(name)? {
            Affected::All(why) => return Ok(Narrow::Full(why)),
            Affected::Keys(keys) if keys.num_rows() == 0 => return Ok(Narrow::Unchanged),
            Affected::Keys(keys) => keys,
        };
        let fresh = maintenance.compute(&world, Some(&keys)).await.of(name)?;
        let method = format!("affected keys: {}", keys.num_rows());
        let keys = Keys { columns: self.model.keys.clone(), rows: keys };
        let held = now.table.find(&keys, &self.columns(now)).await.of(name)?;
        Ok(Narrow::Rows(Refresh { fresh, held, method, arrived, causes }))
    }

    fn columns(&self, now: &Held) -> Vec<String> {
        now.table.schema().fields().iter().map(|f| f.name().clone()).collect()
    }
}

/// The versions a commit was computed from, for a log line.
struct Pins<'a>(&'a [Input]);
impl std::fmt::Display for Pins<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, Input { name, version, .. }) in self.0.iter().enumerate() {
            write!(f, "{}{name}@{}", if at == 0 { "" } else { ", " }, version.0)?;
        }
        Ok(())
    }
}

/// A span of milliseconds, for a metric.
pub(crate) fn seconds(millis: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a span in milliseconds is a small number")]
    let millis = millis.max(0) as f64;
    millis / 1000.0
}

/// Refreshes whenever woken, and at least every `poll`, until stopped or halted. A table that halts for
/// its rows waits for other versions of its inputs and then goes on. `landed`: called for each version with
/// other rows.
pub async fn keep(mut keeper: Keeper, landed: impl Fn(Version)) -> Result<()> {
    let Control { wake, stop, .. } = keeper.control.clone();
    let mut retry = Retry::new(Duration::from_millis(100));
    let (meter, name) = (keeper.meter.clone(), keeper.model.name.clone());
    let lake = keeper.ctx.lake.clone();
    // What an earlier process said stands until this one has got further.
    let mut noted = true;
    meter.state(State::Starting);
    while !stop.is_cancelled() {
        let begun = Instant::now();
        // A refresh is not cut short: stopping waits for it, or drops the process.
        let mut outcome = keeper.step().await;
        if let Ok(Outcome::Changed(version)) = outcome {
            landed(version);
        }
        if outcome.is_ok()
            && let Err(error) = keeper.keep_up().await
        {
            outcome = Err(error);
        }
        match outcome.map_err(|error| judge(&mut retry, &name, error)) {
            Ok(outcome) => {
                retry.reset();
                keeper.control.stands(None);
                if std::mem::take(&mut noted) {
                    unnote(&lake, "gold", &name).await;
                }
                meter.state(match outcome {
                    Outcome::Waiting => State::Starting,
                    Outcome::Idle | Outcome::Unchanged => State::Idle,
                    _ => State::Running,
                });
                if outcome != Outcome::Idle {
                    let draining = keeper.ctx.draining.is_cancelled();
                    let rested = rest(&keeper.ctx.settings, begun.elapsed(), draining);
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(rested) => {}
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = wake.notified() => {}
                    () = tokio::time::sleep(keeper.ctx.settings.poll) => {}
                }
            }
            Err(error) if error.reaction() == Reaction::Halt => {
                let (reason, rows) = (chain(&error), error.is_about_rows());
                let tried = if rows { std::mem::take(&mut keeper.tried) } else { Positions::default() };
                tracing::error!(table = %name, error = &error as &dyn std::error::Error, "gold halted");
                note(&lake, "gold", &name, reason.clone(), tried.clone()).await;
                noted = true;
                meter.halt(reason.clone());
                keeper.control.stands(Some(reason));
                if !rows {
                    return Err(error);
                }
                keeper.held = None;
                retry.forget();
                keeper.wait_for_other_rows(&tried).await;
                retry.pause(&stop).await;
            }
            Err(error) => {
                // What an input brings may be what is missing.
                tokio::select! {
                    _ = retry.again(&name, "gold tries again", &error, &stop) => {}
                    () = wake.notified() => {}
                }
            }
        }
    }
    Ok(())
}

/// How long a table rests after a refresh that took that long, while more changes gather. Where a refresh is
/// slow the stages before it have fallen behind, or the machine is small: fewer and larger ones leave them
/// room. Who waits for the end of it all waits no longer than that.
fn rest(settings: &Settings, took: Duration, draining: bool) -> Duration {
    let least = if draining { Duration::ZERO } else { settings.refresh.saturating_sub(took) };
    took.min(settings.refresh * 4).max(least)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::quick(100, false, 900)]
    #[case::quick_and_draining(100, true, 100)]
    #[case::slow(700, false, 700)]
    #[case::very_slow(60_000, true, 4_000)]
    fn a_table_rests_as_long_as_it_worked_and_a_little_more(
        #[case] took: u64,
        #[case] draining: bool,
        #[case] rested: u64,
    ) {
        let settings = Settings { refresh: Duration::from_secs(1), ..Settings::default() };
        assert_eq!(rest(&settings, Duration::from_millis(took), draining), Duration::from_millis(rested));
    }
}
