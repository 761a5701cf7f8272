//! The simulated source database of a project.

use std::num::NonZeroU32;
use std::path::Path;

use anyhow::Context as _;
use catalog::{Connection, Nature, Project, Setting, Source, WwiSim};
use cdc_sim::database::Login;
use cdc_sim::{SchemaChange, Settings, Share, Simulator, Summary};
use model::Secret;
use runtime::CancellationToken;

use crate::sources::context;
use crate::{Result, Wiring, mask};

/// The simulated source of the project; the first one if there are several.
pub fn source(project: &Project) -> Option<(&Source, &WwiSim)> {
    project.catalog.sources.values().find_map(|source| match &source.connection {
        Connection::WwiSim(declared) => Some((source, declared)),
        _ => None,
    })
}

/// Converts a source's declaration into the simulator's settings.
pub fn settings(declared: &WwiSim) -> Settings {
    // `validate` has checked that a declared share lies between 0 and 1.
    let share = |declared: f64| Share::millionths((declared * 1e6).round() as u32);
    Settings {
        seed: declared.seed,
        events: declared.events,
        rate: declared.rate.map(|rate| rate.ceil() as u32).and_then(NonZeroU32::new),
        pattern: Some(match declared.pattern {
            catalog::Pattern::Trickle => cdc_sim::Pattern::Trickle,
            catalog::Pattern::Bulk => cdc_sim::Pattern::Bulk,
            catalog::Pattern::Burst => cdc_sim::Pattern::Burst,
        }),
        disorder: share(declared.disorder),
        duplicates: share(declared.duplicates),
        poison: share(declared.poison),
        schema_change: declared.schema_change_at.map(|at| SchemaChange { at, column: true, widen: true }),
        ..Default::default()
    }
}

/// Publishes the simulated database's changes until the end of the log or until stopped. Returns what the
/// tables must contain.
pub async fn publish(
    wiring: &Wiring,
    source: &Source,
    settings: Settings,
    stop: &CancellationToken,
) -> Result<Summary> {
    run(&mut simulator(wiring, source, settings)?, &source.name, stop).await
}

pub(crate) fn simulator(wiring: &Wiring, source: &Source, settings: Settings) -> Result<Simulator> {
    let streams = source.streams.iter().map(|(stream, topic)| (stream.clone(), topic.clone()));
    let simulator = Simulator::try_new(settings, context(wiring, false), streams);
    Ok(simulator.with_context(|| format!("source `{}`", source.name))?)
}

pub(crate) async fn run(simulator: &mut Simulator, name: &str, stop: &CancellationToken) -> Result<Summary> {
    let ran = source::run(simulator, stop).await;
    ran.with_context(|| format!("source `{name}`"))?;
    Ok(simulator.take_summary().expect("a simulator that ended well has a summary"))
}

/// Parses the database that a workload is applied to: `postgres://user:password@host:port/database`.
/// References are resolved as in a file of `folder`.
///
/// # Errors
/// A text that says what is wrong with the URL.
pub fn login(url: &str, folder: &Path) -> Result<Login, String> {
    let url = Setting::parse(url, folder, Nature::Secret).and_then(|url| url.resolve());
    let url = url.map_err(|error| error.to_string())?;
    let (host, port, user, password, database) = ingest::postgres::Address::parse(&url)?.login();
    mask::know(vec![Secret::new(url), Secret::new(password.clone())]);
    Ok(Login { host, port, user, password, database })
}

/// Writes the summary as JSON.
pub fn write(path: &Path, summary: &Summary) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(summary)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write `{}`", path.display()))
}
