//! Generates the log and discards it, for the generator's speed and the oracle's summary.

use runtime::time::Instant;

use crate::block::{Partitions, SchemaIds};
use crate::generator::Generator;
use crate::oracle::Summary;
use crate::settings::Settings;
use crate::tables::TABLES;

/// The result of a discarded run.
#[derive(Debug, Clone, PartialEq)]
pub struct Discarded {
    /// The oracle's summary.
    pub summary: Summary,
    /// Number of records: events, tombstones, duplicates and poison.
    pub records: u64,
    /// Total size of their keys and values.
    pub bytes: u64,
    /// Duration of the run.
    pub seconds: f64,
}
impl Discarded {
    /// Change events per second.
    pub fn events_per_second(&self) -> f64 {
        self.summary.events as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Generates the whole log on this thread and discards it, for topics with six partitions each. Never ends if
/// the settings have no `events`.
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
