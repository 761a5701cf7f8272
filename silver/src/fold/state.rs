//! What a fold knows of one key, and how a row is put together without copying a value.

use std::sync::Arc;

use ahash::AHashSet;
use model::{Micros, Sequence};

use crate::event::{Event, Name, RowRef, Truncate};

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
    New(Sequence, Option<Micros>),
    /// As the table holds it.
    Held(Arc<str>, Option<Micros>),
}
impl Mark {
    /// What `__START_AT` and `__END_AT` hold.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::New(seq, _) => seq.to_string().into(),
            Self::Held(text, _) => Arc::clone(text),
        }
    }
    /// The same, and no earlier than what comes before it. A source's clock is not its order: a version
    /// that is overtaken by an earlier time lasts for no time at all, and none ends before it begins.
    pub fn not_before(self, floor: Option<Micros>) -> Self {
        let later = |at: Option<Micros>| at.map(|at| floor.map_or(at, |floor| at.max(floor)));
        match self {
            Self::New(seq, at) => Self::New(seq, later(at)),
            Self::Held(text, at) => Self::Held(text, later(at)),
        }
    }
    /// What `valid_from` and `valid_to` hold.
    pub fn at(&self) -> Option<Micros> {
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
    pub seq: Sequence,
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
    pub seq: Sequence,
    /// When it happened.
    pub at: Option<Micros>,
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
    pub skipped: Option<Sequence>,
    pub(super) before: Before,
    /// The source's row before its last delete: where a changed key takes its values from.
    pub(super) departed: Before,
    /// Started from the table: everything up to `top` is known only by its result.
    pub(super) partial: bool,
    pub(super) top: Option<Sequence>,
    pub(super) last: Option<Sequence>,
    /// Which truncates the key has met, and up to where it has met all.
    pub(super) swept: Vec<bool>,
    pub(super) swept_all: usize,
    /// Where positions do not order: the highest of the key's events so far, and its epoch.
    pub(super) high: Option<(Option<i64>, i64)>,
    /// What those events are recognised by; of a key from the table those of this decision.
    pub(super) seen: AHashSet<Name>,
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
            swept: Vec::new(),
            swept_all: 0,
            high: None,
            seen: AHashSet::new(),
            standing: None,
        }
    }

    /// A key as the table and its memory have it. `versions` oldest first.
    pub fn at_hand(versions: Vec<Version>, gone: Option<Gone>, skipped: Option<Sequence>) -> Self {
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

    /// Whether an event that positions do not order may be one that the table has seen. What is at hand
    /// does not name the events before it, only the highest position among them. A key that a truncate
    /// took out of the table has not even that, but all its events stood below the truncate.
    pub(super) fn may_have_seen(&self, event: &Event, truncates: &[Truncate]) -> bool {
        let Some(name) = event.name else { return false };
        let by = |epoch: Option<i64>, lsn: i64| epoch == name.epoch && name.lsn <= lsn;
        let by_truncate = |t: &Truncate| t.seq.by_offset && t.seq.lsn.is_none_or(|lsn| by(t.seq.epoch, lsn));
        self.high.is_some_and(|(epoch, lsn)| by(epoch, lsn)) || truncates.iter().any(by_truncate)
    }

    /// Whether a truncate of another partition may lie on either side of the newest event, which has no
    /// position to tell.
    pub(super) fn may_be_truncated(&self, truncates: &[Truncate]) -> bool {
        let Some(top) = self.top.as_ref().filter(|top| top.by_offset && top.lsn.is_none()) else {
            return false;
        };
        truncates.iter().any(|t| t.seq.by_offset && !t.here && !t.seq.shares_partition(top))
    }

    /// The place of an event as the table holds it.
    pub(super) fn place(&mut self, event: &Event) -> Sequence {
        let mut seq = event.seq.clone();
        if seq.by_offset {
            self.high = self.high.max(seq.lsn.map(|lsn| (seq.epoch, lsn)));
            seq.lsn = self.high.and_then(|(epoch, lsn)| (epoch == seq.epoch).then_some(lsn));
            seq.tx_order = None;
        }
        seq
    }

    /// Whether the table shows a row that its memory says is gone: the process died between the two
    /// commits.
    pub fn is_torn(&self) -> bool {
        self.partial && self.gone.is_some() && self.versions.last().is_some_and(|v| v.end.is_none())
    }

    /// Whether a truncate that comes after newer events changes what they made of the key.
    pub fn is_unsettled_by(&self, truncate: &Truncate, history: bool) -> bool {
        let late = self.top.as_ref().is_some_and(|top| truncate.precedes(top));
        let carried =
            self.gone.as_ref().is_some_and(|g| g.carried) || self.versions.iter().any(|v| v.carried);
        if !history || self.versions.is_empty() {
            return late && carried;
        }
        // The text of a held start says nothing of another partition.
        if truncate.seq.by_offset {
            return late;
        }
        let at = truncate.seq.to_string();
        let spans =
            |v: &Version| *v.start.text() < *at && v.end.as_ref().map_or(late, |end| *end.text() > *at);
        (late && carried) || self.versions.iter().any(spans)
    }

    /// A remembered event that was kept out of the table comes behind this one: what the source's row
    /// looks like after it is not known.
    pub(super) fn forget_image_before(&mut self, seq: &Sequence) {
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
