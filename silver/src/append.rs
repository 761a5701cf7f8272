//! Decides how a batch changes a table that keeps every event. No I/O.
//!
//! Each event is one row, including deletes and truncates that pass the WHERE. An event that is delivered
//! twice is one row, that of the lower coordinates, so the order of arrival does not matter. A copy has the
//! same epoch, LSN and order in the transaction, if the source gives all three. Otherwise only a redrive can
//! bring a row twice, at its own coordinates: it comes behind the repaired record in bronze and replaces that
//! record's row.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use model::{Sequence, Version, column};

use crate::decide::{Decision, Tally, replaced, result};
use crate::error::{Fitting as _, Result};
use crate::event::{Event, Outcome, Verdict};
use crate::fold::{Image, Mark, RowVersion};
use crate::judge::{Desk, Rules};
use crate::table::read_seqs;

/// Identifies an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Source(i64, i64, i64),
    Place(Arc<str>, i32, i64),
}
impl Name {
    fn of(seq: &Sequence) -> Self {
        match seq.named() {
            Some((epoch, lsn, tx_order)) => Self::Source(epoch, lsn, tx_order),
            None => Self::place(seq),
        }
    }
    fn place(seq: &Sequence) -> Self {
        Self::Place(Arc::clone(&seq.topic_id), seq.partition, seq.offset)
    }
}

/// A decision in progress.
pub struct Appender {
    rules: Rules,
    desk: Desk,
    events: Vec<Event>,
    tally: Tally,
    held: AHashMap<Name, Sequence>,
    /// The same rows, by their coordinates.
    placed: AHashMap<Name, Sequence>,
}

impl Appender {
    /// Starts a decision for one batch.
    pub fn try_new(rules: Rules) -> Result<Self> {
        Ok(Self {
            desk: rules.desk()?,
            rules,
            events: Vec::new(),
            tally: Tally::default(),
            held: AHashMap::new(),
            placed: AHashMap::new(),
        })
    }

    /// Adds rows of a bronze version. With `keep_aside` the decision includes quarantined rows.
    pub fn take(&mut self, bronze: &RecordBatch, version: Version, keep_aside: bool) -> Result<()> {
        let mut judged = self.rules.judge(bronze, &mut self.desk, keep_aside.then_some(version))?;
        self.tally.add(&mut judged);
        self.events.extend(judged.events);
        Ok(())
    }

    /// The events whose copies must be looked up: one batch per set of identifying columns.
    pub fn wanted(&self) -> Result<Vec<RecordBatch>> {
        let kept = self.events.iter().filter(|e| e.verdict == Verdict::Row);
        let named: Vec<_> = kept.filter_map(|e| e.seq.named()).collect();
        // A redrive replaces the row of its coordinates, even if the record has changed.
        let placed: Vec<&Sequence> =
            self.events.iter().filter(|e| e.redrive.is_some()).map(|e| &e.seq).collect();
        let mut wanted = Vec::new();
        if !named.is_empty() {
            let named: std::collections::BTreeSet<_> = named.into_iter().collect();
            let column = |part: fn(&(i64, i64, i64)) -> i64| {
                Arc::new(Int64Array::from_iter_values(named.iter().map(part))) as arrow::array::ArrayRef
            };
            let columns = vec![column(|n| n.0), column(|n| n.1), column(|n| n.2)];
            wanted.push(
                batch(&[column::EPOCH, column::LSN, column::TX_ORDER], columns)
                    .fitting(&self.rules.table, "events")?,
            );
        }
        if !placed.is_empty() {
            wanted.push(places(&placed).fitting(&self.rules.table, "events")?);
        }
        Ok(wanted)
    }

    /// Adds rows of the table.
    pub fn hold(&mut self, rows: &[RecordBatch]) -> Result<()> {
        for batch in rows {
            for seq in read_seqs(batch).fitting(&self.rules.table, "rows at hand")? {
                self.placed.insert(Name::place(&seq), seq.clone());
                self.held.insert(Name::of(&seq), seq);
            }
        }
        Ok(())
    }

    /// Returns what to write.
    pub fn decide(mut self) -> Result<Decision> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by(|a, b| (&a.seq, &a.redrive).cmp(&(&b.seq, &b.redrive)));
        let mut taken: AHashMap<Name, ()> = AHashMap::with_capacity(events.len());
        let (mut rows, mut removed): (Vec<RowVersion>, AHashSet<Sequence>) = (Vec::new(), AHashSet::new());
        let replaced = replaced(&events);
        for (at, event) in events.iter().enumerate() {
            let made = self.placed.get(&Name::place(&event.seq));
            removed.extend(made.filter(|_| event.redrive.is_some()).cloned());
            let outcome = match event.verdict {
                _ if replaced.contains(&at) => Outcome::Superseded,
                Verdict::Quarantined => Outcome::Quarantined,
                Verdict::Dropped => Outcome::Dropped,
                Verdict::Filtered => Outcome::Filtered,
                Verdict::Row | Verdict::Delete => self.keep(event, &mut taken, &mut rows, &mut removed),
            };
            self.tally.outcomes.count(outcome);
        }
        let table = &self.rules.table;
        let upserts = result::upserts(&self.rules, &self.desk, &rows.iter().collect::<Vec<_>>());
        let upserts = upserts.fitting(table, "rows to write")?;
        let removed: Vec<&Sequence> = removed.iter().collect();
        let removes =
            if removed.is_empty() { None } else { Some(places(&removed).fitting(table, "rows to write")?) };
        Ok(Decision {
            removes,
            upserts: (upserts.num_rows() > 0).then_some(upserts),
            quarantine: self.tally.quarantine,
            outcomes: self.tally.outcomes,
            no_event: self.tally.no_event,
            asked: self.tally.asked.into_iter().collect(),
            ..Decision::default()
        })
    }

    fn keep(
        &self,
        event: &Event,
        taken: &mut AHashMap<Name, ()>,
        rows: &mut Vec<RowVersion>,
        removed: &mut AHashSet<Sequence>,
    ) -> Outcome {
        let name = Name::of(&event.seq);
        if taken.contains_key(&name) {
            return Outcome::Repeat;
        }
        if let Some(held) = self.held.get(&name) {
            if event.seq >= *held && !removed.contains(held) {
                return Outcome::Repeat;
            }
            removed.insert(held.clone());
        }
        taken.insert(name, ());
        rows.push(RowVersion {
            image: Image::of(event.row),
            seq: event.seq.clone(),
            carried: false,
            start: Mark::New(event.seq.clone(), event.at),
            end: None,
            held: None,
            changed: true,
        });
        Outcome::Applied
    }
}

/// Coordinates of events.
fn places(seqs: &[&Sequence]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let topics: StringArray = seqs.iter().map(|s| Some(&*s.topic_id)).collect();
    let partitions = Int64Array::from_iter_values(seqs.iter().map(|s| i64::from(s.partition)));
    let offsets = Int64Array::from_iter_values(seqs.iter().map(|s| s.offset));
    batch(
        &[column::TOPIC_ID, column::PARTITION, column::OFFSET],
        vec![Arc::new(topics), Arc::new(partitions), Arc::new(offsets)],
    )
}

fn batch(
    names: &[&str],
    columns: Vec<arrow::array::ArrayRef>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let fields = names.iter().zip(&columns).map(|(name, c)| Field::new(*name, c.data_type().clone(), true));
    let fields = fields.collect::<Vec<_>>();
    debug_assert!(fields.iter().all(|f| matches!(f.data_type(), DataType::Int64 | DataType::Utf8)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
