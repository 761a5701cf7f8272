//! The verdict of WHERE and expectations on each row.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};
use arrow::array::{BooleanArray, RecordBatch};
use catalog::{Kind, Otherwise};

use super::{Rules, robust};
use crate::changes::Changes;
use crate::error::{Error, Fitting as _, Result};
use crate::event::{KeyId, Unchanged, Verdict};

/// Results of an expectation. Not exact after a crash: rows that are read again are counted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Rows it holds for.
    pub passed: u64,
    /// Rows that break it.
    pub broken: u64,
    /// What happens to rows that break it.
    pub otherwise: Otherwise,
}
impl Asked {
    /// Adds the results of other rows.
    pub fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.broken += other.broken;
        self.otherwise = other.otherwise;
    }
    /// The metric label for rows that break it.
    pub fn outcome(&self) -> &'static str {
        match self.otherwise {
            Otherwise::Warn | Otherwise::Fail => "failed",
            Otherwise::Drop => "dropped",
            Otherwise::Quarantine => "quarantined",
        }
    }
}

/// What was computed for the rows of one batch.
pub(super) struct Facts<'a> {
    pub changes: &'a Changes,
    /// Rows that pass the WHERE.
    pub passes: BooleanArray,
    /// Rows that cannot be computed, and why.
    pub faults: AHashMap<usize, String>,
    /// Rows with a value that a partition column cannot hold, and why.
    pub unheld: AHashMap<usize, String>,
    /// Rows with values that the source left out.
    pub left_out: LeftOut,
    /// For each expectation, the rows that break it.
    pub broken: Vec<BooleanArray>,
    /// For each expectation, how many rows it holds for.
    pub passed: Vec<u64>,
    /// Rows whose key is null.
    pub null_keys: Vec<bool>,
    /// Old keys of rows. `None`: there is one, but it cannot be read.
    pub old_keys: AHashMap<usize, Option<KeyId>>,
    /// Rows without a place in the order.
    pub order: Ordered,
}

/// Rows without a value of `sequence_by`.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// The column.
    pub column: String,
    /// Rows that need a value but have none, so nothing orders them.
    pub missing: AHashSet<usize>,
    /// Null values, which cannot have one: each deletes what came before it on its partition.
    pub unplaced: AHashSet<usize>,
}
impl Ordered {
    pub fn is_missing(&self, row: usize) -> bool {
        !self.missing.is_empty() && self.missing.contains(&row)
    }
    pub fn is_unplaced(&self, row: usize) -> bool {
        !self.unplaced.is_empty() && self.unplaced.contains(&row)
    }
}

/// Values that the source left out, by row.
#[derive(Default)]
pub(super) struct LeftOut {
    pub rows: AHashMap<usize, Unchanged>,
}
impl LeftOut {
    pub fn of(&self, row: usize) -> Option<Unchanged> {
        if self.rows.is_empty() { None } else { self.rows.get(&row).cloned() }
    }
    pub fn verdict_stands(&self, row: usize) -> bool {
        !self.rows.is_empty() && self.rows.get(&row).is_some_and(|u| u.verdict)
    }
}

impl Rules {
    /// The verdict on one row, and the reasons if it is quarantined.
    pub(super) fn verdict(&self, facts: &Facts<'_>, row: usize) -> Result<(Verdict, Vec<String>)> {
        let op = facts.changes.ops[row];
        let asked = op.is_row() || self.kind == Kind::Append;
        let (mut verdict, mut reasons) = (Verdict::Delete, Vec::new());
        if asked {
            let passes = facts.passes.value(row) || facts.left_out.verdict_stands(row);
            verdict = if passes { Verdict::Row } else { Verdict::Filtered };
            if passes && op.is_row() {
                (verdict, reasons) = self.expect(facts, row)?;
            }
            reasons.extend(facts.faults.get(&row).cloned());
            if verdict == Verdict::Row {
                reasons.extend(facts.unheld.get(&row).cloned());
            }
        }
        if facts.null_keys[row] {
            let is_unread = facts.changes.unread_keys.contains(&row);
            let reason = if is_unread { "the key cannot be read" } else { "the key is null" };
            reasons.push(reason.to_owned());
        }
        if facts.order.is_missing(row) {
            reasons.push(format!("`{}` is null: nothing orders the event", facts.order.column));
        }
        if facts.old_keys.get(&row) == Some(&None) {
            reasons.push("the key it had before cannot be read".to_owned());
        }
        if !reasons.is_empty() {
            verdict = Verdict::Quarantined;
        }
        Ok((verdict, reasons))
    }

    /// Rows with a value that a partition column of the table would return changed.
    pub(super) fn unheld(&self, projected: &RecordBatch) -> AHashMap<usize, String> {
        let mut all = AHashMap::new();
        for &at in self.partitioned.iter() {
            for (row, why) in lake::partition::unfit(projected.column(at)) {
                let column = self.columns.field(at).name();
                all.entry(row).or_insert_with(|| format!("partition column `{column}`: {why}"));
            }
        }
        all
    }

    /// The verdict of the expectations, and the names of those that quarantine the row.
    fn expect(&self, facts: &Facts<'_>, row: usize) -> Result<(Verdict, Vec<String>)> {
        let (mut verdict, mut reasons) = (Verdict::Row, Vec::new());
        let rules = facts.broken.iter().zip(self.otherwise.iter()).zip(self.expectations.names());
        for ((_, otherwise), name) in rules.filter(|((broken, _), _)| broken.value(row)) {
            match otherwise {
                Otherwise::Warn => {}
                Otherwise::Drop => verdict = Verdict::Dropped,
                Otherwise::Quarantine => reasons.push(name.to_owned()),
                Otherwise::Fail => {
                    let seq = &facts.changes.seqs[row];
                    let place =
                        format!("topic {} partition {} offset {}", seq.topic_id, seq.partition, seq.offset);
                    let (table, expectation) = (self.table.clone(), name.to_owned());
                    return Err(Error::ExpectationFailed { table, expectation, place });
                }
            }
        }
        Ok((verdict, reasons))
    }

    /// The results of each expectation.
    pub(super) fn asked(&self, facts: &Facts<'_>) -> Vec<(String, Asked)> {
        let found = facts.broken.iter().zip(&facts.passed).zip(self.otherwise.iter());
        let asked = found.map(|((mask, &passed), &otherwise)| Asked {
            passed,
            broken: mask.true_count() as u64,
            otherwise,
        });
        self.expectations.names().map(str::to_owned).zip(asked).collect()
    }

    /// For each row with values left out: its affected output columns, and whether the WHERE is affected.
    pub(super) fn left_out(&self, changes: &Changes) -> Result<LeftOut> {
        if changes.unchanged.is_empty() || self.kind == Kind::Append {
            return Ok(LeftOut::default());
        }
        let mut patterns: AHashMap<Vec<usize>, Unchanged> = AHashMap::new();
        let mut rows = AHashMap::new();
        for (row, op) in changes.ops.iter().enumerate().filter(|(_, op)| op.is_row()) {
            debug_assert!(op.is_row());
            let mut pattern: Vec<usize> =
                changes.unchanged.iter().filter(|(_, mask)| mask.value(row)).map(|(&at, _)| at).collect();
            if pattern.is_empty() {
                continue;
            }
            pattern.sort_unstable();
            if !patterns.contains_key(&pattern) {
                patterns.insert(pattern.clone(), self.carries(&pattern)?);
            }
            // A value that the model does not use is not needed.
            let unchanged = &patterns[&pattern];
            if unchanged.verdict || unchanged.columns.contains(&true) {
                rows.insert(row, unchanged.clone());
            }
        }
        Ok(LeftOut { rows })
    }

    /// What is carried over if these source columns are left out.
    fn carries(&self, left_out: &[usize]) -> Result<Unchanged> {
        let all = |name: &str, reads: &[usize]| {
            let missing = reads.iter().filter(|at| left_out.contains(at)).count();
            if missing > 0 && missing < reads.len() {
                let unchanged = left_out.iter().find(|at| reads.contains(at)).expect("one is missing");
                let unchanged = self.reader.schema().field(*unchanged).name().clone();
                return Err(Error::MixesUnchanged {
                    table: self.table.clone(),
                    column: name.to_owned(),
                    unchanged,
                });
            }
            Ok(missing > 0)
        };
        let columns = self.columns.fields().iter().zip(self.made_of.iter());
        let columns =
            columns.map(|(field, reads)| all(field.name(), reads)).collect::<Result<Arc<[bool]>>>()?;
        Ok(Unchanged { columns, verdict: all("WHERE", &self.where_reads)? })
    }

    /// For each expectation, the rows that break it and the number of rows it holds for. Skips rows without a
    /// row value, rows that the WHERE rejects, and rows where it reads a value that was left out.
    pub(super) fn broken(
        &self,
        changes: &Changes,
        projected: &RecordBatch,
        passes: &BooleanArray,
        left_out: &LeftOut,
    ) -> Result<(Vec<BooleanArray>, Vec<u64>)> {
        let (mut all, mut passed) = (Vec::new(), Vec::new());
        for rule in 0..self.expectations.len() {
            // An expectation that cannot be computed does not hold.
            let holds = robust::mask(projected, |b| self.expectations.holds(b, rule), |_, _| {});
            let holds = holds.fitting(&self.table, "an expectation of the model")?;
            let column =
                |name: &&str| self.columns.index_of(name).expect("compiled for the columns of the model");
            let reads: Vec<usize> = self.expectations.dependencies(rule).iter().map(column).collect();
            let judged = |row: usize| {
                let left_out = left_out.rows.get(&row);
                changes.ops[row].is_row()
                    && (passes.value(row) || left_out.is_some_and(|u| u.verdict))
                    && !left_out.is_some_and(|u| reads.iter().any(|&at| u.columns[at]))
            };
            let mut passes = 0;
            let mut breaks = |row: usize| {
                let (holds, judged) = (holds.value(row), judged(row));
                passes += u64::from(holds && judged);
                Some(!holds && judged)
            };
            all.push((0..projected.num_rows()).map(&mut breaks).collect());
            passed.push(passes);
        }
        Ok((all, passed))
    }
}
