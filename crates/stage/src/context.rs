//! What every stage runs with.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Model, Project};
use lake::{Followers, Lake, Upkeep};
use model::TableName;
use runtime::{CancellationToken, Clock, Ids, Meters};

use crate::announce::Announce;

/// What a stage runs with; `S` is its own settings. Cheap to clone.
#[derive(Clone)]
pub struct Context<S> {
    /// The project.
    pub project: Arc<Project>,
    /// Its lake.
    pub lake: Lake,
    /// Time, for metrics and pauses. It orders nothing.
    pub clock: Arc<dyn Clock>,
    /// ULIDs of operations.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub meters: Meters,
    /// Told of each new version, for every downstream table.
    pub announce: Arc<dyn Announce>,
    /// How the stage runs.
    pub settings: S,
    /// Whether missing tables are created. Off where only `apply` creates them.
    pub create: bool,
    /// The tables to run. Empty: all tables of the stage.
    pub select: Vec<TableName>,
    /// Cancelled once someone waits for the end of the input: what is held back to save commits is committed at
    /// once.
    pub draining: CancellationToken,
}

impl<S> Context<S> {
    /// Whether this process may run the table.
    pub fn selects(&self, table: &TableName) -> bool {
        self.select.is_empty() || self.select.contains(table)
    }

    /// Of these models, the tables to run. A model without known columns has nothing to run: the process starts
    /// anew when they are known.
    pub fn tables<'a>(&self, models: impl Iterator<Item = &'a Model>) -> Vec<TableName> {
        let runs = |model: &&Model| !model.unlearned && self.selects(&model.name);
        models.filter(runs).map(|model| model.name.clone()).collect()
    }

    /// Deletes now and then what no follower of these tables needs, of those that are `ours` at the time.
    pub fn upkeep(
        &self,
        tables: Vec<(TableName, Followers)>,
        every: Duration,
        ours: impl Fn(&TableName) -> bool + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let upkeep = Upkeep { lake: self.lake.clone(), tables, clock: Arc::clone(&self.clock), every };
        lake::maintain::keep(upkeep, ours, stop)
    }

    /// Takes the metrics of a table back that this process runs no longer.
    pub fn released(&self, stage: &'static str, table: &TableName) {
        let model = self.project.catalog.models.get(table);
        let measures = model.iter().flat_map(|model| &model.measures);
        let meter = self.meters.stage(stage, &table.to_string());
        meter.released(measures.map(|measure| measure.name.as_str()));
    }
}
