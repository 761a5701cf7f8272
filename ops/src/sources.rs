//! The project's sources: the only place that knows every kind of connector.
//!
//! A declared source becomes one or more connectors, and a process runs all of them in the same way. A new
//! connector is one more arm of [`connectors`].

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use catalog::{Connection, Files, Postgres, Project, Source, Topic, ValueFormat};
use cdc_sim::Settings;
use ingest::files::{Feed, Route};
use model::TopicName;
use runtime::CancellationToken;
use source::{Connector, Context};

use crate::apply::{applied, prepare};
use crate::{Error, Result, Wiring, simulate};

pub use ingest::postgres::Asked;

/// Options of a run that the sources' files do not declare.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// End once everything that exists now is published.
    pub once: bool,
    /// How to run the simulated source. `None`: do not run it.
    pub simulated: Option<Simulated>,
}

/// Options of the simulated source.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    /// Settings of the simulator.
    pub settings: Settings,
    /// File for the summary of what the tables must contain in the end.
    pub summary: Option<PathBuf>,
}

/// A source that is ready to run.
pub struct Ready {
    /// Name of its task.
    pub name: String,
    run: Box<dyn FnOnce(CancellationToken) -> Running + Send>,
}
type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
impl Ready {
    /// Publishes until the source ends, until `stop`, or until a person has to act.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        (self.run)(stop).await
    }

    fn new(name: String, mut connector: Box<dyn Connector>) -> Self {
        let run = move |stop: CancellationToken| -> Running {
            Box::pin(async move { run(&mut *connector, &stop).await.map(drop) })
        };
        Self { name, run: Box::new(run) }
    }
}

/// Topics that sources write to. Topics of simulated sources are included if `simulates`.
pub fn fed(project: &Project, simulates: bool) -> impl Iterator<Item = &TopicName> {
    let runs = move |source: &&Source| simulates || !matches!(source.connection, Connection::WwiSim(_));
    project.catalog.sources.values().filter(runs).flat_map(|source| source.streams.values())
}

/// All sources of the project that `wanted` includes. Only the first simulated source runs.
pub fn declared(wiring: &Wiring, mut wanted: Wanted) -> Result<Vec<Ready>> {
    let mut ready = Vec::new();
    for source in wiring.project.catalog.sources.values() {
        ready.extend(connectors(wiring, source, &mut wanted)?);
    }
    Ok(ready)
}

/// The connectors of one source.
fn connectors(wiring: &Wiring, source: &Source, wanted: &mut Wanted) -> Result<Vec<Ready>> {
    Ok(match &source.connection {
        Connection::WwiSim(_) => wanted
            .simulated
            .take()
            .map(|how| simulated(wiring, source, how))
            .transpose()?
            .into_iter()
            .collect(),
        Connection::Files(files) => folders(wiring, source, files, wanted.once),
        Connection::Postgres(postgres) => {
            let feed = database_feed(wiring, source, postgres)?;
            let connector = ingest::Postgres::new(context(wiring, wanted.once), feed, Asked::default());
            vec![Ready::new(format!("postgres {}", source.name), Box::new(connector))]
        }
    })
}

/// Runs one connector. Returns what it has published.
///
/// # Errors
/// [`Error::Halted`]: a person has to act.
pub async fn run(connector: &mut dyn Connector, stop: &CancellationToken) -> Result<source::Sent> {
    source::run(connector, stop).await.map_err(|error| Error::Halted(error.into()))
}

pub(crate) fn context(wiring: &Wiring, once: bool) -> Context {
    Context {
        project: wiring.project.name.clone(),
        kafka: wiring.kafka.clone(),
        registry: wiring.registry.clone(),
        meters: wiring.meters.clone(),
        clock: wiring.clock.clone(),
        once,
    }
}

fn simulated(wiring: &Wiring, source: &Source, how: Simulated) -> Result<Ready> {
    let Simulated { settings, summary } = how;
    let (mut simulator, name) = (simulate::simulator(wiring, source, settings)?, source.name.clone());
    let run = move |stop: CancellationToken| -> Running {
        Box::pin(async move {
            let found = simulate::run(&mut simulator, &name, &stop).await?;
            Ok(summary.map_or(Ok(()), |path| simulate::write(&path, &found))?)
        })
    };
    Ok(Ready { name: "sim".to_owned(), run: Box::new(run) })
}

/// One connector per stream of a folder.
fn folders(wiring: &Wiring, source: &Source, files: &Files, once: bool) -> Vec<Ready> {
    let (topics, streams): (Vec<_>, Vec<_>) = source.file_streams().into_iter().unzip();
    let ready = |(route, topic): (Route, TopicName)| {
        let topic = wiring.project.catalog.contract(&topic)?;
        let name = format!("files {} to {}", files.dir.display(), topic.name);
        let connector = folder(wiring, Feed { files: files.clone(), route, topic }, once);
        Some(Ready::new(name, Box::new(connector)))
    };
    Route::of(streams).into_iter().zip(topics).filter_map(ready).collect()
}

fn folder(wiring: &Wiring, feed: Feed, once: bool) -> ingest::Files {
    ingest::Files::new(context(wiring, once), wiring.project.stages.ingest.clone(), feed)
}

/// What was published from a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Files with at least one published row.
    pub files: u64,
    /// Rows on the topic.
    pub rows: u64,
    /// Lines on the dead-letter topic.
    pub bad_lines: u64,
    /// Files and other entries of the folder that were not read.
    pub aside: u64,
}

/// Publishes all files of a folder on one topic. `None`: stopped before Kafka could be reached.
pub async fn publish_folder(
    wiring: &Wiring,
    dir: PathBuf,
    topic: &TopicName,
    dead_letter: &TopicName,
    once: bool,
    stop: &CancellationToken,
) -> Result<Option<Published>> {
    let feed = folder_feed(wiring, dir, topic, dead_letter)?;
    if wiring.host.is_some() {
        prepare(wiring).await?;
    } else if !applied(wiring, "ingest", [topic, dead_letter], stop).await? {
        return Ok(None);
    }
    let mut files = folder(wiring, feed, once);
    let sent = run(&mut files, stop).await?;
    let counts = files.counts();
    let (rows, bad_lines) = (sent.records, sent.bad);
    Ok(Some(Published { files: counts.files, rows, bad_lines, aside: counts.aside }))
}

fn folder_feed(wiring: &Wiring, dir: PathBuf, topic: &TopicName, dead_letter: &TopicName) -> Result<Feed> {
    let declared = |topic: &TopicName| -> Result<Topic> {
        let undeclared = || Error::Usage(format!("topic `{topic}` is not declared in topics.yaml"));
        wiring.project.catalog.contract(topic).ok_or_else(undeclared)
    };
    if declared(dead_letter)?.value != ValueFormat::Bytes {
        let why = format!("topic `{dead_letter}` cannot take bad lines: declare it as `value: bytes`");
        return Err(Error::Usage(why));
    }
    if dead_letter == topic {
        return Err(Error::Usage(format!("topic `{topic}` cannot take both the rows and the bad lines")));
    }
    let topic = declared(topic)?;
    let files = files_in(&wiring.project, dir, &topic.name, dead_letter.clone());
    Ok(Feed { files, route: Route::all(), topic })
}

/// Settings for the files of a folder: those of the source that reads it for this topic, or the defaults.
fn files_in(project: &Project, dir: PathBuf, topic: &TopicName, dead_letter: TopicName) -> Files {
    let resolved = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let declared = project.catalog.sources.values().find_map(|source| match &source.connection {
        Connection::Files(files)
            if resolved(&files.dir) == resolved(&dir) && source.streams.values().any(|to| to == topic) =>
        {
            Some(files.clone())
        }
        _ => None,
    });
    let poll = Duration::from_millis(200);
    match declared {
        Some(files) => Files { dir, dead_letter, poll, ..files },
        None => Files { poll, ..Files::new(dir, dead_letter) },
    }
}

fn database_feed(wiring: &Wiring, source: &Source, postgres: &Postgres) -> Result<ingest::postgres::Feed> {
    let slot = postgres.slot.clone().unwrap_or_else(|| {
        let name = format!("lakepulse_{}_{}", wiring.project.name, source.name).to_lowercase();
        name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    });
    let catalog = &wiring.project.catalog;
    let tables =
        source.streams.iter().filter_map(|(table, topic)| Some((table.clone(), catalog.contract(topic)?)));
    let url = postgres.url.resolve().with_context(|| format!("`url` of source `{}`", source.name))?;
    Ok(ingest::postgres::Feed {
        source: source.name.clone(),
        url,
        slot,
        publication: postgres.publication.clone(),
        heartbeat: postgres.heartbeat,
        tables: tables.collect(),
    })
}

/// The database source with that name, or the only one if no name is given.
pub fn database(wiring: &Wiring, name: Option<&str>, asked: Asked, once: bool) -> Result<ingest::Postgres> {
    let sources = wiring.project.catalog.sources.values();
    let databases = sources.filter_map(|source| match &source.connection {
        Connection::Postgres(postgres) => Some((source, postgres)),
        _ => None,
    });
    let databases: Vec<(&Source, &Postgres)> = databases.collect();
    let names = databases.iter().map(|(source, _)| &*source.name).collect::<Vec<_>>().join("`, `");
    let of_that_name =
        databases.into_iter().filter(|(source, _)| name.is_none_or(|name| source.name == name));
    match of_that_name.collect::<Vec<_>>()[..] {
        [(source, postgres)] => {
            let feed = database_feed(wiring, source, postgres)?;
            Ok(ingest::Postgres::new(context(wiring, once), feed, asked))
        }
        [] if names.is_empty() => Err(Error::Failed(anyhow!(
            "the project declares no source with `connector: postgres` under sources/"
        ))),
        [] => Err(Error::Failed(anyhow!("the project has no such database; it has `{names}`"))),
        _ => Err(Error::Failed(anyhow!("name one of the project's databases: `{names}`"))),
    }
}
