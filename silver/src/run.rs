//! Which tables silver runs, and the task of each: its rows, and the deletion of what nothing needs.

use std::sync::Arc;

use catalog::{Catalog, Project};
use futures::FutureExt as _;
use lake::{Followers, Lake, Upkeep};
use model::TableName;
use runtime::{CancellationToken, Clock, Ids, Meters};
use stage::{Announce, Control, Ownership, Task};
use tokio::sync::Semaphore;

use crate::Settings;
use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::table::{deleted_name, quarantine_name};

/// What the stage runs with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The project.
    pub project: Arc<Project>,
    /// Its lake.
    pub lake: Lake,
    /// Time for metrics and pauses; orders nothing.
    pub clock: Arc<dyn Clock>,
    /// ULIDs of operations.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub meters: Meters,
    /// Told of each new version, for every downstream table.
    pub announce: Arc<dyn Announce>,
    /// How it runs.
    pub settings: Settings,
    /// Whether missing tables are created. Off where only `apply` creates.
    pub create: bool,
    /// The tables to run. Empty: all silver tables of the project.
    pub select: Vec<TableName>,
}
impl Context {
    /// The tables this stage runs, upstream first.
    pub fn tables(&self) -> Vec<TableName> {
        let wanted = |name: &TableName| self.select.is_empty() || self.select.contains(name);
        // Of what has no columns yet there is nothing to run: the process starts anew when it has.
        let known = self.project.catalog.silver().filter(|m| !m.unlearned);
        known.map(|m| m.name.clone()).filter(wanted).collect()
    }
}

/// Runs the tables this process owns until `stop`. A table's halt is reported at the end.
pub async fn run(ctx: Context, owners: impl Ownership, stop: CancellationToken) -> Result<()> {
    let turns = Arc::new(Semaphore::new(ctx.settings.at_once.get()));
    let silver = Silver { tables: ctx.tables(), ctx, turns };
    let halted = stage::run(silver, owners, stop).await.map_err(|source| Error::Owners { source })?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.iter().map(|h| format!("{}: {}", h.table, h.reason)).collect() })
}

/// The stage in one process.
struct Silver {
    ctx: Context,
    tables: Vec<TableName>,
    /// How many tables may work on a batch at once.
    turns: Arc<Semaphore>,
}
impl stage::Stage for Silver {
    type Error = Error;
    const NAME: &'static str = "silver";

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
        let upkeep = Upkeep {
            lake: ctx.lake.clone(),
            tables: followed(&ctx.project.catalog, table),
            clock: Arc::clone(&ctx.clock),
            every: ctx.settings.maintain,
        };
        let kept = lake::maintain::keep(upkeep, |_| true, control.stop.clone());
        let pipeline = Pipeline::new(ctx.clone(), table.clone(), Arc::clone(&self.turns), control);
        vec![
            Task { name: "silver table", run: pipeline.run().boxed() },
            Task { name: "silver upkeep", run: kept.map(Ok).boxed() },
        ]
    }
    fn released(&self, table: &TableName) {
        let model = self.ctx.project.catalog.models.get(table);
        let measures = model.iter().flat_map(|model| &model.measures);
        let meter = self.ctx.meters.stage(Self::NAME, &table.to_string());
        meter.released(measures.map(|measure| measure.name.as_str()));
    }
}

/// A table with who follows it, and its siblings, which nobody does.
pub fn followed(catalog: &Catalog, table: &TableName) -> Vec<(TableName, Followers)> {
    let alone = |name: TableName| (name, Followers::of(Vec::new()));
    let followers = Followers::of(catalog.followers(table));
    vec![(table.clone(), followers), alone(deleted_name(table)), alone(quarantine_name(table))]
}
