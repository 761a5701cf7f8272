//! Which tables this process owns, and the tasks of each: one keeps the table, one its topic, one
//! deletes now and then what nobody needs any more.
//!
//! Ownership comes from outside: whoever has the table's partition owns it. It is only a division of
//! labour; what keeps two owners apart is the compare-and-set of each commit, and on the topic the
//! transactional id. A table that halts waits for a person while the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use catalog::{Kind, Model, Project};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use lake::{Lake, Upkeep};
use model::{TableName, Version};
use parking_lot::Mutex;
use runtime::{CancellationToken, Clock, Ids, Meters};
use stream::{Kafka, OwnerEvent, Registry};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::pipeline::{Keeper, Told, keep};
use crate::publish::follow;
use crate::settings::Settings;
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
    /// What an operator may change.
    pub settings: Settings,
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

    /// Tables that read this one, itself or through views.
    fn downstream(&self, table: &TableName) -> Vec<TableName> {
        let catalog = &self.project.catalog;
        let stored = catalog.models.values().filter(|m| m.kind == Kind::Table);
        stored.filter(|m| catalog.stored_inputs(&m.name).contains(table)).map(|m| m.name.clone()).collect()
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
        stream::Owners::next(self).await.map_err(|source| Error::Owners { source: Box::new(source) })
    }
}

/// A running table.
struct Owned {
    wake: Arc<Notify>,
    stop: CancellationToken,
}

/// Tables that stand still for their rows, each with the reason. They go on when their inputs move.
#[derive(Clone, Default)]
struct Standing(Arc<Mutex<BTreeMap<TableName, String>>>);

/// What the loop of one table tells: its followers of a version, the stage that it stands still.
struct Tells {
    ctx: Arc<Context>,
    table: TableName,
    downstream: Vec<TableName>,
    landed: Arc<Notify>,
    standing: Standing,
}
impl Told for Tells {
    fn landed(&self, version: Version) {
        self.landed.notify_one();
        for downstream in &self.downstream {
            self.ctx.announce.announce(downstream, &self.table, version);
        }
    }
    fn stands(&self, why: Option<String>) {
        let mut standing = self.standing.0.lock();
        match why {
            Some(why) => drop(standing.insert(self.table.clone(), why)),
            None => drop(standing.remove(&self.table)),
        }
    }
}

/// Runs the tables this process owns until `stop`. A table's halt is reported at the end; when every
/// table owned has halted for good, that is at once. Who drains looks at the tables, and stops.
pub async fn run(ctx: Context, mut owners: impl Ownership, stop: CancellationToken) -> Result<()> {
    let ctx = Arc::new(ctx);
    let ours = ctx.tables();
    let mut running: BTreeMap<TableName, Owned> = BTreeMap::new();
    let mut tasks = FuturesUnordered::new();
    let mut halted: BTreeMap<TableName, Error> = BTreeMap::new();
    let standing = Standing::default();
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(ended) = tasks.next(), if !tasks.is_empty() => {
                note(&running, &mut halted, ended);
                let all = !halted.is_empty() && running.keys().all(|t| halted.contains_key(t));
                if all && !ctx.draining.is_cancelled() {
                    break Ok(());
                }
            }
            event = owners.next() => match event {
                Ok(OwnerEvent::Owned(table)) if ours.contains(&table) && !running.contains_key(&table) => {
                    if let Some(model) = ctx.project.catalog.models.get(&table) {
                        let (owned, started) = start(&ctx, model, &standing, &stop);
                        running.insert(table, owned);
                        tasks.extend(started);
                    }
                }
                Ok(OwnerEvent::Lost(table)) => {
                    if let Some(owned) = running.remove(&table) {
                        owned.stop.cancel();
                        halted.remove(&table);
                        standing.0.lock().remove(&table);
                        let model = ctx.project.catalog.models.get(&table);
                        let measures = model.iter().flat_map(|model| &model.measures);
                        let measures: Vec<&str> = measures.map(|measure| measure.name.as_str()).collect();
                        for stage in ["gold", "publish"] {
                            ctx.meters.stage(stage, &table.to_string()).released(measures.iter().copied());
                        }
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
        }
    };
    for owned in running.values() {
        owned.stop.cancel();
    }
    while let Some(ended) = tasks.next().await {
        note(&running, &mut halted, ended);
    }
    ended?;
    let mut tables: BTreeSet<TableName> = halted.into_keys().collect();
    tables.extend(standing.0.lock().keys().cloned());
    if tables.is_empty() { Ok(()) } else { Err(Error::Halted { tables: tables.into_iter().collect() }) }
}

type Ended = (TableName, CancellationToken, Result<()>);

/// Starts the tasks of a table: its rows, its topic, its upkeep.
fn start(
    ctx: &Arc<Context>,
    model: &Model,
    standing: &Standing,
    stop: &CancellationToken,
) -> (Owned, Vec<futures::future::BoxFuture<'static, Ended>>) {
    let (wake, landed, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()), stop.child_token());
    let model = Arc::new(model.clone());
    let told = Tells {
        ctx: Arc::clone(ctx),
        table: model.name.clone(),
        downstream: ctx.downstream(&model.name),
        landed: Arc::clone(&landed),
        standing: standing.clone(),
    };
    let keeper = Keeper::new(Arc::clone(ctx), Arc::clone(&model));
    let mut handles =
        vec![runtime::tasks::spawn("gold table", keep(keeper, Arc::clone(&wake), stop.clone(), told))];
    if let Some(topic) = model.publish.clone() {
        let follow = follow(Arc::clone(ctx), Arc::clone(&model), topic, landed, stop.clone());
        handles.push(runtime::tasks::spawn("gold publisher", follow));
    }
    let upkeep = Upkeep {
        lake: ctx.lake.clone(),
        tables: vec![(model.name.clone(), followers(&ctx.project, &ctx.kafka, &model))],
        clock: Arc::clone(&ctx.clock),
        every: ctx.settings.maintain,
    };
    let kept = lake::maintain::keep(upkeep, |_| true, stop.clone());
    handles.push(runtime::tasks::spawn("gold upkeep", kept.map(Ok)));
    let tasks = handles.into_iter().map(|handle| {
        let (table, stop) = (model.name.clone(), stop.clone());
        let ended = async move {
            let outcome = handle.await.unwrap_or_else(|_| Err(Error::TaskLost { table: table.clone() }));
            (table, stop, outcome)
        };
        ended.boxed()
    });
    (Owned { wake, stop: stop.clone() }, tasks.collect())
}

/// Remembers why a table halted. What a table says that was taken from us, or stopped, is no halt.
fn note(running: &BTreeMap<TableName, Owned>, halted: &mut BTreeMap<TableName, Error>, ended: Ended) {
    let (table, stop, outcome) = ended;
    if let Err(error) = outcome
        && running.contains_key(&table)
        && (!stop.is_cancelled() || matches!(error, Error::TaskLost { .. }))
    {
        halted.insert(table, error);
    }
}
