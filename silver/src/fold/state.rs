//! The state of one key in a fold, with rows composed by reference instead of by copying values.

use std::sync::Arc;

use ahash::AHashSet;
use model::{Micros, Sequence};

use crate::event::{Event, Name, RowRef, Truncate};

/// Where one value of a folded row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// In this row.
    At(RowRef),
    /// Missing: the source left it out as unchanged, and there is no row before.
    Missing,
}

/// A row composed from several rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The event's own row, or the row of the table.
    pub base: RowRef,
    /// For each column, its other place. `None`: all values are in `base`.
    pub carried: Option<Arc<[Option<Cell>]>>,
}
impl Image {
    /// All values of one row.
    pub fn of(base: RowRef) -> Self {
        Self { base, carried: None }
    }
    /// The place of a column's value.
    pub fn cell(&self, column: usize) -> Cell {
        self.carried.as_ref().and_then(|c| c[column]).unwrap_or(Cell::At(self.base))
    }
    /// `row`, with the unchanged columns of `before`.
    pub(super) fn carry(before: Option<&Self>, row: RowRef, unchanged: &[bool]) -> Self {
        let cell = |column| before.map_or(Cell::Missing, |image| image.cell(column));
        let carried = unchanged.iter().enumerate().map(|(at, &taken)| taken.then(|| cell(at)));
        Self { base: row, carried: Some(carried.collect()) }
    }
}

/// Compares values.
pub trait Cells {
    /// True if a column has the same value in both places.
    fn same(&self, column: usize, a: Cell, b: Cell) -> bool;
}

/// A point in a history: the sequence as text, with a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// From an event or truncate of this decision.
    New(Sequence, Option<Micros>),
    /// From the table.
    Held(Arc<str>, Option<Micros>),
}
impl Mark {
    /// The value of `__START_AT` or `__END_AT`.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::New(seq, _) => seq.to_string().into(),
            Self::Held(text, _) => Arc::clone(text),
        }
    }
    /// The same point, but no earlier than `floor`. A source's clock does not follow its order: a version
    /// that starts with an earlier time than the one before has no duration, and none ends before it begins.
    pub fn not_before(self, floor: Option<Micros>) -> Self {
        let later = |at: Option<Micros>| at.map(|at| floor.map_or(at, |floor| at.max(floor)));
        match self {
            Self::New(seq, at) => Self::New(seq, later(at)),
            Self::Held(text, at) => Self::Held(text, later(at)),
        }
    }
    /// The value of `valid_from` or `valid_to`.
    pub fn at(&self) -> Option<Micros> {
        match self {
            Self::New(_, at) | Self::Held(_, at) => *at,
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowVersion {
    /// Its values.
    pub image: Image,
    /// The last event that changed it.
    pub seq: Sequence,
    /// True if it also depends on earlier events.
    pub carried: bool,
    /// Its start.
    pub start: Mark,
    /// Its end. Always `None` without a history.
    pub end: Option<Mark>,
    /// The row of the table that it was read from.
    pub held: Option<RowRef>,
    /// True if it differs from that row.
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

/// The newest event of a key, if it left the key without a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// That event.
    pub seq: Sequence,
    /// When it happened.
    pub at: Option<Micros>,
    /// Why.
    pub why: Absence,
    /// True if it also depends on earlier events, because the WHERE read only unchanged columns.
    pub carried: bool,
}

/// The source's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// There is none.
    Nothing,
    /// This one, and whether it passes the WHERE.
    Row(Image, bool),
    /// Neither the table nor the notes can tell.
    Unknown,
}
impl Before {
    pub(super) fn image(&self) -> Option<&Image> {
        match self {
            Self::Row(image, _) => Some(image),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// The current state is not enough to apply an event: fold the key again from its first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsHistory;

/// The state of one key after the events so far.
#[derive(Debug, Clone)]
pub struct State {
    /// Rows of the table, oldest first. Without a history at most one.
    pub versions: Vec<RowVersion>,
    /// The newest event, if it left no row.
    pub gone: Option<Gone>,
    /// The newest event that was quarantined or dropped.
    pub skipped: Option<Sequence>,
    pub(super) before: Before,
    /// The source's row before its last delete, which a changed key takes values from.
    pub(super) departed: Before,
    /// Started from the table: of everything up to `top` only the result is known.
    pub(super) partial: bool,
    pub(super) top: Option<Sequence>,
    pub(super) last: Option<Sequence>,
    /// The truncates that the key has met, and up to which it has met all.
    pub(super) swept: Vec<bool>,
    pub(super) swept_all: usize,
    /// If offsets order: the epoch and the highest LSN of the key's events so far.
    pub(super) high: Option<(Option<i64>, i64)>,
    /// What identifies those events; for a key from the table, only the events of this decision.
    pub(super) seen: AHashSet<Name>,
    /// The index of the event that made the current row.
    pub(super) standing: Option<usize>,
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
            swept: Vec::new(),
            swept_all: 0,
            high: None,
            seen: AHashSet::new(),
            standing: None,
        }
    }

    /// A key from its table's rows, oldest first, and its notes.
    pub fn at_hand(versions: Vec<RowVersion>, gone: Option<Gone>, skipped: Option<Sequence>) -> Self {
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
        let held = versions.iter().map(|v| &v.seq).chain(&top).chain(&skipped);
        let high = held.filter(|s| s.by_offset).filter_map(|s| Some((s.epoch, s.lsn?))).max();
        Self { versions, gone, skipped, before, partial: true, top, last, high, ..Self::empty() }
    }

    /// True if the table may have seen this event, which is ordered by offset. Of earlier events only the
    /// highest LSN is known. A key that a truncate removed has not even that, but all its events came before
    /// the truncate.
    pub(super) fn may_have_seen(&self, event: &Event, truncates: &[Truncate]) -> bool {
        let Some(name) = event.name else { return false };
        let by = |epoch: Option<i64>, lsn: i64| epoch == name.epoch && name.lsn <= lsn;
        let by_truncate = |t: &Truncate| t.seq.by_offset && t.seq.lsn.is_none_or(|lsn| by(t.seq.epoch, lsn));
        self.high.is_some_and(|(epoch, lsn)| by(epoch, lsn)) || truncates.iter().any(by_truncate)
    }

    /// True if a truncate of another partition may lie on either side of the newest event, which has no LSN.
    pub(super) fn may_be_truncated(&self, truncates: &[Truncate]) -> bool {
        let Some(top) = self.top.as_ref().filter(|top| top.by_offset && top.lsn.is_none()) else {
            return false;
        };
        truncates.iter().any(|t| t.seq.by_offset && !t.here && !t.seq.shares_partition(top))
    }

    /// The sequence of an event as the table stores it.
    pub(super) fn place(&mut self, event: &Event) -> Sequence {
        let mut seq = event.seq.clone();
        if seq.by_offset {
            self.high = self.high.max(seq.lsn.map(|lsn| (seq.epoch, lsn)));
            seq.lsn = self.high.and_then(|(epoch, lsn)| (epoch == seq.epoch).then_some(lsn));
            seq.tx_order = None;
        }
        seq
    }

    /// True if the table has a row that is gone by its note: the process died between the two commits.
    pub fn is_torn(&self) -> bool {
        self.partial && self.gone.is_some() && self.versions.last().is_some_and(|v| v.end.is_none())
    }

    /// True if a truncate that arrives after newer events changes their result.
    pub fn is_unsettled_by(&self, truncate: &Truncate, history: bool) -> bool {
        let late = self.top.as_ref().is_some_and(|top| truncate.precedes(top));
        let carried =
            self.gone.as_ref().is_some_and(|g| g.carried) || self.versions.iter().any(|v| v.carried);
        if !history || self.versions.is_empty() {
            return late && carried;
        }
        // The text of a stored start does not order across partitions.
        if truncate.seq.by_offset {
            return late;
        }
        let at = truncate.seq.to_string();
        let spans =
            |v: &RowVersion| *v.start.text() < *at && v.end.as_ref().map_or(late, |end| *end.text() > *at);
        (late && carried) || self.versions.iter().any(spans)
    }

    /// A remembered event that was kept out of the table comes after this one, so the source's row is
    /// unknown.
    pub(super) fn forget_image_before(&mut self, seq: &Sequence) {
        if self.partial && self.skipped.as_ref() > Some(seq) {
            self.before = Before::Unknown;
        }
    }

    /// The row that another key takes unchanged values from, if this key was changed into it.
    pub fn leaves(&self) -> &Before {
        match &self.before {
            Before::Nothing => &self.departed,
            row => row,
        }
    }
}
