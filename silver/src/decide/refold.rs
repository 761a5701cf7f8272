//! The third step, if the table's rows are not enough: folds keys again from all of their events.

use ahash::AHashMap;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::Wanted;
use super::collect::BatchEvents;
use super::current::Current;
use super::history::fold_all;
use super::result::{Decision, Folds, assemble};
use crate::error::{Fitting as _, Result};
use crate::event::{Event, KeyId, Outcome};
use crate::fold::{Fold, State};
use crate::pool::Comparing;

/// Keys to fold again. The result replaces all of their rows, so the rows of keys that the batch does not
/// touch are needed too.
pub struct Refold {
    batch: BatchEvents,
    current: Current,
    folds: Folds,
    wanted: Wanted,
    columns: Vec<String>,
}
impl Refold {
    pub(super) fn try_new(
        batch: BatchEvents,
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
    /// The rows of the table and the notes to look up.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
    /// The columns of the table that are needed.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
    /// Adds those rows and notes.
    pub fn hold(self, rows: &[RecordBatch], notes: &[RecordBatch]) -> Result<Recall> {
        let Self { mut batch, mut current, folds, .. } = self;
        current.hold(&mut batch, rows, notes)?;
        Ok(Recall { batch, current, folds, history: Vec::new() })
    }
}

/// Keys to fold again, while their events arrive.
pub struct Recall {
    batch: BatchEvents,
    current: Current,
    folds: Folds,
    history: Vec<Event>,
}
impl Recall {
    /// Adds bronze rows and keeps the events of keys to fold again. The caller must give every bronze row up
    /// to the end of the batch, in any order.
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

    /// Folds the keys from their first event. Returns what to write.
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
        // New events of these keys get the outcome of this fold.
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
