//! Decides what a batch of events does to a table that keeps rows by key. No I/O.
//!
//! ```text
//! take bronze rows ─> wanted: which rows of the table ─> hold them ─> settle ──────────────> decision
//!                                                                      └ again: keys to fold ─┘
//!                                                                        from bronze: hold, recall
//! ```
//!
//! [`Decider::settle`] folds each key from the row at hand. Where the fold says that this is not
//! enough, the key, and every key whose values it passes on or takes, is folded again from all of its
//! events, which the caller reads from bronze; the result replaces what the table holds. Either way the
//! table ends as the fold of all events, whatever their order and the batches they came in.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use catalog::Kind;
use model::{Sequence, Version};

use crate::error::{Fitting as _, OfTable as _, Result};
use crate::event::{Event, KeyId, Outcome, Outcomes, RowRef, Truncate};
use crate::fold::{Fold, Gone, Image, Mark, NeedsHistory, State, Version as Row};
use crate::judge::{Asked, Desk, Rules};
use crate::memory::{self, Memory, Note};
use crate::pool::Comparing;
use crate::snapshots::Snapshots;
use crate::table::{self, CARRIED, END, START};

mod history;
mod links;
mod place;
pub mod result;

pub use history::{Folded, fold_all, replaced};
pub use result::Decision;

/// What the table and its memory say of one key.
#[derive(Debug, Clone, Default)]
struct Hand {
    rows: Vec<Row>,
    gone: Option<Gone>,
    skipped: Option<Sequence>,
}

/// Which rows of the table and of its notes a decision needs.
#[derive(Debug)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Those of these keys.
    Keys(RecordBatch),
    /// All: the batch truncates.
    Everything,
}

/// One decision in the making.
pub struct Decider {
    rules: Rules,
    desk: Desk,
    memory: Memory,
    /// The table's memory is ahead of the table: the process died between their commits. What the first
    /// commit saw is not there any more, so every key is folded again.
    torn: bool,
    events: Vec<Event>,
    truncates: Vec<Truncate>,
    /// Remembered, and what this batch says of them.
    snapshots: Snapshots,
    outcomes: Outcomes,
    no_event: u64,
    quarantine: Vec<RecordBatch>,
    asked: AHashMap<String, Asked>,
    hand: AHashMap<KeyId, Hand>,
    settled: Vec<(KeyId, State)>,
    event_outcomes: Vec<Outcome>,
    again: BTreeSet<KeyId>,
    history: Vec<Event>,
}

impl Decider {
    /// A decision for one batch, on top of what is remembered.
    pub fn try_new(rules: Rules, memory: Memory, torn: bool) -> Result<Self> {
        Ok(Self {
            desk: rules.desk()?,
            rules,
            snapshots: memory.snapshots.clone(),
            memory,
            torn,
            events: Vec::new(),
            truncates: Vec::new(),
            outcomes: Outcomes::default(),
            no_event: 0,
            quarantine: Vec::new(),
            asked: AHashMap::new(),
            hand: AHashMap::new(),
            settled: Vec::new(),
            event_outcomes: Vec::new(),
            again: BTreeSet::new(),
            history: Vec::new(),
        })
    }

    /// Takes rows of a bronze version. With `keep_aside` what is put aside is part of the decision.
    pub fn take(&mut self, bronze: &RecordBatch, version: Version, keep_aside: bool) -> Result<()> {
        let judged = self.rules.judge(bronze, &mut self.desk, keep_aside.then_some(version))?;
        self.outcomes += judged.outcomes;
        self.no_event += judged.no_event;
        self.quarantine.extend(judged.quarantine);
        for (name, asked) in judged.asked {
            self.asked.entry(name).or_default().add(&asked);
        }
        self.events.extend(judged.events);
        for truncate in judged.truncates {
            self.truncate(truncate);
        }
        self.snapshots += judged.snapshots;
        Ok(())
    }

    /// Truncates that stand for snapshots of which this batch says something new.
    fn truncate_for_snapshots(&mut self) {
        let known = self.memory.snapshots.truncates();
        let all = self.snapshots.truncates();
        // One that was remembered at a later place took out what belongs to the snapshot.
        self.torn |= !known.iter().all(|truncate| all.contains(truncate));
        let new = all.into_iter().filter(|truncate| self.torn || !known.contains(truncate));
        self.truncates.extend(new);
    }

    /// A truncate of this batch. Of two copies the lower one counts, as with any event.
    fn truncate(&mut self, truncate: Truncate) {
        let known = self.memory.truncates.iter().chain(&self.truncates);
        let copy = known.clone().any(|t| t.is_copy_of(&truncate) && t.seq <= truncate.seq);
        if copy && !truncate.starts_snapshot() {
            self.outcomes.applied -= 1;
            self.outcomes.repeat += 1;
        }
        if !copy || self.torn {
            self.truncates.push(truncate);
        }
    }

    /// Which rows of the table have to be held.
    pub fn wanted(&mut self) -> Result<Wanted> {
        self.truncate_for_snapshots();
        if !self.truncates.is_empty() {
            return Ok(Wanted::Everything);
        }
        if self.desk.keys.is_empty() {
            return Ok(Wanted::Nothing);
        }
        let all = (0..self.desk.keys.len())
            .map(|n| KeyId(u32::try_from(n).expect("a batch has fewer than 2^32 keys")));
        self.desk.keys.batch(all).fitting(&self.rules.table, "keys").map(Wanted::Keys)
    }

    /// Columns of the table that have to be held. Values are needed only where some may be carried
    /// over or compared.
    pub fn columns(&self) -> Vec<String> {
        let all = table::table_schema(self.rules.kind, &self.rules.columns);
        let values = self.rules.kind == Kind::Scd2 || self.events.iter().any(|e| e.unchanged.is_some());
        let own = self.rules.columns.fields().len();
        let needed = |at: usize| values || at >= own || self.rules.keys.contains(&at);
        all.fields().iter().enumerate().filter(|(at, _)| needed(*at)).map(|(_, f)| f.name().clone()).collect()
    }

    /// Takes rows of the table and notes.
    pub fn hold(&mut self, rows: &[RecordBatch], notes: &[RecordBatch]) -> Result<()> {
        let table = self.rules.table.clone();
        for batch in rows {
            self.hold_rows(batch)?;
        }
        for batch in notes {
            for note in memory::read(batch, &mut self.desk.keys).fitting(&table, "notes")? {
                match note {
                    Note::Gone(key, gone) => self.hand.entry(key).or_default().gone = Some(gone),
                    Note::Skipped(key, seq) => self.hand.entry(key).or_default().skipped = Some(seq),
                    Note::Truncated(_) | Note::Moved { .. } | Note::Read(_) | Note::Whole(..) => {}
                }
            }
        }
        Ok(())
    }

    fn hold_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        let table = &self.rules.table;
        let keys = self.desk.keys.numbers(batch).fitting(table, "rows at hand")?;
        let seqs = table::read_seqs(batch).fitting(table, "rows at hand")?;
        let carried = table::read_flags(batch, CARRIED);
        let (starts, ends) = (table::read_texts(batch, START), table::read_texts(batch, END));
        let (from, to) = (table::read_times(batch, "valid_from"), table::read_times(batch, "valid_to"));
        let own = query::session::conform(batch, &self.rules.columns).of(table)?;
        let at = self.desk.pool.add(own);
        for (row, seq) in seqs.into_iter().enumerate() {
            let held =
                RowRef { batch: at, row: u32::try_from(row).expect("a batch has fewer than 2^32 rows") };
            let start = match &starts[row] {
                Some(text) => Mark::Held(Arc::clone(text), from[row]),
                None => Mark::New(seq.clone(), None),
            };
            self.hand.entry(keys[row]).or_default().rows.push(Row {
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

    /// Folds every key from what is at hand. What comes back are keys that have to be folded again and
    /// whose rows are not yet held; `None` when no key has to.
    pub fn settle(&mut self) -> Result<Option<RecordBatch>> {
        for hand in self.hand.values_mut() {
            // Versions do not overlap, so the events that made them stand in their order.
            hand.rows.sort_by(|a, b| a.seq.cmp(&b.seq));
        }
        let misplaced = self.place_deletes();
        let truncates = self.all_truncates();
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (&self.events[a], &self.events[b]);
            (a.key, &a.seq, &a.redrive).cmp(&(b.key, &b.seq, &b.redrive))
        });
        let mut outcomes = vec![Outcome::Applied; self.events.len()];
        let mut settled = Vec::new();
        let mut again = BTreeSet::new();
        {
            let cells = Comparing::new(&self.desk.pool);
            let mut before = self.memory.truncates.clone();
            before.extend(self.memory.snapshots.truncates());
            let fold = Fold {
                history: self.rules.history(),
                truncates: &truncates,
                settled: &before,
                cells: &cells,
                times: self.rules.times(),
            };
            let empty = Hand::default();
            for run in order.chunk_by(|&a, &b| self.events[a].key == self.events[b].key) {
                let key = self.events[run[0]].key;
                let hand = self.hand.get(&key).unwrap_or(&empty);
                let folded = match misplaced.contains(&key) {
                    true => Err(NeedsHistory),
                    false => self.fold_run(&fold, hand, run, &mut outcomes),
                };
                match folded {
                    Ok(state) => settled.push((key, state)),
                    Err(NeedsHistory) => drop(again.insert(key)),
                }
            }
            if !self.truncates.is_empty() {
                let touched: AHashSet<KeyId> = self.events.iter().map(|e| e.key).collect();
                for (&key, hand) in self.hand.iter().filter(|(key, _)| !touched.contains(key)) {
                    match self.fold_run(&fold, hand, &[], &mut outcomes) {
                        Ok(state) => settled.push((key, state)),
                        Err(NeedsHistory) => drop(again.insert(key)),
                    }
                }
            }
        }
        self.follow_links(&mut again);
        settled.retain(|(key, _)| !again.contains(key));
        let unheld: Vec<KeyId> = again.iter().copied().filter(|key| !self.hand.contains_key(key)).collect();
        let needed = !again.is_empty();
        (self.settled, self.event_outcomes, self.again) = (settled, outcomes, again);
        let unheld = || self.desk.keys.batch(unheld).fitting(&self.rules.table, "keys to fold again");
        needed.then(unheld).transpose()
    }

    /// One key's new events on top of what is at hand.
    fn fold_run(
        &self,
        fold: &Fold<'_>,
        hand: &Hand,
        run: &[usize],
        outcomes: &mut [Outcome],
    ) -> Result<State, NeedsHistory> {
        let mut state = State::at_hand(hand.rows.clone(), hand.gone.clone(), hand.skipped.clone());
        let unsettled = |t: &Truncate| state.is_unsettled_by(t, fold.history.is_some());
        if self.torn || state.is_torn() || self.truncates.iter().any(unsettled) {
            return Err(NeedsHistory);
        }
        for &at in run {
            fold.apply(&mut state, &self.events[at], None, at, outcomes)?;
        }
        fold.finish(&mut state, outcomes);
        Ok(state)
    }

    /// Takes rows of bronze and keeps the events of keys to fold again. Every bronze row up to the end
    /// of the batch has to come by, in any order.
    pub fn recall(&mut self, bronze: &RecordBatch) -> Result<()> {
        let keys = self.rules.keys_of(bronze, &self.desk)?;
        let wanted: BooleanArray =
            keys.iter().map(|key| Some(key.is_some_and(|key| self.again.contains(&key)))).collect();
        if wanted.true_count() == 0 {
            return Ok(());
        }
        let rows = filter_record_batch(bronze, &wanted).fitting(&self.rules.table, "bronze rows")?;
        let judged = self.rules.judge(&rows, &mut self.desk, None)?;
        self.history.extend(judged.events);
        Ok(())
    }

    /// What to write.
    pub fn decide(mut self) -> Result<Decision> {
        let truncates = self.all_truncates();
        let folded = {
            let cells = Comparing::new(&self.desk.pool);
            let fold = Fold {
                history: self.rules.history(),
                truncates: &truncates,
                settled: &[],
                cells: &cells,
                times: self.rules.times(),
            };
            fold_all(&fold, std::mem::take(&mut self.history))
        };
        // The new events among those folded again get the outcome they have there.
        let mut theirs: AHashMap<_, Outcome> = AHashMap::new();
        for (event, outcome) in folded.events.iter().zip(&folded.outcomes) {
            theirs.insert((event.seq.coordinates(), &event.redrive), *outcome);
        }
        for (event, outcome) in self.events.iter().zip(&mut self.event_outcomes) {
            if self.again.contains(&event.key) {
                let known = theirs.get(&(event.seq.coordinates(), &event.redrive));
                *outcome = known.copied().unwrap_or(Outcome::Superseded);
            }
        }
        let again = std::mem::take(&mut self.again);
        let mut states = std::mem::take(&mut self.settled);
        let mut refolded = folded.states;
        states.extend(again.iter().map(|key| (*key, refolded.remove(key).unwrap_or_else(State::empty))));
        result::assemble(self, states, &again)
    }

    /// Remembered and new, oldest first, each once.
    fn all_truncates(&self) -> Vec<Truncate> {
        let mut all: Vec<Truncate> = self.memory.truncates.iter().chain(&self.truncates).cloned().collect();
        all.extend(self.snapshots.truncates());
        Truncate::each_once(all)
    }
}
