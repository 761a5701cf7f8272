//! Stages as tasks of this process.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use model::TableName;
use ops::{Stage, Wiring, reach};
use runtime::health::{Health, Status};
use runtime::{CancellationToken, Phase, Tasks};
use stream::{Announcer, Owners};

use crate::args::Common;
use crate::failure::Failure;
use crate::view::{self, Frame, Preview, View};

/// What a task of the process ends with.
pub type Ended = Result<(), Failure>;

/// Serves health and metrics and shows what the process does, until its last phase ends.
pub async fn telemetry(
    common: &Common,
    wiring: &Wiring,
    show: Show,
    quit: &CancellationToken,
    tasks: &mut Tasks<Ended>,
) -> Result<()> {
    let health = Health::bind(common.listen, wiring.meters.clone(), wiring.board.clone()).await?;
    let mut addresses = wiring.addresses.clone();
    addresses.push(format!("metrics  http://{}/metrics", health.address().context("the metrics address")?));
    let stop = tasks.stop(Phase::Telemetry);
    tasks.spawn("health", Phase::Telemetry, {
        let stop = stop.clone();
        async move { Ok(health.serve(stop).await?) }
    });
    let title = format!("{} · {} on {}", show.title, wiring.project.name, wiring.project.target.name);
    let frame = Frame { title, addresses };
    let (meters, clock) = (wiring.meters.clone(), wiring.clock.clone());
    let shown = view::show(show.view, frame, meters, clock, stop, quit.clone(), show.preview);
    tasks.spawn("view", Phase::Telemetry, async move {
        shown.await;
        Ok(())
    });
    Ok(())
}

/// How a process shows itself.
pub struct Show {
    pub title: &'static str,
    pub view: View,
    pub preview: Preview,
}

/// Starts a stage. It shares its tables with the other processes of the project that run it. A broker
/// that does not answer is waited for; nothing is started when `quit` comes first.
pub async fn stage(
    wiring: &Wiring,
    stage: Stage,
    select: &[TableName],
    draining: &CancellationToken,
    quit: &CancellationToken,
    tasks: &mut Tasks<Ended>,
) -> Result<()> {
    let stop = tasks.stop(Phase::Stages);
    let announcer = || Announcer::try_new(&wiring.kafka, &wiring.project.name);
    let Some(announcer) = reach::kafka(wiring, stage.name(), quit, announcer).await? else { return Ok(()) };
    let announcer = Arc::new(announcer);
    // Where nothing is created unless asked, `apply` makes the tables.
    let create = wiring.host.is_some();
    match stage {
        Stage::Bronze => {
            let context = bronze::Context {
                project: wiring.project.clone(),
                lake: wiring.lake.clone(),
                kafka: wiring.kafka.clone(),
                registry: wiring.registry.clone(),
                clock: wiring.clock.clone(),
                ids: wiring.ids.clone(),
                meters: wiring.meters.clone(),
                settings: wiring.project.stages.bronze.clone(),
                create,
                select: (!select.is_empty()).then(|| select.to_vec()),
                announce: announcer,
                progress: bronze::Progress::default(),
                draining: draining.clone(),
            };
            tasks.spawn("bronze", Phase::Stages, async move {
                bronze::run(context, stop).await.map_err(|error| Failure::of(error.reaction(), error))
            });
        }
        Stage::Silver => {
            let context = silver::Context {
                project: wiring.project.clone(),
                lake: wiring.lake.clone(),
                clock: wiring.clock.clone(),
                ids: wiring.ids.clone(),
                meters: wiring.meters.clone(),
                announce: announcer,
                settings: wiring.project.stages.silver.clone(),
                create,
                select: select.to_vec(),
            };
            let Some(owners) = owners(wiring, stage, select, &context.tables(), quit).await? else {
                return Ok(());
            };
            tasks.spawn("silver", Phase::Stages, async move {
                silver::run(context, owners, stop).await.map_err(|error| Failure::of(error.reaction(), error))
            });
        }
        Stage::Gold => {
            let context = gold::Context {
                project: wiring.project.clone(),
                lake: wiring.lake.clone(),
                kafka: wiring.kafka.clone(),
                registry: wiring.registry.clone(),
                clock: wiring.clock.clone(),
                ids: wiring.ids.clone(),
                meters: wiring.meters.clone(),
                announce: announcer,
                settings: wiring.project.stages.gold.clone(),
                create,
                select: select.to_vec(),
                draining: draining.clone(),
            };
            let Some(owners) = owners(wiring, stage, select, &context.tables(), quit).await? else {
                return Ok(());
            };
            tasks.spawn("gold", Phase::Stages, async move {
                gold::run(context, owners, stop).await.map_err(|error| Failure::of(error.reaction(), error))
            });
        }
    }
    wiring.board.say(stage.name(), Status::Up);
    Ok(())
}

/// The stage's tables are shared by a group; those that were asked for by name are this process's.
async fn owners(
    wiring: &Wiring,
    stage: Stage,
    select: &[TableName],
    tables: &[TableName],
    quit: &CancellationToken,
) -> Result<Option<Owners>> {
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
