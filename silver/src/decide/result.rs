//! What a decision writes: the difference between the table's current and its new content.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use catalog::Kind;

use super::Tally;
use super::collect::BatchEvents;
use super::current::Current;
use crate::error::{Fitting as _, Result};
use crate::event::{KeyId, Outcome, Outcomes};
use crate::fold::{Mark, NeedsHistory, RowVersion, State};
use crate::judge::{Asked, Desk, Rules};
use crate::memory::{self, KIND, Link, Memory, Note};
use crate::table::{START, seq_columns, table_schema, time_column};

/// What to write for one batch. `None` if there is nothing to write.
#[derive(Debug, Default)]
pub struct Decision {
    /// Rows of the table to remove, by the columns of this batch.
    pub removes: Option<RecordBatch>,
    /// Rows of the table to add.
    pub upserts: Option<RecordBatch>,
    /// Notes to remove, by key and kind.
    pub forget: Option<RecordBatch>,
    /// Notes to add.
    pub notes: Option<RecordBatch>,
    /// Rows to quarantine.
    pub quarantine: Vec<RecordBatch>,
    /// The memory once this is written.
    pub memory: Memory,
    /// Outcomes of the batch's rows.
    pub outcomes: Outcomes,
    /// Rows that are quarantined because they are not events.
    pub no_event: u64,
    /// Results of each expectation.
    pub asked: Vec<(String, Asked)>,
    /// Keys that were folded from their first event.
    pub refolded: usize,
}
impl Decision {
    /// True if the table itself does not change.
    pub fn is_empty(&self) -> bool {
        self.removes.is_none() && self.upserts.is_none()
    }
}

/// The folded keys of a batch.
pub(super) struct Folds {
    /// The state of each key.
    pub states: Vec<(KeyId, State)>,
    /// The outcome of each event.
    pub outcomes: Vec<Outcome>,
    /// Keys to fold from their first event.
    pub again: BTreeSet<KeyId>,
}
impl Folds {
    /// Adds a folded key, or notes that it has to be folded again.
    pub fn add(&mut self, key: KeyId, folded: Result<State, NeedsHistory>) {
        match folded {
            Ok(state) => self.states.push((key, state)),
            Err(NeedsHistory) => drop(self.again.insert(key)),
        }
    }
}

/// Compares every folded key with its current state.
pub(super) fn assemble(batch: BatchEvents, current: &Current, folds: Folds) -> Result<Decision> {
    let BatchEvents { rules, desk, mut memory, truncates, snapshots, tally, events, .. } = batch;
    let Tally { mut outcomes, no_event, quarantine, asked } = tally;
    let Folds { states, outcomes: of_events, again } = folds;
    for outcome in of_events {
        outcomes.count(outcome);
    }
    let history = rules.kind == Kind::Scd2;
    let (mut removed, mut written): (Vec<(KeyId, Mark)>, Vec<&RowVersion>) = (Vec::new(), Vec::new());
    let (mut notes, mut forgotten): (Vec<Note>, Vec<Note>) = (Vec::new(), Vec::new());
    for (key, state) in &states {
        let held = current.of(*key);
        let all = again.contains(key);
        let goes = |row: &&RowVersion| {
            all || !state.versions.iter().any(|v| v.held.is_some() && v.held == row.held && !v.changed)
        };
        let gone = held.rows.iter().filter(goes).map(|row| (*key, row.start.clone()));
        if history {
            removed.extend(gone);
        } else {
            removed.extend(gone.take(1));
        }
        written.extend(state.versions.iter().filter(|v| v.changed));
        // A note older than the row stays: it is still correct, and rewriting it would cost a commit.
        if held.gone != state.gone && (state.gone.is_some() || all) {
            forgotten.extend(held.gone.clone().map(|old| Note::Gone(*key, old)));
            notes.extend(state.gone.clone().map(|gone| Note::Gone(*key, gone)));
        }
        if let Some(skipped) = state.skipped.as_ref().filter(|skipped| held.skipped.as_ref() < Some(skipped))
        {
            forgotten.extend(held.skipped.clone().map(|old| Note::Skipped(*key, old)));
            notes.push(Note::Skipped(*key, skipped.clone()));
        }
    }
    for event in &events {
        if let (Some(old), Some(_)) = (event.moved_from, &event.unchanged) {
            let (old_bytes, new_bytes) = (desk.keys.bytes(old), desk.keys.bytes(event.key));
            let link = Link { old: old_bytes.clone(), new: new_bytes.clone(), seq: event.seq.clone() };
            let known = memory.links.contains(&link);
            let note = Note::Moved { old, new: event.key, seq: event.seq.clone() };
            if !known && !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    for truncate in truncates {
        if !truncate.here && !memory.truncates.contains(&truncate) {
            notes.push(Note::Truncated(truncate));
        }
    }
    let (first, last) = snapshots.beyond(&memory.snapshots);
    notes.extend(first.into_iter().map(Note::Read));
    notes.extend(last.into_iter().map(|(seq, at)| Note::Whole(seq, at)));
    memory.learn(&notes, &desk.keys);
    let fit = |result: Result<RecordBatch, ArrowError>| result.fitting(&rules.table, "rows to write");
    let some = |rows: RecordBatch| (rows.num_rows() > 0).then_some(rows);
    Ok(Decision {
        removes: some(fit(removes(&desk, &removed, history))?),
        upserts: some(fit(upserts(&rules, &desk, &written))?),
        forget: if forgotten.is_empty() { None } else { Some(fit(forget(&desk, &forgotten))?) },
        notes: if notes.is_empty() { None } else { Some(fit(memory::rows(&notes, &desk.keys))?) },
        quarantine,
        memory,
        outcomes,
        no_event,
        asked: asked.into_iter().collect(),
        refolded: again.len(),
    })
}

/// Rows to remove: their keys, and with a history also the start of the version.
fn removes(desk: &Desk, removed: &[(KeyId, Mark)], history: bool) -> Result<RecordBatch, ArrowError> {
    let keys = desk.keys.batch(removed.iter().map(|(key, _)| *key))?;
    if !history {
        return Ok(keys);
    }
    let starts: StringArray = removed.iter().map(|(_, start)| Some(start.text())).collect();
    with_column(&keys, START, Arc::new(starts))
}

fn forget(desk: &Desk, notes: &[Note]) -> Result<RecordBatch, ArrowError> {
    let keys = desk.keys.batch(notes.iter().filter_map(Note::key))?;
    let kinds: StringArray = notes.iter().map(|note| Some(note.kind())).collect();
    with_column(&keys, KIND, Arc::new(kinds))
}

fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(name, DataType::Utf8, true));
    let columns = batch.columns().iter().cloned().chain([column]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Rows of the table.
pub fn upserts(rules: &Rules, desk: &Desk, rows: &[&RowVersion]) -> Result<RecordBatch, ArrowError> {
    let own = desk.pool.rows(rows.iter().map(|row| &row.image))?;
    let mut columns = own.columns().to_vec();
    if rules.kind == Kind::Scd2 {
        columns.push(Arc::new(rows.iter().map(|r| Some(r.start.text())).collect::<StringArray>()));
        columns.push(Arc::new(rows.iter().map(|r| r.end.as_ref().map(Mark::text)).collect::<StringArray>()));
        columns.push(time_column(rows.iter().map(|r| r.start.at())));
        columns.push(time_column(rows.iter().map(|r| r.end.as_ref().and_then(Mark::at))));
    }
    columns.extend(seq_columns(rows.iter().map(|row| &row.seq)));
    columns.push(Arc::new(rows.iter().map(|row| Some(row.carried)).collect::<BooleanArray>()));
    RecordBatch::try_new(table_schema(rules.kind, &rules.columns), columns)
}
