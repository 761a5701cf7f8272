//! Which tables gold runs, and the tasks of each: one keeps the table, one its topic, one deletes now and
//! then what nothing needs.
//!
//! What keeps two owners of a table apart is the compare-and-set of each commit, and on the topic the
//! transactional id.

use std::sync::Arc;

use catalog::Project;
use futures::FutureExt as _;
use lake::{Lake, Upkeep};
use model::{TableName, Version};
use runtime::{CancellationToken, Clock, Ids, Meters};
use stage::{Announce, Control, Ownership, Task};
use stream::{Kafka, Registry};
use tokio::sync::Notify;

use crate::Settings;
use crate::error::{Error, Result};
use crate::pipeline::{Keeper, keep};
use crate::publish::follow;
use crate::upkeep::followers;

/// What the stage runs with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The project.
    pub project: Arc<Project>,
    /// Its lake.
    pub lake: Lake,
    /// Where gold topics are.
    pub kafka: Kafka,
    /// Where their schemas are.
    pub registry: Registry,
    /// Time: what `now()` means where the project's clock is the wall's, and when pins are due.
    pub clock: Arc<dyn Clock>,
    /// ULIDs of operations.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub meters: Meters,
    /// Told of each new version, for every downstream table.
    pub announce: Arc<dyn Announce>,
    /// How it runs.
    pub settings: Settings,
    /// Whether missing tables and topics are created. Off where only `apply` creates.
    pub create: bool,
    /// The tables to run. Empty: all gold tables of the project.
    pub select: Vec<TableName>,
    /// Once cancelled, pins under which no row changed are committed at once, so that whoever waits
    /// for the tables to catch up sees them there.
    pub draining: CancellationToken,
}
impl Context {
    /// The tables this stage runs, upstream first.
    pub fn tables(&self) -> Vec<TableName> {
        let wanted = |name: &TableName| self.select.is_empty() || self.select.contains(name);
        // Of what has no columns yet there is nothing to run: the process starts anew when it has.
        let known = self.project.catalog.gold().filter(|m| !m.unlearned);
        known.map(|m| m.name.clone()).filter(wanted).collect()
    }
}

/// Runs the tables this process owns until `stop`. A table's halt is reported at the end; when every
/// table owned has halted for good, that is at once. Who drains looks at the tables, and stops.
pub async fn run(ctx: Context, owners: impl Ownership, stop: CancellationToken) -> Result<()> {
    let gold = Gold { tables: ctx.tables(), ctx: Arc::new(ctx) };
    let halted = stage::run(gold, owners, stop).await;
    let halted = halted.map_err(|source| Error::Owners { source: Box::new(source) })?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.into_iter().map(|halted| halted.table).collect() })
}

/// The stage in one process.
struct Gold {
    ctx: Arc<Context>,
    tables: Vec<TableName>,
}
impl stage::Stage for Gold {
    type Error = Error;
    const NAME: &'static str = "gold";

    fn lake(&self) -> &Lake {
        &self.ctx.lake
    }
    fn meters(&self) -> &Meters {
        &self.ctx.meters
    }
    fn runs(&self, table: &TableName) -> bool {
        self.tables.contains(table)
    }
    fn start(&self, table: &TableName, control: Control) -> Vec<Task<Error>> {
        let ctx = &self.ctx;
        let Some(model) = ctx.project.catalog.models.get(table) else { return Vec::new() };
        let (model, landed) = (Arc::new(model.clone()), Arc::new(Notify::new()));
        let mut tasks = Vec::new();
        if let Some(topic) = model.publish.clone() {
            let wake = Arc::clone(&landed);
            let run = follow(Arc::clone(ctx), Arc::clone(&model), topic, wake, control.stop.clone());
            tasks.push(Task { name: "gold publisher", run: run.boxed() });
        }
        let upkeep = Upkeep {
            lake: ctx.lake.clone(),
            tables: vec![(model.name.clone(), followers(&ctx.project, &ctx.kafka, &model))],
            clock: Arc::clone(&ctx.clock),
            every: ctx.settings.maintain,
        };
        let kept = lake::maintain::keep(upkeep, |_| true, control.stop.clone());
        tasks.push(Task { name: "gold upkeep", run: kept.map(Ok).boxed() });
        let (announce, downstream) = (Arc::clone(&ctx.announce), ctx.project.catalog.followers(table));
        let of = table.clone();
        let told = move |version: Version| {
            landed.notify_one();
            downstream.iter().for_each(|downstream| announce.announce(downstream, &of, version));
        };
        let keeper = Keeper::new(Arc::clone(ctx), model, control);
        tasks.push(Task { name: "gold table", run: keep(keeper, told).boxed() });
        tasks
    }
    fn released(&self, table: &TableName) {
        let model = self.ctx.project.catalog.models.get(table);
        let measures = model.iter().flat_map(|model| &model.measures);
        let measures: Vec<&str> = measures.map(|measure| measure.name.as_str()).collect();
        for stage in [Self::NAME, "publish"] {
            self.ctx.meters.stage(stage, &table.to_string()).released(measures.iter().copied());
        }
    }
    fn ends_when_all_halted(&self) -> bool {
        !self.ctx.draining.is_cancelled()
    }
}
