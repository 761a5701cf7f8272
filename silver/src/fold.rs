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

use std::sync::Arc;

use crate::event::{Event, Outcome, RowRef, Seq, Truncate, Verdict};

/// Where one value of a folded row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// In this row.
    At(RowRef),
    /// Nowhere: the source said "unchanged" and there is no row before.
    Missing,
}

/// A row put together from several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The event's own row, or the row of the table.
    pub base: RowRef,
    /// For each column, where it is instead. `None`: all are in `base`.
    pub carried: Option<Arc<[Option<Cell>]>>,
}
impl Image {
    /// All of one row.
    pub fn of(base: RowRef) -> Self {
        Self { base, carried: None }
    }
    /// Where the value of a column stands.
    pub fn cell(&self, column: usize) -> Cell {
        self.carried.as_ref().and_then(|c| c[column]).unwrap_or(Cell::At(self.base))
    }
    /// `row`, with the unchanged columns of `self`.
    fn carry(before: Option<&Self>, row: RowRef, unchanged: &[bool]) -> Self {
        let cell = |column| before.map_or(Cell::Missing, |image| image.cell(column));
        let carried = unchanged.iter().enumerate().map(|(at, &taken)| taken.then(|| cell(at)));
        Self { base: row, carried: Some(carried.collect()) }
    }
}

/// Tells whether two values are the same.
pub trait Cells {
    /// Whether a column has the same value in both places.
    fn same(&self, column: usize, a: Cell, b: Cell) -> bool;
}

/// A point of a history: the sequence as text, and the time beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// From an event or truncate of this decision.
    New(Seq, Option<i64>),
    /// As the table holds it.
    Held(Arc<str>, Option<i64>),
}
impl Mark {
    /// What `__START_AT` and `__END_AT` hold.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::New(seq, _) => seq.to_string().into(),
            Self::Held(text, _) => Arc::clone(text),
        }
    }
    /// What `valid_from` and `valid_to` hold.
    pub fn at(&self) -> Option<i64> {
        match self {
            Self::New(_, at) | Self::Held(_, at) => *at,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its values.
    pub image: Image,
    /// The last event that made it what it is.
    pub seq: Seq,
    /// Whether it rests on events before that one.
    pub carried: bool,
    /// What opened it.
    pub start: Mark,
    /// What closed it. Always `None` where no history is kept.
    pub end: Option<Mark>,
    /// The row of the table it was read from.
    pub held: Option<RowRef>,
    /// Whether it differs from that row.
    pub changed: bool,
}

/// Why a key is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The source deleted it.
    Deleted,
    /// The WHERE rejects its row.
    Filtered,
}

/// The newest event of a key, when it left the key without a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// That event.
    pub seq: Seq,
    /// When it happened.
    pub at: Option<i64>,
    /// Why.
    pub why: Absence,
    /// Whether it rests on events before it: the WHERE read only unchanged columns.
    pub carried: bool,
}

/// What the source's row looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// There is none.
    Nothing,
    /// This, and whether the WHERE lets it through.
    Row(Image, bool),
    /// Neither the table nor what is remembered can tell.
    Unknown,
}
impl Before {
    fn image(&self) -> Option<&Image> {
        match self {
            Self::Row(image, _) => Some(image),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// What is at hand does not tell what an event does: fold the key again from its first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsHistory;

/// What the events so far make of one key.
#[derive(Debug, Clone)]
pub struct State {
    /// Rows of the table, oldest first. Without a history at most one.
    pub versions: Vec<Version>,
    /// The newest event, when it left no row.
    pub gone: Option<Gone>,
    /// The newest event that was put aside or left out.
    pub skipped: Option<Seq>,
    before: Before,
    /// The source's row before its last delete: where a changed key takes its values from.
    departed: Before,
    /// Started from the table: everything up to `top` is known only by its result.
    partial: bool,
    top: Option<Seq>,
    last: Option<Seq>,
    swept: usize,
    /// Which event made the row that stands.
    standing: Option<usize>,
}

impl State {
    /// A key before its first event.
    pub fn empty() -> Self {
        Self {
            versions: Vec::new(),
            gone: None,
            skipped: None,
            before: Before::Nothing,
            departed: Before::Nothing,
            partial: false,
            top: None,
            last: None,
            swept: 0,
            standing: None,
        }
    }

    /// A key as the table and its memory have it. `versions` oldest first.
    pub fn at_hand(versions: Vec<Version>, gone: Option<Gone>, skipped: Option<Seq>) -> Self {
        let newest = versions.iter().map(|v| &v.seq).max();
        let top = newest.max(gone.as_ref().map(|g| &g.seq)).cloned();
        let gone = gone.filter(|g| Some(&g.seq) == top.as_ref());
        let open = versions.last().filter(|v| v.end.is_none());
        let before = match (&skipped, &gone, open) {
            (Some(skipped), _, _) if Some(skipped) > top.as_ref() => Before::Unknown,
            (_, Some(gone), _) if gone.why == Absence::Filtered => Before::Unknown,
            (_, Some(_), _) | (_, None, None) => Before::Nothing,
            (_, None, Some(open)) => Before::Row(open.image.clone(), true),
        };
        let last = top.clone();
        Self { versions, gone, skipped, before, partial: true, top, last, ..Self::empty() }
    }

    /// Whether the table shows a row that its memory says is gone: the process died between the two
    /// commits.
    pub fn is_torn(&self) -> bool {
        self.partial && self.gone.is_some() && self.versions.last().is_some_and(|v| v.end.is_none())
    }

    /// Whether a truncate that comes after newer events changes what they made of the key.
    pub fn is_unsettled_by(&self, truncate: &Truncate, history: bool) -> bool {
        let late = self.top.as_ref().is_some_and(|top| *top > truncate.seq);
        let carried = self.gone.as_ref().is_some_and(|g| g.carried) || self.versions.iter().any(|v| v.carried);
        if !history || self.versions.is_empty() {
            return late && carried;
        }
        let at = truncate.seq.to_string();
        let spans = |v: &Version| *v.start.text() < *at && v.end.as_ref().map_or(late, |end| *end.text() > *at);
        (late && carried) || self.versions.iter().any(spans)
    }

    /// A remembered event that was kept out of the table comes behind this one: what the source's row
    /// looks like after it is not known.
    fn forget_image_before(&mut self, seq: &Seq) {
        if self.partial && self.skipped.as_ref() > Some(seq) {
            self.before = Before::Unknown;
        }
    }

    /// What a key that this one was changed into takes its unchanged values from.
    pub fn leaves(&self) -> &Before {
        match &self.before {
            Before::Nothing => &self.departed,
            row => row,
        }
    }
}

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
                return if history || state.gone.is_none() { Err(NeedsHistory) } else { outcome(Outcome::Repeat) };
            }
            if let Some(copy) = state.versions.iter().find(|v| v.seq.same_event(&event.seq)) {
                return if copy.seq <= event.seq { outcome(Outcome::Repeat) } else { Err(NeedsHistory) };
            }
            let carried = state.gone.as_ref().is_some_and(|g| g.carried) || state.versions.iter().any(|v| v.carried);
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
            && tracked.iter().all(|&column| self.cells.same(column, open.image.cell(column), image.cell(column)))
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
