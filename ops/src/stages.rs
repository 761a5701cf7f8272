//! The stages of a project, each as a future that runs until it is stopped.

use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use model::TableName;
use runtime::health::Status;
use runtime::{CancellationToken, Failure as _};
use stage::Announce;
use stream::{Announcer, Owners};

use crate::select::StageKind;
use crate::wiring::Wiring;
use crate::{Error, Result, reach, sinks};

/// The future of a running stage.
pub type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Starts a stage that shares its tables with other processes of the project. Retries while the broker does
/// not answer. `None`: `quit` came first.
pub async fn start(
    wiring: &Wiring,
    stage: StageKind,
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
        StageKind::Bronze => {
            let context = context(wiring, select, draining, announce, stages.bronze);
            let (kafka, registry) = (wiring.kafka.clone(), wiring.registry.clone());
            let input = bronze::Input { kafka, registry, progress: bronze::PartitionProgress::default() };
            Box::pin(async move {
                bronze::run(context, input, stop).await.map_err(|error| Error::of(error.reaction(), error))
            })
        }
        StageKind::Silver => {
            let context = context(wiring, select, draining, announce, stages.silver);
            let Some(owners) = owners(wiring, stage, select, &silver::tables(&context), quit).await? else {
                return Ok(None);
            };
            Box::pin(async move {
                silver::run(context, owners, stop).await.map_err(|error| Error::of(error.reaction(), error))
            })
        }
        StageKind::Gold => {
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

/// What every stage needs to run.
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

/// Who owns which table: a consumer group shares them, but this process owns the tables that were selected by
/// name.
async fn owners(
    wiring: &Wiring,
    stage: StageKind,
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
