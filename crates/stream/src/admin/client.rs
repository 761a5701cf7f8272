//! librdkafka's admin client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Offset, TopicName};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::types::RDKafkaErrorCode;
use runtime::Backoff;

use super::{TopicInfo, TopicSpec, Watermarks};
use crate::aside::{self, Parked};
use crate::cluster::Topics;
use crate::error::Failure;
use crate::ffi::{self, End};
use crate::logs::{self, Logged};
use crate::{Error, KafkaSettings, Result};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client.
pub(crate) struct Client {
    client: Arc<Parked<AdminClient<Logged>>>,
}

impl Client {
    pub fn try_new(kafka: &KafkaSettings) -> Result<Self> {
        let client = AdminClient::from_config_and_context(&kafka.admin(), Logged::default())
            .map_err(|error| Error::settings(&error))?;
        Ok(Self { client: Arc::new(Parked::new(client)) })
    }

    /// A broker that has not heard yet of a new topic would call it unknown.
    async fn until_described(&self, topic: &TopicName) -> Result<()> {
        let mut backoff = backoff();
        let deadline = runtime::time::Instant::now() + PATIENCE;
        while self.describe(topic).await?.is_none() {
            if runtime::time::Instant::now() > deadline {
                return Err(Error::TimedOut { action: "announce a topic it created", waited: PATIENCE });
            }
            runtime::time::sleep(backoff.pause()).await;
        }
        Ok(())
    }

    async fn ends(&self, topic: &TopicName, partitions: i32) -> Result<Result<Watermarks, Failure>> {
        let (client, topic) = (self.client.clone(), topic.clone());
        aside::run("kafka-watermarks", move || {
            let partitions: Vec<_> = (0..partitions).map(|p| (topic.clone(), p)).collect();
            let lows = ffi::offsets(client.inner(), &partitions, End::Low, PATIENCE)?;
            let highs = ffi::offsets(client.inner(), &partitions, End::High, PATIENCE)?;
            let both = lows.into_iter().zip(highs);
            both.map(|((_, partition, low), (_, _, high))| Ok((partition, (Offset(low?), Offset(high?)))))
                .collect()
        })
        .await
    }

    fn of(&self, action: &'static str, failure: Failure) -> Error {
        let client = self.client.inner();
        ffi::told(client).into_iter().for_each(|told| client.context().take(told));
        Error::of(action, &client.context().behind(failure))
    }
    fn unreachable(&self, action: &'static str, error: &rdkafka::error::KafkaError) -> Error {
        self.of(action, logs::of(error, &error.to_string()))
    }
}

#[async_trait]
impl Topics for Client {
    async fn create(&self, specs: &[TopicSpec]) -> Result<()> {
        if specs.is_empty() {
            return Ok(());
        }
        let topics: Vec<NewTopic<'_>> = specs
            .iter()
            .map(|spec| {
                let topic = NewTopic::new(
                    spec.name.as_str(),
                    spec.partitions,
                    TopicReplication::Fixed(spec.replication),
                );
                spec.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
            })
            .collect();
        let action = "create";
        let outcomes = self
            .client
            .create_topics(&topics, &options())
            .await
            .map_err(|e| self.unreachable("create topics", &e))?;
        for outcome in outcomes {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => return Err(refused(&topic, action, code)),
            }
        }
        for spec in specs {
            self.until_described(&spec.name).await?;
        }
        Ok(())
    }

    async fn grow(&self, topic: &TopicName, partitions: i32) -> Result<()> {
        let wanted = NewPartitions::new(topic.as_str(), usize::try_from(partitions).unwrap_or_default());
        let outcomes = self.client.create_partitions([&wanted], &options()).await.map_err(|e| {
            match e.rdkafka_error_code() {
                Some(code) if code == RDKafkaErrorCode::UnsupportedFeature => {
                    refused(topic.as_str(), "add partitions to", code)
                }
                _ => self.unreachable("add partitions", &e),
            }
        })?;
        for outcome in outcomes {
            if let Err((topic, code)) = outcome {
                return Err(refused(&topic, "add partitions to", code));
            }
        }
        Ok(())
    }

    async fn describe(&self, topic: &TopicName) -> Result<Option<TopicInfo>> {
        let (client, asked) = (self.client.clone(), topic.clone());
        let described = aside::run("kafka-describe", move || {
            ffi::topics(client.inner(), std::slice::from_ref(&asked), PATIENCE)
        })
        .await?
        .map_err(|failure| self.of("describe topics", failure))?;
        match described.into_iter().find(|found| found.name == topic.as_str()) {
            None => Ok(None),
            Some(found) => match found.found {
                Ok(found) => Ok(Some(TopicInfo { id: found.id(topic)?, partitions: found.partitions })),
                Err(failure) if failure.is_unknown_topic() => Ok(None),
                Err(failure) => Err(Error::of("describe topics", &failure)),
            },
        }
    }

    async fn topics(&self) -> Result<Vec<TopicName>> {
        let client = self.client.clone();
        let metadata =
            aside::run("kafka-topics", move || client.inner().fetch_metadata(None, PATIENCE)).await?;
        let metadata = metadata.map_err(|error| self.unreachable("list topics", &error))?;
        // Kafka lets in no other names than ours are.
        Ok(metadata.topics().iter().filter_map(|topic| topic.name().parse().ok()).collect())
    }

    async fn watermarks(&self, topic: &TopicName) -> Result<Watermarks> {
        let info = self.describe(topic).await?.ok_or_else(|| Error::NoTopic { topic: topic.clone() })?;
        let mut backoff = backoff();
        let deadline = runtime::time::Instant::now() + PATIENCE;
        loop {
            match self.ends(topic, info.partitions).await? {
                Ok(watermarks) => return Ok(watermarks),
                Err(failure) if failure.is_leaderless() && runtime::time::Instant::now() < deadline => {
                    runtime::time::sleep(backoff.pause()).await;
                }
                Err(failure) => return Err(self.of("list offsets", failure)),
            }
        }
    }

    async fn delete(&self, topic: &TopicName) -> Result<()> {
        let outcomes = self
            .client
            .delete_topics(&[topic.as_str()], &options())
            .await
            .map_err(|e| self.unreachable("delete topics", &e))?;
        for outcome in outcomes {
            match outcome {
                Ok(_)
                | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((topic, code)) => return Err(refused(&topic, "delete", code)),
            }
        }
        Ok(())
    }

    async fn delete_group(&self, group: &str) -> Result<()> {
        let outcomes = self.client.delete_groups(&[group], &options()).await;
        let outcomes = outcomes.map_err(|e| self.unreachable("delete a group", &e))?;
        let refused = outcomes.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |(_, code)| {
            let failure = Failure { code: code as i32, text: code.to_string() };
            Err(Error::of("delete a group", &failure))
        })
    }

    async fn config(&self, topic: &TopicName) -> Result<BTreeMap<String, String>> {
        // Asked first: the library passes the error of a resource over and returns no settings.
        if self.describe(topic).await?.is_none() {
            return Err(Error::NoTopic { topic: topic.clone() });
        }
        let asked = [ResourceSpecifier::Topic(topic.as_str())];
        let outcomes = self
            .client
            .describe_configs(&asked, &options())
            .await
            .map_err(|e| self.unreachable("describe the settings of a topic", &e))?;
        let mut config = BTreeMap::new();
        for outcome in outcomes {
            match outcome {
                Ok(resource) => {
                    let set = resource.entries.into_iter().filter_map(|e| Some((e.name, e.value?)));
                    config.extend(set);
                }
                Err(code) => return Err(refused(topic.as_str(), "describe", code)),
            }
        }
        if config.is_empty() {
            let (topic, reason) = (topic.clone(), "the broker told none".to_owned());
            return Err(Error::Topic { topic, action: "read the settings of", reason });
        }
        Ok(config)
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_millis(500))
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn refused(topic: &str, action: &'static str, code: RDKafkaErrorCode) -> Error {
    let failure = Failure { code: code as i32, text: code.to_string() };
    match topic.parse() {
        Ok(topic) if !failure.is_denied() => Error::Topic { topic, action, reason: failure.to_string() },
        _ => Error::of("change a topic", &failure),
    }
}
