//! One gold table: its refresh, and the loop that repeats it.
//!
//! A refresh moves the pins of the table to the newest versions of its inputs, in four steps:
//!
//! | step | file | |
//! | --- | --- | --- |
//! | decide | `open`, [`crate::refresh`] | pins, versions and the time → what to compute |
//! | compute | `compute` | the expected rows → the difference, and the verdicts on it |
//! | commit | here, [`crate::commit`] | the difference and the new pins, or only the pins, or nothing yet |
//! | report | `report` | metrics, the span and the log line of the version |
//!
//! `keep` repeats it. A [`Keeper`] keeps open snapshots, the plan, and the versions up to which the rows were
//! found unchanged. All of it can be dropped at any time: the pins in the table say where to go on.

use std::sync::Arc;

use catalog::Model;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::Landing;
use model::{AppId, ClockMs, Positions, ProjectName, Version};
use runtime::traces::{Begun, Cause, Role};
use runtime::{Due, Meter};
use stage::Control;

use crate::commit::{broken, commit, info};
use crate::error::Result;
use crate::refresh::{Decision, Input, Step, Write, pins, pins_due};
use crate::run::Context;

mod compute;
mod keep;
mod open;
mod report;

pub use keep::keep;

use compute::Computed;
use open::Open;
use report::{Arrival, Report};

/// The result of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// No input has a new version.
    Idle,
    /// Inputs have new versions, no row changed, and the pins are committed later.
    Unchanged,
    /// Only the pins were committed.
    Pinned(Version),
    /// Rows changed.
    Changed(Version),
    /// Another writer moved the table's positions: this refresh was dropped.
    Overtaken,
    /// The inputs never had a row, and the query fails without rows.
    Waiting,
}

/// Refreshes one table.
pub struct Keeper {
    ctx: Arc<Context>,
    model: Arc<Model>,
    control: Control,
    meter: Meter,
    open: Option<Open>,
    /// When only pins were last committed, on the pipeline's clock.
    pinned: Option<ClockMs>,
    /// When measures are due.
    due: Due,
    /// Commits since the last compaction.
    commits: u32,
    /// The versions of the inputs in the last step, successful or not.
    tried: Positions,
    /// True if the last measures failed or were out of their bounds.
    unmeasured: bool,
}

impl Keeper {
    /// A refresher for the table of a model.
    pub fn new(ctx: Arc<Context>, model: Arc<Model>, control: Control) -> Self {
        let meter = ctx.meters.stage("gold", &model.name.to_string());
        Self {
            ctx,
            model,
            control,
            meter,
            open: None,
            pinned: None,
            due: Due::default(),
            commits: 0,
            tried: Positions::default(),
            unmeasured: false,
        }
    }

    /// Refreshes once, to the newest versions of the inputs.
    pub fn step(&mut self) -> BoxFuture<'_, Result<Refreshed>> {
        // After an error nothing stays open: the next step starts from the table.
        self.try_step().boxed()
    }

    async fn try_step(&mut self) -> Result<Refreshed> {
        let mut open = self.newest().await?;
        let inputs = open.inputs.now();
        self.tried = inputs.iter().map(|i| (AppId::table(&i.id), i.version.position())).collect();
        let decision = self.decide(&mut open, &inputs).await?;
        let meter = self.meter.clone();
        let (started, begun) = (self.ctx.clock.now(), meter.traces().begin());
        let computed = match self.compute(&open, &decision).await {
            Ok(computed) => computed,
            Err(error) if self.is_before_first_rows(&open, &decision, &error).await? => {
                self.open = Some(open);
                return Ok(Refreshed::Waiting);
            }
            Err(error) => return Err(error),
        };
        let refresh = Refresh { inputs, decision, computed, started, decided: self.ctx.clock.now() };
        match self.writes(&open, &refresh) {
            Write::Nothing => Ok(self.remember(open, refresh)),
            write => self.land(open, refresh, write, begun).await,
        }
    }

    /// Which part of a computed refresh to commit.
    fn writes(&self, open: &Open, refresh: &Refresh) -> Write {
        let (held, wanted) = (open.table.positions(), refresh.pins(&self.model));
        let (every, draining) = (self.ctx.settings.pins, self.ctx.draining.is_cancelled());
        let due = pins_due(held, &wanted, self.pinned, refresh.decided, every, draining);
        refresh.decision.writes(refresh.differs(), due)
    }

    /// Remembers that the rows equal the query over these versions too, without a commit.
    fn remember(&mut self, mut open: Open, refresh: Refresh) -> Refreshed {
        let idle = refresh.decision.step == Step::Idle;
        open.checked = refresh.inputs.into_iter().map(|input| (input.name, input.version)).collect();
        self.open = Some(open);
        if idle { Refreshed::Idle } else { Refreshed::Unchanged }
    }

    /// Commits rows and pins, or only the pins.
    async fn land(
        &mut self,
        mut open: Open,
        mut refresh: Refresh,
        write: Write,
        begun: Begun<'_>,
    ) -> Result<Refreshed> {
        let op = self.ctx.ids.ulid();
        let mut span = begun.span("gold commit", Role::Writes, refresh.causes());
        span.set_attribute("lakepulse.table", self.model.name.to_string());
        span.set_attribute("lakepulse.op", op.clone());
        let mut info = refresh.info(&self.ctx.project.name);
        info.traceparent = span.cause().map(|cause| cause.to_string());
        let arrival = refresh.arrival(&open).await;
        let report = Report::of(&refresh, op.clone(), info.method.clone(), arrival);
        let set = refresh.pins(&self.model);
        let difference = refresh.computed.take().map(|computed| computed.difference);
        let landing = commit(&mut open.table, op, difference, set, info, &self.control.stop).await?;
        let Landing::Landed(version) = landing else {
            span.failed(&"another process has moved the table on");
            self.meter.conflict();
            return Ok(Refreshed::Overtaken);
        };
        span.set_attribute("lakepulse.version", version.position());
        span.set_attribute("lakepulse.method", report.method.clone());
        self.report(&open.table, version, &refresh, &report);
        self.commits += 1;
        self.pinned = Some(refresh.decided);
        open.checked.clear();
        self.open = Some(open);
        if write == Write::Pins {
            return Ok(Refreshed::Pinned(version));
        }
        self.due.mark_dirty();
        Ok(Refreshed::Changed(version))
    }
}

/// A refresh that was decided and computed.
struct Refresh {
    /// The versions that the pins move to.
    inputs: Vec<Input>,
    decision: Decision,
    /// `None`: no row can differ.
    computed: Option<Computed>,
    /// When computing began, and when it ended.
    started: ClockMs,
    decided: ClockMs,
}
impl Refresh {
    /// All positions of the table after it.
    fn pins(&self, model: &Model) -> Positions {
        pins(model.fingerprint, self.decision.as_of, &self.inputs)
    }
    /// True if a row changes.
    fn differs(&self) -> bool {
        self.computed.as_ref().is_some_and(|computed| !computed.difference.is_empty())
    }
    /// The traced commits that it reads.
    fn causes(&self) -> &[Cause] {
        self.computed.as_ref().map_or(&[], |computed| &computed.causes)
    }
    /// The info of its commit.
    fn info(&self, project: &ProjectName) -> stage::info::GoldCommit {
        let mut info = info(project, &self.inputs, self.decision.as_of, "pins");
        if let Some(computed) = &self.computed {
            (info.method, info.newest_arrival_ms) = (computed.method.clone(), computed.arrived);
            info.broken = broken(&computed.verdicts);
        }
        info
    }
    /// The time of the newest record that it covers.
    async fn arrival(&self, open: &Open) -> Arrival {
        match self.computed.as_ref().and_then(|computed| computed.arrived) {
            Some(arrived) => Arrival::OfRows(arrived),
            None => open.newest_arrival().await.map_or(Arrival::Unknown, Arrival::Seen),
        }
    }
}
