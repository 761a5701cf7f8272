//! A table, its notes and its quarantine in memory: applies decisions as a lake does.

use ahash::AHashSet;
use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use catalog::Kind;
use model::Version;

use crate::append::Appender;
use crate::decide::{Collected, Decision, Settled, Wanted};
use crate::event::Outcomes;
use crate::judge::Rules;
use crate::memory::Memory;

/// Everything that a lake holds of one silver table.
pub struct Shelf {
    pub rules: Rules,
    pub bronze: Vec<RecordBatch>,
    pub table: Vec<RecordBatch>,
    pub notes: Vec<RecordBatch>,
    pub aside: Vec<RecordBatch>,
    pub memory: Memory,
    pub outcomes: Outcomes,
    pub refolded: usize,
}
impl Shelf {
    pub fn new(rules: Rules) -> Self {
        let (bronze, table, notes, aside) = Default::default();
        Self {
            rules,
            bronze,
            table,
            notes,
            aside,
            memory: Memory::default(),
            outcomes: Outcomes::default(),
            refolded: 0,
        }
    }

    /// Handles one batch of bronze rows as the pipeline does.
    pub fn step(&mut self, batch: &RecordBatch) {
        self.bronze.push(batch.clone());
        let decision = self.decide(batch, false);
        self.apply(decision, true);
    }

    /// Dies between the commits of the notes and the table, then goes on with a larger batch.
    pub fn crash_then_step(&mut self, batch: &RecordBatch, more: &RecordBatch) {
        let decision = self.decide(batch, false);
        let notes = Decision { removes: None, upserts: None, ..decision };
        let (outcomes, memory) = (self.outcomes, notes.memory.clone());
        self.apply(notes, true);
        (self.outcomes, self.memory) = (outcomes, memory);
        let both = arrow::compute::concat_batches(&batch.schema(), [batch, more]).expect("one schema");
        self.bronze.push(both.clone());
        // Quarantined rows of the first part are not quarantined again.
        let first = self.aside.len();
        let decision = self.decide(&both, true);
        let aside = decision.quarantine.iter().map(RecordBatch::num_rows).sum::<usize>();
        let before = self.aside[..first].last().map_or(0, RecordBatch::num_rows);
        let keep = aside.saturating_sub(before);
        let rest = decision
            .quarantine
            .iter()
            .map(|b| b.slice(b.num_rows() - keep.min(b.num_rows()), keep.min(b.num_rows())));
        let quarantine = rest.collect();
        self.apply(Decision { quarantine, ..decision }, true);
    }

    fn decide(&mut self, batch: &RecordBatch, torn: bool) -> Decision {
        if self.rules.kind == Kind::Append {
            let mut appender = Appender::try_new(self.rules.clone()).expect("rules");
            appender.take(batch, Version(0), true).expect("judged");
            for names in appender.wanted().expect("names") {
                appender.hold(&pick(&self.table, &names, true)).expect("rows");
            }
            return appender.decide().expect("decided");
        }
        let mut events = Collected::try_new(self.rules.clone(), self.memory.clone(), torn).expect("rules");
        events.take(batch, Version(0), true).expect("judged");
        let lookup = events.close().expect("keys");
        let (rows, notes) = self.look_up(lookup.wanted(), lookup.columns());
        let refold = match lookup.fold(&rows, &notes).expect("settled") {
            Settled::Decided(decision) => return *decision,
            Settled::NeedsHistory(refold) => refold,
        };
        let (rows, notes) = self.look_up(refold.wanted(), refold.columns());
        let mut recall = refold.hold(&rows, &notes).expect("held");
        for rows in &self.bronze {
            recall.take(rows).expect("recalled");
        }
        recall.decide().expect("decided")
    }

    /// Rows of the table, with only these columns, and notes.
    fn look_up(&self, wanted: &Wanted, columns: &[String]) -> (Vec<RecordBatch>, Vec<RecordBatch>) {
        let only = |rows: Vec<RecordBatch>| {
            let project = |b: RecordBatch| {
                let at: Vec<usize> =
                    columns.iter().map(|c| b.schema().index_of(c).expect("a column")).collect();
                b.project(&at).expect("columns")
            };
            rows.into_iter().map(project).collect::<Vec<_>>()
        };
        match wanted {
            Wanted::Nothing => (Vec::new(), Vec::new()),
            Wanted::Keys(keys) => (only(pick(&self.table, keys, true)), pick(&self.notes, keys, true)),
            Wanted::Everything => (only(self.table.clone()), self.notes.clone()),
        }
    }

    fn apply(&mut self, decision: Decision, _landed: bool) {
        if let Some(keys) = &decision.forget {
            self.notes = pick(&self.notes, keys, false);
        }
        self.notes.extend(decision.notes);
        if let Some(keys) = &decision.removes {
            self.table = pick(&self.table, keys, false);
        }
        self.table.extend(decision.upserts);
        self.aside.extend(decision.quarantine);
        self.memory = decision.memory;
        self.outcomes += decision.outcomes;
        self.refolded += decision.refolded;
    }

    /// Rows of the table with these columns, as sorted text.
    pub fn rows(&self, columns: &[&str]) -> Vec<String> {
        as_text(&self.table, columns)
    }
    /// The number of quarantined rows.
    pub fn put_aside(&self) -> usize {
        self.aside.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Rows as sorted text, `·` for null.
pub fn as_text(batches: &[RecordBatch], columns: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for batch in batches {
        let options = FormatOptions::default().with_null("·");
        let formatters: Vec<_> = columns
            .iter()
            .map(|c| {
                ArrayFormatter::try_new(batch.column_by_name(c).expect("a column"), &options).expect("a type")
            })
            .collect();
        for row in 0..batch.num_rows() {
            all.push(formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    all.sort();
    all
}

/// Rows whose values in the columns of `keys` are among them, or are not.
fn pick(rows: &[RecordBatch], keys: &RecordBatch, among: bool) -> Vec<RecordBatch> {
    let fields = keys.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("key types");
    let wanted: AHashSet<OwnedRow> =
        converter.convert_columns(keys.columns()).expect("keys").iter().map(|r| r.owned()).collect();
    let picked = rows.iter().map(|batch| {
        let schema = keys.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|f| batch.column_by_name(f.name()).expect("a column").clone())
            .collect();
        let rows = converter.convert_columns(&columns).expect("keys");
        let mask: BooleanArray =
            rows.iter().map(|row| Some(wanted.contains(&row.owned()) == among)).collect();
        filter_record_batch(batch, &mask).expect("a mask")
    });
    picked.filter(|batch| batch.num_rows() > 0).collect()
}

/// Values of a text column, for short assertions.
pub fn texts(batches: &[RecordBatch], column: &str) -> Vec<Option<String>> {
    let values = |batch: &RecordBatch| {
        let column = batch.column_by_name(column).expect("a column").as_string::<i32>().clone();
        (0..column.len())
            .map(|row| column.is_valid(row).then(|| column.value(row).to_owned()))
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(values).collect()
}
