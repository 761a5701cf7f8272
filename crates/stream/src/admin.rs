//! Topics: create, describe, watermarks, configuration, delete.
//!
//! Every call ends within a deadline, also while no broker answers. A topic's id comes from
//! `DescribeTopics`, for which the client library's safe layer has no call.

pub(crate) mod client;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Offset, TopicId, TopicName};

use crate::cluster::Topics;
use crate::{Kafka, Result};

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// How many partitions.
    pub partitions: i32,
    /// How many brokers hold each.
    pub replication: i32,
    /// Kafka's topic settings.
    pub config: BTreeMap<String, String>,
}

/// A topic as the brokers have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id: a topic that was deleted and created again has another.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
}

/// Start and end of the log by partition.
pub type Watermarks = BTreeMap<i32, (Offset, Offset)>;

/// Asks and changes topics. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<dyn Topics>);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// A client for the cluster. Connects when first used.
    pub fn try_new(kafka: &Kafka) -> Result<Self> {
        kafka.cluster().topics().map(Self)
    }

    /// Creates the topics that do not exist, and returns once all can be described. One that exists
    /// stays as it is, whatever its partitions and settings.
    pub async fn create(&self, specs: &[TopicSpec]) -> Result<()> {
        self.0.create(specs).await
    }

    /// Gives a topic more partitions, so that it has `partitions` of them.
    pub async fn grow(&self, topic: &TopicName, partitions: i32) -> Result<()> {
        self.0.grow(topic, partitions).await
    }

    /// The topic as it is now. `None`: there is none.
    pub async fn describe(&self, topic: &TopicName) -> Result<Option<TopicInfo>> {
        self.0.describe(topic).await
    }

    /// Those of `topics` that do not exist, in their order.
    pub async fn absent<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a TopicName>,
    ) -> Result<Vec<TopicName>> {
        let mut absent = Vec::new();
        for topic in topics {
            if self.describe(topic).await?.is_none() {
                absent.push(topic.clone());
            }
        }
        Ok(absent)
    }

    /// Names of all topics that we may see.
    pub async fn topics(&self) -> Result<Vec<TopicName>> {
        self.0.topics().await
    }

    /// Start and end of the log of every partition; the end counts open transactions.
    pub async fn watermarks(&self, topic: &TopicName) -> Result<Watermarks> {
        self.0.watermarks(topic).await
    }

    /// The topic's settings, defaults included.
    pub async fn config(&self, topic: &TopicName) -> Result<BTreeMap<String, String>> {
        self.0.config(topic).await
    }

    /// Deletes the topic and all its records. One that does not exist is fine.
    pub async fn delete(&self, topic: &TopicName) -> Result<()> {
        self.0.delete(topic).await
    }

    /// Forgets a group that nobody is in.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        self.0.delete_group(group).await
    }
}

#[cfg(test)]
mod tests;
