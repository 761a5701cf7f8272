//! The open tables of a table's loop, and the first step of a refresh: what to compute.

use std::collections::BTreeMap;

use catalog::ClockKind;
use lake::Table;
use model::{AppId, ClockMs, Millis, Positions, TableName, Version};
use stage::halts::chain;

use super::Keeper;
use crate::error::{Error, OfTable as _, Result};
use crate::inputs::Inputs;
use crate::judge::Judge;
use crate::refresh::{Decision, Input, Standing, Step, decide};
use crate::table::{Query, create, plan};

/// What is kept between refreshes, and dropped after any doubt.
pub(super) struct Open {
    pub table: Table,
    pub inputs: Inputs,
    pub query: Query,
    pub judge: Judge,
    /// The `as_of` of `query`'s plan.
    pub planned_at: ClockMs,
    /// Versions of the inputs up to which the rows were found unchanged.
    pub checked: BTreeMap<TableName, Version>,
    /// The last time that the inputs told.
    told: Option<Told>,
}

/// The time by the events of the inputs: these versions of them, after these pins.
struct Told {
    pins: Positions,
    inputs: Vec<Input>,
    time: ClockMs,
}

impl Open {
    /// The newest Kafka timestamp after the pins. Errors are ignored: the value feeds only a metric.
    pub async fn newest_arrival(&self) -> Option<Millis> {
        self.inputs.newest_arrival(self.table.positions()).await.ok().flatten()
    }
}

impl Keeper {
    /// The table and its inputs at their newest versions.
    pub(super) async fn newest(&mut self) -> Result<Open> {
        let Some(mut open) = self.open.take() else { return self.open_all().await };
        open.table.refresh().await.of(&self.model.name)?;
        open.inputs.refresh().await?;
        Ok(open)
    }

    /// Opens the table and its inputs, and plans the query.
    async fn open_all(&self) -> Result<Open> {
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
        Ok(Open { table, inputs, query, judge, planned_at: ClockMs(0), checked: BTreeMap::new(), told: None })
    }

    /// Decides what to compute, and plans the query again if its time moves.
    pub(super) async fn decide(&self, open: &mut Open, inputs: &[Input]) -> Result<Decision> {
        let time = self.time(open, inputs).await?;
        let decision = decide(&Standing {
            table: &self.model.name,
            positions: open.table.positions(),
            fingerprint: self.model.fingerprint,
            uses_as_of: open.query.uses_as_of,
            tells_time: self.ctx.project.clock == ClockKind::Events,
            time,
            inputs,
            checked: &open.checked,
        })?;
        if open.query.uses_as_of && decision.as_of != open.planned_at {
            open.query = plan(&self.ctx.project.catalog, &self.model, decision.as_of)?;
            open.planned_at = decision.as_of;
        }
        Ok(decision)
    }

    /// The project's time, rounded down to the model's tick.
    async fn time(&self, open: &mut Open, inputs: &[Input]) -> Result<ClockMs> {
        let time = match self.ctx.project.clock {
            ClockKind::Events => self.told(open, inputs).await?,
            ClockKind::Wall => self.ctx.clock.now(),
        };
        Ok(time.floor(self.model.tick))
    }

    /// The time by the events of the inputs. Their logs are read only if they have moved, or the pins.
    async fn told(&self, open: &mut Open, inputs: &[Input]) -> Result<ClockMs> {
        let pins = open.table.positions();
        if let Some(told) = &open.told
            && told.pins == *pins
            && told.inputs == inputs
        {
            return Ok(told.time);
        }
        let (pins, held) = (pins.clone(), pins.get(&AppId::as_of()));
        let time = open.inputs.event_time(&pins, open.query.uses_as_of, held).await?;
        open.told = Some(Told { pins, inputs: inputs.to_vec(), time });
        Ok(time)
    }

    /// True if the query fails because its inputs never had a row: the first rows may fix that.
    pub(super) async fn is_before_first_rows(
        &self,
        open: &Open,
        decision: &Decision,
        error: &Error,
    ) -> Result<bool> {
        let before =
            decision.step == Step::Fill && error.is_about_rows() && open.inputs.have_seen_nothing().await?;
        if before {
            let reason = chain(error);
            tracing::debug!(table = %self.model.name, reason, "waiting for the first rows of the inputs");
        }
        Ok(before)
    }
}
