//! The stages of a project, each as a future that runs until it is stopped.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use model::TableName;
use runtime::CancellationToken;
use runtime::health::Status;
use stage::Announce;
use stream::{Announcer, Owners};

use crate::select::Stage;
use crate::wiring::Wiring;
use crate::{Error, Result, reach, sinks};

/// A stage at work.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A stage that shares its tables with the other processes of the project that run it. A broker that does not
/// answer is waited for. `None`: `quit` came first.
pub async fn start(
    wiring: &Wiring,
    stage: Stage,
    select: &[TableName],
    draining: &CancellationToken,
    quit: &CancellationToken,
    stop: CancellationToken,
) -> Result<Option<Running>> {
    let announcer = || Announcer::try_new(&wiring.kafka, &wiring.project.name);
    let Some(announcer) = reach::kafka(wiring, stage.name(), quit, announcer).await? else { return Ok(None) };
    let announce: Arc<dyn Announce> = Arc::new(announcer);
    let stages = wiring.project.stages.clone();
    let running: Running = match stage {
        Stage::Bronze => {
            let context = context(wiring, select, draining, announce, stages.bronze);
            let (kafka, registry) = (wiring.kafka.clone(), wiring.registry.clone());
            let input = bronze::Input { kafka, registry, progress: bronze::Progress::default() };
            Box::pin(async move {
                bronze::run(context, input, stop).await.map_err(|error| Error::of(error.reaction(), error))
            })
        }
        Stage::Silver => {
            let context = context(wiring, select, draining, announce, stages.silver);
            let Some(owners) = owners(wiring, stage, select, &silver::tables(&context), quit).await? else {
                return Ok(None);
            };
            Box::pin(async move {
                silver::run(context, owners, stop).await.map_err(|error| Error::of(error.reaction(), error))
            })
        }
        Stage::Gold => {
            let context = context(wiring, select, draining, announce, stages.gold);
            let Some(owners) = owners(wiring, stage, select, &gold::tables(&context), quit).await? else {
                return Ok(None);
            };
            let followers = sinks::of(wiring);
            Box::pin(async move {
                let ended = gold::run(context, followers, owners, stop).await;
                ended.map_err(|error| Error::of(error.reaction(), error))
            })
        }
    };
    wiring.health.set(stage.name(), Status::Up);
    Ok(Some(running))
}

/// What every stage runs with.
fn context<S>(
    wiring: &Wiring,
    select: &[TableName],
    draining: &CancellationToken,
    announce: Arc<dyn Announce>,
    settings: S,
) -> stage::Context<S> {
    stage::Context {
        project: wiring.project.clone(),
        lake: wiring.lake.clone(),
        clock: wiring.clock.clone(),
        ids: wiring.ids.clone(),
        meters: wiring.meters.clone(),
        announce,
        settings,
        create: wiring.creates(),
        select: select.to_vec(),
        draining: draining.clone(),
    }
}

/// The stage's tables are shared by a group; those that were asked for by name are this process's.
async fn owners(
    wiring: &Wiring,
    stage: Stage,
    select: &[TableName],
    tables: &[TableName],
    quit: &CancellationToken,
) -> anyhow::Result<Option<Owners>> {
    let (kafka, project) = (&wiring.kafka, &wiring.project.name);
    if !select.is_empty() {
        let alone = || Owners::alone(kafka, project, tables);
        let owners = reach::kafka(wiring, stage.name(), quit, alone).await;
        return owners.context("cannot watch for new versions");
    }
    let group = format!("{project}.{}", stage.name());
    let join = || Owners::join(kafka, project, &group, tables);
    let owners = reach::kafka(wiring, stage.name(), quit, join).await;
    owners.with_context(|| format!("cannot join group `{group}`"))
}
