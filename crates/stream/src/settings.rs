//! How to reach a cluster, and the settings no operator may change.
//!
//! `config` holds librdkafka's own names. A few of them decide whether records are lost or doubled;
//! those are set here after the operator's, in every client: checksums are verified, nothing is
//! committed or reset behind our back, no topic is created by asking for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Offset, Secret, TopicName};
use rdkafka::ClientConfig;

use crate::cluster::{Cluster, Reader, Topics, Writer};
use crate::{Limits, Result, Start, admin, consumer, producer};

/// A cluster as the operator described it.
#[derive(Clone, Default)]
pub struct KafkaSettings {
    /// `host:port[,host:port…]`.
    pub bootstrap: String,
    /// Further settings, by librdkafka's names.
    pub config: BTreeMap<String, Secret>,
    /// Whether the brokers can do transactions. Without them [`crate::Producer::transactional`]
    /// makes an idempotent producer whose commit is a flush.
    pub transactions: bool,
}

impl std::fmt::Debug for KafkaSettings {
    /// Of further settings the names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap", &self.bootstrap)
            .field("config", &self.config.keys())
            .field("transactions", &self.transactions)
            .finish()
    }
}

/// How to reach a cluster. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Kafka {
    settings: Arc<KafkaSettings>,
    cluster: Arc<dyn Cluster>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kafka").field(&self.settings).finish()
    }
}

impl Kafka {
    /// Takes the settings as they are; a client made from them finds out whether they work.
    pub fn new(settings: KafkaSettings) -> Self {
        let settings = Arc::new(settings);
        Self { cluster: Arc::new(Brokers(Arc::clone(&settings))), settings }
    }
    /// A cluster that is not reached by settings.
    pub fn over(cluster: Arc<dyn Cluster>) -> Self {
        let settings = KafkaSettings { transactions: true, ..KafkaSettings::default() };
        Self { settings: Arc::new(settings), cluster }
    }
    /// The same cluster with one more setting, by librdkafka's name. A cluster that is not reached by settings has none.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut settings = (*self.settings).clone();
        settings.config.insert(name.to_owned(), value.into());
        let settings = Arc::new(settings);
        let cluster = self.cluster.with(&settings).unwrap_or_else(|| Arc::clone(&self.cluster));
        Self { settings, cluster }
    }
    /// The settings.
    pub fn settings(&self) -> &KafkaSettings {
        &self.settings
    }
    pub(crate) fn cluster(&self) -> &dyn Cluster {
        &*self.cluster
    }
}

/// librdkafka's clients.
struct Brokers(Arc<KafkaSettings>);
#[async_trait]
impl Cluster for Brokers {
    fn with(&self, settings: &Arc<KafkaSettings>) -> Option<Arc<dyn Cluster>> {
        Some(Arc::new(Self(Arc::clone(settings))))
    }
    fn topics(&self) -> Result<Arc<dyn Topics>> {
        Ok(Arc::new(admin::client::Client::try_new(&self.0)?))
    }
    fn subscribe(
        &self,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Result<Box<dyn Reader>> {
        Ok(Box::new(consumer::client::Client::subscribe(&self.0, group, topics, start, limits)?))
    }
    fn assign(&self, partitions: Vec<(TopicName, i32, Offset)>, limits: Limits) -> Result<Box<dyn Reader>> {
        Ok(Box::new(consumer::client::Client::assign(&self.0, partitions, limits)?))
    }
    async fn transactional(&self, id: &str) -> Result<Box<dyn Writer>> {
        Ok(Box::new(producer::client::Client::transactional(&self.0, id).await?))
    }
    fn idempotent(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(producer::client::Client::make(&self.0, None)?))
    }
}

impl KafkaSettings {
    fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "lakepulse");
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("socket.keepalive.enable", "true");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        // OpenSSL comes with the binary and knows no system's folder of authorities: it is looked for.
        if !self.config.keys().any(|name| name.starts_with("ssl.ca.")) {
            config.set("ssl.ca.location", "probe");
        }
        for (name, value) in &self.config {
            config.set(name, value.reveal());
        }
        config.set("bootstrap.servers", &self.bootstrap);
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    pub(crate) fn admin(&self) -> ClientConfig {
        self.client(&[], &[])
    }

    /// `prefetch_bytes` bounds what the library holds before we take it.
    pub(crate) fn consumer(&self, group: &str, prefetch_bytes: usize) -> ClientConfig {
        let prefetch = (prefetch_bytes / 1024).clamp(1024, 1024 * 1024).to_string();
        let defaults = [
            // A killed process gives its partitions up after this long.
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
            // At the default of a second a fast reader waits for its own prefetch queue.
            ("fetch.queue.backoff.ms", "20"),
            ("queued.max.messages.kbytes", prefetch.as_str()),
            ("topic.metadata.refresh.interval.ms", "30000"),
        ];
        let fixed = [
            ("group.id", group),
            ("auto.offset.reset", "error"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("check.crcs", "true"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("allow.auto.create.topics", "false"),
        ];
        self.client(&defaults, &fixed)
    }

    pub(crate) fn producer(&self, transactional_id: Option<&str>) -> ClientConfig {
        let defaults = [
            ("linger.ms", "10"),
            ("message.max.bytes", "16777216"),
            ("queue.buffering.max.kbytes", "131072"),
            ("partitioner", "murmur2_random"),
            // In a transaction a delivery may not outlast it: the library sets that deadline.
            if transactional_id.is_none() { ("delivery.timeout.ms", "120000") } else { ("acks", "all") },
        ];
        let fixed = [("enable.idempotence", "true"), ("acks", "all"), ("allow.auto.create.topics", "false")];
        let mut config = self.client(&defaults, &fixed);
        config.remove("transactional.id");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds P1 (docs/invariants.md).
    #[test]
    fn an_operator_cannot_switch_off_what_keeps_records() {
        let config = [("auto.offset.reset", "latest"), ("check.crcs", "false"), ("fetch.wait.max.ms", "7")]
            .map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let settings = KafkaSettings { config: config.into_iter().collect(), ..KafkaSettings::default() };
        let made = settings.consumer("g", 1 << 20);
        assert_eq!(made.get("auto.offset.reset"), Some("error"));
        assert_eq!(made.get("check.crcs"), Some("true"));
        assert_eq!(made.get("fetch.wait.max.ms"), Some("7"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = BTreeMap::from([("sasl.password".to_owned(), Secret::new("canary"))]);
        let settings = KafkaSettings { config, ..KafkaSettings::default() };
        assert!(!format!("{:?}", Kafka::new(settings)).contains("canary"));
    }

    #[test]
    fn authorities_are_those_of_the_system_unless_some_are_given() {
        let made = |config: &[(&str, &str)]| {
            let config = config.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect();
            KafkaSettings { config, ..KafkaSettings::default() }.admin()
        };
        assert_eq!(made(&[]).get("ssl.ca.location"), Some("probe"));
        assert_eq!(made(&[("ssl.ca.location", "/my.pem")]).get("ssl.ca.location"), Some("/my.pem"));
        assert_eq!(made(&[("ssl.ca.pem", "-----BEGIN")]).get("ssl.ca.location"), None);
    }
}
