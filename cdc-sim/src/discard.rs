//! Generates into a sink that discards: how fast the generator is, and what the oracle says.

use runtime::time::Instant;

use crate::block::{Partitions, SchemaIds};
use crate::generator::Generator;
use crate::oracle::Summary;
use crate::settings::Settings;
use crate::tables::TABLES;

/// What came of a run into nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Discarded {
    /// The oracle's answer.
    pub summary: Summary,
    /// Records made: events, tombstones, duplicates and poison.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}
impl Discarded {
    /// Change events a second.
    pub fn events_per_second(&self) -> f64 {
        self.summary.events as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Generates the whole log on this thread and throws it away, with every topic at six partitions.
/// Without `events` in the settings it never ends.
pub fn discard(settings: &Settings) -> Discarded {
    const PARTITIONS: Partitions = [6; TABLES];
    let begun = Instant::now();
    let mut generator = Generator::new(settings.clone(), SchemaIds::default(), PARTITIONS);
    let (mut records, mut bytes, mut last) = (0, 0, None);
    while let Some(block) = generator.next_block() {
        for (_, index) in block.numbered(|_, _| None) {
            let record = block.record(index);
            records += 1;
            bytes += (block.key(record).len() + block.value(record).map_or(0, <[u8]>::len)) as u64;
        }
        last = Some((block.state, block.injected));
    }
    let (state, injected) = last.unwrap_or_default();
    Discarded {
        summary: state.summary(settings.seed, injected),
        records,
        bytes,
        seconds: begun.elapsed().as_secs_f64(),
    }
}
