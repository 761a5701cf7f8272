//! Finds where each partition continues. Only the ends of the topics tell what was sent.
//!
//! Each record has its number in the header `lp.seq`, which rises along its partition. A run generates the
//! log from the start and skips what a partition has. At a partition's last record it compares the bytes: a
//! log that was begun with other settings is refused.

use avro::Frame;
use model::TopicName;

use crate::block::{Block, LogRecord};
use crate::tables::{SourceTable, TABLES};

/// The last record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Its number.
    pub number: u64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// A partition whose last record is not what these settings generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
    /// Number of its last record.
    pub number: u64,
}

/// Whether to send a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The partition has it.
    Held,
    /// The partition does not have it.
    Send,
}

/// What every partition has.
#[derive(Debug, Default)]
pub struct Resume {
    /// Numbers of the last records, by table and partition.
    last: [Vec<Option<u64>>; TABLES],
    /// Last records that the generated log has not reached yet.
    unmet: Vec<Unmet>,
}

#[derive(Debug)]
struct Unmet {
    table: SourceTable,
    topic: TopicName,
    partition: i32,
    tail: Tail,
}
impl Unmet {
    fn mismatch(&self) -> Mismatch {
        Mismatch { topic: self.topic.clone(), partition: self.partition, number: self.tail.number }
    }
}

impl Resume {
    /// Sets the last record of a partition.
    pub fn hold(&mut self, table: SourceTable, topic: &TopicName, partition: i32, tail: Tail) {
        let last = &mut self.last[table as usize];
        let index = partition.max(0) as usize;
        if last.len() <= index {
            last.resize(index + 1, None);
        }
        last[index] = Some(tail.number);
        self.unmet.push(Unmet { table, topic: topic.clone(), partition, tail });
    }
    /// The number of a partition's last record.
    pub fn last(&self, table: SourceTable, partition: i32) -> Option<u64> {
        self.last[table as usize].get(partition.max(0) as usize).copied().flatten()
    }
    /// Decides whether to send the next record of the log.
    pub fn judge(&mut self, block: &Block, number: u64, record: &LogRecord) -> Result<Verdict, Mismatch> {
        let Some(last) = self.last(record.table, record.partition) else { return Ok(Verdict::Send) };
        if number < last {
            return Ok(Verdict::Held);
        }
        // Only few partitions are unmet, and only until the log has caught up.
        let here = |unmet: &Unmet| (unmet.table, unmet.partition) == (record.table, record.partition);
        let unmet = self.unmet.iter().position(here);
        if number > last {
            return unmet.map_or(Ok(Verdict::Send), |unmet| Err(self.unmet[unmet].mismatch()));
        }
        if let Some(unmet) = unmet {
            let unmet = self.unmet.swap_remove(unmet);
            let key = unmet.tail.key.as_deref().is_some_and(|key| same(key, block.key(record)));
            let value = match (unmet.tail.value.as_deref(), block.value(record)) {
                (None, None) => true,
                (Some(held), Some(made)) => same(held, made),
                _ => false,
            };
            if !(key && value) {
                return Err(unmet.mismatch());
            }
        }
        Ok(Verdict::Held)
    }
    /// Whether the log has reached the last record of every partition.
    pub fn is_met(&self) -> bool {
        self.unmet.is_empty()
    }
    /// Checks at the end of the log that no partition has more than it.
    pub fn end(&self) -> Result<(), Mismatch> {
        self.unmet.first().map_or(Ok(()), |unmet| Err(unmet.mismatch()))
    }
}

/// Whether two messages are equal except for the schema id, which differs in a new registry.
fn same(held: &[u8], made: &[u8]) -> bool {
    held == made
        || (held.len() >= Frame::LEN && made.len() >= Frame::LEN && held[Frame::LEN..] == made[Frame::LEN..])
}
