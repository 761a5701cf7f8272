//! The second step: folds each key from its current state.

use std::collections::BTreeSet;

use ahash::AHashSet;
use arrow::array::RecordBatch;

use super::collect::BatchEvents;
use super::current::{Current, CurrentState};
use super::result::{Decision, Folds, assemble};
use super::{Refold, Wanted};
use crate::error::Result;
use crate::event::{KeyId, Outcome, Truncate};
use crate::fold::{Fold, NeedsHistory, State};
use crate::pool::Comparing;

/// All events of a batch, and the rows of the table that they concern.
pub struct Lookup {
    batch: BatchEvents,
    wanted: Wanted,
    columns: Vec<String>,
}

/// The result of folding from the current state.
pub enum Settled {
    /// What to write.
    Decided(Box<Decision>),
    /// The current state is not enough for some keys.
    NeedsHistory(Box<Refold>),
}

impl Lookup {
    pub(super) fn new(batch: BatchEvents, wanted: Wanted, columns: Vec<String>) -> Self {
        Self { batch, wanted, columns }
    }
    /// The rows of the table and the notes to look up.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
    /// The columns of the table that are needed.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Folds every key from those rows and notes.
    pub fn fold(self, rows: &[RecordBatch], notes: &[RecordBatch]) -> Result<Settled> {
        let Self { mut batch, columns, .. } = self;
        let mut current = Current::default();
        current.hold(&mut batch, rows, notes)?;
        let misplaced = batch.place_deletes(&current);
        let mut folds = fold(&batch, &current, &misplaced);
        batch.follow_links(&mut folds.again);
        let Folds { states, again, .. } = &mut folds;
        states.retain(|(key, _)| !again.contains(key));
        if folds.again.is_empty() {
            return assemble(batch, &current, folds).map(Box::new).map(Settled::Decided);
        }
        Refold::try_new(batch, current, folds, columns).map(Box::new).map(Settled::NeedsHistory)
    }
}

/// Folds every key from its current state, except those with a `misplaced` delete.
fn fold(batch: &BatchEvents, current: &Current, misplaced: &AHashSet<KeyId>) -> Folds {
    let truncates = batch.all_truncates();
    let mut order: Vec<usize> = (0..batch.events.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let (a, b) = (&batch.events[a], &batch.events[b]);
        (a.key, &a.seq, &a.redrive).cmp(&(b.key, &b.seq, &b.redrive))
    });
    let cells = Comparing::new(&batch.desk.pool);
    let mut before = batch.memory.truncates.clone();
    before.extend(batch.memory.snapshots.truncates());
    let rules = Fold {
        history: batch.rules.history(),
        truncates: &truncates,
        settled: &before,
        cells: &cells,
        times: batch.rules.times(),
    };
    let mut folds = Folds {
        states: Vec::new(),
        outcomes: vec![Outcome::Applied; batch.events.len()],
        again: BTreeSet::new(),
    };
    for run in order.chunk_by(|&a, &b| batch.events[a].key == batch.events[b].key) {
        let key = batch.events[run[0]].key;
        let folded = match misplaced.contains(&key) {
            true => Err(NeedsHistory),
            false => fold_key(batch, &rules, current.of(key), run, &mut folds.outcomes),
        };
        folds.add(key, folded);
    }
    if !batch.truncates.is_empty() {
        let touched: AHashSet<KeyId> = batch.events.iter().map(|e| e.key).collect();
        for (key, state) in current.iter().filter(|(key, _)| !touched.contains(key)) {
            let folded = fold_key(batch, &rules, state, &[], &mut folds.outcomes);
            folds.add(key, folded);
        }
    }
    folds
}

/// Folds one key's new events on its current state.
fn fold_key(
    batch: &BatchEvents,
    rules: &Fold<'_>,
    current: &CurrentState,
    run: &[usize],
    outcomes: &mut [Outcome],
) -> Result<State, NeedsHistory> {
    let mut state = current.start();
    let unsettled = |t: &Truncate| state.is_unsettled_by(t, rules.history.is_some());
    if batch.torn || state.is_torn() || batch.truncates.iter().any(unsettled) {
        return Err(NeedsHistory);
    }
    for &at in run {
        rules.apply(&mut state, &batch.events[at], None, at, outcomes)?;
    }
    rules.finish(&mut state, outcomes);
    Ok(state)
}
