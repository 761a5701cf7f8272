//! A topic and its partitions, for concurrent use.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use tansu_sans_io::record::deflated;
use uuid::Uuid;

use super::log::{Aborted, Appended, PartitionLog, SEGMENT};

/// Files of compacted topics are small, because only closed files are compacted.
const COMPACTED_SEGMENT: u64 = 8 << 20;

/// A topic.
#[derive(Debug)]
pub(crate) struct StoredTopic {
    pub name: String,
    pub id: Uuid,
    pub replication: i16,
    pub config: RwLock<BTreeMap<String, String>>,
    pub partitions: Vec<Partition>,
}

impl StoredTopic {
    /// Opens the partitions of a topic below `dir`, each from its first visible offset.
    pub(super) fn open(
        dir: &Path,
        name: String,
        id: Uuid,
        replication: i16,
        config: BTreeMap<String, String>,
        starts: &[i64],
    ) -> io::Result<Self> {
        let dir = dir.join(id.to_string());
        let partitions = starts.iter().enumerate().map(|(index, start)| {
            let log = PartitionLog::open(dir.join(index.to_string()), *start)?;
            Ok(Partition::new(log))
        });
        let partitions = partitions.collect::<io::Result<Vec<_>>>()?;
        let topic = Self { name, id, replication, config: RwLock::new(config), partitions };
        topic.apply_config();
        Ok(topic)
    }

    /// Applies the configuration to the partitions' files.
    pub(super) fn apply_config(&self) {
        let usual = if self.cleans_by("compact") { COMPACTED_SEGMENT } else { SEGMENT };
        let bytes = self.number("segment.bytes").and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(usual);
        for partition in &self.partitions {
            partition.with(|log| log.set_limit(bytes));
        }
    }

    /// A partition by its number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// A number in the configuration.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.config.read().get(key)?.parse().ok()
    }

    /// Whether its `cleanup.policy` (Kafka's default is `delete`) names `policy`.
    pub fn cleans_by(&self, policy: &str) -> bool {
        self.config.read().get("cleanup.policy").map_or("delete", String::as_str).contains(policy)
    }
}

/// A partition. Its ends can be read without waiting for a writer.
#[derive(Debug)]
pub(crate) struct Partition {
    log: Mutex<PartitionLog>,
    next: AtomicI64,
    stable: AtomicI64,
}

/// The result of a read.
pub(crate) struct Read {
    pub batches: Vec<deflated::Batch>,
    /// Aborted transactions among them.
    pub aborted: Vec<Aborted>,
}

impl Partition {
    fn new(log: PartitionLog) -> Self {
        let (next, stable) = (AtomicI64::new(log.next()), AtomicI64::new(log.stable()));
        Self { log: Mutex::new(log), next, stable }
    }

    /// Offset the next record gets.
    pub fn next(&self) -> i64 {
        self.next.load(Ordering::Acquire)
    }

    /// End of the records that no open transaction can change.
    pub fn stable(&self) -> i64 {
        self.stable.load(Ordering::Acquire)
    }

    /// The first readable offset.
    pub fn start(&self) -> i64 {
        self.log.lock().start()
    }

    pub(super) fn append(&self, batch: deflated::Batch) -> io::Result<Appended> {
        self.with(|log| log.append(batch))
    }

    /// Batches from `offset`. With `at_least_one`, the first is returned however large it is.
    pub fn read(
        &self,
        offset: i64,
        committed: bool,
        max_bytes: usize,
        at_least_one: bool,
    ) -> io::Result<Read> {
        let log = self.log.lock();
        let limit = if committed { log.stable() } else { log.next() };
        let batches = log.read(offset, limit, max_bytes, at_least_one)?;
        let aborted = match batches.last() {
            Some(last) if committed => log.aborted(offset, last.max_offset()),
            _ => Vec::new(),
        };
        Ok(Read { batches, aborted })
    }

    /// Runs `act` on the log, then publishes its new ends.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut PartitionLog) -> T) -> T {
        let mut log = self.log.lock();
        let result = act(&mut log);
        self.next.store(log.next(), Ordering::Release);
        self.stable.store(log.stable(), Ordering::Release);
        result
    }
}
