//! A consumer of librdkafka: a thread of its own, and the handle to it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Offset, TopicName};
use tokio::sync::{mpsc, oneshot};

use super::shared::{Command, Queued, Shared};
use super::worker::Worker;
use super::{ConsumerEvent, Limits, Start};
use crate::cluster::Reader;
use crate::{Error, KafkaSettings, Result};

/// How long leaving a group may take.
pub(super) const LEAVE: Duration = Duration::from_secs(5);

/// The handle.
pub(crate) struct Client {
    pub(super) shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<Queued>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Client {
    pub fn subscribe(
        kafka: &KafkaSettings,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Result<Self> {
        Self::run(kafka, group, limits, |worker| worker.subscribe(topics, start))
    }

    pub fn assign(
        kafka: &KafkaSettings,
        partitions: Vec<(TopicName, i32, Offset)>,
        limits: Limits,
    ) -> Result<Self> {
        let group = kafka.config.get("group.id").map_or("lakepulse", model::Secret::reveal);
        Self::run(kafka, group, limits, |worker| worker.assign(partitions))
    }

    fn run(
        kafka: &KafkaSettings,
        group: &str,
        limits: Limits,
        begin: impl FnOnce(&mut Worker) -> Result<()>,
    ) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        // Bounded by `queue_bytes`: the thread takes nothing more while that many wait.
        let (sender, events) = mpsc::unbounded_channel();
        let config = kafka.consumer(group, limits.queue_bytes.min(64 << 20));
        let mut worker = Worker::try_new(&config, limits, shared.clone(), sender)?;
        begin(&mut worker)?;
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("consume-{group}"))
            .spawn(move || {
                worker.run();
                let _unheard = done.send(());
            })
            .map_err(|error| Error::NoThread { reason: error.to_string() })?;
        Ok(Self { shared, events, ended: Some(ended) })
    }
}

#[async_trait]
impl Reader for Client {
    async fn next(&mut self) -> Option<ConsumerEvent> {
        loop {
            let queued = self.events.recv().await?;
            self.shared.took(queued.bytes);
            if queued.is_current() {
                return Some(queued.event);
            }
        }
    }
    fn seek(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.shared.seek(topic, partition, offset);
    }
    fn pause(&self, topic: &TopicName, partition: i32) {
        self.shared.pause(topic, partition);
    }
    fn show_lag(&self, topic: &TopicName, partition: i32, offset: Offset) {
        self.shared.send(Command::ShowLag(topic.clone(), partition, offset));
    }
    async fn stop(mut self: Box<Self>) {
        self.shared.stop();
        if let Some(ended) = self.ended.take() {
            // The thread bounds itself; should it hang in the library, we do not hang with it.
            drop(runtime::time::timeout(LEAVE * 2, ended).await);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
