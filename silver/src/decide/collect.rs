//! The first step: collects the events of a batch.

use ahash::AHashMap;
use arrow::array::RecordBatch;
use catalog::Kind;
use model::Version;

use super::{Lookup, Wanted};
use crate::error::{Fitting as _, Result};
use crate::event::{Event, KeyId, Outcomes, Truncate};
use crate::judge::{Asked, Desk, Judged, Rules};
use crate::memory::Memory;
use crate::snapshots::Snapshots;
use crate::table;

/// The events of one batch, while its rows arrive.
pub struct Collected(BatchEvents);

/// The events of one batch, with what every later step needs to judge them.
pub(super) struct BatchEvents {
    pub rules: Rules,
    pub desk: Desk,
    pub memory: Memory,
    /// The notes are ahead of the table, because the process died between their commits. The rows that the
    /// first commit saw may be gone, so every key is folded again.
    pub torn: bool,
    pub events: Vec<Event>,
    pub truncates: Vec<Truncate>,
    /// Known snapshots, including those of this batch.
    pub snapshots: Snapshots,
    pub tally: Tally,
}

/// Counts of bronze rows before any key is folded.
#[derive(Debug, Default)]
pub struct Tally {
    /// Outcomes of rows that are not events, or whose verdict alone decides.
    pub outcomes: Outcomes,
    /// Rows that are quarantined because they are not events.
    pub no_event: u64,
    /// Quarantined rows.
    pub quarantine: Vec<RecordBatch>,
    /// Results of each expectation.
    pub asked: AHashMap<String, Asked>,
}
impl Tally {
    /// Counts judged rows.
    pub fn add(&mut self, judged: &mut Judged) {
        self.outcomes += judged.outcomes;
        self.no_event += judged.no_event;
        self.quarantine.extend(judged.quarantine.take());
        for (name, asked) in judged.asked.drain(..) {
            self.asked.entry(name).or_default().add(&asked);
        }
    }
}

impl Collected {
    /// Starts with the table's memory.
    pub fn try_new(rules: Rules, memory: Memory, torn: bool) -> Result<Self> {
        Ok(Self(BatchEvents {
            desk: rules.desk()?,
            rules,
            snapshots: memory.snapshots.clone(),
            memory,
            torn,
            events: Vec::new(),
            truncates: Vec::new(),
            tally: Tally::default(),
        }))
    }

    /// Adds rows of a bronze version. With `keep_aside` the decision includes quarantined rows.
    pub fn take(&mut self, bronze: &RecordBatch, version: Version, keep_aside: bool) -> Result<()> {
        let Self(batch) = self;
        let mut judged = batch.rules.judge(bronze, &mut batch.desk, keep_aside.then_some(version))?;
        batch.tally.add(&mut judged);
        batch.events.extend(judged.events);
        for truncate in judged.truncates {
            batch.truncate(truncate);
        }
        batch.snapshots += judged.snapshots;
        Ok(())
    }

    /// Ends the batch.
    pub fn close(self) -> Result<Lookup> {
        let Self(mut batch) = self;
        batch.truncate_for_snapshots();
        let (wanted, columns) = (batch.wanted()?, batch.columns());
        Ok(Lookup::new(batch, wanted, columns))
    }
}

impl BatchEvents {
    /// Adds a truncate. Of two copies the lower one counts, as for any event.
    fn truncate(&mut self, truncate: Truncate) {
        let known = self.memory.truncates.iter().chain(&self.truncates);
        let copy = known.clone().any(|t| t.is_copy_of(&truncate) && t.seq <= truncate.seq);
        if copy && !truncate.starts_snapshot() {
            self.tally.outcomes.applied -= 1;
            self.tally.outcomes.repeat += 1;
        }
        if !copy || self.torn {
            self.truncates.push(truncate);
        }
    }

    /// Adds the truncates of snapshots that this batch completes or extends.
    fn truncate_for_snapshots(&mut self) {
        let known = self.memory.snapshots.truncates();
        let all = self.snapshots.truncates();
        // A truncate that was remembered at a later place removed rows of the snapshot.
        self.torn |= !known.iter().all(|truncate| all.contains(truncate));
        let new = all.into_iter().filter(|truncate| self.torn || !known.contains(truncate));
        self.truncates.extend(new);
    }

    fn wanted(&self) -> Result<Wanted> {
        if !self.truncates.is_empty() {
            return Ok(Wanted::Everything);
        }
        if self.desk.keys.is_empty() {
            return Ok(Wanted::Nothing);
        }
        let all = (0..self.desk.keys.len())
            .map(|n| KeyId(u32::try_from(n).expect("a batch has fewer than 2^32 keys")));
        self.keys(all, "keys").map(Wanted::Keys)
    }

    /// Columns of the table that are needed. Values only if some may be carried over or compared.
    fn columns(&self) -> Vec<String> {
        let all = table::table_schema(self.rules.kind, &self.rules.columns);
        let values = self.rules.kind == Kind::Scd2 || self.events.iter().any(|e| e.unchanged.is_some());
        let own = self.rules.columns.fields().len();
        let needed = |at: usize| values || at >= own || self.rules.keys.contains(&at);
        all.fields().iter().enumerate().filter(|(at, _)| needed(*at)).map(|(_, f)| f.name().clone()).collect()
    }

    /// The key columns of these keys.
    pub fn keys(&self, keys: impl IntoIterator<Item = KeyId>, what: &'static str) -> Result<RecordBatch> {
        self.desk.keys.batch(keys).fitting(&self.rules.table, what)
    }

    /// Remembered and new truncates, oldest first, without copies.
    pub fn all_truncates(&self) -> Vec<Truncate> {
        let mut all: Vec<Truncate> = self.memory.truncates.iter().chain(&self.truncates).cloned().collect();
        all.extend(self.snapshots.truncates());
        Truncate::each_once(all)
    }
}
