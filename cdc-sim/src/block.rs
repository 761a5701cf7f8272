//! From changes to the records of the log, one block of changes at a time.
//!
//! (seed, sequence) decides what is spoiled (late events, duplicates, poison), always within a block of
//! [`BLOCK`] changes. Every record has a number that rises along its partition. It is in the header `lp.seq`,
//! and a restart sends each partition the records above its last number.
//!
//! The last block of a run that ends after N events may be cut short. A late event in it might wait for one
//! that never comes, so a cut block has *plain order*: each change followed by its tombstone, poison and
//! duplicate. A whole block has *spoiled order*. Both have the same places but different numbers: even ones
//! for spoiled order, odd ones for plain. So a later run with a larger N sees in a partition's last number in
//! which order that block was begun, and continues in the same order: nothing is lost or doubled, wherever
//! the first run ended.

use avro::Frame;
use stream::hash::partition;

use crate::oracle::{Injected, State};
use crate::record::{ByteRange, Taken};
use crate::rng::{Decision, decide};
use crate::schema::{CONNECTOR, Shape};
use crate::settings::Settings;
use crate::tables::{SourceTable, TABLES};

/// Changes in a whole block.
pub const BLOCK: usize = 1_000;
/// A late event waits for at most this many records of its partition.
const LATE_BY: usize = 64;
/// A duplicate follows within this many records of its partition.
const ECHO_WITHIN: u64 = 32;

/// Number of partitions of each table's topic.
pub type Partitions = [i32; TABLES];

/// Schema ids from the registry. All zero if nothing is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchemaIds {
    /// For keys.
    pub key: [u32; TABLES],
    /// For values before the schema change.
    pub first: [u32; TABLES],
    /// For values after the schema change.
    pub changed: [u32; TABLES],
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A change.
    Change,
    /// The null value after a delete.
    Tombstone,
    /// A change sent again.
    Duplicate,
    /// Bytes that cannot be decoded.
    Poison(Poison),
}

/// The kinds of poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poison {
    /// No bytes at all, which is not a tombstone.
    Empty,
    /// Ends within the frame.
    Short,
    /// Does not begin with the magic byte.
    Magic,
    /// Has the id of a schema that the registry does not have.
    UnknownSchema,
    /// Ends within the record.
    Truncated,
    /// A string that is not UTF-8.
    Utf8,
    /// Extra bytes after the record.
    Trailing,
}
impl Poison {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Empty,
        Self::Short,
        Self::Magic,
        Self::UnknownSchema,
        Self::Truncated,
        Self::Utf8,
        Self::Trailing,
    ];
    /// Spoils a good record. It keeps the key and so the partition.
    fn spoil(self, good: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::Short => out.extend_from_slice(&good[..3]),
            Self::Magic => {
                out.push(b'{');
                out.extend_from_slice(&good[1..]);
            }
            Self::UnknownSchema => {
                out.push(good[0]);
                out.extend_from_slice(&0x7fff_fff1_u32.to_be_bytes());
                out.extend_from_slice(&good[Frame::LEN..]);
            }
            Self::Truncated => out.extend_from_slice(&good[..Frame::LEN + (good.len() - Frame::LEN) / 2]),
            Self::Utf8 => {
                let name = CONNECTOR.as_bytes();
                let at = good.windows(name.len()).position(|bytes| bytes == name).unwrap_or(Frame::LEN);
                out.extend_from_slice(&good[..at]);
                out.extend(std::iter::repeat_n(0xff, name.len()));
                out.extend_from_slice(&good[at + name.len()..]);
            }
            Self::Trailing => {
                out.extend_from_slice(good);
                out.extend_from_slice(&[0xde, 0xad]);
            }
        }
    }
}

/// A record of the log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// What it is.
    pub what: What,
    /// Its table.
    pub table: SourceTable,
    /// Its partition.
    pub partition: i32,
    /// Number of the change it belongs to.
    pub sequence: u64,
    row: i32,
    key: ByteRange,
    value: Option<ByteRange>,
}

/// A block of the log.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    /// In plain order.
    records: Vec<LogRecord>,
    /// Indices of `records` in spoiled order. `None`: the block was cut short.
    spoiled: Option<Vec<usize>>,
    /// Number of records of the log before this block.
    base: u64,
    /// Number of change events in it.
    changes: usize,
    /// What was spoiled up to the end of this block.
    pub injected: Injected,
    /// The state of the tables at the end of this block.
    pub state: State,
}

/// Totals of all blocks before.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunningTotals {
    /// Number of records.
    pub records: u64,
    /// Number of spoiled records, by kind.
    pub injected: Injected,
}

impl Block {
    /// Lays out the block that follows `before`.
    pub fn lay_out(
        settings: &Settings,
        partitions: &Partitions,
        ids: &SchemaIds,
        taken: Taken,
        before: RunningTotals,
    ) -> Self {
        let Taken { changes, mut bytes, whole, state } = taken;
        let mut injected = before.injected;
        let mut records = Vec::with_capacity(changes.len() + changes.len() / 8);
        let draw = |sequence, decision| decide(settings.seed, sequence, decision);
        for change in &changes {
            let (sequence, table) = (change.sequence, change.table as usize);
            Frame::set_id(&mut bytes[change.key.clone()], ids.key[table]);
            let id = if change.changed { ids.changed[table] } else { ids.first[table] };
            Frame::set_id(&mut bytes[change.value.clone()], id);
            let record = |what, value| LogRecord {
                what,
                table: change.table,
                partition: partition(change.route, partitions[table]),
                sequence,
                row: change.row,
                key: change.key.clone(),
                value,
            };
            records.push(record(What::Change, Some(change.value.clone())));
            if change.delete {
                records.push(record(What::Tombstone, None));
            }
            if settings.poison.takes(draw(sequence, Decision::Poison)) {
                let kinds = Poison::ALL.len() as u64;
                let kind = Poison::ALL[(draw(sequence, Decision::PoisonKind) % kinds) as usize];
                let good = bytes[change.value.clone()].to_vec();
                let start = bytes.len();
                kind.spoil(&good, &mut bytes);
                records.push(record(What::Poison(kind), Some(start..bytes.len())));
                injected.poison += 1;
            }
            if settings.duplicates.takes(draw(sequence, Decision::Duplicate)) {
                records.push(record(What::Duplicate, Some(change.value.clone())));
                injected.duplicates += 1;
            }
        }
        let spoiled = whole.then(|| {
            let (order, late) = spoil_order(settings, &records);
            injected.disordered += late;
            order
        });
        if let Some(change) = settings.schema_change.filter(|change| state.events() > change.at) {
            let shape = Shape::after(change);
            injected.schema_changes =
                SourceTable::ALL.iter().filter(|table| shape.changes(**table)).count() as u64;
        }
        Self { bytes, records, spoiled, base: before.records, changes: changes.len(), injected, state }
    }
    /// Totals up to the end of this block.
    pub fn progress(&self) -> RunningTotals {
        RunningTotals { records: self.base + self.records.len() as u64, injected: self.injected }
    }
    /// Number of change events in this block.
    pub fn changes(&self) -> usize {
        self.changes
    }
    /// Numbers and indices of its records in the order of sending. `begun` returns the last number on a
    /// partition.
    pub fn numbered(&self, begun: impl Fn(SourceTable, i32) -> Option<u64>) -> Vec<(u64, usize)> {
        let numbers = 2 * self.base..2 * (self.base + self.records.len() as u64);
        let number = |place: usize, odd: u64| numbers.start + 2 * place as u64 + odd;
        let Some(spoiled) = &self.spoiled else {
            return (0..self.records.len()).map(|place| (number(place, 1), place)).collect();
        };
        let plain = |index: usize| {
            let record = &self.records[index];
            begun(record.table, record.partition).is_some_and(|last| numbers.contains(&last) && last % 2 == 1)
        };
        let mut all: Vec<(u64, usize)> = (0..self.records.len())
            .filter(|index| plain(*index))
            .map(|index| (number(index, 1), index))
            .collect();
        let spoiled = spoiled.iter().enumerate().filter(|(_, index)| !plain(**index));
        all.extend(spoiled.map(|(place, index)| (number(place, 0), *index)));
        all.sort_unstable();
        all
    }
    /// A record by its index.
    pub fn record(&self, index: usize) -> &LogRecord {
        &self.records[index]
    }
    /// The key of one of its records.
    pub fn key(&self, record: &LogRecord) -> &[u8] {
        &self.bytes[record.key.clone()]
    }
    /// The value of one of its records. `None`: a tombstone.
    pub fn value(&self, record: &LogRecord) -> Option<&[u8]> {
        record.value.clone().map(|span| &self.bytes[span])
    }
}

/// Indices of the records in spoiled order, and how many of them are late.
fn spoil_order(settings: &Settings, records: &[LogRecord]) -> (Vec<usize>, u64) {
    let mut order: Vec<usize> = (0..records.len()).collect();
    if settings.disorder.is_none() && settings.duplicates.is_none() {
        return (order, 0);
    }
    // The place of each record. Even: its own or a swapped one. Odd: directly after another record.
    let mut place: Vec<usize> = (0..records.len()).map(|i| 2 * i).collect();
    let mut swapped = vec![false; records.len()];
    let mut late = 0;
    for (i, record) in records.iter().enumerate() {
        let draw = |decision| decide(settings.seed, record.sequence, decision);
        let mut behind = (i + 1..records.len())
            .filter(|j| (records[*j].table, records[*j].partition) == (record.table, record.partition));
        match record.what {
            What::Change if !swapped[i] && settings.disorder.takes(draw(Decision::Disorder)) => {
                let free = |j: &usize| records[*j].what == What::Change && !swapped[*j];
                let near: Vec<usize> = behind.take(LATE_BY).filter(free).collect();
                // Prefer to swap with a later event of the same row, because that is the hardest case for a
                // reader.
                let own = near.iter().find(|j| records[**j].row == record.row);
                let any = || near.get(draw(Decision::Distance) as usize % near.len().max(1));
                if let Some(j) = own.or_else(any) {
                    place.swap(i, *j);
                    (swapped[i], swapped[*j]) = (true, true);
                    late += 1;
                }
            }
            What::Duplicate => {
                let distance = (draw(Decision::Echo) % ECHO_WITHIN) as usize;
                if let Some(j) = behind.by_ref().take(distance + 1).last() {
                    place[i] = 2 * j + 1;
                }
            }
            _ => {}
        }
    }
    order.sort_by_key(|i| place[*i]);
    (order, late)
}
