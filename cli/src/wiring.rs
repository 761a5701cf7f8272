//! From arguments to a project and the systems its target names.

use std::sync::Arc;

use anyhow::Context as _;
use catalog::Project;
use lake::{Lake, LakeSettings};
use model::Exit;
use runtime::health::Board;
use runtime::{Clock, Ids, Meters, RandomIds, WallClock};
use stream::embedded::Host;
use stream::{Kafka, KafkaSettings, Registry, RegistrySettings};

use crate::args::Common;
use crate::failure::Failure;

/// A checked project and open connections to what its target names.
pub struct Wiring {
    pub project: Arc<Project>,
    pub kafka: Kafka,
    pub registry: Registry,
    pub lake: Lake,
    /// The embedded broker and registry, when the target has no own.
    pub host: Option<Host>,
    /// Where other programs reach broker and registry.
    pub addresses: Vec<String>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub meters: Meters,
    pub board: Board,
}
impl Wiring {
    /// Checks the project and connects. On the embedded target the first process of a project hosts
    /// broker and registry, the others find it.
    pub async fn open(common: &Common) -> Result<Self, Failure> {
        let project = project(common).await?;
        let ids: Arc<dyn Ids> = Arc::new(RandomIds);
        let lake = lake(&project, ids.clone()).await?;
        let (host, kafka, registry) = match (&project.target.kafka, &project.target.registry) {
            (Some(kafka), Some(registry)) => {
                let (bootstrap, config) = kafka.resolve().context("the target's `kafka`")?;
                let user = registry.user.as_ref().map(catalog::Setting::resolve).transpose();
                let password = registry.password.as_ref().map(catalog::Setting::resolve).transpose();
                let registry = RegistrySettings {
                    url: registry.url.resolve().context("the target's `registry.url`")?,
                    user: user.context("the target's `registry.user`")?,
                    password: password.context("the target's `registry.password`")?,
                };
                (None, KafkaSettings { bootstrap, config, transactions: true }, registry)
            }
            _ => {
                let host =
                    Host::join(&project.state_dir()).await.context("cannot start the embedded broker")?;
                let kafka = KafkaSettings {
                    bootstrap: host.bootstrap.clone(),
                    config: Default::default(),
                    transactions: true,
                };
                let registry =
                    RegistrySettings { url: host.registry_url.clone(), user: None, password: None };
                (Some(host), kafka, registry)
            }
        };
        let addresses = vec![
            format!("kafka    {}", kafka.bootstrap),
            format!("registry {}", registry.url),
            format!("lake     {}", project.lake().context("the target's `lake`")?.0),
        ];
        Ok(Self {
            project,
            kafka: Kafka::new(kafka),
            registry: Registry::new(registry),
            lake,
            host,
            addresses,
            clock: Arc::new(WallClock),
            ids,
            meters: Meters::new(),
            board: Board::default(),
        })
    }
    /// Waits for checkpoints under way, and lets go of the embedded broker when this process hosts it.
    pub async fn close(self) {
        self.lake.settle().await;
        if let Some(host) = self.host {
            host.stop().await;
        }
    }
}

/// Loads and checks the project. Prints every fault and ends with exit 3 when there is one.
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "faults are the verb's output")]
pub async fn project(common: &Common) -> Result<Arc<Project>, Failure> {
    match catalog::load(&common.project, &common.target).await {
        Ok(project) => Ok(Arc::new(project)),
        Err(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            eprintln!("{} fault{} found", faults.len(), if faults.len() == 1 { "" } else { "s" });
            Err(Failure::silent(Exit::InvalidProject))
        }
    }
}

/// The lake of the project's target, without any broker.
pub async fn lake(project: &Project, ids: Arc<dyn Ids>) -> Result<Lake, Failure> {
    let (url, options) = project.lake().context("the target's `lake`")?;
    let opened = Lake::connect(LakeSettings { url: url.clone(), options }, ids).await;
    Ok(opened.with_context(|| format!("cannot open the lake at `{url}`"))?)
}
