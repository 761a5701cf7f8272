//! A loaded project: its settings for the chosen target, and its catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use model::{ProjectName, Secret};
use url::Url;

use crate::{Catalog, Connection, Fault, Setting, SettingError, Stages};

/// A project that passed every check.
#[derive(Debug, Clone)]
pub struct Project {
    /// The project's folder.
    pub dir: PathBuf,
    /// Prefixes groups, transactional ids and internal topics.
    pub name: ProjectName,
    /// The clock behind `now()` in a gold model.
    pub clock: ClockKind,
    /// When a stage commits.
    pub commit: CommitLimits,
    /// How the stages run.
    pub stages: Stages,
    /// How long stages may stop without losing records. `doctor` compares retention with it.
    pub lag_budget: Duration,
    /// The services that everything runs on.
    pub target: Target,
    /// Topics, sources and models.
    pub catalog: Catalog,
    /// Remarks on constructs whose meaning may surprise their author, such as `now()`.
    pub notices: Vec<Fault>,
}
impl Project {
    /// The default of `lag_budget`.
    pub const LAG_BUDGET: Duration = Duration::from_secs(86_400);

    /// A project with all settings at their defaults.
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
    /// All secrets that the target and the sources refer to, as far as they can be resolved, for hiding them in
    /// the output of others.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = self.target.secrets();
        for source in self.catalog.sources.values() {
            let url = match &source.connection {
                Connection::Postgres(postgres) => postgres.url.resolve(),
                Connection::WwiSim(_) | Connection::Files(_) => continue,
            };
            let Ok(url) = url else { continue };
            let parsed = Url::parse(&url).ok();
            secrets.extend(parsed.as_ref().and_then(Url::password).map(Secret::new));
            secrets.push(Secret::new(url));
        }
        secrets
    }
    /// The folder for the project's own state, which is not to be committed: `.lakepulse/`.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(".lakepulse")
    }
    /// The lake's URL and the options of its store, with every reference resolved.
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

/// The clock behind `now()` in a gold model.
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
    /// Age of the oldest waiting row.
    pub interval: Duration,
    /// Waiting rows.
    pub max_rows: u64,
    /// Waiting bytes.
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
    /// Whether the project's own processes host broker and registry.
    pub embedded: bool,
    /// The Kafka cluster. `None`: embedded.
    pub kafka: Option<KafkaTarget>,
    /// The schema registry. `None`: embedded.
    pub registry: Option<RegistryTarget>,
    /// The lake. `None`: files below `.lakepulse/lake`.
    pub lake: Option<LakeTarget>,
    /// Defaults for topics on this target.
    pub topics: TopicDefaults,
}

impl Target {
    /// All secrets it refers to, as far as they can be resolved.
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
    /// librdkafka's own settings, including the translated `security:` block.
    pub config: BTreeMap<String, Setting>,
}
impl KafkaTarget {
    /// Bootstrap addresses and client settings, with every reference resolved.
    pub fn resolve(&self) -> Result<(String, BTreeMap<String, Secret>), SettingError> {
        Ok((self.bootstrap.resolve()?, resolve_all(&self.config)?))
    }
}

/// How to reach a schema registry.
#[derive(Debug, Clone)]
pub struct RegistryTarget {
    /// Its address.
    pub url: Setting,
    /// User name for basic authentication.
    pub user: Option<Setting>,
    /// Password for basic authentication.
    pub password: Option<Setting>,
    /// File of trusted certificates.
    pub ca: Option<Setting>,
    /// File of the client's certificate.
    pub certificate: Option<Setting>,
    /// File of the client's private key.
    pub key: Option<Setting>,
}
impl RegistryTarget {
    /// Its address, with every reference resolved.
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
    /// Options of the store by object_store's names, and `ca`: a file of trusted certificates.
    pub options: BTreeMap<String, Setting>,
}

/// Defaults for topics on a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Number of partitions.
    pub partitions: Option<i32>,
    /// Number of replicas.
    pub replication: Option<i32>,
    /// Settings of the topic by Kafka's own names.
    pub config: BTreeMap<String, String>,
}

fn resolve_all(settings: &BTreeMap<String, Setting>) -> Result<BTreeMap<String, Secret>, SettingError> {
    settings.iter().map(|(key, setting)| Ok((key.clone(), setting.secret()?))).collect()
}
