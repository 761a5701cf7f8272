//! Tries a cluster for what a pipeline rests on, on a topic made for that.
//!
//! What is asked for is what is tried: that an aborted record stays hidden is found out by aborting one, not
//! by a version number. Each call says what it saw; whether that will do is the caller's to judge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ClockMs, Offset, ProjectName, TopicName};
use rdkafka::admin::AdminClient;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use runtime::Clock;
use runtime::time::Instant;

use crate::aside::{self, Parked};
use crate::ffi::{self, Told};
use crate::logs::{self, Logged};
use crate::{
    Admin, Consumer, ConsumerEvent, Error, Kafka, Limits, Outgoing, Producer, Result, Start, TopicSpec,
    latest,
};

/// How long a broker may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a group may take to give its only member a partition.
const GROUP_PATIENCE: Duration = Duration::from_secs(30);

/// What a cluster says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port` of every broker.
    pub brokers: Vec<String>,
    /// Lowest and highest version of each request that is understood, by the request's number.
    pub requests: BTreeMap<i16, (i16, i16)>,
    /// Copies of each topic's partitions.
    pub copies: BTreeMap<String, Copies>,
}

/// How many brokers hold a topic's partitions: the least over all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// As asked for.
    pub all: usize,
    /// Those that are up to date.
    pub in_sync: usize,
}

/// Asks any broker about the cluster.
pub async fn cluster(kafka: &Kafka) -> Result<Cluster> {
    let mut config = kafka.settings().admin();
    // The library says what a broker understands only in its log.
    config.set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug);
    let client = AdminClient::from_config_and_context(&config, Logged::default())
        .map_err(|error| Error::settings(&error))?;
    let client = Parked::new(client);
    aside::run("kafka-cluster", move || {
        let client = client.inner();
        let metadata = client.fetch_metadata(None, PATIENCE);
        // A broker is asked what it understands before anything else, so that is there by now.
        let told = ffi::told(client);
        let requests = told.iter().filter_map(request_versions).collect();
        told.into_iter().for_each(|told| client.context().take(told));
        let metadata = metadata.map_err(|error| {
            let failure = logs::of(&error, &error.to_string());
            Error::of("describe the cluster", &client.context().behind(failure))
        })?;
        let copies = metadata.topics().iter().filter_map(|topic| {
            let least = |of: &dyn Fn(&rdkafka::metadata::MetadataPartition) -> usize| {
                topic.partitions().iter().map(of).min()
            };
            let copies = Copies { all: least(&|p| p.replicas().len())?, in_sync: least(&|p| p.isr().len())? };
            Some((topic.name().to_owned(), copies))
        });
        let broker = |b: &rdkafka::metadata::MetadataBroker| format!("{}:{}", b.host(), b.port());
        Ok(Cluster {
            brokers: metadata.brokers().iter().map(broker).collect(),
            copies: copies.collect(),
            requests,
        })
    })
    .await?
}

/// `…:   ApiKey Fetch (1) Versions 4..17`
fn request_versions(told: &Told) -> Option<(i16, (i16, i16))> {
    let Told::Line { facility, detail, .. } = told else { return None };
    let (_, rest) = detail.split_once("ApiKey ").filter(|_| facility == "APIVERSION")?;
    let (request, versions) = rest.split_once(") Versions ")?;
    let (least, most) = versions.trim().split_once("..")?;
    Some((request.rsplit_once('(')?.1.parse().ok()?, (least.parse().ok()?, most.parse().ok()?)))
}

/// What transactions did on a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transactions {
    /// The record of a committed transaction was read.
    pub committed_seen: bool,
    /// The record of an aborted one was read, too, by a reader that asked for committed ones.
    pub aborted_seen: bool,
    /// A producer could commit although a newer one had its id.
    pub older_accepted: bool,
    /// What the broker's clock said of a record, between two looks at ours.
    pub stamped: Option<Stamped>,
}

/// One look at another clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// Ours before.
    pub before: ClockMs,
    /// The other.
    pub at: ClockMs,
    /// Ours after.
    pub after: ClockMs,
}

/// A topic to try things on. [`Bench::clear`] deletes it.
pub struct Bench {
    kafka: Kafka,
    admin: Admin,
    topic: TopicName,
    group: String,
    /// Of this trial alone: another may be under way.
    mark: String,
}

impl Bench {
    /// Makes the topic, `_lakepulse.<project>.doctor`. Its records get the broker's time.
    pub async fn make(kafka: &Kafka, project: &ProjectName, replication: i32) -> Result<Self> {
        let topic = crate::internal::trial(project);
        let config = [("message.timestamp.type", "LogAppendTime"), ("retention.ms", "3600000")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let spec = TopicSpec { name: topic.clone(), partitions: 1, replication, config: config.into() };
        let admin = Admin::try_new(kafka)?;
        admin.create(&[spec]).await?;
        let mark = runtime::random::uuid().to_string();
        Ok(Self { kafka: kafka.clone(), admin, topic, group: format!("{project}.doctor.{mark}"), mark })
    }

    /// One transaction aborted, one committed, then one of a producer whose id a newer one has taken.
    pub async fn transactions(&self, clock: &dyn Clock) -> Result<Transactions> {
        let id = &self.group;
        let older = Producer::transactional(&self.kafka, id).await?;
        older.begin().await?;
        self.send(&older, "aborted")?;
        older.flush().await?;
        older.abort().await?;
        let before = clock.now();
        older.begin().await?;
        self.send(&older, "committed")?;
        older.commit().await?;
        let after = clock.now();
        let newer = Producer::transactional(&self.kafka, id).await?;
        let late = async {
            older.begin().await?;
            self.send(&older, "late")?;
            older.commit().await
        };
        let older_accepted = match late.await {
            Ok(()) => true,
            Err(Error::Fenced { .. }) => false,
            Err(error) => return Err(error),
        };
        drop(newer);
        let seen = self.read().await?;
        let stamped = seen.get("committed").map(|at| Stamped { before, at: *at, after });
        Ok(Transactions {
            committed_seen: seen.contains_key("committed"),
            aborted_seen: seen.contains_key("aborted"),
            older_accepted: older_accepted || seen.contains_key("late"),
            stamped,
        })
    }

    /// Joins a group and waits for a record through it: how long that took.
    pub async fn group(&self) -> Result<Duration> {
        let started = Instant::now();
        let producer = Producer::idempotent(&self.kafka).await?;
        self.send(&producer, "grouped")?;
        producer.flush().await?;
        let topics = std::slice::from_ref(&self.topic);
        let limits = Limits::default();
        let mut member = Consumer::subscribe(&self.kafka, &self.group, topics, Arc::new(FromStart), limits)?;
        let came = async {
            while let Some(event) = member.next().await {
                match event {
                    ConsumerEvent::Records(_) => return Ok(()),
                    ConsumerEvent::Error(error) if error.reaction() != model::Reaction::Retry => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Err(Error::Broken { reason: "the consumer ended".to_owned() })
        };
        let came = runtime::time::timeout(GROUP_PATIENCE, came).await;
        member.stop().await;
        let action = "give the only member of a group its partition";
        came.unwrap_or(Err(Error::TimedOut { action, waited: GROUP_PATIENCE }))?;
        Ok(started.elapsed())
    }

    /// Deletes the topic and the group.
    pub async fn clear(self) -> Result<()> {
        // A group nobody is in is forgotten by the broker anyway.
        drop(self.admin.delete_group(&self.group).await);
        self.admin.delete(&self.topic).await
    }

    fn send(&self, producer: &Producer, what: &str) -> Result<()> {
        let (key, value) = (Some(self.mark.as_bytes()), Some(what.as_bytes()));
        let topic = &self.topic;
        producer.send(Outgoing { topic, partition: Some(0), key, value, headers: &[], timestamp: None })
    }

    /// What this trial sent, as a reader of committed records sees it, with the time each record has.
    async fn read(&self) -> Result<BTreeMap<String, ClockMs>> {
        let mut seen = BTreeMap::new();
        let ends = self.admin.watermarks(&self.topic).await?;
        latest::read(&self.kafka, &self.topic, &ends, |records| {
            for i in (0..records.len()).filter(|i| records.key(*i) == Some(self.mark.as_bytes())) {
                let value = String::from_utf8_lossy(records.value(i).unwrap_or_default()).into_owned();
                seen.insert(value, ClockMs(records.timestamp(i)));
            }
        })
        .await?;
        Ok(seen)
    }
}

/// Reads from the start of the log.
struct FromStart;
impl Start for FromStart {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        vec![None; assigned.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{bench, nowhere, soon, topic};

    #[test]
    fn what_a_broker_understands_is_overheard() {
        let versions = |detail: &str| {
            let (facility, detail) = ("APIVERSION".to_owned(), detail.to_owned());
            request_versions(&Told::Line { level: 7, facility, detail })
        };
        let line = "[thrd:main]: localhost:9092/1:   ApiKey Fetch (1) Versions 4..17";
        assert_eq!(versions(line), Some((1, (4, 17))));
        assert_eq!(versions("[thrd:main]: Broker API support:"), None);
        assert_eq!(versions("ApiKey Fetch (x) Versions 4..17"), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trial_sees_what_a_good_broker_does_and_leaves_nothing_behind() {
        let shop = bench(&[("t", 2)]).await;
        let cluster = soon(cluster(&shop.kafka)).await.expect("reachable");
        assert_eq!(cluster.copies.get("t"), Some(&Copies { all: 1, in_sync: 1 }));
        assert_eq!(cluster.brokers.len(), 1);
        assert!(cluster.requests.contains_key(&22), "InitProducerId among {:?}", cluster.requests);
        let project: ProjectName = "shop".parse().expect("a name");
        let trial = soon(Bench::make(&shop.kafka, &project, 1)).await.expect("made");
        let seen = soon(trial.transactions(&runtime::WallClock)).await.expect("tried");
        assert!(seen.committed_seen && !seen.aborted_seen && !seen.older_accepted, "{seen:?}");
        let stamped = seen.stamped.expect("the record was read");
        assert!((stamped.before..=stamped.after).contains(&stamped.at), "one machine: {stamped:?}");
        soon(trial.group()).await.expect("through a group");
        soon(trial.clear()).await.expect("deleted");
        let made = [topic("_lakepulse.shop.doctor"), topic("t")];
        let gone = soon(shop.admin().absent(&made)).await.expect("reachable");
        assert_eq!(gone, [topic("_lakepulse.shop.doctor")]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_that_is_away_is_an_error_that_says_why() {
        let error = soon(cluster(&nowhere())).await.expect_err("nobody answers");
        assert_eq!(error.reaction(), model::Reaction::Retry);
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
}
