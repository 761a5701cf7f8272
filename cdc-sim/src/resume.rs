//! Where each partition goes on: the log's own ends, and nothing else, say what was sent.
//!
//! Each record carries its number in the header `lp.seq`, rising along its partition. A run makes the
//! log from the start and passes over what a partition holds. When it comes to a partition's last
//! record it compares the bytes: a log begun with other settings is refused, not continued.

use avro::Frame;
use model::TopicName;

use crate::block::{Block, Record};
use crate::tables::{TABLES, Table};

/// The last record a partition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Its number.
    pub number: u64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// A partition whose last record is not what these settings make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: i32,
    /// Number of its last record.
    pub number: u64,
}

/// Whether a record is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The partition holds it.
    Held,
    /// The partition lacks it.
    Send,
}

/// What every partition holds.
#[derive(Debug, Default)]
pub struct Resume {
    /// By table and partition.
    last: [Vec<Option<u64>>; TABLES],
    /// Last records that the log has not come to yet.
    unmet: Vec<Unmet>,
}

#[derive(Debug)]
struct Unmet {
    table: Table,
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
    /// Says what a partition of a table's topic holds.
    pub fn hold(&mut self, table: Table, topic: &TopicName, partition: i32, tail: Tail) {
        let last = &mut self.last[table as usize];
        let index = partition.max(0) as usize;
        if last.len() <= index {
            last.resize(index + 1, None);
        }
        last[index] = Some(tail.number);
        self.unmet.push(Unmet { table, topic: topic.clone(), partition, tail });
    }
    /// Number of the last record a partition holds.
    pub fn last(&self, table: Table, partition: i32) -> Option<u64> {
        self.last[table as usize].get(partition.max(0) as usize).copied().flatten()
    }
    /// Judges the next record of the log.
    pub fn judge(&mut self, block: &Block, number: u64, record: &Record) -> Result<Verdict, Mismatch> {
        let Some(last) = self.last(record.table, record.partition) else { return Ok(Verdict::Send) };
        if number < last {
            return Ok(Verdict::Held);
        }
        // Few partitions are unmet, and only until the log has caught up.
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
    /// Whether the log has come to the last record of every partition.
    pub fn is_met(&self) -> bool {
        self.unmet.is_empty()
    }
    /// Judges the end of the log: no partition may hold more than it.
    pub fn end(&self) -> Result<(), Mismatch> {
        self.unmet.first().map_or(Ok(()), |unmet| Err(unmet.mismatch()))
    }
}

/// Whether two messages are the same but for the schema id, which a new registry gives anew.
fn same(held: &[u8], made: &[u8]) -> bool {
    held == made
        || (held.len() >= Frame::LEN && made.len() >= Frame::LEN && held[Frame::LEN..] == made[Frame::LEN..])
}
