//! `lakepulse up`: everything in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use catalog::Project;
use model::{Exit, TableName};
use ops::apply::{StepProgress, applied, apply};
use ops::drain::{Drain, Drained, Ends};
use ops::sources::{self, Simulated, Wanted};
use ops::{StageKind, Wiring, learn, select, simulate};
use runtime::health::Status;
use runtime::{CancellationToken, Phase, Tasks};
use tokio_util::sync::DropGuard;

use super::stage::{ended, first_failure};
use crate::args::{Common, Workload};
use crate::failure::{Failure, drained};
use crate::launch::{self, Ended, Show};
use crate::view::{Preview, View};
use crate::{interrupt, out, preview};

/// How long each phase may take to stop; all together less than ten seconds.
const GRACE: Duration = Duration::from_millis(2_400);

/// Options of the command line.
pub struct Options {
    pub workload: Workload,
    pub until_drained: bool,
    pub no_sources: bool,
    pub plain: bool,
}

/// Runs until stopped; with `--until-drained`, until everything the sources published has reached the end.
pub async fn run(common: &Common, options: Options) -> Result<Exit, Failure> {
    let (quit, mut options) = (interrupt::token(), options);
    let mut wiring = Arc::new(Wiring::open(&common.location()).await?);
    let ended = loop {
        match drive(common, &wiring, &options, &quit).await {
            Ok(Next::Learned { project, sources_are_done }) => {
                options.no_sources |= sources_are_done;
                let Some(open) = Arc::get_mut(&mut wiring) else {
                    break Err(Failure::new(Exit::Failed, anyhow!("a task did not end; start again")));
                };
                open.project = project;
            }
            Ok(Next::Ended(exit)) => break Ok(exit),
            Err(failure) => break Err(failure),
        }
    };
    if let Some(wiring) = Arc::into_inner(wiring) {
        wiring.close().await;
    }
    ended
}

/// What follows a run.
enum Next {
    Ended(Exit),
    /// Another run, because more columns are known than at its start.
    Learned {
        project: Arc<Project>,
        sources_are_done: bool,
    },
}

async fn drive(
    common: &Common,
    wiring: &Arc<Wiring>,
    options: &Options,
    quit: &CancellationToken,
) -> Result<Next, Failure> {
    let select = selected(wiring, common)?;
    let mut tasks: Tasks<Ended> = Tasks::default();
    if wiring.host.is_some() {
        let plain = View::choose(options.plain) == View::Plain;
        let each = |progress: StepProgress<'_>| {
            if plain {
                out::feed(super::apply::line(&progress));
            }
        };
        let applied = apply(wiring, each).await?;
        for failed in applied.failed {
            // The stage of that table meets the error again and halts there; the other tables go on.
            tracing::error!(error = failed, "a step of the plan failed");
        }
    }
    let stages = select::stages(&wiring.project.catalog, &select);
    for stage in &stages {
        wiring.health.set(stage.name(), Status::Starting);
    }
    let preview = Preview::default();
    let stop = tasks.stop(Phase::Telemetry);
    tasks.spawn("preview", Phase::Telemetry, preview::keep(wiring.clone(), preview.clone(), stop));
    let show = Show { title: "LakePulse", view: View::choose(options.plain), preview };
    launch::telemetry(common, wiring, show, quit, &mut tasks).await?;
    if wiring.host.is_none() {
        let simulates = simulates(wiring, options);
        let fed = sources::fed(&wiring.project, simulates).filter(|_| !options.no_sources);
        let applied = applied(wiring, "up", fed, quit).await;
        if !matches!(applied, Ok(true)) {
            tasks.shut_down(GRACE).await;
            return Ok(applied.map(|_| Next::Ended(Exit::Done))?);
        }
    }
    let draining = CancellationToken::new();
    for stage in stages {
        launch::stage(wiring, stage, &select, &draining, quit, &mut tasks).await?;
    }
    let fed = match start_sources(wiring, options, &mut tasks) {
        Ok(fed) => fed,
        Err(failure) => {
            tasks.shut_down(GRACE).await;
            return Err(failure);
        }
    };
    let stop = tasks.stop(Phase::Stages);
    let waited = async {
        fed.finished().await;
        if !options.until_drained {
            return std::future::pending().await;
        }
        draining.cancel();
        match Ends::now(wiring, quit).await? {
            Some(ends) => {
                Drain { wiring, stop, select: &select, ours: &StageKind::ALL }
                    .wait(&ends, StageKind::Gold)
                    .await
            }
            None => Ok(Drained::Stopped),
        }
    };
    let mut waited = std::pin::pin!(waited);
    let mut learned = std::pin::pin!(learn::more(wiring));
    let mut halted: Option<Failure> = None;
    let outcome = loop {
        tokio::select! {
            () = quit.cancelled() => break Ok(Next::Ended(Exit::Done)),
            waited = &mut waited => break match waited {
                // The last records may have been the first of their topic.
                Ok(ended) if ended.is_whole() => Ok(match learn::now(wiring).await {
                    Some(project) => Next::Learned { project, sources_are_done: true },
                    None => Next::Ended(Exit::Done),
                }),
                ended => ended.map_err(Failure::from).and_then(drained).map(Next::Ended),
            },
            project = &mut learned => {
                break Ok(Next::Learned { project, sources_are_done: fed.are_finished() });
            }
            Some(ended) = tasks.ended() => match ended.outcome {
                // The end of a source does not stop the stages.
                Some(Ok(())) => {}
                // A part that halts stops only itself.
                Some(Err(failure)) if failure.exit == Exit::Halted => {
                    stands(wiring, &ended.name, &failure);
                    halted.get_or_insert(failure);
                }
                Some(Err(failure)) => break Err(failure),
                None => break Err(Failure::new(Exit::Failed, anyhow!("task `{}` ended abnormally", ended.name))),
            },
        }
    };
    let last = tasks.shut_down(GRACE).await;
    ended(outcome, halted.or(first_failure(last)))
}

/// The selected tables. Prints a warning about those whose input does not run here.
fn selected(wiring: &Wiring, common: &Common) -> Result<Vec<TableName>, Failure> {
    let catalog = &wiring.project.catalog;
    let select = select::tables(catalog, &common.select)?;
    select::check(catalog, &select, &StageKind::ALL)?;
    select::unfed(catalog, &select).iter().for_each(|unfed| eprintln!("warning: {unfed}"));
    Ok(select)
}

/// Logs that a part of the process has halted while the others go on.
fn stands(wiring: &Wiring, part: &str, failure: &Failure) {
    let why = failure.error.as_ref().map(|error| format!("{error:#}")).unwrap_or_default();
    tracing::error!(part, why, "waits for a person, the others go on");
    wiring.health.set(part, Status::Halted(why));
}

/// On real services the simulator runs only if the command line has one of its options.
fn simulates(wiring: &Wiring, options: &Options) -> bool {
    wiring.host.is_some() || options.workload.is_asked_for()
}

/// Options of the project's simulated source, or `None` if it does not run.
fn simulated(wiring: &Wiring, options: &Options) -> Result<Option<Simulated>, Failure> {
    let declared = simulate::source(&wiring.project).filter(|_| simulates(wiring, options));
    let Some((_, declared)) = declared else { return Ok(None) };
    let settings = options.workload.over(simulate::settings(declared));
    if options.until_drained && settings.events.is_none() {
        let endless = anyhow!("the simulated source never ends: say how many with `--events N`");
        return Err(Failure::new(Exit::Usage, endless));
    }
    Ok(Some(Simulated { settings, summary: options.workload.summary.clone() }))
}

/// One token per source, cancelled when that source ends for any reason: what a halted source has published
/// is drained like the rest.
struct Running(Vec<CancellationToken>);
impl Running {
    /// Registers one more source; dropping the guard marks its end.
    fn another(&mut self) -> DropGuard {
        let done = CancellationToken::new();
        self.0.push(done.clone());
        done.drop_guard()
    }
    async fn finished(&self) {
        for token in &self.0 {
            token.cancelled().await;
        }
    }
    fn are_finished(&self) -> bool {
        self.0.iter().all(CancellationToken::is_cancelled)
    }
}

fn start_sources(wiring: &Wiring, options: &Options, tasks: &mut Tasks<Ended>) -> Result<Running, Failure> {
    let mut running = Running(Vec::new());
    if options.no_sources {
        return Ok(running);
    }
    let wanted = Wanted { once: options.until_drained, simulated: simulated(wiring, options)? };
    for source in sources::declared(wiring, wanted)? {
        let (done, stop) = (running.another(), tasks.stop(Phase::Sources));
        tasks.spawn(source.name.clone(), Phase::Sources, async move {
            let _done = done;
            Ok(source.run(stop).await?)
        });
    }
    Ok(running)
}
