//! From a folder to a checked project and connections to what its target names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use catalog::{Fault, KafkaTarget, Project, RegistryTarget, Setting, SettingError};
use lake::{Lake, LakeSettings};
use runtime::health::HealthRegistry;
use runtime::{Clock, Ids, Meters, RandomIds, Traces, WallClock};
use stream::{Kafka, KafkaSettings, Registry, RegistrySettings};

use crate::host::Host;
use crate::{Error, Result, learn, mask};

/// The folder of a project and the chosen target.
#[derive(Debug, Clone)]
pub struct Location {
    /// The folder of `lakepulse.yaml`.
    pub folder: PathBuf,
    /// A name in `targets:`.
    pub target: String,
}

/// A checked project and open connections to what its target names.
pub struct Wiring {
    /// Folder and target.
    pub at: Location,
    /// The project, with learned columns.
    pub project: Arc<Project>,
    /// Kafka.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: Registry,
    /// The tables.
    pub lake: Lake,
    /// The embedded broker and registry, if the target names none.
    pub host: Option<Host>,
    /// Addresses at which other programs reach broker and registry.
    pub addresses: Vec<String>,
    /// Source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Ids of commits and files.
    pub ids: Arc<dyn Ids>,
    /// Metrics and traces of this process.
    pub meters: Meters,
    /// Health of the process's components.
    pub health: HealthRegistry,
}
impl Wiring {
    /// Checks the project and connects. On the embedded target, the first process of a project hosts broker
    /// and registry, and the others connect to it.
    pub async fn open(at: &Location) -> Result<Self> {
        Self::over(at, project(at).await?, false).await
    }

    /// Like [`Self::open`], for an operation that only reads and uses the sound part of a project.
    pub async fn open_sound(at: &Location, sound: &Sound) -> Result<Self> {
        Self::over(at, sound.project.clone(), true).await
    }

    /// Whether stages create what is missing. Otherwise only `apply` does.
    pub(crate) fn creates(&self) -> bool {
        self.host.is_some()
    }

    async fn over(at: &Location, project: Arc<Project>, sound: bool) -> Result<Self> {
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
        let project = learn::columns(at, project, &lake, &kafka, &registry, sound).await?;
        Ok(Self {
            at: at.clone(),
            project,
            kafka,
            registry,
            lake,
            host,
            addresses,
            clock: Arc::new(WallClock),
            ids,
            meters: Meters::traced(Traces::from_environment().context("cannot start tracing")?),
            health: HealthRegistry::default(),
        })
    }
    /// Waits for running checkpoints, and releases the embedded broker if this process hosts it.
    pub async fn close(self) {
        self.lake.settle().await;
        self.meters.traces().shut_down().await;
        if let Some(host) = self.host {
            host.stop().await;
        }
    }
}

/// Loads and checks the project, without contacting a service.
pub async fn project(at: &Location) -> Result<Arc<Project>> {
    checked(catalog::load(&at.folder, &at.target).await)
}

/// The part of a project that has no fault: without faulty models and those that depend on them.
pub struct Sound {
    /// The project without them.
    pub project: Arc<Project>,
    /// Why models were left out. Empty: none were.
    pub left_out: Vec<Fault>,
}

/// Loads the sound part of a project for an operation that only reads, without contacting a service.
pub async fn sound(at: &Location) -> Result<Sound> {
    match catalog::load_sound(&at.folder, &at.target, &catalog::Learned::new()).await {
        Ok((project, left_out)) => Ok(Sound { project: checked(Ok(project))?, left_out }),
        Err(faults) => Err(Error::Invalid(faults)),
    }
}

/// The project if it has no faults. Masks its secrets from here on.
pub(crate) fn checked(loaded: Result<Project, Vec<Fault>>) -> Result<Arc<Project>> {
    let project = loaded.map_err(Error::Invalid)?;
    mask::know(project.secrets());
    Ok(Arc::new(project))
}

/// How to reach the target's own broker and registry. `None`: they are embedded.
pub fn services(project: &Project) -> anyhow::Result<Option<(KafkaSettings, RegistrySettings)>> {
    let (Some(kafka), Some(registry)) = (&project.target.kafka, &project.target.registry) else {
        return Ok(None);
    };
    Ok(Some((self::kafka(kafka)?, self::registry(registry)?)))
}

/// The project's embedded broker and registry, hosted by this process if no other process does.
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
pub async fn lake(project: &Project, ids: Arc<dyn Ids>) -> Result<Lake> {
    let settings = lake_settings(project)?;
    let url = settings.url.clone();
    let opened = Lake::connect(settings, ids).await;
    Ok(opened.with_context(|| format!("cannot open the lake at `{url}`"))?)
}
