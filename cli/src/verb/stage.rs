//! `lakepulse bronze | silver | gold`: one stage alone, in any number of processes.

use std::sync::Arc;
use std::time::Duration;

use catalog::Project;
use model::Exit;
use ops::apply::{applied, prepare};
use ops::drain::{Drain, Drained, Ends};
use ops::{StageKind, Wiring, learn, select};
use runtime::health::Status;
use runtime::{CancellationToken, Phase, Tasks};

use crate::args::{Common, StageArgs};
use crate::failure::{Failure, drained};
use crate::interrupt;
use crate::launch::{self, Ended, Show};
use crate::view::{Preview, View};

/// How long each phase may take to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Runs the stage until stopped; with `--until-drained`, until everything now in the topics has reached its
/// end.
pub async fn run(common: &Common, stage: StageKind, options: &StageArgs) -> Result<Exit, Failure> {
    let quit = interrupt::token();
    let mut wiring = Wiring::open(&common.location()).await?;
    let ended = loop {
        match drive(common, &wiring, stage, options, &quit).await {
            Ok(Next::Learned(project)) => wiring.project = project,
            Ok(Next::Ended(exit)) => break Ok(exit),
            Err(failure) => break Err(failure),
        }
    };
    wiring.close().await;
    ended
}

/// What follows a run.
enum Next {
    Ended(Exit),
    /// Another run, because more columns are known than at its start.
    Learned(Arc<Project>),
}

async fn drive(
    common: &Common,
    wiring: &Wiring,
    stage: StageKind,
    options: &StageArgs,
    quit: &CancellationToken,
) -> Result<Next, Failure> {
    let catalog = &wiring.project.catalog;
    let select = select::tables(catalog, &common.select)?;
    select::check(catalog, &select, &[stage])?;
    let mut tasks: Tasks<Ended> = Tasks::default();
    if wiring.host.is_some() {
        // On the embedded target the first process creates what every stage needs.
        prepare(wiring).await?;
    }
    wiring.health.set(stage.name(), Status::Starting);
    let show = Show { title: stage.name(), view: View::Plain, preview: Preview::default() };
    launch::telemetry(common, wiring, show, quit, &mut tasks).await?;
    if wiring.host.is_none() {
        let applied = applied(wiring, stage.name(), [], quit).await;
        if !matches!(applied, Ok(true)) {
            tasks.shut_down(GRACE).await;
            return Ok(applied.map(|_| Next::Ended(Exit::Done))?);
        }
    }
    let draining = CancellationToken::new();
    launch::stage(wiring, stage, &select, &draining, quit, &mut tasks).await?;
    let stop = tasks.stop(Phase::Stages);
    let drain = Drain { wiring, stop: stop.clone(), select: &select, ours: &[stage] };
    let waited = async {
        if !options.until_drained {
            return std::future::pending().await;
        }
        draining.cancel();
        match Ends::now(wiring, quit).await? {
            Some(ends) => drain.wait(&ends, stage).await,
            None => Ok(Drained::Stopped),
        }
    };
    let outcome = tokio::select! {
        () = quit.cancelled() => Ok(Next::Ended(Exit::Done)),
        waited = waited => match waited {
            // The last records may have been the first of their topic.
            Ok(ended) if ended.is_whole() => Ok(match learn::now(wiring).await {
                Some(project) => Next::Learned(project),
                None => Next::Ended(Exit::Done),
            }),
            ended => ended.map_err(Failure::from).and_then(drained).map(Next::Ended),
        },
        project = learn::more(wiring) => Ok(Next::Learned(project)),
        Some(ended) = tasks.ended() => match ended.outcome {
            Some(Err(failure)) => Err(failure),
            Some(Ok(())) => Ok(Next::Ended(Exit::Done)),
            None => Err(Failure::new(Exit::Failed, anyhow::anyhow!("task `{}` ended abnormally", ended.name))),
        },
    };
    let last = tasks.shut_down(GRACE).await;
    ended(outcome, first_failure(last))
}

/// The final result: what the process waited for, unless the last failure says more.
pub fn ended<T>(outcome: Result<T, Failure>, last: Option<Failure>) -> Result<T, Failure> {
    match (outcome, last) {
        (Ok(_), Some(failure)) => Err(failure),
        // The halted part knows the reason; the wait only knows that it halted.
        (Err(waited), Some(failure)) if waited.error.is_none() => Err(failure),
        (outcome, _) => outcome,
    }
}

/// The first failure of tasks that ended while the process stopped.
pub fn first_failure(ended: Vec<runtime::tasks::Ended<Ended>>) -> Option<Failure> {
    ended.into_iter().find_map(|ended| ended.outcome?.err())
}
