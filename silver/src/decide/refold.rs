//! The third step, where the rows at hand are not enough: keys folded again from all of their events.

use ahash::AHashMap;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::Wanted;
use super::collect::Batch;
use super::current::Current;
use super::history::fold_all;
use super::result::{Decision, Folds, assemble};
use crate::error::{Fitting as _, Result};
use crate::event::{Event, KeyId, Outcome};
use crate::fold::{Fold, State};
use crate::pool::Comparing;

/// Keys to fold again. Their result replaces every row they have, so the rows of those that the batch
/// itself does not touch are wanted, too.
pub struct Refold {
    batch: Batch,
    current: Current,
    folds: Folds,
    wanted: Wanted,
    columns: Vec<String>,
}
impl Refold {
    pub(super) fn try_new(
        batch: Batch,
        current: Current,
        folds: Folds,
        columns: Vec<String>,
    ) -> Result<Self> {
        let unheld: Vec<KeyId> = folds.again.iter().copied().filter(|key| !current.has(*key)).collect();
        let wanted = match unheld.is_empty() {
            true => Wanted::Nothing,
            false => Wanted::Keys(batch.keys(unheld, "keys to fold again")?),
        };
        Ok(Self { batch, current, folds, wanted, columns })
    }
    /// Which rows of the table to find, and which notes.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
    /// Columns of the table that are needed of them.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
    /// Takes the rows of the table and the notes that were wanted.
    pub fn hold(self, rows: &[RecordBatch], notes: &[RecordBatch]) -> Result<Recall> {
        let Self { mut batch, mut current, folds, .. } = self;
        current.hold(&mut batch, rows, notes)?;
        Ok(Recall { batch, current, folds, history: Vec::new() })
    }
}

/// Keys to fold again, while their events come.
pub struct Recall {
    batch: Batch,
    current: Current,
    folds: Folds,
    history: Vec<Event>,
}
impl Recall {
    /// Takes rows of bronze and keeps the events of keys to fold again. Every bronze row up to the end
    /// of the batch has to come by, in any order.
    pub fn take(&mut self, bronze: &RecordBatch) -> Result<()> {
        let Self { batch, folds, .. } = self;
        let keys = batch.rules.keys_of(bronze, &batch.desk)?;
        let wanted: BooleanArray =
            keys.iter().map(|key| Some(key.is_some_and(|key| folds.again.contains(&key)))).collect();
        if wanted.true_count() == 0 {
            return Ok(());
        }
        let rows = filter_record_batch(bronze, &wanted).fitting(&batch.rules.table, "bronze rows")?;
        let judged = batch.rules.judge(&rows, &mut batch.desk, None)?;
        self.history.extend(judged.events);
        Ok(())
    }

    /// Folds the keys from their first event. What to write.
    pub fn decide(self) -> Result<Decision> {
        let Self { batch, current, mut folds, history } = self;
        let truncates = batch.all_truncates();
        let folded = {
            let cells = Comparing::new(&batch.desk.pool);
            let fold = Fold {
                history: batch.rules.history(),
                truncates: &truncates,
                settled: &[],
                cells: &cells,
                times: batch.rules.times(),
            };
            fold_all(&fold, history)
        };
        // The new events among those folded again get the outcome they have there.
        let mut theirs: AHashMap<_, Outcome> = AHashMap::new();
        for (event, outcome) in folded.events.iter().zip(&folded.outcomes) {
            theirs.insert((event.seq.coordinates(), &event.redrive), *outcome);
        }
        for (event, outcome) in batch.events.iter().zip(&mut folds.outcomes) {
            if folds.again.contains(&event.key) {
                let known = theirs.get(&(event.seq.coordinates(), &event.redrive));
                *outcome = known.copied().unwrap_or(Outcome::Superseded);
            }
        }
        let mut refolded = folded.states;
        let states = folds.again.iter();
        let states = states.map(|key| (*key, refolded.remove(key).unwrap_or_else(State::empty)));
        folds.states.extend(states);
        assemble(batch, &current, folds)
    }
}
