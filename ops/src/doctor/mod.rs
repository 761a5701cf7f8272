//! Checks every service of a target for what the pipeline depends on.
//!
//! | module | subject |
//! | --- | --- |
//! | [`check`] | one line of the report: subject, finding, advice |
//! | [`judge`] | turns what was seen into verdicts, without I/O |
//! | `broker`, `registry`, `store`, `machine` | ask, each within its own deadlines |
//!
//! An unreachable service gives one failed check, and its other checks are skipped. So a report never hangs
//! and is never cut short.

mod broker;
pub mod check;
mod judge;
mod machine;
mod registry;
mod store;

use catalog::Project;
use runtime::WallClock;
use stream::{Kafka, KafkaSettings, Registry, RegistrySettings};

pub use check::{Check, Verdict};

use crate::host::Host;
use crate::wiring;

/// Runs every check in order. Calls `say` with each result as soon as it is known.
pub async fn examine(project: &Project, mut say: impl FnMut(&Check)) -> Vec<Check> {
    let mut report = Vec::new();
    let mut add = |checks: Vec<Check>| {
        checks.iter().for_each(&mut say);
        report.extend(checks);
    };
    add(machine::checks(project));
    add(store::checks(project, &WallClock).await);
    match services(project).await {
        Ok(services) => {
            let kafka = Kafka::new(services.kafka);
            let registry = Registry::new(services.registry);
            let of_brokers = broker::checks(project, &kafka, &WallClock, services.host.is_some()).await;
            let away = of_brokers.iter().any(|c| c.check == "kafka.reach" && c.verdict == Verdict::Fail);
            add(of_brokers);
            add(registry::checks(project, &registry).await);
            if !away {
                add(broker::debezium(project, &kafka, &registry).await);
            }
            if let Some(host) = services.host {
                host.stop().await;
            }
        }
        Err(error) => add(vec![Check::fail("settings", format!("{error:#}"), SETTINGS)]),
    }
    report
}

/// What to do about a setting that cannot be resolved; the error names it.
const SETTINGS: &str = "set what the target in lakepulse.yaml refers to";

/// Broker and registry: the target's, or embedded ones if it names none.
struct Services {
    kafka: KafkaSettings,
    registry: RegistrySettings,
    host: Option<Host>,
}

async fn services(project: &Project) -> anyhow::Result<Services> {
    if let Some((kafka, registry)) = wiring::services(project)? {
        return Ok(Services { kafka, registry, host: None });
    }
    let (host, kafka, registry) = wiring::embedded(project).await?;
    Ok(Services { kafka, registry, host: Some(host) })
}
