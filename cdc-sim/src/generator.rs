//! The log as a stream of blocks: the same settings give the same blocks, always from the start.

use crate::block::{BLOCK, Block, Partitions, RunningTotals, SchemaIds};
use crate::record::Recorder;
use crate::settings::Settings;
use crate::world::World;

/// Generates the log, block by block.
#[derive(Debug)]
pub struct Generator {
    settings: Settings,
    partitions: Partitions,
    ids: SchemaIds,
    blocks: u64,
    world: World,
    recorder: Recorder,
    progress: RunningTotals,
    opened: bool,
}
impl Generator {
    /// The log of these settings, on topics with these numbers of partitions.
    pub fn new(settings: Settings, ids: SchemaIds, partitions: Partitions) -> Self {
        let world = World::new(settings.seed);
        let recorder = Recorder::new(settings.schema_change, settings.events.unwrap_or(u64::MAX));
        Self {
            settings,
            partitions,
            ids,
            blocks: 0,
            world,
            recorder,
            progress: RunningTotals::default(),
            opened: false,
        }
    }
    /// Whether the next block may use the changed schemas, so that they must be registered.
    pub fn needs_changed(&self) -> bool {
        let end = ((self.blocks + 1) * BLOCK as u64).min(self.settings.events.unwrap_or(u64::MAX));
        self.settings.schema_change.is_some_and(|change| change.at < end)
    }
    /// Sets the schema ids from the next block on.
    pub fn set_ids(&mut self, ids: SchemaIds) {
        self.ids = ids;
    }
    /// The next block. `None`: the log has ended.
    pub fn next_block(&mut self) -> Option<Block> {
        if !self.opened {
            self.world.open(&mut self.recorder);
            self.opened = true;
        }
        while self.recorder.pending() < BLOCK && !self.recorder.is_full() {
            self.world.day(&mut self.recorder);
        }
        if self.recorder.pending() == 0 {
            return None;
        }
        let taken = self.recorder.take_block();
        let block = Block::lay_out(&self.settings, &self.partitions, &self.ids, taken, self.progress);
        self.progress = block.progress();
        self.blocks += 1;
        Some(block)
    }
}
