//! The fold: applies a key's events in sequence order. No I/O, no clock.
//!
//! Silver, `verify` and a rebuild all call [`Fold::apply`]; nothing else decides the effect of an event. A
//! key starts in one of two ways:
//!
//! - [`State::empty`], before its first event: the fold knows everything.
//! - [`State::at_hand`], from the table's row and the notes of the key. If an event needs more than that, the
//!   answer is [`NeedsHistory`], and the caller folds the key again from its first event. So the short way
//!   never changes a result.
//!
//! The source's row (the *image*) is separate from the table's row: a row that WHERE or an expectation keeps
//! out of the table still supplies unchanged values.

use model::Sequence;

use crate::event::{Event, Outcome, Truncate, Verdict};
use crate::judge::Times;

mod state;

pub use state::{Absence, Before, Cell, Cells, Gone, Image, Mark, NeedsHistory, RowVersion, State};

/// The rules of one table, and the truncates that hold for all of its keys.
pub struct Fold<'a> {
    /// Columns whose change opens a version. `None`: only the newest row is kept.
    pub history: Option<&'a [usize]>,
    /// Every truncate, oldest first.
    pub truncates: &'a [Truncate],
    /// Those that the table had seen before this decision.
    pub settled: &'a [Truncate],
    /// Compares values.
    pub cells: &'a dyn Cells,
    /// Which times a history has.
    pub times: Times,
}

impl Fold<'_> {
    /// Applies the next event of a key, in sequence order. `moved` is the row of the event's old key, if the
    /// event has one. Sets `outcomes[at]`, and corrects the outcome of an event that this one supersedes.
    pub fn apply(
        &self,
        state: &mut State,
        event: &Event,
        moved: Option<&Before>,
        at: usize,
        outcomes: &mut [Outcome],
    ) -> Result<(), NeedsHistory> {
        if state.partial {
            if event.redrive.is_some() {
                return Err(NeedsHistory);
            }
            if let Some(outcome) = self.late(state, event)? {
                outcomes[at] = outcome;
                return Ok(());
            }
            if event.seq.by_offset
                && (state.may_have_seen(event, self.truncates) || state.may_be_truncated(self.truncates))
            {
                return Err(NeedsHistory);
            }
        }
        let again = event.name.is_some_and(|name| !state.seen.insert(name));
        if again || state.last.as_ref().is_some_and(|last| last.same_event(&event.seq)) {
            outcomes[at] = of_row(event.verdict).unwrap_or(Outcome::Repeat);
            return Ok(());
        }
        let seq = state.place(event);
        self.sweep(state, Some(&seq), outcomes);
        let mut verdict = event.verdict;
        let mut image = Image::of(event.row);
        if let Some(unchanged) = &event.unchanged {
            let before = match (event.moved_from, moved) {
                (None, _) => &state.before,
                // The old key is unknown; a snapshot may have brought the row since.
                (Some(_), Some(Before::Nothing)) => &state.before,
                (Some(_), Some(before)) => before,
                (Some(_), None) => return Err(NeedsHistory),
            };
            if *before == Before::Unknown {
                return Err(NeedsHistory);
            }
            let rejected = !matches!(before, Before::Row(_, true));
            if unchanged.verdict && rejected && verdict == Verdict::Row {
                verdict = Verdict::Filtered;
            }
            image = Image::carry(before.image(), event.row, &unchanged.columns);
        }
        state.last = Some(seq.clone());
        outcomes[at] = of_row(verdict).unwrap_or(Outcome::Applied);
        match verdict {
            Verdict::Quarantined | Verdict::Dropped => {
                state.before = Before::Row(image, true);
                state.skipped = state.skipped.take().max(Some(seq.clone()));
                state.forget_image_before(&seq);
                return Ok(());
            }
            Verdict::Delete => {
                let before = std::mem::replace(&mut state.before, Before::Nothing);
                if before != Before::Nothing {
                    state.departed = before;
                }
                self.leave(state, event, &seq, Absence::Deleted);
            }
            Verdict::Filtered => {
                state.before = Before::Row(image, false);
                self.leave(state, event, &seq, Absence::Filtered);
            }
            Verdict::Row => {
                state.before = Before::Row(image.clone(), true);
                self.enter(state, event, &seq, image);
            }
        }
        state.forget_image_before(&seq);
        state.top = Some(seq);
        self.overtake(state, outcomes);
        state.standing = (outcomes[at] == Outcome::Applied).then_some(at);
        Ok(())
    }

    /// The row that another key takes its values from, at an event at `seq`.
    pub fn leaves(&self, state: &State, seq: &Sequence) -> Before {
        let mut state = State { standing: None, ..state.clone() };
        self.sweep(&mut state, Some(seq), &mut []);
        state.leaves().clone()
    }

    /// Applies the truncates after the last event.
    pub fn finish(&self, state: &mut State, outcomes: &mut [Outcome]) {
        self.sweep(state, None, outcomes);
    }

    /// The outcome of an event that is not newer than the table's row. `None` if it is newer.
    fn late(&self, state: &State, event: &Event) -> Result<Option<Outcome>, NeedsHistory> {
        let outcome = |outcome| Ok(Some(of_row(event.verdict).unwrap_or(outcome)));
        let history = self.history.is_some();
        if let Some(top) = state.top.as_ref().filter(|top| event.seq <= **top) {
            if event.seq.coordinates() == top.coordinates() {
                return outcome(Outcome::Repeat);
            }
            // It may be the first copy of the event that stands, or raise the highest LSN.
            if event.seq.by_offset {
                return Err(NeedsHistory);
            }
            // The copy with the lower coordinates counts, whichever came first.
            if event.seq.same_event(top) {
                return if history || state.gone.is_none() {
                    Err(NeedsHistory)
                } else {
                    outcome(Outcome::Repeat)
                };
            }
            if let Some(copy) = state.versions.iter().find(|v| v.seq.same_event(&event.seq)) {
                return if copy.seq <= event.seq { outcome(Outcome::Repeat) } else { Err(NeedsHistory) };
            }
            let carried =
                state.gone.as_ref().is_some_and(|g| g.carried) || state.versions.iter().any(|v| v.carried);
            return if history || carried { Err(NeedsHistory) } else { outcome(Outcome::Superseded) };
        }
        // A truncate after this event closed its versions.
        if history && !state.versions.is_empty() && self.settled.iter().any(|t| !t.precedes(&event.seq)) {
            return Err(NeedsHistory);
        }
        Ok(None)
    }

    /// Applies the truncates before an event at `until` that the key has not met yet.
    fn sweep(&self, state: &mut State, until: Option<&Sequence>, outcomes: &mut [Outcome]) {
        state.swept.resize(self.truncates.len(), false);
        for (at, truncate) in self.truncates.iter().enumerate().skip(state.swept_all) {
            if state.swept[at] || until.is_some_and(|until| !truncate.precedes(until)) {
                continue;
            }
            state.swept[at] = true;
            let newer = |seq: Option<&Sequence>| seq.is_some_and(|seq| truncate.precedes(seq));
            // Only a key from the table can be newer than a truncate that it meets here.
            if newer(state.top.as_ref()) {
                continue;
            }
            if state.versions.last().is_some_and(|v| v.end.is_none()) {
                self.close(state, &Mark::New(truncate.seq.clone(), truncate.at));
                self.overtake(state, outcomes);
            }
            if !newer(state.skipped.as_ref()) {
                state.before = Before::Nothing;
            }
            state.departed = Before::Nothing;
        }
        while state.swept.get(state.swept_all) == Some(&true) {
            state.swept_all += 1;
        }
    }

    fn leave(&self, state: &mut State, event: &Event, seq: &Sequence, why: Absence) {
        self.close(state, &Mark::New(seq.clone(), event.at));
        let carried = why == Absence::Filtered && event.unchanged.as_ref().is_some_and(|u| u.verdict);
        state.gone = Some(Gone { seq: seq.clone(), at: event.at, why, carried });
    }

    fn enter(&self, state: &mut State, event: &Event, seq: &Sequence, image: Image) {
        state.gone = None;
        let carried = event.unchanged.is_some();
        let start = Mark::New(seq.clone(), event.at);
        if let Some(tracked) = self.history
            && let Some(open) = state.versions.last_mut().filter(|v| v.end.is_none())
            && tracked
                .iter()
                .all(|&column| self.cells.same(column, open.image.cell(column), image.cell(column)))
        {
            *open = RowVersion { image, seq: seq.clone(), carried, changed: true, ..open.clone() };
            return;
        }
        self.close(state, &start);
        let start = start.not_before(state.versions.last().and_then(|v| v.end.as_ref()?.at()));
        state.versions.push(RowVersion {
            image,
            seq: seq.clone(),
            carried,
            start,
            end: None,
            held: None,
            changed: true,
        });
    }

    /// Ends the open version: closes it with a history, removes it without one.
    fn close(&self, state: &mut State, mark: &Mark) {
        if self.history.is_none() {
            state.versions.clear();
        } else if let Some(open) = state.versions.last_mut().filter(|v| v.end.is_none()) {
            open.end = Some(mark.clone().not_before(open.start.at()));
            open.changed = true;
        }
    }

    /// Without a history, supersedes the event of the current row.
    fn overtake(&self, state: &mut State, outcomes: &mut [Outcome]) {
        if let Some(standing) = state.standing.take().filter(|_| self.history.is_none()) {
            outcomes[standing] = Outcome::Superseded;
        }
    }
}

/// The outcome, if the verdict alone decides it.
fn of_row(verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Filtered => Some(Outcome::Filtered),
        Verdict::Quarantined => Some(Outcome::Quarantined),
        Verdict::Dropped => Some(Outcome::Dropped),
        Verdict::Row | Verdict::Delete => None,
    }
}
