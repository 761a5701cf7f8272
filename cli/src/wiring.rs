//! From arguments to a project and the systems its target names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use catalog::{Fault, KafkaTarget, Project, RegistryTarget, Setting, SettingError};
use lake::{Lake, LakeSettings};
use model::Exit;
use runtime::health::Board;
use runtime::{Clock, Ids, Meters, RandomIds, Traces, WallClock};
use stream::{Kafka, KafkaSettings, Registry, RegistrySettings};

use crate::args::Common;
use crate::failure::Failure;
use crate::host::Host;
use crate::{learn, mask};

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
        Self::over(common, project(common).await?, false).await
    }

    /// The same for a verb that only looks: models with a fault, and what rests on them, are left out.
    /// Says which they are, and whether there are any.
    pub async fn open_sound(common: &Common) -> Result<(Self, bool), Failure> {
        let (project, left_out) = sound(common).await?;
        Ok((Self::over(common, project, true).await?, left_out))
    }

    async fn over(common: &Common, project: Arc<Project>, sound: bool) -> Result<Self, Failure> {
        let ids: Arc<dyn Ids> = Arc::new(RandomIds);
        let lake = lake(&project, ids.clone()).await?;
        let (host, kafka, registry) = match services(&project)? {
            Some((kafka, registry)) => (None, kafka, registry),
            None => {
                let (host, kafka, registry) = embedded(&project).await?;
                (Some(host), kafka, registry)
            }
        };
        let addresses = vec![
            format!("kafka    {}", kafka.bootstrap),
            format!("registry {}", registry.url),
            format!("lake     {}", project.lake().context("the target's `lake`")?.0),
        ];
        let (kafka, registry) = (Kafka::new(kafka), Registry::new(registry));
        let project = learn::columns(common, project, &lake, &kafka, &registry, sound).await?;
        Ok(Self {
            project,
            kafka,
            registry,
            lake,
            host,
            addresses,
            clock: Arc::new(WallClock),
            ids,
            meters: Meters::traced(Traces::from_environment().context("cannot start tracing")?),
            board: Board::default(),
        })
    }
    /// Waits for checkpoints under way, and lets go of the embedded broker when this process hosts it.
    pub async fn close(self) {
        self.lake.settle().await;
        self.meters.traces().shut_down().await;
        if let Some(host) = self.host {
            host.stop().await;
        }
    }
}

/// Loads and checks the project, asking nobody.
pub async fn project(common: &Common) -> Result<Arc<Project>, Failure> {
    checked(catalog::load(&common.project, &common.target).await)
}

/// The project for a verb that only looks, and whether something of it is left out: models with a fault
/// and what rests on them, each of which is said.
#[allow(clippy::print_stderr, reason = "faults are the verb's output")]
pub async fn sound(common: &Common) -> Result<(Arc<Project>, bool), Failure> {
    match catalog::load_sound(&common.project, &common.target, &catalog::Learned::new()).await {
        Ok((project, faults)) => {
            for fault in &faults {
                eprintln!("left out: {fault}");
            }
            checked(Ok(project)).map(|project| (project, !faults.is_empty()))
        }
        Err(faults) => checked(Err(faults)).map(|project| (project, false)),
    }
}

/// A project without faults. Prints every fault and ends with exit 3 when there is one.
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "faults are the verb's output")]
pub fn checked(loaded: Result<Project, Vec<Fault>>) -> Result<Arc<Project>, Failure> {
    match loaded {
        Ok(project) => {
            mask::know(project.secrets());
            Ok(Arc::new(project))
        }
        Err(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            eprintln!("{} fault{} found", faults.len(), if faults.len() == 1 { "" } else { "s" });
            Err(Failure::silent(Exit::InvalidProject))
        }
    }
}

/// How to reach the target's own broker and registry. `None`: they are embedded.
pub fn services(project: &Project) -> anyhow::Result<Option<(KafkaSettings, RegistrySettings)>> {
    let (Some(kafka), Some(registry)) = (&project.target.kafka, &project.target.registry) else {
        return Ok(None);
    };
    Ok(Some((self::kafka(kafka)?, self::registry(registry)?)))
}

/// The project's own broker and registry, hosted by this process if no other does.
pub async fn embedded(project: &Project) -> anyhow::Result<(Host, KafkaSettings, RegistrySettings)> {
    let host = Host::join(&project.state_dir()).await.context("cannot start the embedded broker")?;
    let kafka =
        KafkaSettings { bootstrap: host.bootstrap.clone(), config: Default::default(), transactions: true };
    let registry = RegistrySettings { url: host.registry_url.clone(), ..RegistrySettings::default() };
    Ok((host, kafka, registry))
}

fn kafka(target: &KafkaTarget) -> anyhow::Result<KafkaSettings> {
    let (bootstrap, config) = target.resolve().context("the target's `kafka`")?;
    Ok(KafkaSettings { bootstrap, config, transactions: true })
}

fn registry(target: &RegistryTarget) -> anyhow::Result<RegistrySettings> {
    let given = |setting: &Option<Setting>| setting.as_ref().map(Setting::resolve).transpose();
    let all = || -> Result<RegistrySettings, SettingError> {
        let path = |setting| -> Result<_, SettingError> { Ok(given(setting)?.map(PathBuf::from)) };
        Ok(RegistrySettings {
            url: target.address()?,
            user: given(&target.user)?,
            password: target.password.as_ref().map(Setting::secret).transpose()?,
            ca: path(&target.ca)?,
            identity: path(&target.certificate)?.zip(path(&target.key)?),
        })
    };
    all().context("the target's `registry`")
}

/// Where the lake is and how to reach it.
pub fn lake_settings(project: &Project) -> anyhow::Result<LakeSettings> {
    let (url, options) = project.lake().context("the target's `lake`")?;
    Ok(LakeSettings { url, options })
}

/// The lake of the project's target, without any broker.
pub async fn lake(project: &Project, ids: Arc<dyn Ids>) -> Result<Lake, Failure> {
    let settings = lake_settings(project)?;
    let url = settings.url.clone();
    let opened = Lake::connect(settings, ids).await;
    Ok(opened.with_context(|| format!("cannot open the lake at `{url}`"))?)
}
