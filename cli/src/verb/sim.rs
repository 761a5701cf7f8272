//! `lakepulse sim`: publishes or only generates the simulated source database's changes.

use anyhow::anyhow;
use catalog::WwiSim;
use cdc_sim::{Settings, Summary};
use model::Exit;
use ops::apply::applied;
use ops::{Wiring, simulate, wiring};

use crate::args::{Common, Workload};
use crate::failure::Failure;
use crate::interrupt;

/// How many events to generate for a rate by default.
const DISCARDED: u64 = 1_000_000;

/// Publishes until the log's end or Ctrl-C, and prints what the tables must contain.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(
    common: &Common,
    workload: &Workload,
    into: Option<&str>,
    discard: bool,
) -> Result<Exit, Failure> {
    if let Some(url) = into {
        let usage = |why: String| Failure::new(Exit::Usage, anyhow!("--into: {why}"));
        let login = simulate::login(url, &common.project).map_err(usage)?;
        // Only the command line configures the log: a project that reads the database declares no simulator.
        let settings = workload.over(simulate::settings(&WwiSim::default()));
        let summary = cdc_sim::database::run(settings, login, interrupt::token()).await?;
        keep(workload, &summary)?;
        println!("{}", serde_json::to_string_pretty(&summary)?);
        return Ok(Exit::Done);
    }
    if discard {
        let project = wiring::project(&common.location()).await?;
        let declared = simulate::source(&project);
        let over = |(_, declared)| workload.over(simulate::settings(declared));
        let mut settings: Settings = declared.map(over).unwrap_or_default();
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
        keep(workload, &discarded.summary)?;
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
    let declared = simulate::source(&wiring.project);
    if wiring.host.is_none() {
        let topics = declared.into_iter().flat_map(|(source, _)| source.streams.values());
        if !applied(wiring, "sim", topics, &quit).await? {
            return Ok(None);
        }
    }
    let none = || anyhow!("the project declares no source with `connector: wwi-sim` under sources/");
    let (source, declared) = declared.ok_or_else(none)?;
    let settings = workload.over(simulate::settings(declared));
    let summary = simulate::publish(wiring, source, settings, &quit).await?;
    keep(workload, &summary)?;
    Ok(Some(summary))
}

/// Writes the summary to its file, if one is wanted.
fn keep(workload: &Workload, summary: &Summary) -> anyhow::Result<()> {
    workload.summary.as_deref().map_or(Ok(()), |path| simulate::write(path, summary))
}
