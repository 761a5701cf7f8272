//! A model of a Kafka cluster, in memory: topics, transactions and groups without threads, ports or waiting.
//!
//! It is what [`stream::cluster`] asks for and no more: offsets that skip (a transaction's marker takes one),
//! records that are read once their transaction is committed, ids that a recreated topic does not share, producers
//! that a later one of their id shuts out, groups that share partitions. [`crate::contract`] holds it to what real
//! brokers do.
//!
//! **Differences from brokers.** A member that is dropped has left its group at once; what another member gets is
//! its own at once, so for a moment two may believe that they have a partition, as when a process stalls. Nothing
//! expires: an open transaction ends when its producer ends it or another of the same id begins. Nothing is deleted
//! unless a test says so ([`Memory::forget_below`]).
//!
//! | module | subject |
//! | --- | --- |
//! | `log` | one partition's records, and which of them can be read |
//! | `group` | who of a group has which partitions |
//! | `reader`, `writer`, `topics` | the three clients |
//! | [`crate::fate`] | what a test lets happen at each step of a client |

mod group;
mod log;
mod reader;
mod topics;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Offset, TopicId, TopicName};
use parking_lot::{Mutex, MutexGuard};
use runtime::Clock;
use stream::cluster::{Cluster, Reader, Topics, Writer};
use stream::{Kafka, Limits, Result, Start};
use tokio::sync::Notify;

use group::Group;
use log::Log;

use crate::fate::Fate;

/// A cluster. Clones are the same one.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
    fate: Arc<dyn Fate>,
}

struct Shared {
    state: Mutex<State>,
    /// Something may have come that a reader waits for.
    changed: Notify,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<TopicName, Topic>,
    groups: BTreeMap<String, Group>,
    /// The newest producer of each transactional id.
    producers: BTreeMap<String, u64>,
    /// The last number given to a topic, a member or a producer.
    numbers: u64,
}
impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

struct Topic {
    id: TopicId,
    config: BTreeMap<String, String>,
    partitions: Vec<Log>,
}

impl Memory {
    /// An empty cluster, whose records are stamped by `clock` unless they bring a time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Notify::new(), clock };
        Self { shared: Arc::new(shared), fate: Arc::new(()) }
    }

    /// The same cluster for a process whose steps end as `fate` says.
    #[must_use]
    pub fn with(&self, fate: Arc<dyn Fate>) -> Self {
        Self { shared: Arc::clone(&self.shared), fate }
    }

    /// The handle that product code takes.
    pub fn kafka(&self) -> Kafka {
        Kafka::over(Arc::new(self.clone()))
    }

    /// Drops the records of a partition below `offset`, as retention does.
    pub fn forget_below(&self, topic: &TopicName, partition: i32, offset: Offset) {
        let mut state = self.state();
        let log = state.topics.get_mut(topic).and_then(|topic| topic.partition_mut(partition));
        log.expect("a partition that there is").forget_below(offset);
        drop(state);
        self.shared.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The lock is not poisoned by a test that panicked: every change is made under it, so none is half done.
        self.shared.state.lock()
    }
}

impl Topic {
    fn partition(&self, partition: i32) -> Option<&Log> {
        self.partitions.get(usize::try_from(partition).ok()?)
    }
    fn partition_mut(&mut self, partition: i32) -> Option<&mut Log> {
        self.partitions.get_mut(usize::try_from(partition).ok()?)
    }
    /// Its partitions' numbers.
    fn numbers(&self) -> std::ops::Range<i32> {
        0..i32::try_from(self.partitions.len()).expect("a model has few partitions")
    }
}

#[async_trait]
impl Cluster for Memory {
    fn topics(&self) -> Result<Arc<dyn Topics>> {
        Ok(Arc::new(topics::Client::new(self.clone())))
    }
    fn subscribe(
        &self,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::Client::join(self.clone(), group, topics, start, limits)))
    }
    fn assign(&self, partitions: Vec<(TopicName, i32, Offset)>, limits: Limits) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::Client::alone(self.clone(), partitions, limits)))
    }
    async fn transactional(&self, id: &str) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::Client::transactional(self.clone(), id).await?))
    }
    fn idempotent(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::Client::idempotent(self.clone())))
    }
}
