//! Which tables this process owns, and a task for each.
//!
//! Ownership comes from outside: whoever has the table's partition owns it. It is only a division of
//! labour; what keeps two owners apart is the compare-and-set of each commit. A table that halts waits
//! for a person while the others go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use catalog::{Catalog, Project};
use lake::{Followers, Lake, Upkeep};
use model::{TableName, Version};
use runtime::{CancellationToken, Clock, Ids, Meters};
use stream::OwnerEvent;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
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
    /// What an operator may change.
    pub settings: Settings,
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

/// Tells downstream tables of a new version. A hint: never waits, never fails.
pub trait Announce: Send + Sync {
    /// Wakes the owner of `downstream`.
    fn announce(&self, downstream: &TableName, upstream: &TableName, version: Version);
}
impl Announce for stream::Announcer {
    fn announce(&self, downstream: &TableName, upstream: &TableName, version: Version) {
        stream::Announcer::announce(self, downstream, upstream, version);
    }
}
/// Tells nobody: whoever follows polls.
impl Announce for () {
    fn announce(&self, _: &TableName, _: &TableName, _: Version) {}
}

/// Says which tables are ours. Cancel safe.
#[async_trait]
pub trait Ownership: Send {
    /// What happens next.
    async fn next(&mut self) -> Result<OwnerEvent>;
}
#[async_trait]
impl Ownership for stream::Owners {
    async fn next(&mut self) -> Result<OwnerEvent> {
        stream::Owners::next(self).await.map_err(|source| Error::Owners { source })
    }
}

/// Ownership of a fixed set of tables, for one process alone.
pub struct Alone(VecDeque<TableName>);
impl Alone {
    /// Owns these from the start.
    pub fn of(tables: impl IntoIterator<Item = TableName>) -> Self {
        Self(tables.into_iter().collect())
    }
}
#[async_trait]
impl Ownership for Alone {
    async fn next(&mut self) -> Result<OwnerEvent> {
        match self.0.pop_front() {
            Some(table) => Ok(OwnerEvent::Owned(table)),
            None => std::future::pending().await,
        }
    }
}

/// A running table.
struct Owned {
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

/// Runs the tables this process owns until `stop`. A table's halt is reported at the end.
pub async fn run(ctx: Context, mut owners: impl Ownership, stop: CancellationToken) -> Result<()> {
    let mut running: BTreeMap<TableName, Owned> = BTreeMap::new();
    let mut halted: BTreeMap<TableName, String> = BTreeMap::new();
    let ours = ctx.tables();
    let turns = Arc::new(Semaphore::new(ctx.settings.at_once.get()));
    let ended = loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            event = owners.next() => event,
        };
        match event {
            Ok(OwnerEvent::Owned(table)) if ours.contains(&table) => {
                if !running.contains_key(&table) {
                    running.insert(table.clone(), start(&ctx, &table, &turns, &stop));
                }
            }
            Ok(OwnerEvent::Lost(table)) => {
                if let Some(owned) = running.remove(&table) {
                    owned.stop.cancel();
                    note(&mut halted, &table, owned.task).await;
                    let model = ctx.project.catalog.models.get(&table);
                    let measures = model.iter().flat_map(|model| &model.measures);
                    let meter = ctx.meters.stage("silver", &table.to_string());
                    meter.released(measures.map(|measure| measure.name.as_str()));
                }
            }
            Ok(OwnerEvent::Woken(table)) => {
                if let Some(owned) = running.get(&table) {
                    owned.wake.notify_one();
                }
            }
            Ok(OwnerEvent::Owned(_)) => {}
            Err(error) => break Err(error),
        }
    };
    for owned in running.values() {
        owned.stop.cancel();
    }
    for (table, owned) in running {
        note(&mut halted, &table, owned.task).await;
    }
    ended?;
    if halted.is_empty() {
        return Ok(());
    }
    Err(Error::Halted { tables: halted.into_iter().map(|(table, why)| format!("{table}: {why}")).collect() })
}

/// A table with who follows it, and its siblings, which nobody does.
pub fn followed(catalog: &Catalog, table: &TableName) -> Vec<(TableName, Followers)> {
    let alone = |name: TableName| (name, Followers::of(Vec::new()));
    let followers = Followers::of(catalog.followers(table));
    vec![(table.clone(), followers), alone(deleted_name(table)), alone(quarantine_name(table))]
}

fn start(ctx: &Context, table: &TableName, turns: &Arc<Semaphore>, stop: &CancellationToken) -> Owned {
    let (wake, stop) = (Arc::new(Notify::new()), stop.child_token());
    let pipeline = Pipeline::new(ctx.clone(), table.clone(), Arc::clone(turns), stop.clone());
    let upkeep = Upkeep {
        lake: ctx.lake.clone(),
        tables: followed(&ctx.project.catalog, table),
        clock: Arc::clone(&ctx.clock),
        every: ctx.settings.maintain,
    };
    let kept = lake::maintain::keep(upkeep, |_| true, stop.clone());
    let rows = pipeline.run(Arc::clone(&wake));
    let task = runtime::tasks::spawn("silver table", async move { tokio::join!(rows, kept).0 });
    Owned { wake, stop, task }
}

/// Waits for a table's task and remembers why it halted.
async fn note(halted: &mut BTreeMap<TableName, String>, table: &TableName, task: JoinHandle<Result<()>>) {
    match task.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => drop(halted.insert(table.clone(), error.to_string())),
        Err(ended) => drop(halted.insert(table.clone(), ended.to_string())),
    }
}
