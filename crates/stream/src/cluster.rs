//! The seam: what a cluster has to do for the handles of this crate.
//!
//! [`Kafka`](crate::Kafka) is librdkafka's clients unless it is made over something else. `testkit` has a model of
//! a cluster in memory, and one suite of contracts that the model and real brokers both pass: what a test learns
//! from the model is true of the brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Offset, TopicName};

use crate::admin::Watermarks;
use crate::{ConsumerEvent, KafkaSettings, Limits, Outgoing, Result, Start, TopicInfo, TopicSpec};

/// Makes clients of a cluster. Making one connects to nothing, but where that is said.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// The same cluster, reached by these settings. `None`: it is not reached by settings.
    fn with(&self, _settings: &Arc<KafkaSettings>) -> Option<Arc<dyn Cluster>> {
        None
    }
    /// For [`crate::Admin`].
    fn topics(&self) -> Result<Arc<dyn Topics>>;
    /// For [`crate::Consumer::subscribe`].
    fn subscribe(
        &self,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Result<Box<dyn Reader>>;
    /// For [`crate::Consumer::assign`].
    fn assign(&self, partitions: Vec<(TopicName, i32, Offset)>, limits: Limits) -> Result<Box<dyn Reader>>;
    /// For [`crate::Producer::transactional`]. Returns once every earlier producer of `id` is shut out.
    async fn transactional(&self, id: &str) -> Result<Box<dyn Writer>>;
    /// For [`crate::Producer::idempotent`].
    fn idempotent(&self) -> Result<Box<dyn Writer>>;
}

/// What [`crate::Admin`] stands on; its methods say what these do.
#[allow(missing_docs, reason = "the handle says it")]
#[async_trait]
pub trait Topics: Send + Sync {
    async fn create(&self, specs: &[TopicSpec]) -> Result<()>;
    async fn grow(&self, topic: &TopicName, partitions: i32) -> Result<()>;
    async fn describe(&self, topic: &TopicName) -> Result<Option<TopicInfo>>;
    async fn topics(&self) -> Result<Vec<TopicName>>;
    async fn watermarks(&self, topic: &TopicName) -> Result<Watermarks>;
    async fn config(&self, topic: &TopicName) -> Result<BTreeMap<String, String>>;
    async fn delete(&self, topic: &TopicName) -> Result<()>;
    async fn delete_group(&self, group: &str) -> Result<()>;
}

/// What [`crate::Consumer`] stands on; its methods say what these do. Dropping it leaves the group.
#[allow(missing_docs, reason = "the handle says it")]
#[async_trait]
pub trait Reader: Send + Sync {
    async fn next(&mut self) -> Option<ConsumerEvent>;
    fn seek(&self, topic: &TopicName, partition: i32, offset: Offset);
    fn pause(&self, topic: &TopicName, partition: i32);
    fn show_lag(&self, topic: &TopicName, partition: i32, offset: Offset);
    async fn stop(self: Box<Self>);
}

/// What [`crate::Producer`] stands on; its methods say what these do.
#[allow(missing_docs, reason = "the handle says it")]
#[async_trait]
pub trait Writer: Send + Sync {
    /// Queues a record; waits for room at most so long.
    fn send(&self, record: Outgoing<'_>, patience: Duration) -> Result<()>;
    async fn flush(&self) -> Result<()>;
    async fn begin(&self) -> Result<()>;
    async fn commit(&self) -> Result<()>;
    async fn abort(&self) -> Result<()>;
}
