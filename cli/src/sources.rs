//! The project's sources, as far as they run in this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use catalog::{Connection, Files, Source};
use cdc_sim::{Share, Sink, Summary};
use ingest::files::{Feed, Route};
use model::TopicName;
use ops::Wiring;
use runtime::CancellationToken;

use crate::args::Workload;

/// The simulated source of the project; the first one, when there are several.
pub fn simulated(wiring: &Wiring) -> Option<&Source> {
    wiring.project.catalog.sources.values().find(|source| matches!(source.connection, Connection::WwiSim(_)))
}

/// What the source's file says, overridden by the command line.
pub fn settings(source: &Source, workload: &Workload) -> cdc_sim::Settings {
    let Connection::WwiSim(declared) = &source.connection else { return cdc_sim::Settings::default() };
    overridden(declared, workload)
}

/// What the command line says alone.
pub fn undeclared(workload: &Workload) -> cdc_sim::Settings {
    overridden(&catalog::WwiSim::default(), workload)
}

fn overridden(declared: &catalog::WwiSim, workload: &Workload) -> cdc_sim::Settings {
    let share = |given: Option<Share>, declared: f64| {
        // A declared share was checked to lie between 0 and 1.
        given.unwrap_or_else(|| Share::millionths((declared * 1e6).round() as u32))
    };
    let pattern = match declared.pattern {
        catalog::Pattern::Trickle => cdc_sim::Pattern::Trickle,
        catalog::Pattern::Bulk => cdc_sim::Pattern::Bulk,
        catalog::Pattern::Burst => cdc_sim::Pattern::Burst,
    };
    // A number of events asked for on the command line is to be had as fast as possible, unless the
    // command line says otherwise too.
    let counted = workload.events.is_some();
    let declared_rate = declared.rate.map(|rate| rate.ceil() as u32).and_then(std::num::NonZeroU32::new);
    let both = |at| cdc_sim::SchemaChange { at, column: true, widen: true };
    cdc_sim::Settings {
        seed: workload.seed.unwrap_or(declared.seed),
        events: workload.events.or(declared.events),
        rate: workload.rate.or(if counted { None } else { declared_rate }),
        pattern: workload.pattern.or(if counted { None } else { Some(pattern) }),
        disorder: share(workload.disorder, declared.disorder),
        duplicates: share(workload.duplicates, declared.duplicates),
        poison: share(workload.poison, declared.poison),
        schema_change: workload.schema_change.or(declared.schema_change_at.map(both)),
        ..Default::default()
    }
}

/// Publishes the simulated database's changes until the end of the log or until stopped.
pub async fn simulate(wiring: &Wiring, workload: &Workload, stop: CancellationToken) -> Result<Summary> {
    let Some(source) = simulated(wiring) else {
        bail!("the project declares no source with `connector: wwi-sim` under sources/");
    };
    let streams = source.streams.iter().map(|(stream, topic)| (stream.clone(), topic.clone()));
    let sink = Sink::try_new(wiring.kafka.clone(), wiring.registry.clone(), streams, wiring.meters.clone())
        .with_context(|| format!("source `{}`", source.name))?;
    let summary = cdc_sim::run(settings(source, workload), sink, stop).await;
    let summary = summary.with_context(|| format!("source `{}`", source.name))?;
    if let Some(path) = &workload.summary {
        write_summary(path, &summary)?;
    }
    Ok(summary)
}

/// Writes the oracle's answer.
pub fn write_summary(path: &Path, summary: &Summary) -> Result<()> {
    let text = serde_json::to_string_pretty(summary)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
}

/// What a file source works with.
pub fn files(wiring: &Wiring) -> ingest::files::Context {
    ingest::files::Context {
        project: wiring.project.clone(),
        kafka: wiring.kafka.clone(),
        registry: wiring.registry.clone(),
        meters: wiring.meters.clone(),
        settings: wiring.project.stages.ingest.clone(),
    }
}

/// The folders that the project watches, once for each stream. With `once`, what is there now and no more.
pub fn folders(wiring: &Wiring, once: bool) -> Vec<Feed> {
    let catalog = &wiring.project.catalog;
    let feeds = |source: &Source| {
        let Connection::Files(files) = &source.connection else { return Vec::new() };
        let (topics, streams): (Vec<_>, Vec<_>) = source.file_streams().into_iter().unzip();
        let routes = Route::of(streams).into_iter().zip(topics);
        let feed = |(route, topic)| {
            Some(Feed { files: files.clone(), route, topic: catalog.contract(&topic)?, once })
        };
        routes.filter_map(feed).collect()
    };
    catalog.sources.values().flat_map(feeds).collect()
}

/// How the files of a folder are written: as the source says that watches it for this topic, if any does.
pub fn files_in(wiring: &Wiring, dir: PathBuf, topic: &TopicName, dead_letter: TopicName) -> Files {
    let resolved = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let declared = wiring.project.catalog.sources.values().find_map(|source| match &source.connection {
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

/// What a database source works with.
pub fn databases_context(wiring: &Wiring) -> ingest::postgres::Context {
    ingest::postgres::Context {
        project: wiring.project.clone(),
        kafka: wiring.kafka.clone(),
        registry: wiring.registry.clone(),
        meters: wiring.meters.clone(),
        clock: wiring.clock.clone(),
    }
}

/// The databases that the project reads. With `once`, what is committed now and no more.
pub fn databases(wiring: &Wiring, once: bool) -> Result<Vec<ingest::postgres::Feed>> {
    let catalog = &wiring.project.catalog;
    let feed = |source: &Source| {
        let Connection::Postgres(postgres) = &source.connection else { return None };
        let slot = postgres.slot.clone().unwrap_or_else(|| {
            let name = format!("lakepulse_{}_{}", wiring.project.name, source.name).to_lowercase();
            name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
        });
        let topics = source
            .streams
            .iter()
            .filter_map(|(table, topic)| Some((table.clone(), catalog.contract(topic)?)));
        let url = postgres.url.resolve().with_context(|| format!("`url` of source `{}`", source.name));
        Some(url.map(|url| ingest::postgres::Feed {
            source: source.name.clone(),
            url,
            slot,
            publication: postgres.publication.clone(),
            heartbeat: postgres.heartbeat,
            tables: topics.collect(),
            once,
        }))
    };
    catalog.sources.values().filter_map(feed).collect()
}

/// The database of that name; the only one, where none is given.
pub fn database(wiring: &Wiring, name: Option<&str>, once: bool) -> Result<ingest::postgres::Feed> {
    let mut feeds = databases(wiring, once)?;
    let names = feeds.iter().map(|feed| feed.source.clone()).collect::<Vec<_>>().join("`, `");
    feeds.retain(|feed| name.is_none_or(|name| feed.source == name));
    match (feeds.pop(), feeds.is_empty()) {
        (Some(feed), true) => Ok(feed),
        (Some(_), false) => Err(anyhow!("name one of the project's databases: `{names}`")),
        (None, _) if names.is_empty() => {
            Err(anyhow!("the project declares no source with `connector: postgres` under sources/"))
        }
        (None, _) => Err(anyhow!("the project has no such database; it has `{names}`")),
    }
}
