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
use model::{ClockMs, Reaction, TableName, Version};
use query::affected::Affected;
use runtime::traces::{Cause, Role};
use runtime::{Backoff, CancellationToken, Due, Meter, State};
use tokio::sync::Notify;

use crate::commit::{Story, commit};
use crate::difference::{Difference, columns_of, difference};
use crate::error::{Error, OfTable as _, Result};
use crate::inputs::{Between, Inputs};
use crate::judge::{Judge, Verdict};
use crate::measures;
use crate::refresh::{Decision, Input, Standing, Step, decide, floor, pins, pins_due};
use crate::run::Context;
use crate::settings::Settings;
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
}

/// Keeps one table.
pub struct Keeper {
    ctx: Arc<Context>,
    model: Arc<Model>,
    meter: Meter,
    held: Option<Held>,
    /// When pins alone were last committed, on the pipeline's clock.
    pinned: Option<ClockMs>,
    /// When measures are to be taken.
    due: Due,
    /// Commits since the last compaction.
    commits: u32,
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

/// What a refresh found to write.
struct Found {
    difference: Difference,
    verdicts: Vec<Verdict>,
    method: String,
    arrived: Option<i64>,
}

impl Keeper {
    /// Keeps the table of a model.
    pub fn new(ctx: Arc<Context>, model: Arc<Model>) -> Self {
        let meter = ctx.meters.stage("gold", &model.name.to_string());
        Self { ctx, model, meter, held: None, pinned: None, due: Due::default(), commits: 0 }
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
        let refresh = self.refresh(&now, &decision).await?;
        let mut causes = Vec::new();
        let fill = decision.step == Step::Fill;
        let idle = decision.step == Step::Idle;
        let found = match refresh {
            None => None,
            Some(Refresh { fresh, held, method, arrived, causes: behind }) => {
                causes = behind;
                let (schema, keys) = (now.table.schema().clone(), self.model.keys.clone());
                let (table, judge) = (name.clone(), now.judge.clone());
                let compared = runtime::cpu::run(move || {
                    let fresh = columns_of(&fresh, &schema).of(&table)?;
                    let difference = difference(&table, &schema, &keys, &held, &fresh)?;
                    let verdicts = judge.judge(&difference.append)?;
                    Ok::<_, Error>((difference, verdicts))
                });
                let (difference, verdicts) = compared.await?;
                Some(Found { difference, verdicts, method, arrived })
            }
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
        let mut story = Story {
            project: &self.ctx.project.name,
            op: self.ctx.ids.ulid(),
            method: "pins".to_owned(),
            inputs: &inputs,
            as_of: decision.as_of,
            arrived: None,
            verdicts: Vec::new(),
            cause: span.cause(),
        };
        span.says("lakepulse.op", story.op.clone());
        let (mut rows_in, mut rows_out, mut difference) = (0, 0, None);
        if let Some(found) = found {
            rows_out = found.difference.append.num_rows();
            rows_in = rows_out + found.difference.deleted();
            (story.method, story.arrived, story.verdicts) = (found.method, found.arrived, found.verdicts);
            difference = Some(found.difference);
        }
        // Pins alone: what came changes no row, and the table is as fresh as what it has seen. For a metric
        // no refresh fails.
        let seen = match story.arrived {
            Some(_) => None,
            None => now.inputs.newest_arrival(now.table.positions()).await.ok().flatten(),
        };
        match commit(&mut now.table, difference, set, &story).await? {
            Landing::Moved => {
                span.failed(&"another process has moved the table on");
                self.meter.conflict();
                Ok(Outcome::Overtaken)
            }
            Landing::Landed(version) => {
                span.says("lakepulse.version", version.position());
                span.says("lakepulse.method", story.method.clone());
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
                match story.arrived {
                    Some(arrived) => self.meter.fresh(committed, arrived),
                    None => seen.into_iter().for_each(|seen| self.meter.newest(seen)),
                }
                self.meter.holds(rows, files);
                self.tell(&story.verdicts);
                if changed || fill {
                    self.due.owe();
                }
                let (op, method, pins) = (&story.op, &story.method, Pins(&inputs));
                tracing::info!(table = %name, version = version.0, op, rows = rows_out, method, %pins, "gold committed");
                Ok(if changed || fill { Outcome::Changed(version) } else { Outcome::Pinned(version) })
            }
        }
    }

    /// Between two commits: measures, compaction.
    pub fn keep_up(&mut self) -> BoxFuture<'_, Result<()>> {
        self.try_keep_up().boxed()
    }

    async fn try_keep_up(&mut self) -> Result<()> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if self.due.take(self.ctx.clock.now(), self.ctx.settings.measure)
            && let Err(error) = measures::take(&self.ctx.lake, &self.model, &held.table, &self.meter).await
        {
            self.due.owe();
            return Err(error);
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
            None if self.ctx.settings.create => create(lake, &project.name, &self.model).await?,
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
            Step::Moved(from) => {
                let limit = self.ctx.settings.max_changed_rows;
                match now.inputs.between(from, limit, &now.query.maintenance).await? {
                    Between::Unknown(why) => format!("full: {why}"),
                    Between::Rows { changes, .. } if changes.is_empty() => return Ok(None),
                    Between::Rows { changes, arrived, causes } => {
                        let world = now.inputs.world(changes)?;
                        match now.query.maintenance.affected(&world).await.of(name)? {
                            Affected::All(why) => format!("full: {why}"),
                            Affected::Keys(keys) if keys.num_rows() == 0 => return Ok(None),
                            Affected::Keys(keys) => {
                                let fresh =
                                    now.query.maintenance.compute(&world, Some(&keys)).await.of(name)?;
                                let method = format!("affected keys: {}", keys.num_rows());
                                let keys = Keys { columns: self.model.keys.clone(), rows: keys };
                                let held = now.table.find(&keys, &self.columns(now)).await.of(name)?;
                                return Ok(Some(Refresh { fresh, held, method, arrived, causes }));
                            }
                        }
                    }
                }
            }
        };
        let world = now.inputs.world(BTreeMap::new())?;
        let fresh = now.query.maintenance.compute(&world, None).await.of(name)?;
        let held = now.table.scan(None).await.of(name)?;
        let arrived = now.inputs.newest_arrival(now.table.positions()).await?;
        Ok(Some(Refresh { fresh, held, method: why, arrived, causes: Vec::new() }))
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

/// Refreshes whenever woken, and at least every `poll`, until stopped or halted. `landed` is told of
/// every version with other rows.
pub async fn keep(
    mut keeper: Keeper,
    wake: Arc<Notify>,
    stop: CancellationToken,
    landed: impl Fn(Version),
) -> Result<()> {
    let mut pauses = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    let meter = keeper.meter.clone();
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
        let mut rested = Duration::ZERO;
        let pause = match outcome {
            Ok(outcome) => {
                pauses.reset();
                let busy = !matches!(outcome, Outcome::Idle | Outcome::Unchanged);
                meter.state(if busy { State::Running } else { State::Idle });
                if outcome != Outcome::Idle {
                    let draining = keeper.ctx.draining.is_cancelled();
                    rested = rest(&keeper.ctx.settings, begun.elapsed(), draining);
                }
                keeper.ctx.settings.poll
            }
            Err(error) if error.reaction() == Reaction::Halt => {
                meter.state(State::Halted);
                tracing::error!(table = %keeper.model.name, error = &error as &dyn std::error::Error, "gold halted");
                return Err(error);
            }
            Err(error) => {
                tracing::warn!(table = %keeper.model.name, error = &error as &dyn std::error::Error, "gold tries again");
                pauses.pause()
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(rested) => {}
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
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
