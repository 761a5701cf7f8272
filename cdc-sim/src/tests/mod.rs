//! Claims about the whole log, checked by an independent reader that knows only Avro and the schemas.

mod fold;
mod gold;
mod kafka;
mod log;
mod project;
mod restart;
mod sql;

use crate::block::{BLOCK, Partitions, SchemaIds, What};
use crate::generator::Generator;
use crate::settings::{SchemaChange, Settings, Share};
use crate::tables::{SourceTable, TABLES};

/// The id of a table's changed schema in these tests.
const CHANGED: u32 = 100;
const PARTITIONS: Partitions = [3; TABLES];

fn ids() -> SchemaIds {
    let numbered = |from: u32| std::array::from_fn(|i| from + i as u32);
    SchemaIds { key: numbered(50), first: numbered(0), changed: numbered(CHANGED) }
}

/// A log without spoiled records.
fn plain(events: u64) -> Settings {
    Settings { seed: 7, events: Some(events), ..Settings::default() }
}

/// A log with every kind of spoiling, more than in practice.
fn spoiled(events: u64) -> Settings {
    Settings {
        disorder: Share::millionths(50_000),
        duplicates: Share::millionths(30_000),
        poison: Share::millionths(10_000),
        schema_change: Some(SchemaChange { at: events / 3, column: true, widen: true }),
        ..plain(events)
    }
}

/// A record on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    number: u64,
    table: SourceTable,
    partition: i32,
    what: What,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// The whole log, in the order of sending.
fn log(settings: &Settings) -> Vec<Sent> {
    let mut generator = Generator::new(settings.clone(), ids(), PARTITIONS);
    let mut sent = Vec::new();
    while let Some(block) = generator.next_block() {
        assert!(block.changes() <= BLOCK);
        for (number, index) in block.numbered(|_, _| None) {
            let record = block.record(index);
            sent.push(Sent {
                number,
                table: record.table,
                partition: record.partition,
                what: record.what,
                key: block.key(record).to_vec(),
                value: block.value(record).map(<[u8]>::to_vec),
            });
        }
    }
    sent
}
