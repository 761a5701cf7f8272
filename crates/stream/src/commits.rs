//! Who owns which table, and who is woken when an upstream table moved.
//!
//! After a commit its stage sends one announcement for each *downstream* table to
//! `_lakepulse.<project>.commits`, keyed by that table. The instances of a stage are a consumer group
//! on the topic: a key's partition is its murmur2, so whoever has the partition owns the table, is
//! woken at once, and loses it when it dies.
//!
//! An announcement is a hint. It may come twice, late, or never: nothing waits for its delivery, and
//! [`Owners`] wakes every table it owns on a tick besides. The truth is the Delta log, and the
//! compare-and-set of a commit fences an owner that has not heard of its loss. A process that was told
//! which tables to run shares with nobody ([`Owners::alone`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{Offset, ProjectName, TableName, TopicName, Version};
use runtime::time::Instant;

use crate::hash::partition_of;
use crate::{
    Admin, Cause, Consumer, ConsumerEvent, Error, Kafka, Limits, Outgoing, Producer, Records, Result, Start,
};

/// How often owned tables are woken without a hint.
const TICK: Duration = Duration::from_secs(5);
/// Hints are small and few.
const LIMITS: Limits = Limits { max_records: 1000, max_bytes: 1 << 20, queue_bytes: 1 << 20 };

/// Tells downstream tables of new versions.
pub struct Announcer {
    producer: Producer,
    topic: TopicName,
    partitions: i32,
}

impl Announcer {
    /// Errs when the project's topics were not created yet.
    pub async fn try_new(kafka: &Kafka, project: &ProjectName) -> Result<Self> {
        let (topic, partitions) = commits_topic(kafka, project).await?;
        Ok(Self { producer: Producer::idempotent(kafka).await?, topic, partitions })
    }

    /// Wakes the owner of `downstream`. Never waits and never fails: it is a hint.
    pub fn announce(&self, downstream: &TableName, upstream: &TableName, version: Version) {
        let (key, value) = (downstream.to_string(), format!("{upstream} {version}"));
        let hint = Outgoing {
            topic: &self.topic,
            partition: Some(partition_of(key.as_bytes(), self.partitions)),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
            timestamp: None,
        };
        if let Err(error) = self.producer.send_within(hint, Duration::ZERO) {
            tracing::debug!(%error, %downstream, "announcement not sent");
        }
    }
}

/// What an owner learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerEvent {
    /// The table is ours. A [`OwnerEvent::Woken`] follows at once.
    Owned(TableName),
    /// The table is another's.
    Lost(TableName),
    /// Something upstream of the table may have moved.
    Woken(TableName),
}

/// This instance's share of a stage's tables.
pub struct Owners {
    /// `None`: the client gave up, and the next is not there yet.
    consumer: Option<Consumer>,
    /// Joins again. `None`: in no group.
    joins: Option<(Kafka, String)>,
    topic: TopicName,
    state: State,
    tick: Duration,
    next_tick: Instant,
}

/// Decides; see [`Owners`] for who feeds it.
#[derive(Debug, Default)]
struct State {
    /// The stage's tables by partition.
    tables: BTreeMap<i32, BTreeSet<TableName>>,
    owned: BTreeSet<i32>,
    events: VecDeque<OwnerEvent>,
}

impl Owners {
    /// Takes part in owning `tables`, which all instances of `group` must name alike. Errs when the
    /// project's topics were not created yet.
    pub async fn join(
        kafka: &Kafka,
        project: &ProjectName,
        group: &str,
        tables: &[TableName],
    ) -> Result<Self> {
        let (topic, partitions) = commits_topic(kafka, project).await?;
        let consumer =
            Consumer::subscribe(kafka, group, std::slice::from_ref(&topic), Arc::new(FromTheStart), LIMITS)?;
        let state = State::new(tables, partitions);
        let joins = Some((kafka.clone(), group.to_owned()));
        Ok(Self {
            consumer: Some(consumer),
            joins,
            topic,
            state,
            tick: TICK,
            next_tick: Instant::now() + TICK,
        })
    }

    /// Owns `tables`, whoever else does, and takes part in no group: one that owned partitions there
    /// whose other tables it does not run would keep those from everyone. Two owners of a table are
    /// kept apart by the compare-and-set of a commit. Errs when the project's topics were not created
    /// yet.
    pub async fn alone(kafka: &Kafka, project: &ProjectName, tables: &[TableName]) -> Result<Self> {
        let (topic, partitions) = commits_topic(kafka, project).await?;
        let mut state = State::new(tables, partitions);
        let ours: Vec<i32> = state.tables.keys().copied().collect();
        let ends = Admin::try_new(kafka)?.watermarks(&topic).await?;
        let from = |partition: &i32| Some((topic.clone(), *partition, ends.get(partition)?.1));
        let consumer = Consumer::assign(kafka, ours.iter().filter_map(from).collect(), LIMITS)?;
        state.on_assigned(ours.into_iter());
        let next_tick = Instant::now() + TICK;
        Ok(Self { consumer: Some(consumer), joins: None, topic, state, tick: TICK, next_tick })
    }

    /// Wakes owned tables this often without a hint.
    #[must_use]
    pub fn tick(mut self, every: Duration) -> Self {
        (self.tick, self.next_tick) = (every, Instant::now() + every);
        self
    }

    /// What happens next. Cancel safe. A broker that is down only means that ownership stays as it is until the
    /// group says otherwise. When the client gives up, another joins in its place.
    pub async fn next(&mut self) -> Result<OwnerEvent> {
        loop {
            if let Some(event) = self.state.events.pop_front() {
                return Ok(event);
            }
            let event = async {
                match &mut self.consumer {
                    Some(consumer) => consumer.next().await,
                    None => std::future::pending().await,
                }
            };
            match runtime::time::timeout_at(self.next_tick, event).await {
                Err(_) => {
                    self.next_tick = Instant::now() + self.tick;
                    self.state.on_tick();
                    self.join_again();
                }
                Ok(None) => self.lose_client(),
                Ok(Some(event)) => self.on_event(event)?,
            }
        }
    }

    /// Leaves the group, so that others take over at once.
    pub async fn stop(self) {
        if let Some(consumer) = self.consumer {
            consumer.stop().await;
        }
    }

    /// The client is gone, and with it what the group gave us. Who shares with nobody keeps what it has: the
    /// tick wakes it.
    fn lose_client(&mut self) {
        self.consumer = None;
        if self.joins.is_some() {
            tracing::warn!("the client of the group gave up, joining the group again");
            let owned: Vec<i32> = self.state.owned.iter().copied().collect();
            self.state.on_revoked(owned.into_iter());
        }
    }
    fn join_again(&mut self) {
        let (None, Some((kafka, group))) = (&self.consumer, &self.joins) else { return };
        let topics = std::slice::from_ref(&self.topic);
        match Consumer::subscribe(kafka, group, topics, Arc::new(FromTheStart), LIMITS) {
            Ok(consumer) => self.consumer = Some(consumer),
            Err(error) => tracing::warn!(%error, group, "cannot join the group, will be tried again"),
        }
    }

    fn on_event(&mut self, event: ConsumerEvent) -> Result<()> {
        match event {
            ConsumerEvent::Records(records) => self.state.on_records(&records),
            ConsumerEvent::Assigned(partitions) => {
                self.state.on_assigned(partitions.into_iter().map(|(_, p)| p))
            }
            ConsumerEvent::Revoked(partitions) => {
                self.state.on_revoked(partitions.into_iter().map(|(_, p)| p))
            }
            // Hints that are gone are no loss, the tick makes up for them.
            ConsumerEvent::Lost(loss) => match loss.cause {
                Cause::LogStart(offset) | Cause::LogEnd(offset) => {
                    self.seek(loss.partition, offset);
                }
                Cause::Recreated(_) => self.seek(loss.partition, Offset(0)),
            },
            // A broker that comes back may not know the topic yet; the tick wakes meanwhile.
            ConsumerEvent::Error(error @ (Error::NoTopic { .. } | Error::Broken { .. })) => {
                tracing::warn!(%error, "owners go on");
            }
            ConsumerEvent::Error(error) if error.reaction() == model::Reaction::Retry => {
                tracing::debug!(%error, "owners go on");
            }
            ConsumerEvent::Error(error) => return Err(error),
            ConsumerEvent::End(..) => {}
        }
        Ok(())
    }

    fn seek(&self, partition: i32, offset: Offset) {
        if let Some(consumer) = &self.consumer {
            consumer.seek(&self.topic, partition, offset);
        }
    }
}

impl State {
    fn new(tables: &[TableName], partitions: i32) -> Self {
        let mut state = Self::default();
        for table in tables {
            let partition = partition_of(table.to_string().as_bytes(), partitions);
            state.tables.entry(partition).or_default().insert(table.clone());
        }
        state
    }
    fn of(&self, partition: i32) -> Vec<TableName> {
        self.tables.get(&partition).into_iter().flatten().cloned().collect()
    }
    fn on_assigned(&mut self, partitions: impl Iterator<Item = i32>) {
        for partition in partitions {
            if self.owned.insert(partition) {
                for table in self.of(partition) {
                    self.events.push_back(OwnerEvent::Owned(table.clone()));
                    self.events.push_back(OwnerEvent::Woken(table));
                }
            }
        }
    }
    fn on_revoked(&mut self, partitions: impl Iterator<Item = i32>) {
        for partition in partitions {
            if self.owned.remove(&partition) {
                let lost = self.of(partition);
                self.events.extend(lost.into_iter().map(OwnerEvent::Lost));
            }
        }
    }
    /// Many hints for one table wake it once.
    fn on_records(&mut self, records: &Records) {
        if !self.owned.contains(&records.partition) {
            return;
        }
        let keys: BTreeSet<&[u8]> = (0..records.len()).filter_map(|i| records.key(i)).collect();
        let mut woken = self.of(records.partition);
        woken.retain(|table| keys.contains(table.to_string().as_bytes()));
        self.events.extend(woken.into_iter().map(OwnerEvent::Woken));
    }
    fn on_tick(&mut self) {
        let owned: Vec<TableName> = self.owned.iter().flat_map(|partition| self.of(*partition)).collect();
        self.events.extend(owned.into_iter().map(OwnerEvent::Woken));
    }
}

/// Hints are read from as far back as they are kept: a few, and none is missed while nobody owned.
struct FromTheStart;
impl Start for FromTheStart {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        vec![None; assigned.len()]
    }
}

async fn commits_topic(kafka: &Kafka, project: &ProjectName) -> Result<(TopicName, i32)> {
    let topic = crate::internal::commits(project);
    match Admin::try_new(kafka)?.describe(&topic).await? {
        Some(info) => Ok((topic, info.partitions)),
        None => Err(Error::NoTopic { topic }),
    }
}

#[cfg(test)]
mod tests;
