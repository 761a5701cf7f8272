//! What a fold knows of one key, and how a row is put together without copying a value.

use std::sync::Arc;

use crate::event::{RowRef, Seq, Truncate};

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
    pub(super) fn carry(before: Option<&Self>, row: RowRef, unchanged: &[bool]) -> Self {
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
    pub(super) fn image(&self) -> Option<&Image> {
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
    pub(super) before: Before,
    /// The source's row before its last delete: where a changed key takes its values from.
    pub(super) departed: Before,
    /// Started from the table: everything up to `top` is known only by its result.
    pub(super) partial: bool,
    pub(super) top: Option<Seq>,
    pub(super) last: Option<Seq>,
    pub(super) swept: usize,
    /// Which event made the row that stands.
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
        let carried =
            self.gone.as_ref().is_some_and(|g| g.carried) || self.versions.iter().any(|v| v.carried);
        if !history || self.versions.is_empty() {
            return late && carried;
        }
        let at = truncate.seq.to_string();
        let spans =
            |v: &Version| *v.start.text() < *at && v.end.as_ref().map_or(late, |end| *end.text() > *at);
        (late && carried) || self.versions.iter().any(spans)
    }

    /// A remembered event that was kept out of the table comes behind this one: what the source's row
    /// looks like after it is not known.
    pub(super) fn forget_image_before(&mut self, seq: &Seq) {
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
