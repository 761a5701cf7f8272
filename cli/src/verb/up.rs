//! `lakepulse up`: everything in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use catalog::{Connection, Project, Source};
use model::Exit;
use runtime::health::Status;
use runtime::{CancellationToken, Phase, Tasks};

use super::stage::first_failure;
use crate::args::{Common, Workload};
use crate::drain::{Drain, Ends};
use crate::failure::Failure;
use crate::launch::{self, Ended, Show, Stage};
use crate::view::{Preview, View};
use crate::wiring::Wiring;
use crate::{interrupt, learn, preview, select, sources};

/// How long each phase may take to stop; together below ten seconds.
const GRACE: Duration = Duration::from_millis(2_400);

/// What the command line asks for.
pub struct Options {
    pub workload: Workload,
    pub until_drained: bool,
    pub no_sources: bool,
    pub plain: bool,
}

/// Runs until stopped, or until everything the sources published has reached the end.
pub async fn run(common: &Common, options: Options) -> Result<Exit, Failure> {
    let (quit, mut options) = (interrupt::token(), options);
    let mut wiring = Arc::new(Wiring::open(common).await?);
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

/// What comes after a run.
enum Next {
    Ended(Exit),
    /// The same again: columns are known that were not at its start.
    Learned {
        project: Arc<Project>,
        sources_are_done: bool,
    },
}

#[allow(clippy::print_stdout, reason = "this is the verb's output")]
async fn drive(
    common: &Common,
    wiring: &Arc<Wiring>,
    options: &Options,
    quit: &CancellationToken,
) -> Result<Next, Failure> {
    let mut tasks: Tasks<Ended> = Tasks::default();
    if wiring.host.is_some() {
        let plain = View::choose(options.plain) == View::Plain;
        let say = |line: String| {
            if plain {
                println!("{line}");
            }
        };
        let applied = super::apply::apply(wiring, say).await?;
        for failed in applied.failed {
            // The stages meet it again and halt there; the other tables go on.
            tracing::error!(error = failed, "a step of the plan failed");
        }
    }
    for stage in Stage::ALL {
        wiring.board.say(stage.name(), Status::Starting);
    }
    let preview = Preview::default();
    let stop = tasks.stop(Phase::Telemetry);
    tasks.spawn("preview", Phase::Telemetry, preview::keep(wiring.clone(), preview.clone(), stop));
    let show = Show { title: "LakePulse", view: View::choose(options.plain), preview };
    launch::telemetry(common, wiring, show, quit, &mut tasks).await?;
    if wiring.host.is_none() {
        let fed = fed_by(wiring, options).flat_map(|source| source.streams.values());
        let applied = super::apply::applied(wiring, "up", fed, quit).await;
        if !matches!(applied, Ok(true)) {
            tasks.shut_down(GRACE).await;
            return applied.map(|_| Next::Ended(Exit::Done));
        }
    }
    let draining = CancellationToken::new();
    let select = select::tables(&wiring.project.catalog, &common.select)?;
    for stage in Stage::ALL {
        launch::stage(wiring, stage, &select, &draining, quit, &mut tasks).await?;
    }
    let sources = start_sources(wiring, options, &mut tasks)?;
    let stop = tasks.stop(Phase::Stages);
    let drained = async {
        sources.finished().await;
        if !options.until_drained {
            return std::future::pending().await;
        }
        draining.cancel();
        match Ends::now(wiring, quit).await? {
            Some(ends) => Drain { wiring, stop, select: &select }.wait(&ends, Stage::Gold).await,
            None => Ok(false),
        }
    };
    let mut drained = std::pin::pin!(drained);
    let mut learned = std::pin::pin!(learn::more(common, wiring));
    let outcome = loop {
        tokio::select! {
            () = quit.cancelled() => break Ok(Next::Ended(Exit::Done)),
            drained = &mut drained => break match drained {
                // The last records may be the first of their topic.
                Ok(true) => Ok(match learn::now(common, wiring).await {
                    Some(project) => Next::Learned { project, sources_are_done: true },
                    None => Next::Ended(Exit::Done),
                }),
                ended => ended.map(|_| Next::Ended(Exit::Done)).map_err(Failure::from),
            },
            project = &mut learned => {
                break Ok(Next::Learned { project, sources_are_done: sources.are_finished() });
            }
            Some(ended) = tasks.ended() => match ended.outcome {
                // A source that has come to its end is no reason to stop the stages.
                Some(Ok(())) => {}
                Some(Err(failure)) => break Err(failure),
                None => break Err(Failure::new(Exit::Failed, anyhow!("task `{}` ended abnormally", ended.name))),
            },
        }
    };
    let last = tasks.shut_down(GRACE).await;
    outcome.and_then(|next| first_failure(last).map_or(Ok(next), Err))
}

/// The sources that run here. On services nothing is simulated unless the command line says how much.
fn fed_by<'a>(wiring: &'a Wiring, options: &Options) -> impl Iterator<Item = &'a Source> {
    let simulates = wiring.host.is_some() || options.workload.is_asked_for();
    let none = options.no_sources;
    let runs =
        move |source: &&Source| !none && (simulates || !matches!(source.connection, Connection::WwiSim(_)));
    wiring.project.catalog.sources.values().filter(runs)
}

/// Tokens that the sources cancel when they have come to their end.
struct Running(Vec<CancellationToken>);
impl Running {
    async fn finished(&self) {
        for token in &self.0 {
            token.cancelled().await;
        }
    }
    fn are_finished(&self) -> bool {
        self.0.iter().all(CancellationToken::is_cancelled)
    }
}

fn start_sources(
    wiring: &Arc<Wiring>,
    options: &Options,
    tasks: &mut Tasks<Ended>,
) -> Result<Running, Failure> {
    let mut running = Running(Vec::new());
    if options.no_sources {
        return Ok(running);
    }
    let simulated = fed_by(wiring, options).find(|source| matches!(source.connection, Connection::WwiSim(_)));
    if let Some(source) = simulated {
        if options.until_drained && sources::settings(source, &options.workload).events.is_none() {
            let endless = anyhow!("the simulated source never ends: say how many with `--events N`");
            return Err(Failure::new(Exit::Usage, endless));
        }
        let (done, stop) = (CancellationToken::new(), tasks.stop(Phase::Sources));
        running.0.push(done.clone());
        let (wiring, workload) = (wiring.clone(), options.workload.clone());
        tasks.spawn("sim", Phase::Sources, async move {
            sources::simulate(&wiring, &workload, stop).await?;
            done.cancel();
            Ok(())
        });
    }
    for feed in sources::folders(wiring, options.until_drained) {
        let (done, stop) = (CancellationToken::new(), tasks.stop(Phase::Sources));
        running.0.push(done.clone());
        let context = sources::files(wiring);
        tasks.spawn(
            format!("files {} to {}", feed.files.dir.display(), feed.topic.name),
            Phase::Sources,
            async move {
                ingest::files::run(context, feed, stop)
                    .await
                    .map_err(|error| Failure::new(Exit::Halted, error))?;
                done.cancel();
                Ok(())
            },
        );
    }
    for feed in sources::databases(wiring, options.until_drained)? {
        let (done, stop) = (CancellationToken::new(), tasks.stop(Phase::Sources));
        running.0.push(done.clone());
        let context = sources::databases_context(wiring);
        tasks.spawn(format!("postgres {}", feed.source), Phase::Sources, async move {
            ingest::postgres::run(context, feed, Default::default(), stop)
                .await
                .map_err(|error| Failure::new(Exit::Halted, error))?;
            done.cancel();
            Ok(())
        });
    }
    Ok(running)
}
