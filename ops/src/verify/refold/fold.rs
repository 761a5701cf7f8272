//! Folds all changes of a table at once, in their order.
//!
//! It takes no short cuts: it looks at each change once, together with everything before it, and a truncate
//! visits all keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::Kind;
use stage::{Outcome, Outcomes};

use super::place::{Name, Place, Truncate};
use super::rules::{Judged, Rules, Unchanged, Verdict};
use crate::verify::compare::same;

/// Batch and row of a value. `None`: it was left out and has no earlier value.
type Cell = Option<(usize, usize)>;

/// A row of which some values may come from earlier rows.
#[derive(Debug, Clone)]
struct Image {
    base: (usize, usize),
    carried: Option<Arc<Vec<Option<Cell>>>>,
}
impl Image {
    fn of(base: (usize, usize)) -> Self {
        Self { base, carried: None }
    }
    fn cell(&self, column: usize) -> Cell {
        match self.carried.as_ref().and_then(|carried| carried[column]) {
            Some(cell) => cell,
            None => Some(self.base),
        }
    }
    fn carry(base: (usize, usize), before: Option<&Self>, unchanged: &Unchanged) -> Self {
        let cell = |(at, left_out): (usize, &bool)| left_out.then(|| before.and_then(|image| image.cell(at)));
        Self { base, carried: Some(Arc::new(unchanged.columns.iter().enumerate().map(cell).collect())) }
    }
}

/// A row of the table.
#[derive(Debug, Clone)]
struct Line {
    image: Image,
    place: Place,
    carried: bool,
    start: (Place, Option<i64>),
    end: Option<(Place, Option<i64>)>,
}

/// The state of one key.
#[derive(Debug, Default)]
struct State {
    /// The source's current row, and whether the WHERE accepts it.
    image: Option<(Image, bool)>,
    /// The source's row before it was deleted.
    departed: Option<(Image, bool)>,
    lines: Vec<Line>,
    /// The change that made the current row.
    standing: Option<usize>,
    /// The newest applied change.
    top: Option<Place>,
    gone: Option<Gone>,
    skipped: Option<Place>,
    absences: Vec<Place>,
    skips: Vec<Place>,
    /// Which truncates have been applied.
    met: Vec<bool>,
    /// The highest position so far with its epoch, if offsets order the changes.
    high: Option<(Option<i64>, i64)>,
    seen: HashSet<Name>,
    names: HashSet<(i64, i64, i64)>,
    records: HashSet<(Arc<str>, i64, i64)>,
    nameless: HashSet<(Arc<str>, i64, i64)>,
}
impl State {
    /// Whether the change was seen before. Remembers it.
    fn is_repeat(&mut self, one: &Judged) -> bool {
        let place = &one.place;
        let record = (Arc::clone(&place.topic), place.partition, place.offset);
        let mut repeat = one.name.is_some_and(|name| !self.seen.insert(name));
        repeat |= match place.name() {
            Some(name) => !self.names.insert(name) || self.nameless.contains(&record),
            None => self.records.contains(&record) || !self.nameless.insert(record.clone()),
        };
        self.records.insert(record);
        repeat
    }
    /// The place of a change as the table stores it.
    fn place(&mut self, one: &Judged) -> Place {
        let mut place = one.place.clone();
        if place.by_offset {
            self.high = self.high.max(place.lsn.map(|lsn| (place.epoch, lsn)));
            place.lsn = self.high.and_then(|(epoch, lsn)| (epoch == place.epoch).then_some(lsn));
            place.tx_order = None;
        }
        place
    }
}

/// The newest change of a key, if it left the key without a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The change.
    pub place: Place,
    /// When it happened.
    pub at: Option<i64>,
    /// `deleted` or `filtered`.
    pub why: &'static str,
}

/// The outcome of each change. Empty if it is not needed.
struct Ledger(Vec<Option<Outcome>>);
impl Ledger {
    fn set(&mut self, at: usize, outcome: Option<Outcome>) {
        if let Some(held) = self.0.get_mut(at) {
            *held = outcome;
        }
    }
}

/// What the table must remember of a key.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The newest change, if it left the key without a row.
    pub gone: Option<Gone>,
    /// The newest quarantined or dropped change, if no newer change counted.
    pub skipped: Option<Place>,
    /// All changes that ever deleted the key or were filtered out.
    pub absences: Vec<Place>,
    /// All changes that were quarantined or dropped.
    pub skips: Vec<Place>,
}

/// A change of a key: the old key, the new one, and its place.
pub type Move = (Arc<[u8]>, Arc<[u8]>, Place);

/// The result of the fold.
#[derive(Debug)]
pub struct Folded {
    /// The rows that the table must hold.
    pub rows: RecordBatch,
    /// How many changes had each outcome.
    pub outcomes: Outcomes,
    /// What must be remembered, by key.
    pub memory: HashMap<Arc<[u8]>, Memory>,
    /// Every truncate, without copies.
    pub truncates: Vec<Truncate>,
    /// Every truncate, including copies.
    pub all_truncates: Vec<Truncate>,
    /// The last rows of whole snapshots that are ordered by offset.
    pub whole: Vec<Place>,
    /// Changes of a key that took values from the old key.
    pub moves: Vec<Move>,
}

/// A change, and the batch and row of its values.
type Kept = (Judged, (usize, usize));

/// All changes of one part of a table.
#[derive(Default)]
pub struct PartFold {
    batches: Vec<RecordBatch>,
    judged: Vec<Kept>,
    outcomes: Outcomes,
}

impl PartFold {
    /// Adds the judged rows that are `here`, and of the other parts the changes that concern every key. Keeps
    /// only the rows that are needed.
    pub fn take(
        &mut self,
        rows: &RecordBatch,
        judged: Vec<Judged>,
        here: impl Fn(&Judged) -> bool,
    ) -> Result<()> {
        let (batch, mut kept) = (self.batches.len(), 0);
        let mut mask = Vec::with_capacity(judged.len());
        for mut one in judged {
            let here = here(&one);
            let concerns_all = one.verdict == Verdict::Truncate || one.ends || one.reads;
            let before = self.judged.len();
            match one.verdict {
                _ if !here && !concerns_all => {}
                Verdict::Tombstone => self.outcomes.tombstone += 1,
                Verdict::Error => self.outcomes.error += 1,
                Verdict::Message => self.outcomes.filtered += 1,
                verdict => {
                    if !here && verdict != Verdict::Truncate {
                        one.verdict = Verdict::Elsewhere;
                    }
                    self.judged.push((one, (batch, kept)));
                }
            }
            let is_kept = self.judged.len() > before;
            kept += usize::from(is_kept);
            mask.push(is_kept);
        }
        self.batches.push(filter_record_batch(rows, &BooleanArray::from(mask))?);
        Ok(())
    }

    /// Folds the changes. Every part has the truncates; only the `first` counts them.
    pub fn run(mut self, rules: &Rules, first: bool) -> Result<Folded> {
        let mut judged = std::mem::take(&mut self.judged);
        place_deletes(rules, &mut judged);
        judged.sort_by(|(a, _), (b, _)| {
            let is_truncate = |j: &Judged| j.verdict == Verdict::Truncate;
            (a.place.order(&b.place))
                .then_with(|| is_truncate(a).cmp(&is_truncate(b)))
                .then_with(|| a.key.cmp(&b.key))
                .then_with(|| a.redrive.cmp(&b.redrive))
        });
        let replaced = replaced(&judged);
        if rules.kind == Kind::Append {
            self.append(rules, &judged, &replaced)
        } else {
            self.keyed(rules, &judged, &replaced, first)
        }
    }

    /// For `append`: every event once.
    fn append(self, rules: &Rules, judged: &[Kept], replaced: &[bool]) -> Result<Folded> {
        let mut outcomes = self.outcomes;
        let (mut names, mut records): (HashSet<(i64, i64, i64)>, HashSet<_>) = Default::default();
        let mut lines = Vec::new();
        for (at, (one, row)) in judged.iter().enumerate() {
            outcomes.count(match one.verdict {
                Verdict::Elsewhere => continue,
                _ if replaced[at] => Outcome::Superseded,
                Verdict::Aside => Outcome::Quarantined,
                Verdict::Dropped => Outcome::Dropped,
                Verdict::Filtered => Outcome::Filtered,
                _ => {
                    let fresh = match one.place.name() {
                        Some(name) => names.insert(name),
                        None => records.insert((
                            Arc::clone(&one.place.topic),
                            one.place.partition,
                            one.place.offset,
                        )),
                    };
                    if fresh {
                        lines.push(Line {
                            image: Image::of(*row),
                            place: one.place.clone(),
                            carried: false,
                            start: (one.place.clone(), one.at),
                            end: None,
                        });
                        Outcome::Applied
                    } else {
                        Outcome::Repeat
                    }
                }
            });
        }
        let rows = table(rules, &self.batches, &lines.iter().collect::<Vec<_>>())?;
        let memory = HashMap::new();
        let (truncates, all_truncates, moves, whole) = Default::default();
        Ok(Folded { rows, outcomes, memory, truncates, all_truncates, moves, whole })
    }

    /// For keyed tables: the newest row of every key, or all of its versions.
    fn keyed(self, rules: &Rules, judged: &[Kept], replaced: &[bool], first: bool) -> Result<Folded> {
        let mut outcomes = self.outcomes;
        let mut of = Ledger(vec![None; judged.len()]);
        let (truncates, all_truncates, whole) = self.truncates(judged, first, &mut of);
        let mut keys: BTreeMap<Arc<[u8]>, Vec<usize>> = BTreeMap::new();
        let mut moves = Vec::new();
        for (at, (one, _)) in judged.iter().enumerate() {
            match &one.key {
                _ if matches!(one.verdict, Verdict::Truncate | Verdict::Elsewhere) => {}
                Some(key) if !one.orderless => {
                    if let (Some(old), Some(_), false) = (&one.moved_from, &one.unchanged, replaced[at]) {
                        moves.push((Arc::clone(old), Arc::clone(key), one.place.clone()));
                    }
                    keys.entry(Arc::clone(key)).or_default().push(at);
                }
                // Its key cannot be read, so it concerns no key.
                _ => of.set(at, Some(Outcome::Quarantined)),
            }
        }
        let left = HashMap::new();
        let batches = &self.batches;
        let mut histories =
            Histories { rules, batches, judged, replaced, keys: &keys, truncates: &truncates, left };
        histories.follow_keys();
        let (mut memory, mut lines) = (HashMap::new(), Vec::new());
        for (key, events) in &keys {
            let mut state = histories.begin();
            histories.fold(&mut state, events, &mut of);
            histories.sweep(&mut state, None, &mut of);
            let is_newest =
                |skipped: &&Place| state.top.as_ref().is_none_or(|top| skipped.order(top).is_gt());
            let skipped = state.skipped.as_ref().filter(is_newest).cloned();
            let State { gone, absences, skips, .. } = state;
            memory.insert(Arc::clone(key), Memory { gone, skipped, absences, skips });
            lines.extend(state.lines);
        }
        for outcome in of.0.into_iter().flatten() {
            outcomes.count(outcome);
        }
        let rows = table(rules, &self.batches, &lines.iter().collect::<Vec<_>>())?;
        Ok(Folded { rows, outcomes, memory, truncates, all_truncates, moves, whole })
    }

    /// The truncates in order without copies, all truncates with copies, and the ends of whole snapshots.
    fn truncates(
        &self,
        judged: &[Kept],
        first: bool,
        of: &mut Ledger,
    ) -> (Vec<Truncate>, Vec<Truncate>, Vec<Place>) {
        let (mut all, mut once, mut ends): (Vec<Truncate>, Vec<Truncate>, Vec<Place>) = Default::default();
        let mut begins: BTreeMap<(Option<i64>, i64, Arc<str>, i64), i64> = BTreeMap::new();
        for (at, (one, _)) in judged.iter().enumerate() {
            if one.verdict == Verdict::Truncate {
                let truncate = Truncate { place: one.place.clone(), at: one.at, here: false };
                let copy = once.iter().any(|known| known.same(&truncate));
                of.set(at, first.then_some(if copy { Outcome::Repeat } else { Outcome::Applied }));
                if !copy {
                    once.push(truncate.clone());
                }
                all.push(truncate);
            }
            if one.ends && !one.place.by_offset {
                all.push(Truncate { place: one.place.start(), at: one.at, here: false });
            }
            if let (true, true, Some(lsn)) = (one.reads, one.place.by_offset, one.place.lsn) {
                let place = (one.place.epoch, lsn, Arc::clone(&one.place.topic), one.place.partition);
                let begin = begins.entry(place).or_insert(one.place.offset);
                *begin = (*begin).min(one.place.offset);
            }
        }
        for end in judged.iter().filter(|(one, _)| one.ends && one.place.by_offset) {
            let of_it = begins.iter().filter(|((epoch, lsn, topic, _), _)| {
                (*epoch, Some(*lsn), topic) == (end.0.place.epoch, end.0.place.lsn, &end.0.place.topic)
            });
            for ((_, _, _, partition), begin) in of_it {
                let place =
                    Place { tx_order: None, partition: *partition, offset: begin - 1, ..end.0.place.clone() };
                all.push(Truncate { place, at: end.0.at, here: true });
            }
            ends.push(end.0.place.clone());
        }
        for truncate in &all {
            if !once.iter().any(|known| known.same(truncate)) {
                once.push(truncate.clone());
            }
        }
        once.sort_by(|a, b| a.place.order(&b.place));
        (once, all, ends)
    }
}

/// The changes of all keys.
struct Histories<'a> {
    rules: &'a Rules,
    batches: &'a [RecordBatch],
    judged: &'a [Kept],
    replaced: &'a [bool],
    keys: &'a BTreeMap<Arc<[u8]>, Vec<usize>>,
    truncates: &'a [Truncate],
    /// By number of the change: the row of another key from which it took values.
    left: HashMap<usize, Option<(Image, bool)>>,
}

impl Histories<'_> {
    /// The state of a key before its first change.
    fn begin(&self) -> State {
        State { met: vec![false; self.truncates.len()], ..State::default() }
    }

    /// Applies more changes of a key to its state. Truncates after the last change are not applied yet.
    fn fold(&self, state: &mut State, events: &[usize], of: &mut Ledger) {
        let history = self.rules.kind == Kind::Scd2;
        for &at in events {
            let (one, row) = &self.judged[at];
            if self.replaced[at] {
                of.set(at, Some(Outcome::Superseded));
                continue;
            }
            let by_verdict = match one.verdict {
                Verdict::Filtered => Some(Outcome::Filtered),
                Verdict::Aside => Some(Outcome::Quarantined),
                Verdict::Dropped => Some(Outcome::Dropped),
                _ => None,
            };
            if state.is_repeat(one) {
                of.set(at, Some(by_verdict.unwrap_or(Outcome::Repeat)));
                continue;
            }
            let place = state.place(one);
            self.sweep(state, Some(&place), of);
            let (mut verdict, mut image) = (one.verdict, Image::of(*row));
            if let Some(unchanged) = &one.unchanged {
                let left = self.left.get(&at).cloned().flatten();
                let before = left.or_else(|| state.image.clone());
                let passed = before.as_ref().is_some_and(|(_, passed)| *passed);
                if unchanged.verdict && verdict == Verdict::Row && !passed {
                    verdict = Verdict::Filtered;
                }
                image = Image::carry(*row, before.as_ref().map(|(image, _)| image), unchanged);
            }
            let outcome = match verdict {
                Verdict::Aside => Outcome::Quarantined,
                Verdict::Dropped => Outcome::Dropped,
                Verdict::Filtered => Outcome::Filtered,
                _ => Outcome::Applied,
            };
            of.set(at, Some(outcome));
            match verdict {
                Verdict::Aside | Verdict::Dropped => {
                    state.image = Some((image, true));
                    state.skipped = Some(place.clone());
                    state.skips.push(place);
                    continue;
                }
                Verdict::Delete => {
                    if let Some(image) = state.image.take() {
                        state.departed = Some(image);
                    }
                    state.close(&place, one.at, history);
                    state.gone = Some(Gone { place: place.clone(), at: one.at, why: "deleted" });
                    state.absences.push(place.clone());
                }
                Verdict::Filtered => {
                    state.image = Some((image, false));
                    state.close(&place, one.at, history);
                    state.gone = Some(Gone { place: place.clone(), at: one.at, why: "filtered" });
                    state.absences.push(place.clone());
                }
                _ => {
                    state.image = Some((image.clone(), true));
                    state.gone = None;
                    state.enter(self.batches, self.rules, image, &place, one);
                }
            }
            state.top = Some(place);
            state.overtake(history, of);
            state.standing = (outcome == Outcome::Applied).then_some(at);
        }
    }

    /// Applies the pending truncates that come before a change at `until`; all of them if it is `None`.
    fn sweep(&self, state: &mut State, until: Option<&Place>, of: &mut Ledger) {
        let history = self.rules.kind == Kind::Scd2;
        for (at, truncate) in self.truncates.iter().enumerate() {
            if state.met[at] || until.is_some_and(|until| !truncate.precedes(until)) {
                continue;
            }
            state.met[at] = true;
            let newer = |place: Option<&Place>| place.is_some_and(|place| truncate.precedes(place));
            if newer(state.top.as_ref()) {
                continue;
            }
            if state.lines.last().is_some_and(|line| line.end.is_none()) {
                state.close(&truncate.place, truncate.at, history);
                state.overtake(history, of);
            }
            if !newer(state.skipped.as_ref()) {
                state.image = None;
            }
            state.departed = None;
        }
    }

    /// Finds the row from which each change of a key took its values. Each key is folded only as far as
    /// needed and continues from there, so a row that changes its key again and again costs no more than one
    /// that does not.
    fn follow_keys(&mut self) {
        let moves: Vec<usize> = (0..self.judged.len()).filter(|at| self.old_key(*at).is_some()).collect();
        let mut folded: HashMap<Arc<[u8]>, (usize, State)> = HashMap::new();
        for first in moves {
            let mut open = vec![first];
            while let Some(&at) = open.last() {
                let Some(old) = self.old_key(at).filter(|_| !self.left.contains_key(&at)) else {
                    open.pop();
                    continue;
                };
                let (keys, one) = (self.keys, &self.judged[at].0);
                let Some(events) = keys.get(&old) else {
                    self.left.insert(at, None);
                    continue;
                };
                let end = self.end(events, one);
                let (from, state) = match folded.remove(&old) {
                    Some((from, state)) if from <= end => (from, Some(state)),
                    _ => (0, None),
                };
                // Keys that took their values from each other in a circle: no real database has such a
                // history.
                let waits = events[from..end].iter().copied().find(|other| {
                    self.old_key(*other).is_some() && !self.left.contains_key(other) && !open.contains(other)
                });
                if let Some(other) = waits {
                    if let Some(state) = state {
                        folded.insert(old, (from, state));
                    }
                    open.push(other);
                    continue;
                }
                let mut state = state.unwrap_or_else(|| self.begin());
                let mut aside = Ledger(Vec::new());
                self.fold(&mut state, &events[from..end], &mut aside);
                let mut leaving = State {
                    image: state.image.clone(),
                    departed: state.departed.clone(),
                    top: state.top.clone(),
                    skipped: state.skipped.clone(),
                    met: state.met.clone(),
                    ..State::default()
                };
                self.sweep(&mut leaving, Some(&one.place), &mut aside);
                self.left.insert(at, leaving.image.or(leaving.departed));
                folded.insert(old, (end, state));
            }
        }
    }

    /// The other key that a change takes values from.
    fn old_key(&self, at: usize) -> Option<Arc<[u8]>> {
        let one = &self.judged[at].0;
        let takes = |old: &Arc<[u8]>| one.unchanged.is_some() && one.key.as_ref() != Some(old);
        one.moved_from.clone().filter(|old| takes(old) && !self.replaced[at])
    }

    /// How many of a key's changes come before the change that took values from it.
    fn end(&self, events: &[usize], one: &Judged) -> usize {
        // If offsets order the changes, the delete written together with the row links the two partitions.
        let twin = |at: &usize| match (self.judged[*at].0.name, one.name) {
            (Some(a), Some(b)) => a.4 == "d" && (a.0, a.1) == (b.0, b.1),
            _ => false,
        };
        let before = |at: &&usize| self.judged[**at].0.place.is_behind(&one.place) == Some(false);
        match events.iter().position(twin).filter(|_| one.place.by_offset) {
            Some(twin) => twin + 1,
            None => events.iter().take_while(before).count(),
        }
    }
}

impl State {
    fn close(&mut self, place: &Place, at: Option<i64>, history: bool) {
        if !history {
            self.lines.clear();
        } else if let Some(open) = self.lines.last_mut().filter(|line| line.end.is_none()) {
            // A version that ends at an earlier time than it begins has no duration.
            open.end = Some((place.clone(), later(at, open.start.1)));
        }
    }

    fn enter(&mut self, batches: &[RecordBatch], rules: &Rules, image: Image, place: &Place, one: &Judged) {
        let carried = one.unchanged.is_some();
        let alike = |line: &Line| {
            rules
                .tracked
                .iter()
                .all(|&column| same_cell(batches, column, line.image.cell(column), image.cell(column)))
        };
        if rules.kind == Kind::Scd2
            && let Some(open) = self.lines.last_mut().filter(|line| line.end.is_none())
            && alike(open)
        {
            (open.image, open.place, open.carried) = (image, place.clone(), carried);
            return;
        }
        self.close(place, one.at, rules.kind == Kind::Scd2);
        let floor = self.lines.last().and_then(|line| line.end.as_ref()?.1);
        let start = (place.clone(), later(one.at, floor));
        self.lines.push(Line { image, place: place.clone(), carried, start, end: None });
    }

    /// If only the newest row is kept, the change that made the previous row is superseded.
    fn overtake(&mut self, history: bool, of: &mut Ledger) {
        if let Some(standing) = self.standing.take().filter(|_| !history) {
            of.set(standing, Some(Outcome::Superseded));
        }
    }
}

/// The time, but no earlier than `floor`.
fn later(at: Option<i64>, floor: Option<i64>) -> Option<i64> {
    at.map(|at| floor.map_or(at, |floor| at.max(floor)))
}

/// Which changes were replaced by a redrive of the same record.
fn replaced(judged: &[Kept]) -> Vec<bool> {
    let counts = |one: &Judged| !matches!(one.verdict, Verdict::Truncate | Verdict::Elsewhere);
    let mut last: HashMap<(&str, i64, i64), &Option<String>> = HashMap::new();
    for (one, _) in judged.iter().filter(|(one, _)| counts(one)) {
        let held = last.entry(one.place.record()).or_insert(&one.redrive);
        if one.redrive > **held {
            *held = &one.redrive;
        }
    }
    let newer = |one: &Judged| last.get(&one.place.record()).is_some_and(|last| **last > one.redrive);
    judged.iter().map(|(one, _)| counts(one) && newer(one)).collect()
}

/// Gives a delete without a value of `sequence_by` the highest value that its key has before it on its
/// partition, so it deletes what came before it.
fn place_deletes(rules: &Rules, judged: &mut [Kept]) {
    if judged.iter().all(|(one, _)| !one.unplaced) {
        return;
    }
    let replaced = replaced(judged);
    let track =
        |one: &Judged| (one.key.clone(), Arc::clone(&one.place.topic), one.place.partition, one.place.epoch);
    let mut order: Vec<usize> = (0..judged.len())
        .filter(|at| !matches!(judged[*at].0.verdict, Verdict::Truncate | Verdict::Elsewhere))
        .collect();
    order.sort_by_key(|at| (track(&judged[*at].0), judged[*at].0.place.offset));
    let (mut last, mut highest) = (None, None);
    for at in order {
        let own = track(&judged[at].0);
        if last.as_ref() != Some(&own) {
            (last, highest) = (Some(own), None);
        }
        if judged[at].0.unplaced {
            judged[at].0.place.lsn = highest;
            judged[at].0.at = rules.time(judged[at].0.at, highest);
        } else if !replaced[at] && !judged[at].0.orderless {
            highest = highest.max(judged[at].0.place.lsn);
        }
    }
}

fn same_cell(batches: &[RecordBatch], column: usize, a: Cell, b: Cell) -> bool {
    let is_null = |cell: Cell| cell.is_none_or(|(batch, row)| batches[batch].column(column).is_null(row));
    match (a, b) {
        (Some((a_batch, a_row)), Some((b_batch, b_row))) => {
            same(batches[a_batch].column(column), a_row, batches[b_batch].column(column), b_row)
        }
        _ => is_null(a) && is_null(b),
    }
}

/// The columns of a table: the model's, and those that silver adds.
pub fn columns(kind: Kind, own: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = own.fields().iter().map(|field| field.as_ref().clone()).collect();
    if kind == Kind::Scd2 {
        fields.extend(catalog::columns::history_fields().iter().map(|field| field.as_ref().clone()));
    }
    for name in ["_epoch", "_lsn", "_tx_order"] {
        fields.push(Field::new(name, DataType::Int64, true));
    }
    fields.push(Field::new("_topic_id", DataType::Utf8, true));
    fields.push(Field::new("_partition", DataType::Int64, true));
    fields.push(Field::new("_offset", DataType::Int64, true));
    fields.push(Field::new("_carried", DataType::Boolean, true));
    Arc::new(Schema::new(fields))
}

fn table(rules: &Rules, batches: &[RecordBatch], lines: &[&Line]) -> Result<RecordBatch> {
    let mut all: Vec<ArrayRef> = Vec::new();
    for (at, field) in rules.schema.fields().iter().enumerate() {
        let nothing = new_null_array(field.data_type(), 1);
        let mut arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        let missing = (arrays.len(), 0);
        arrays.push(nothing.as_ref());
        let places: Vec<(usize, usize)> =
            lines.iter().map(|line| line.image.cell(at).unwrap_or(missing)).collect();
        all.push(interleave(&arrays, &places)?);
    }
    if rules.kind == Kind::Scd2 {
        let text = |mark: &(Place, Option<i64>)| mark.0.text();
        all.push(Arc::new(lines.iter().map(|line| Some(text(&line.start))).collect::<StringArray>()));
        all.push(Arc::new(lines.iter().map(|line| line.end.as_ref().map(text)).collect::<StringArray>()));
        let times = |times: TimestampMicrosecondArray| -> ArrayRef { Arc::new(times.with_timezone("UTC")) };
        all.push(times(lines.iter().map(|line| line.start.1).collect()));
        all.push(times(lines.iter().map(|line| line.end.as_ref().and_then(|end| end.1)).collect()));
    }
    let number = |part: fn(&Place) -> Option<i64>| -> ArrayRef {
        Arc::new(lines.iter().map(|line| part(&line.place)).collect::<Int64Array>())
    };
    all.extend([number(|p| p.epoch), number(|p| p.lsn), number(Place::stored_order)]);
    all.push(Arc::new(lines.iter().map(|line| Some(line.place.topic.to_string())).collect::<StringArray>()));
    all.extend([number(|p| Some(p.partition)), number(|p| Some(p.offset))]);
    all.push(Arc::new(lines.iter().map(|line| Some(line.carried)).collect::<BooleanArray>()));
    Ok(RecordBatch::try_new(columns(rules.kind, &rules.schema), all)?)
}
