//! The broker's storage: partitions as files, everything else as a journal.
//!
//! tansu provides the protocol, the group coordinator and the services; its `Storage` trait is the interface to
//! a log. Its own sqlite engine is not used. It keeps one row per record and one per header without an index on
//! headers, so the time to read a topic with headers is quadratic; it never delivers a record above 5 MiB; it
//! shows aborted transactions and fences no producer. This store keeps a batch as the bytes the producer sent,
//! and `read_committed`, fencing and transaction timeouts work as in Kafka.
//!
//! Lock order: `state`, then a partition. Writes are small and go to the page cache, so they run on the thread
//! that serves the request.

mod batch;
mod describe;
mod fold;
mod journal;
mod log;
mod maintain;
mod producers;
mod storage;
#[cfg(test)]
mod tests;
mod topic;
mod txn;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use runtime::{Clock as _, WallClock};
use tansu_sans_io::ErrorCode;
use tansu_storage::{GroupDetail, Version};
use tokio::sync::watch;
use uuid::Uuid;

pub(super) use batch::single;
pub(super) use describe::describe;
use fold::{changes_of, fold};
use journal::{Journal, JournalEntry, Place};
pub(super) use topic::{Partition, StoredTopic};
use txn::Txn;

/// The name of this cluster.
pub(super) const CLUSTER: &str = "lakepulse";
/// The id of its only broker.
pub(super) const NODE: i32 = 1;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Kafka has an error code for it.
    Code(ErrorCode),
    /// The disk failed.
    Disk(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// A handle to the storage; clones share it.
#[derive(Clone)]
pub(super) struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    host: String,
    port: u16,
    topics: RwLock<Topics>,
    state: Mutex<BrokerState>,
    /// The last disk error, until [`Store::maintain`] reports it.
    trouble: Mutex<Option<io::Error>>,
    /// Changes whenever new records become readable.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Topics {
    by_name: BTreeMap<String, Arc<StoredTopic>>,
    by_id: HashMap<Uuid, Arc<StoredTopic>>,
}

struct BrokerState {
    journal: Journal,
    starts: BTreeMap<Place, i64>,
    offsets: BTreeMap<String, BTreeMap<Place, i64>>,
    /// Members of groups are not stored: after a restart they join again.
    groups: BTreeMap<String, (GroupDetail, Version)>,
    next_producer: i64,
    /// The journal reserves ids below this one, so they may be assigned.
    reserved_producers: i64,
    txns: BTreeMap<String, Txn>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the storage in `dir`, creating it if needed, for a broker that clients reach at `host` and `port`.
    pub(super) fn open(dir: &Path, host: &str, port: u16) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (journal, changes) = Journal::open(&dir.join("journal.jsonl"))?;
        let folded = fold(changes);
        let mut topics = Topics::default();
        for (name, (id, partitions, replication, config)) in folded.topics {
            let start = |index| folded.starts.get(&(name.clone(), index)).copied().unwrap_or(0);
            let starts: Vec<i64> = (0..partitions).map(start).collect();
            let topic = StoredTopic::open(&dir.join("log"), name, id, replication, config, &starts)?;
            topics.insert(Arc::new(topic));
        }
        remove_strays(&dir.join("log"), &topics)?;
        let state = BrokerState {
            starts: folded.starts,
            offsets: folded.offsets,
            groups: BTreeMap::new(),
            next_producer: folded.next_producer,
            reserved_producers: folded.next_producer,
            txns: folded.txns,
            journal,
        };
        let store = Self(Arc::new(Inner {
            dir: dir.to_owned(),
            host: host.to_owned(),
            port,
            topics: RwLock::new(topics),
            state: Mutex::new(state),
            trouble: Mutex::new(None),
            moved: watch::channel(0).0,
        }));
        store.finish_decided()?;
        store.rewrite_journal(&mut store.0.state.lock())?;
        Ok(store)
    }

    /// A topic by name.
    pub(super) fn topic(&self, name: &str) -> Option<Arc<StoredTopic>> {
        self.0.topics.read().by_name.get(name).cloned()
    }

    /// A topic by id.
    pub(super) fn topic_by_id(&self, id: Uuid) -> Option<Arc<StoredTopic>> {
        self.0.topics.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub(super) fn topics(&self) -> Vec<Arc<StoredTopic>> {
        self.0.topics.read().by_name.values().cloned().collect()
    }

    /// The address at which clients reach this broker.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.0.host, self.0.port)
    }

    /// Changes whenever new records may be readable.
    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// Creates a topic. Returns its id.
    pub(super) fn create(
        &self,
        name: &str,
        partitions: i32,
        replication: i16,
        config: BTreeMap<String, String>,
    ) -> Result<Uuid, Refusal> {
        name.parse::<model::TopicName>().map_err(|_| ErrorCode::InvalidTopicException)?;
        if partitions < 1 {
            return Err(ErrorCode::InvalidPartitions.into());
        }
        let mut state = self.0.state.lock();
        if self.topic(name).is_some() {
            return Err(ErrorCode::TopicAlreadyExists.into());
        }
        let id = runtime::random::uuid();
        let starts = vec![0; usize::try_from(partitions).map_err(|_| ErrorCode::InvalidPartitions)?];
        let log = self.0.dir.join("log");
        let topic = StoredTopic::open(&log, name.to_owned(), id, replication, config.clone(), &starts)?;
        state.journal.append(&JournalEntry::Topic {
            name: name.to_owned(),
            id,
            partitions,
            replication,
            config,
        })?;
        self.0.topics.write().insert(Arc::new(topic));
        Ok(id)
    }

    /// Deletes a topic and its records.
    pub(super) fn drop_topic(&self, topic: &StoredTopic) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        state.journal.append(&JournalEntry::Dropped { name: topic.name.clone() })?;
        state.starts.retain(|place, _| place.0 != topic.name);
        for offsets in state.offsets.values_mut() {
            offsets.retain(|place, _| place.0 != topic.name);
        }
        for txn in state.txns.values_mut() {
            txn.places.retain(|place| place.0 != topic.name);
        }
        self.0.topics.write().remove(topic);
        match fs::remove_dir_all(self.0.dir.join("log").join(topic.id.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Replaces a topic's configuration.
    pub(super) fn configure(
        &self,
        topic: &StoredTopic,
        config: BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let mut state = self.0.state.lock();
        state.journal.append(&JournalEntry::Config { name: topic.name.clone(), config: config.clone() })?;
        *topic.config.write() = config;
        topic.apply_config();
        Ok(())
    }

    /// Hides the records of a partition below `offset`. Returns the first offset that is left.
    pub(super) fn forget_below(
        &self,
        topic: &StoredTopic,
        partition: i32,
        offset: i64,
    ) -> Result<i64, Refusal> {
        let mut state = self.0.state.lock();
        let place = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let end = place.next();
        let offset = if offset == -1 { end } else { offset };
        if offset > end || offset < 0 {
            return Err(ErrorCode::OffsetOutOfRange.into());
        }
        let name = topic.name.clone();
        state.journal.append(&JournalEntry::Start { name: name.clone(), partition, offset })?;
        state.starts.insert((name, partition), offset);
        Ok(place.with(|log| log.forget_below(offset))?)
    }

    /// The answer to a refused request. A disk error is kept for later, because request handlers must not log.
    pub(super) fn code(&self, refusal: Refusal) -> ErrorCode {
        match refusal {
            Refusal::Code(code) => code,
            Refusal::Disk(error) => {
                *self.0.trouble.lock() = Some(error);
                ErrorCode::KafkaStorageError
            }
        }
    }

    fn refused(&self, refusal: Refusal) -> tansu_storage::Error {
        tansu_storage::Error::Api(self.code(refusal))
    }

    fn rewrite_journal(&self, state: &mut BrokerState) -> io::Result<()> {
        let mut changes = vec![JournalEntry::Producers { next: state.reserved_producers }];
        for topic in self.topics() {
            changes.push(JournalEntry::Topic {
                name: topic.name.clone(),
                id: topic.id,
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                replication: topic.replication,
                config: topic.config.read().clone(),
            });
        }
        for ((name, partition), offset) in &state.starts {
            changes.push(JournalEntry::Start { name: name.clone(), partition: *partition, offset: *offset });
        }
        for (group, offsets) in &state.offsets {
            let offsets = offsets.iter().map(|(place, offset)| (place.clone(), *offset)).collect();
            changes.push(JournalEntry::Offsets { group: group.clone(), offsets });
        }
        for (name, txn) in &state.txns {
            changes.extend(changes_of(name, txn));
        }
        state.journal.rewrite(&changes)
    }
}

impl Topics {
    fn insert(&mut self, topic: Arc<StoredTopic>) {
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(topic.name.clone(), topic);
    }

    fn remove(&mut self, topic: &StoredTopic) {
        self.by_id.remove(&topic.id);
        self.by_name.remove(&topic.name);
    }
}

/// Removes folders of topics whose deletion was interrupted.
fn remove_strays(dir: &Path, topics: &Topics) -> io::Result<()> {
    let known: HashSet<String> = topics.by_id.keys().map(Uuid::to_string).collect();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<Uuid>().is_ok() && !known.contains(&name) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The current time for record timestamps.
pub(super) fn now() -> i64 {
    WallClock.now().0
}
