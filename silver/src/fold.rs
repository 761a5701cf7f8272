//! The fold: what a key's events, in sequence order, make of it. No I/O, no clock.
//!
//! Silver, `verify` and a rebuild all call [`Fold::apply`] and nothing else decides what an event
//! does. There are two ways to start a key:
//!
//! - [`State::empty`], before its first event: the fold then knows everything;
//! - [`State::at_hand`], from the row the table holds and from what is remembered of the key. Then an
//!   event that would need more than that is answered with [`NeedsHistory`], and the caller folds the
//!   key again from its first event. So a short cut never changes a result.
//!
//! What the source's row looks like (its *image*) is kept apart from what the table shows: a row that
//! WHERE or an expectation keeps out of the table is still where unchanged values come from.

use crate::event::{Event, Outcome, Seq, Truncate, Verdict};

mod state;

pub use state::{Absence, Before, Cell, Cells, Gone, Image, Mark, NeedsHistory, State, Version};

/// The rules of one table, and the truncates that hold for all of its keys.
pub struct Fold<'a> {
    /// Columns whose change opens a version. `None`: only the newest row is kept.
    pub history: Option<&'a [usize]>,
    /// Every truncate, oldest first.
    pub truncates: &'a [Truncate],
    /// The newest truncate that the table had seen before this decision.
    pub settled: Option<&'a Seq>,
    /// Compares values.
    pub cells: &'a dyn Cells,
}

impl Fold<'_> {
    /// Applies the next event of a key. Events come in sequence order. `moved` is what the key it had
    /// before leaves, for an event that says so. Its outcome goes to `outcomes[at]`; an event that it
    /// overtakes has its own corrected there.
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
        }
        self.sweep(state, Some(&event.seq), outcomes);
        if state.last.as_ref().is_some_and(|last| last.same_event(&event.seq)) {
            outcomes[at] = of_row(event.verdict).unwrap_or(Outcome::Repeat);
            return Ok(());
        }
        let mut verdict = event.verdict;
        let mut image = Image::of(event.row);
        if let Some(unchanged) = &event.unchanged {
            let before = match (event.moved_from, moved) {
                (None, _) => &state.before,
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
        state.last = Some(event.seq.clone());
        outcomes[at] = of_row(verdict).unwrap_or(Outcome::Applied);
        match verdict {
            Verdict::Quarantined | Verdict::Dropped => {
                state.before = Before::Row(image, true);
                state.skipped = state.skipped.take().max(Some(event.seq.clone()));
                state.forget_image_before(&event.seq);
                return Ok(());
            }
            Verdict::Delete => {
                let before = std::mem::replace(&mut state.before, Before::Nothing);
                if before != Before::Nothing {
                    state.departed = before;
                }
                self.leave(state, event, Absence::Deleted);
            }
            Verdict::Filtered => {
                state.before = Before::Row(image, false);
                self.leave(state, event, Absence::Filtered);
            }
            Verdict::Row => {
                state.before = Before::Row(image.clone(), true);
                self.enter(state, event, image);
            }
        }
        state.forget_image_before(&event.seq);
        state.top = Some(event.seq.clone());
        self.overtake(state, outcomes);
        state.standing = (outcomes[at] == Outcome::Applied).then_some(at);
        Ok(())
    }

    /// Brings a key up to just before `seq`, for one that another key takes values from.
    pub fn advance(&self, state: &mut State, seq: &Seq, outcomes: &mut [Outcome]) {
        self.sweep(state, Some(seq), outcomes);
    }

    /// After the last event: truncates that come behind it.
    pub fn finish(&self, state: &mut State, outcomes: &mut [Outcome]) {
        self.sweep(state, None, outcomes);
    }

    /// An event that is not newer than what the table holds. `None`: it is.
    fn late(&self, state: &State, event: &Event) -> Result<Option<Outcome>, NeedsHistory> {
        let outcome = |outcome| Ok(Some(of_row(event.verdict).unwrap_or(outcome)));
        let history = self.history.is_some();
        if let Some(top) = state.top.as_ref().filter(|top| event.seq <= **top) {
            if event.seq == *top {
                return outcome(Outcome::Repeat);
            }
            // Of two copies the one with the lower coordinates counts, whichever came first.
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
        // Its versions were closed by a truncate that this event precedes.
        if history && self.settled.is_some_and(|t| event.seq < *t) && !state.versions.is_empty() {
            return Err(NeedsHistory);
        }
        Ok(None)
    }

    /// Truncates up to `until` that the key has not met yet.
    fn sweep(&self, state: &mut State, until: Option<&Seq>, outcomes: &mut [Outcome]) {
        while let Some(truncate) = self.truncates.get(state.swept) {
            if until.is_some_and(|until| truncate.seq >= *until) {
                return;
            }
            state.swept += 1;
            let newer = |seq: Option<&Seq>| seq.is_some_and(|seq| *seq > truncate.seq);
            // Only a key from the table can be ahead of a truncate it meets here.
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
    }

    fn leave(&self, state: &mut State, event: &Event, why: Absence) {
        self.close(state, &Mark::New(event.seq.clone(), event.at));
        let carried = why == Absence::Filtered && event.unchanged.as_ref().is_some_and(|u| u.verdict);
        state.gone = Some(Gone { seq: event.seq.clone(), at: event.at, why, carried });
    }

    fn enter(&self, state: &mut State, event: &Event, image: Image) {
        state.gone = None;
        let carried = event.unchanged.is_some();
        let start = Mark::New(event.seq.clone(), event.at);
        if let Some(tracked) = self.history
            && let Some(open) = state.versions.last_mut().filter(|v| v.end.is_none())
            && tracked
                .iter()
                .all(|&column| self.cells.same(column, open.image.cell(column), image.cell(column)))
        {
            *open = Version { image, seq: event.seq.clone(), carried, changed: true, ..open.clone() };
            return;
        }
        self.close(state, &start);
        state.versions.push(Version {
            image,
            seq: event.seq.clone(),
            carried,
            start,
            end: None,
            held: None,
            changed: true,
        });
    }

    /// Ends the open version: with a history it is closed, without it is no more.
    fn close(&self, state: &mut State, mark: &Mark) {
        if self.history.is_none() {
            state.versions.clear();
        } else if let Some(open) = state.versions.last_mut().filter(|v| v.end.is_none()) {
            open.end = Some(mark.clone());
            open.changed = true;
        }
    }

    /// Without a history, the event whose row stood is superseded.
    fn overtake(&self, state: &mut State, outcomes: &mut [Outcome]) {
        if let Some(standing) = state.standing.take().filter(|_| self.history.is_none()) {
            outcomes[standing] = Outcome::Superseded;
        }
    }
}

/// The outcome that a verdict alone decides.
fn of_row(verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Filtered => Some(Outcome::Filtered),
        Verdict::Quarantined => Some(Outcome::Quarantined),
        Verdict::Dropped => Some(Outcome::Dropped),
        Verdict::Row | Verdict::Delete => None,
    }
}
