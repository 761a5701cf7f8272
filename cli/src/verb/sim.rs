//! `lakepulse sim`: the simulated source database, onto the topics or into nothing.

use anyhow::anyhow;
use catalog::{Nature, Setting};
use cdc_sim::Summary;
use cdc_sim::database::Login;
use model::{Exit, Secret};
use ops::apply::applied;
use ops::{Wiring, mask, wiring};

use crate::args::{Common, Workload};
use crate::failure::Failure;
use crate::{interrupt, sources};

/// Events generated for a rate when nobody says how many.
const DISCARDED: u64 = 1_000_000;

/// Publishes until the log's end or Ctrl-C, and prints what the tables must hold.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(
    common: &Common,
    workload: &Workload,
    into: Option<&str>,
    discard: bool,
) -> Result<Exit, Failure> {
    if let Some(url) = into {
        let usage = |why: String| Failure::new(Exit::Usage, anyhow!("--into: {why}"));
        let url = Setting::parse(url, &common.project, Nature::Secret).and_then(|url| url.resolve());
        let url = url.map_err(|error| usage(error.to_string()))?;
        let login = ingest::postgres::Address::parse(&url).map_err(usage)?.login();
        let (host, port, user, password, database) = login;
        mask::know(vec![Secret::new(url), Secret::new(password.clone())]);
        let login = Login { host, port, user, password, database };
        // The log is that of the command line: a project that reads the database declares no simulator.
        let settings = sources::undeclared(workload);
        let summary = cdc_sim::database::run(settings, login, interrupt::token()).await?;
        if let Some(path) = &workload.summary {
            sources::write_summary(path, &summary)?;
        }
        println!("{}", serde_json::to_string_pretty(&summary)?);
        return Ok(Exit::Done);
    }
    if discard {
        let project = wiring::project(&common.location()).await?;
        let declared = project.catalog.sources.values().find(|source| source.connector == "wwi-sim");
        let mut settings = declared.map(|source| sources::settings(source, workload)).unwrap_or_default();
        settings.events = settings.events.or(Some(DISCARDED));
        let discarded = runtime::cpu::run(move || cdc_sim::discard(&settings)).await;
        println!(
            "{} events, {} records, {} bytes in {:.2} s: {:.0} events/s",
            discarded.summary.events,
            discarded.records,
            discarded.bytes,
            discarded.seconds,
            discarded.events_per_second()
        );
        if let Some(path) = &workload.summary {
            sources::write_summary(path, &discarded.summary)?;
        }
        return Ok(Exit::Done);
    }
    let wiring = Wiring::open(&common.location()).await?;
    let summary = publish(&wiring, workload).await;
    wiring.close().await;
    if let Some(summary) = summary? {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(Exit::Done)
}

/// `None`: stopped before Kafka could be reached.
async fn publish(wiring: &Wiring, workload: &Workload) -> Result<Option<Summary>, Failure> {
    let quit = interrupt::token();
    if wiring.host.is_none() {
        let topics = sources::simulated(wiring).into_iter().flat_map(|source| source.streams.values());
        if !applied(wiring, "sim", topics, &quit).await? {
            return Ok(None);
        }
    }
    Ok(Some(sources::simulate(wiring, workload, quit).await?))
}
