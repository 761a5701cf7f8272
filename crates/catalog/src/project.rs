//! A loaded project: its settings for the chosen target, and its catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::{ProjectName, Secret};
use url::Url;

use crate::{Catalog, Connection, Fault, Setting, SettingError, Stages};

/// A folder of files that passed every check.
#[derive(Debug, Clone)]
pub struct Project {
    /// The project's folder.
    pub dir: PathBuf,
    /// Prefixes groups, transactional ids and internal topics.
    pub name: ProjectName,
    /// What `now()` means in a gold model.
    pub clock: ClockKind,
    /// When a stage commits.
    pub commit: CommitLimits,
    /// How the stages run.
    pub stages: Stages,
    /// How long stages may stand still before records pass them.
    pub lag_budget: Duration,
    /// Where everything runs.
    pub target: Target,
    /// Topics, sources and models.
    pub catalog: Catalog,
    /// What was given another meaning than its author may expect, such as `now()`.
    pub notices: Vec<Fault>,
}
impl Project {
    /// How long stages may stand still where the project does not say it.
    pub const LAG_BUDGET: Duration = Duration::from_secs(86_400);

    /// A project of which `lakepulse.yaml` says no more than its name.
    pub fn new(dir: PathBuf, name: ProjectName, catalog: Catalog) -> Self {
        Self {
            dir,
            name,
            clock: ClockKind::default(),
            commit: CommitLimits::default(),
            stages: Stages::default(),
            lag_budget: Self::LAG_BUDGET,
            target: Target::default(),
            catalog,
            notices: Vec::new(),
        }
    }
    /// Every secret that the target and the sources refer to, as far as they can be looked up: for whoever
    /// takes them out of what others write.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = self.target.secrets();
        for source in self.catalog.sources.values() {
            if let Connection::Postgres(postgres) = &source.connection
                && let Ok(url) = postgres.url.resolve()
            {
                let parsed = Url::parse(&url).ok();
                secrets.extend(parsed.as_ref().and_then(Url::password).map(Secret::new));
                secrets.push(Secret::new(url));
            }
        }
        secrets
    }
    /// Where a project keeps what is its own and not to be committed: `.lakepulse/`.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(".lakepulse")
    }
    /// Where the lake is, and the options of its store, with every reference looked up.
    pub fn lake(&self) -> Result<(Url, BTreeMap<String, Secret>), SettingError> {
        let Some(lake) = &self.target.lake else {
            let root = self.state_dir().join("lake");
            let root = std::path::absolute(&root).unwrap_or(root);
            let url = Url::from_directory_path(&root)
                .map_err(|()| SettingError::NotAUrl { source: url::ParseError::RelativeUrlWithoutBase })?;
            return Ok((url, BTreeMap::new()));
        };
        let url = Url::parse(&lake.url.resolve()?).map_err(|source| SettingError::NotAUrl { source })?;
        let options = resolve_all(&lake.options)?;
        let endpoint = options.get("aws_endpoint").and_then(|endpoint| Url::parse(endpoint.reveal()).ok());
        for (key, url) in [("lake.url", Some(&url)), ("lake.endpoint", endpoint.as_ref())] {
            if url.is_some_and(|url| url.password().is_some()) {
                return Err(SettingError::PasswordInUrl { key });
            }
        }
        Ok((url, options))
    }
}

/// What a gold model's `now()` follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockKind {
    /// The machine's clock.
    #[default]
    Wall,
    /// The newest event time.
    Events,
}

/// A stage commits when the first of these is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitLimits {
    /// Age of the oldest row that waits.
    pub interval: Duration,
    /// Rows that wait.
    pub max_rows: u64,
    /// Bytes that wait.
    pub max_bytes: u64,
}
impl Default for CommitLimits {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), max_rows: 1_000_000, max_bytes: 128 << 20 }
    }
}

/// The services a project runs on.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// `embedded`, or the name of an entry of `targets:`.
    pub name: String,
    /// Whether broker and registry are hosted by the project's own processes.
    pub embedded: bool,
    /// The Kafka cluster. `None`: embedded.
    pub kafka: Option<KafkaTarget>,
    /// The schema registry. `None`: embedded.
    pub registry: Option<RegistryTarget>,
    /// The lake. `None`: files below `.lakepulse/lake`.
    pub lake: Option<LakeTarget>,
    /// What topics get here unless they say otherwise.
    pub topics: TopicDefaults,
}

impl Target {
    /// Every secret it refers to, as far as they can be looked up.
    fn secrets(&self) -> Vec<Secret> {
        let kafka = self.kafka.iter().flat_map(|kafka| kafka.config.values());
        let registry = self.registry.iter().filter_map(|registry| registry.password.as_ref());
        let lake = self.lake.iter().flat_map(|lake| lake.options.values());
        kafka.chain(registry).chain(lake).filter(|s| s.is_secret()).filter_map(|s| s.secret().ok()).collect()
    }
}

/// How to reach a Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaTarget {
    /// Addresses of brokers.
    pub bootstrap: Setting,
    /// librdkafka's own settings, the `security:` block translated among them.
    pub config: BTreeMap<String, Setting>,
}
impl KafkaTarget {
    /// Bootstrap addresses and client settings with every reference looked up.
    pub fn resolve(&self) -> Result<(String, BTreeMap<String, Secret>), SettingError> {
        Ok((self.bootstrap.resolve()?, resolve_all(&self.config)?))
    }
}

/// How to reach a schema registry.
#[derive(Debug, Clone)]
pub struct RegistryTarget {
    /// Its address.
    pub url: Setting,
    /// Name for basic authentication.
    pub user: Option<Setting>,
    /// Password for basic authentication.
    pub password: Option<Setting>,
    /// File of certificates to trust.
    pub ca: Option<Setting>,
    /// File of the client's certificate.
    pub certificate: Option<Setting>,
    /// File of the client's private key.
    pub key: Option<Setting>,
}
impl RegistryTarget {
    /// Its address, every reference looked up.
    pub fn address(&self) -> Result<String, SettingError> {
        let url = self.url.resolve()?;
        if Url::parse(&url).is_ok_and(|url| url.password().is_some()) {
            return Err(SettingError::PasswordInUrl { key: "registry.url" });
        }
        Ok(url)
    }
}

/// How to reach the lake's store.
#[derive(Debug, Clone)]
pub struct LakeTarget {
    /// `s3://bucket/prefix` or `file:///path`.
    pub url: Setting,
    /// Options of the store by object_store's names, and `ca`: a file of certificates to trust.
    pub options: BTreeMap<String, Setting>,
}

/// What topics get on a target unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Number of partitions.
    pub partitions: Option<i32>,
    /// Number of copies.
    pub replication: Option<i32>,
    /// Settings of the topic by Kafka's own names.
    pub config: BTreeMap<String, String>,
}

fn resolve_all(settings: &BTreeMap<String, Setting>) -> Result<BTreeMap<String, Secret>, SettingError> {
    settings.iter().map(|(key, setting)| Ok((key.clone(), setting.secret()?))).collect()
}
