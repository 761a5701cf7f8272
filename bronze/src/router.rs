//! Hands what the consumer brings to the tables' tasks, and waits for none of them.
//!
//! The inboxes have no bound of their own: the memory budget is theirs. When a table holds too much,
//! nothing is taken for a moment, as its commit on the way makes room as a rule. If it does not, the
//! table is not read any more, one partition after the other, and is read again where it stopped once
//! it has room; so a slow table fills its share and nothing else. Not at once, because giving a
//! partition up makes the client pause all of them and fetch again what it held of each.
//!
//! Every message carries the generation of its partition. It rises with each assignment and each seek
//! a task asks for, and tasks drop what is of another one: what was handed over before a seek must not
//! pass for what comes after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{Offset, TopicName};
use runtime::CancellationToken;
use runtime::time::Instant;
use stream::{Consumer, Event, Records};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::budget::Share;
use crate::shared::{Command, Message, Shared};
use crate::stalls::Stalls;

/// Where a topic's records go.
pub(crate) struct Route {
    pub inbox: UnboundedSender<Message>,
    pub share: Share,
}

type Key = (TopicName, i32);

/// How long a table that holds too much keeps everything waiting: as long as a commit may take.
const MOMENT: Duration = Duration::from_secs(2);

/// Routes until stopped, or until the consumer gives up.
pub(crate) struct Router {
    shared: Arc<Shared>,
    routes: HashMap<TopicName, Route>,
    freed: Arc<Notify>,
    generations: BTreeMap<Key, u64>,
    /// Partitions whose table holds too much, where to read them on, and since when.
    full: BTreeMap<Key, (Offset, Instant)>,
    /// Partitions not read for want of room, and where to read on.
    held: BTreeMap<Key, Offset>,
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

    /// Routes what `consumer` brings. Returns it on `stop`; `None`: it has given up.
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
                    Some(Event::Error(error)) if error.reaction() == model::Reaction::Halt && !is_about_a_topic(&error) => {
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

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Assigned(partitions) => {
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
            Event::Revoked(partitions) => {
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
            Event::Records(records) => self.on_records(records),
            Event::End(topic, partition, offset) => {
                if let Some(generation) = self.generation(&topic, partition) {
                    self.stalls.reached((topic.clone(), partition), offset);
                    self.send(&topic, Message::End { partition, offset, generation });
                }
            }
            Event::Lost(loss) => {
                // It rests until it is sought.
                self.stalls.end(&(loss.topic.clone(), loss.partition));
                if let Some(generation) = self.generation(&loss.topic, loss.partition) {
                    self.send(&loss.topic.clone(), Message::Lost { loss, generation });
                }
            }
            Event::Error(error) => tracing::warn!(%error, "consumer goes on after an error"),
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
                    // What we do not want to read does not come.
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

    /// Nothing keeps a partition from being read any more.
    fn read_on(&mut self, key: &Key) {
        self.held.remove(key);
        self.full.remove(key);
    }

    /// Gives up partitions whose table has had its moment.
    fn hold(&mut self, consumer: &Consumer) {
        let now = Instant::now();
        for (key, (next, _)) in self.full.extract_if(.., |_, (_, since)| *since + MOMENT <= now) {
            consumer.pause(&key.0, key.1);
            self.held.insert(key, next);
        }
    }

    /// Reads on where tables have room again.
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

    /// The consumer is gone and its partitions with it.
    fn forget_all(&mut self) {
        self.held.clear();
        self.full.clear();
        self.stalls.forget_reads();
        let all: Vec<Key> = std::mem::take(&mut self.generations).into_keys().collect();
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
            // A task that is gone has said why; its records are of no use to anyone.
            drop(route.inbox.send(message));
        }
    }
}

/// What concerns one topic does not stop the others.
fn is_about_a_topic(error: &stream::Error) -> bool {
    matches!(error, stream::Error::NoTopic { .. } | stream::Error::NoTopicId { .. })
}

fn by_topic(partitions: Vec<Key>) -> BTreeMap<TopicName, Vec<i32>> {
    let mut topics: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    topics
}
