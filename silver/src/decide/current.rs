//! The current state of a batch's keys: the table's rows and the notes.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::RecordBatch;
use model::{Sequence, column};

use super::collect::BatchEvents;
use crate::error::{Fitting as _, OfTable as _, Result};
use crate::event::{KeyId, RowRef};
use crate::fold::{Gone, Image, Mark, RowVersion, State};
use crate::memory::{self, Note};
use crate::table::{self, END, START};

/// The table's rows and the notes of one key.
#[derive(Debug, Clone, Default)]
pub(super) struct CurrentState {
    pub rows: Vec<RowVersion>,
    pub gone: Option<Gone>,
    pub skipped: Option<Sequence>,
}
impl CurrentState {
    /// The state that a fold of new events starts from.
    pub fn start(&self) -> State {
        State::at_hand(self.rows.clone(), self.gone.clone(), self.skipped.clone())
    }
    /// The sequences of its rows and notes.
    pub fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        let rows = self.rows.iter().map(|row| &row.seq);
        rows.chain(self.gone.as_ref().map(|gone| &gone.seq)).chain(&self.skipped)
    }
}

/// The states of the keys that were looked up.
#[derive(Debug, Default)]
pub(super) struct Current {
    states: AHashMap<KeyId, CurrentState>,
    none: CurrentState,
}
impl Current {
    /// The state of a key; empty if the key was not found.
    pub fn of(&self, key: KeyId) -> &CurrentState {
        self.states.get(&key).unwrap_or(&self.none)
    }
    /// True if something was found for a key.
    pub fn has(&self, key: KeyId) -> bool {
        self.states.contains_key(&key)
    }
    /// All states that were found.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &CurrentState)> {
        self.states.iter().map(|(key, state)| (*key, state))
    }

    /// Adds rows of the table and notes. Their keys and values become part of the batch.
    pub fn hold(
        &mut self,
        batch: &mut BatchEvents,
        rows: &[RecordBatch],
        notes: &[RecordBatch],
    ) -> Result<()> {
        for rows in rows {
            self.hold_rows(batch, rows)?;
        }
        for notes in notes {
            for note in memory::read(notes, &mut batch.desk.keys).fitting(&batch.rules.table, "notes")? {
                match note {
                    Note::Gone(key, gone) => self.states.entry(key).or_default().gone = Some(gone),
                    Note::Skipped(key, seq) => self.states.entry(key).or_default().skipped = Some(seq),
                    Note::Truncated(_) | Note::Moved { .. } | Note::Read(_) | Note::Whole(..) => {}
                }
            }
        }
        for state in self.states.values_mut() {
            // Versions do not overlap, so the sequences of their events order them.
            state.rows.sort_by(|a, b| a.seq.cmp(&b.seq));
        }
        Ok(())
    }

    fn hold_rows(&mut self, batch: &mut BatchEvents, rows: &RecordBatch) -> Result<()> {
        let table = &batch.rules.table;
        let keys = batch.desk.keys.numbers(rows).fitting(table, "rows at hand")?;
        let seqs = table::read_seqs(rows).fitting(table, "rows at hand")?;
        let carried = table::read_flags(rows, column::CARRIED);
        let (starts, ends) = (table::read_texts(rows, START), table::read_texts(rows, END));
        let (from, to) = (table::read_times(rows, "valid_from"), table::read_times(rows, "valid_to"));
        let own = query::session::conform(rows, &batch.rules.columns).of(table)?;
        let at = batch.desk.pool.add(own);
        for (row, seq) in seqs.into_iter().enumerate() {
            let held =
                RowRef { batch: at, row: u32::try_from(row).expect("a batch has fewer than 2^32 rows") };
            let start = match &starts[row] {
                Some(text) => Mark::Held(Arc::clone(text), from[row]),
                None => Mark::New(seq.clone(), None),
            };
            self.states.entry(keys[row]).or_default().rows.push(RowVersion {
                image: Image::of(held),
                seq,
                carried: carried[row],
                start,
                end: ends[row].as_ref().map(|text| Mark::Held(Arc::clone(text), to[row])),
                held: Some(held),
                changed: false,
            });
        }
        Ok(())
    }
}
