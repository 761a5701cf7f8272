//! From changes to the records of the log, a block of changes at a time.
//!
//! What is spoiled (late events, duplicates, poison) is decided by (seed, sequence) and stays within
//! its block of [`BLOCK`] changes. Every record has a number that rises along its partition; it goes
//! into the header `lp.seq`, and a restart gives each partition what lies above its own last number.
//!
//! The last block of a run that ends after N events may be cut short. A late event in it might wait
//! for one that never comes, so a cut block is laid out in *plain order*: each change followed by its
//! tombstone, poison and duplicate. A whole block is laid out in *spoiled order*. The two share their
//! places but not their numbers: even ones are spoiled order, odd ones plain. So a later run with a
//! larger N sees at a partition's last number how that block was begun there, and goes on alike:
//! nothing is lost and nothing doubled, wherever the first run ended.

use avro::Frame;
use stream::hash::partition;

use crate::oracle::{Injected, State};
use crate::record::{Span, Taken};
use crate::rng::{Decision, decide};
use crate::schema::{CONNECTOR, Shape};
use crate::settings::Settings;
use crate::tables::{TABLES, Table};

/// Changes in a whole block.
pub const BLOCK: usize = 1_000;
/// A late event waits for at most so many records of its partition.
const LATE_BY: usize = 64;
/// A duplicate follows within so many records of its partition.
const ECHO_WITHIN: u64 = 32;

/// How many partitions each table's topic has.
pub type Partitions = [i32; TABLES];

/// Ids the registry gave the schemas. Zero everywhere when nothing is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchemaIds {
    /// Of keys.
    pub key: [u32; TABLES],
    /// Of values as the database starts.
    pub first: [u32; TABLES],
    /// Of values once the schema change is in force.
    pub changed: [u32; TABLES],
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A change.
    Change,
    /// The null value that follows a delete.
    Tombstone,
    /// A change sent again.
    Duplicate,
    /// Bytes that no decoder takes.
    Poison(Poison),
}

/// How a record is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Poison {
    /// No byte at all, which is not a tombstone.
    Empty,
    /// Ends within the frame.
    Short,
    /// Does not begin with the magic byte.
    Magic,
    /// Names a schema that the registry does not have.
    UnknownSchema,
    /// Ends within the record.
    Truncated,
    /// A string that is no UTF-8.
    Utf8,
    /// Bytes behind the record.
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
    /// A good record, spoiled. It keeps the good one's key, so it goes to the same partition.
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
pub struct Record {
    /// What it is.
    pub what: What,
    /// Its table.
    pub table: Table,
    /// Its partition.
    pub partition: i32,
    /// Number of the change it belongs to.
    pub sequence: u64,
    row: i32,
    key: Span,
    value: Option<Span>,
}

/// A block of the log.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    /// In plain order.
    records: Vec<Record>,
    /// Indices of `records` in spoiled order; none when the block was cut short.
    spoiled: Option<Vec<usize>>,
    /// Records of the log before this block.
    base: u64,
    /// Change events in it.
    changes: usize,
    /// What was spoiled up to the end of this block.
    pub injected: Injected,
    /// What the tables hold at the end of this block.
    pub state: State,
}

/// Where the blocks before this one ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Records so far.
    pub records: u64,
    /// Spoiled so far.
    pub injected: Injected,
}

impl Block {
    /// Lays out a block that comes behind `before`.
    pub fn lay_out(
        settings: &Settings,
        partitions: &Partitions,
        ids: &SchemaIds,
        taken: Taken,
        before: Progress,
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
            let record = |what, value| Record {
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
            injected.schema_changes = Table::ALL.iter().filter(|table| shape.changes(**table)).count() as u64;
        }
        Self { bytes, records, spoiled, base: before.records, changes: changes.len(), injected, state }
    }
    /// Where the log stands after this block.
    pub fn progress(&self) -> Progress {
        Progress { records: self.base + self.records.len() as u64, injected: self.injected }
    }
    /// Change events in this block.
    pub fn changes(&self) -> usize {
        self.changes
    }
    /// Numbers and indices of its records in the order they are sent. `begun` gives the last number
    /// that a partition holds already.
    pub fn numbered(&self, begun: impl Fn(Table, i32) -> Option<u64>) -> Vec<(u64, usize)> {
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
    pub fn record(&self, index: usize) -> &Record {
        &self.records[index]
    }
    /// Key of one of its records.
    pub fn key(&self, record: &Record) -> &[u8] {
        &self.bytes[record.key.clone()]
    }
    /// Value of one of its records. `None` is a tombstone.
    pub fn value(&self, record: &Record) -> Option<&[u8]> {
        record.value.clone().map(|span| &self.bytes[span])
    }
}

/// Records in spoiled order, and how many of them are late.
fn spoil_order(settings: &Settings, records: &[Record]) -> (Vec<usize>, u64) {
    let mut order: Vec<usize> = (0..records.len()).collect();
    if settings.disorder.is_none() && settings.duplicates.is_none() {
        return (order, 0);
    }
    // Where each record goes: an even place is a record's own or another one's, an odd one is right
    // behind another one's.
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
                // Behind a later event of its own row when there is one: that is what hurts.
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
