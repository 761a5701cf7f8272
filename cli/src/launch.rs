//! Runs stages as tasks of this process.

use anyhow::{Context as _, Result};
use model::TableName;
use ops::{StageKind, Wiring, stages};
use runtime::health::Health;
use runtime::{CancellationToken, Phase, Tasks};

use crate::args::Common;
use crate::failure::Failure;
use crate::view::{self, Border, Preview, View};

/// The result of a task.
pub type Ended = Result<(), Failure>;

/// Serves health and metrics and shows the view, until the last phase of the stop.
pub async fn telemetry(
    common: &Common,
    wiring: &Wiring,
    show: Show,
    quit: &CancellationToken,
    tasks: &mut Tasks<Ended>,
) -> Result<()> {
    let health = Health::bind(common.listen, wiring.meters.clone(), wiring.health.clone()).await?;
    let mut addresses = wiring.addresses.clone();
    addresses.push(format!("metrics  http://{}/metrics", health.address().context("the metrics address")?));
    let stop = tasks.stop(Phase::Telemetry);
    tasks.spawn("health", Phase::Telemetry, {
        let stop = stop.clone();
        async move { Ok(health.serve(stop).await?) }
    });
    let title = format!("{} · {} on {}", show.title, wiring.project.name, wiring.project.target.name);
    let frame = Border { title, addresses };
    let (meters, clock) = (wiring.meters.clone(), wiring.clock.clone());
    let shown = view::show(show.view, frame, meters, clock, stop, quit.clone(), show.preview);
    tasks.spawn("view", Phase::Telemetry, async move {
        shown.await;
        Ok(())
    });
    Ok(())
}

/// What a process shows on standard output.
pub struct Show {
    pub title: &'static str,
    pub view: View,
    pub preview: Preview,
}

/// Starts a stage, which shares its tables with the other processes of the project that run it. Waits while
/// the broker does not answer; starts nothing if `quit` comes first.
pub async fn stage(
    wiring: &Wiring,
    stage: StageKind,
    select: &[TableName],
    draining: &CancellationToken,
    quit: &CancellationToken,
    tasks: &mut Tasks<Ended>,
) -> Result<(), Failure> {
    let stop = tasks.stop(Phase::Stages);
    if let Some(running) = stages::start(wiring, stage, select, draining, quit, stop).await? {
        tasks.spawn(stage.name(), Phase::Stages, async move { Ok(running.await?) });
    }
    Ok(())
}
