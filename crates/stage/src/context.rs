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
    /// Announces each new version to every downstream table.
    pub announce: Arc<dyn Announce>,
    /// The stage's settings.
    pub settings: S,
    /// Whether missing tables are created. Off if only `apply` creates them.
    pub create: bool,
    /// The tables to run. Empty: all tables of the stage.
    pub select: Vec<TableName>,
    /// Cancelled when a caller drains: rows held back to save commits are then committed at once.
    pub draining: CancellationToken,
}

impl<S> Context<S> {
    /// Whether this process may run the table.
    pub fn selects(&self, table: &TableName) -> bool {
        self.select.is_empty() || self.select.contains(table)
    }

    /// The tables to run of these models. A model without known columns cannot run: the process restarts when
    /// they are learned.
    pub fn tables<'a>(&self, models: impl Iterator<Item = &'a Model>) -> Vec<TableName> {
        let runs = |model: &&Model| !model.unlearned && self.selects(&model.name);
        models.filter(runs).map(|model| model.name.clone()).collect()
    }

    /// Periodically deletes what no follower needs, for the tables that are `ours` at the time.
    pub fn upkeep<F>(
        &self,
        tables: Vec<(TableName, Followers)>,
        every: Duration,
        ours: F,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<S, F>
    where
        F: Fn(&TableName) -> bool + Send + Sync + 'static,
    {
        let upkeep = Upkeep { lake: self.lake.clone(), tables, clock: Arc::clone(&self.clock), every };
        lake::maintain::keep(upkeep, ours, stop)
    }

    /// Removes the metrics of a table that this process no longer runs.
    pub fn released(&self, stage: &'static str, table: &TableName) {
        let model = self.project.catalog.models.get(table);
        let measures = model.iter().flat_map(|model| &model.measures);
        let meter = self.meters.stage(stage, &table.to_string());
        meter.released(measures.map(|measure| measure.name.as_str()));
    }
}
