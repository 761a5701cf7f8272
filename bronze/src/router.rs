//! Routes records from the consumer to the tables' tasks, and never waits for a task.
//!
//! The inboxes are unbounded; the memory budget limits them. When a table exceeds its share, the router takes
//! no records for a moment, because a running commit usually frees memory. If it does not, the router pauses
//! that table's partitions, and resumes each where it stopped once the table has room. So a slow table fills
//! only its own share. The pause is not immediate, because pausing a partition makes the client pause all of
//! them and fetch again.
//!
//! Each message carries its partition's generation, which rises with each assignment and with each seek that
//! a task requests. Tasks drop messages of another generation, so records from before a seek never pass for
//! later ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{Offset, TopicName};
use runtime::CancellationToken;
use runtime::time::Instant;
use stream::{Consumer, ConsumerEvent, Records};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::budget::Share;
use crate::shared::{Command, Message, Shared, TopicPartition};
use crate::stalls::Stalls;

/// Where a topic's records go.
pub(crate) struct Route {
    pub inbox: UnboundedSender<Message>,
    pub share: Share,
}

/// How long a table over its share may delay all reading: about as long as a commit takes.
const MOMENT: Duration = Duration::from_secs(2);

/// Routes records until stopped, or until the consumer gives up.
pub(crate) struct Router {
    shared: Arc<Shared>,
    routes: HashMap<TopicName, Route>,
    freed: Arc<Notify>,
    generations: BTreeMap<TopicPartition, u64>,
    /// Partitions of tables over their share, with the offset to resume at, and since when.
    full: BTreeMap<TopicPartition, (Offset, Instant)>,
    /// Paused partitions, with the offset to resume at.
    held: BTreeMap<TopicPartition, Offset>,
    stalls: Stalls,
    halted: Vec<TopicName>,
}

impl Router {
    pub fn new(shared: Arc<Shared>, routes: HashMap<TopicName, Route>, freed: Arc<Notify>) -> Self {
        Self {
            shared,
            routes,
            freed,
            generations: BTreeMap::new(),
            full: BTreeMap::new(),
            held: BTreeMap::new(),
            stalls: Stalls::default(),
            halted: Vec::new(),
        }
    }

    /// Routes the records of `consumer`. Returns it on `stop`, or `None` if it has given up.
    pub async fn run(
        &mut self,
        mut consumer: Consumer,
        commands: &mut UnboundedReceiver<Command>,
        stop: &CancellationToken,
    ) -> Result<Option<Consumer>, stream::Error> {
        loop {
            let patience = self.full.values().map(|(_, since)| *since + MOMENT).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Some(consumer)),
                Some(command) = commands.recv() => {
                    self.on_command(&consumer, command);
                    if let Some(((topic, partition), waited)) = self.stalls.over(Instant::now()) {
                        tracing::warn!(%topic, partition, ?waited, "the log has more records and none of them come, reading anew");
                        consumer.stop().await;
                        self.forget_all();
                        return Ok(None);
                    }
                }
                () = self.freed.notified(), if !(self.held.is_empty() && self.full.is_empty()) => {
                    self.release(&consumer);
                }
                () = runtime::time::sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    self.hold(&consumer);
                }
                event = consumer.next(), if self.full.is_empty() => match event {
                    Some(ConsumerEvent::Error(error)) if error.reaction() == model::Reaction::Halt && !is_about_a_topic(&error) => {
                        return Err(error);
                    }
                    Some(event) => self.on_event(event),
                    None => {
                        self.forget_all();
                        return Ok(None);
                    }
                },
            }
        }
    }

    fn on_event(&mut self, event: ConsumerEvent) {
        match event {
            ConsumerEvent::Assigned(partitions) => {
                self.shared.input.progress.assign(&partitions);
                for (topic, partitions) in by_topic(partitions) {
                    let fresh = |partition: i32| (partition, self.shared.generation());
                    let partitions: Vec<_> = partitions.into_iter().map(fresh).collect();
                    for (partition, generation) in &partitions {
                        self.generations.insert((topic.clone(), *partition), *generation);
                        self.stalls.begin((topic.clone(), *partition));
                        self.read_on(&(topic.clone(), *partition));
                    }
                    tracing::info!(%topic, partitions = partitions.len(), "partitions assigned");
                    self.send(&topic, Message::Assigned(partitions));
                }
            }
            ConsumerEvent::Revoked(partitions) => {
                self.shared.input.progress.revoke(&partitions);
                for (topic, partitions) in by_topic(partitions) {
                    for partition in &partitions {
                        self.generations.remove(&(topic.clone(), *partition));
                        self.stalls.end(&(topic.clone(), *partition));
                        self.read_on(&(topic.clone(), *partition));
                    }
                    tracing::info!(%topic, partitions = partitions.len(), "partitions revoked");
                    self.send(&topic, Message::Revoked(partitions));
                }
            }
            ConsumerEvent::Records(records) => self.on_records(records),
            ConsumerEvent::End(topic, partition, offset) => {
                if let Some(generation) = self.generation(&topic, partition) {
                    self.stalls.reached((topic.clone(), partition), offset);
                    self.send(&topic, Message::End { partition, offset, generation });
                }
            }
            ConsumerEvent::Lost(loss) => {
                // The partition rests until a seek.
                self.stalls.end(&(loss.topic.clone(), loss.partition));
                if let Some(generation) = self.generation(&loss.topic, loss.partition) {
                    self.send(&loss.topic.clone(), Message::Lost { loss, generation });
                }
            }
            ConsumerEvent::Error(error) => tracing::warn!(%error, "consumer goes on after an error"),
        }
    }

    fn on_records(&mut self, records: Records) {
        let (topic, partition) = (records.topic.clone(), records.partition);
        let Some(generation) = self.generation(&topic, partition) else { return };
        let (Some(route), Some(next)) = (self.routes.get(&topic), records.next()) else { return };
        self.stalls.reached((topic.clone(), partition), next);
        let permit = route.share.take(records.bytes().max(1));
        let full = route.share.is_full();
        self.send(&topic, Message::Records { records, generation, permit });
        if full {
            self.full.insert((topic, partition), (next, Instant::now()));
        }
    }

    fn on_command(&mut self, consumer: &Consumer, command: Command) {
        match command {
            Command::Seek { topic, partition, offset, expected, generation } => {
                let key = (topic, partition);
                if self.generations.get(&key) == Some(&expected) {
                    consumer.seek(&key.0, partition, offset);
                    self.stalls.begin(key.clone());
                    self.read_on(&key);
                    self.generations.insert(key, generation);
                }
            }
            Command::Ends { topic, ends } => {
                for (partition, end) in ends {
                    let key = (topic.clone(), partition);
                    // A partition that is not read does not stall.
                    let reads = self.generations.contains_key(&key)
                        && !self.held.contains_key(&key)
                        && self.full.is_empty();
                    self.stalls.ends_at(&key, end, reads, Instant::now());
                }
            }
            Command::ShowLag { topic, partition, offset } => consumer.show_lag(&topic, partition, offset),
            Command::Halt(topic) => {
                for (_, partition) in self.generations.keys().filter(|(t, _)| *t == topic) {
                    consumer.pause(&topic, *partition);
                }
                self.held.retain(|(t, _), _| *t != topic);
                self.full.retain(|(t, _), _| *t != topic);
                self.generations.retain(|(t, _), _| *t != topic);
                self.stalls.forget(&topic);
                self.halted.push(topic);
            }
        }
    }

    /// The partition is read again, so it is neither paused nor over its share.
    fn read_on(&mut self, key: &TopicPartition) {
        self.held.remove(key);
        self.full.remove(key);
    }

    /// Pauses partitions whose tables have stayed over their share.
    fn hold(&mut self, consumer: &Consumer) {
        let now = Instant::now();
        for (key, (next, _)) in self.full.extract_if(.., |_, (_, since)| *since + MOMENT <= now) {
            consumer.pause(&key.0, key.1);
            self.held.insert(key, next);
        }
    }

    /// Resumes partitions whose tables have room again.
    fn release(&mut self, consumer: &Consumer) {
        let routes = &self.routes;
        self.full.retain(|(topic, _), _| routes.get(topic).is_some_and(|route| route.share.is_full()));
        self.held.retain(|(topic, partition), next| {
            let room = routes.get(topic).is_some_and(|route| route.share.has_room());
            if room {
                consumer.seek(topic, *partition, *next);
            }
            !room
        });
    }

    /// The consumer is gone, and so are its partitions.
    fn forget_all(&mut self) {
        self.held.clear();
        self.full.clear();
        self.stalls.forget_reads();
        let all: Vec<TopicPartition> = std::mem::take(&mut self.generations).into_keys().collect();
        self.shared.input.progress.revoke(&all);
        for (topic, partitions) in by_topic(all) {
            self.send(&topic, Message::Revoked(partitions));
        }
    }

    fn generation(&self, topic: &TopicName, partition: i32) -> Option<u64> {
        self.generations.get(&(topic.clone(), partition)).copied()
    }
    fn send(&self, topic: &TopicName, message: Message) {
        if self.halted.contains(topic) {
            return;
        }
        if let Some(route) = self.routes.get(topic) {
            // A task that has ended has reported why, and its records are not needed.
            drop(route.inbox.send(message));
        }
    }
}

/// An error of one topic does not stop the others.
fn is_about_a_topic(error: &stream::Error) -> bool {
    matches!(error, stream::Error::NoTopic { .. } | stream::Error::NoTopicId { .. })
}

fn by_topic(partitions: Vec<TopicPartition>) -> BTreeMap<TopicName, Vec<i32>> {
    let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}
