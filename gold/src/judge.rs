//! Checks expectations on the rows that a commit writes.
//!
//! Gold equals its SQL over its pins, so no row can be dropped or quarantined: `validate` rejects those two.
//! A row that breaks an expectation is counted (`warn`), or stops the table **before** the commit (`fail`):
//! the table stays at its last version, and no downstream table or topic gets the row. A row is checked when
//! it is added or changed, not again by refreshes that leave it unchanged. A value that a partition column
//! would return changed stops the table in the same way.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use catalog::{Model, Otherwise};
use model::TableName;
use query::expectations::Expectations;

use crate::difference::shown;
use crate::error::{Error, OfTable as _, Result};

/// The expectations of a model, compiled.
#[derive(Debug, Clone)]
pub struct Judge {
    table: TableName,
    keys: Vec<String>,
    partition_by: Vec<String>,
    expectations: Expectations,
    otherwise: Vec<Otherwise>,
}

/// The result of an expectation for some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The expectation.
    pub name: String,
    /// Rows that it holds for.
    pub passed: u64,
    /// Rows that break it.
    pub failed: u64,
}

impl Judge {
    /// Compiles the expectations of `model` for rows with these columns.
    pub fn compile(model: &Model, schema: &SchemaRef) -> Result<Self> {
        let rules = model.expectations.iter().map(|rule| (rule.name.as_str(), rule.predicate.as_str()));
        let expectations = Expectations::compile(&query::session(), rules, schema);
        Ok(Self {
            table: model.name.clone(),
            keys: model.keys.clone(),
            partition_by: model.partition_by.clone(),
            expectations: expectations.of(&model.name)?,
            otherwise: model.expectations.iter().map(|rule| rule.otherwise).collect(),
        })
    }

    /// Checks rows. Returns an error at the first row that breaks an expectation with `fail`.
    pub fn judge(&self, rows: &RecordBatch) -> Result<Vec<Verdict>> {
        self.partitions(rows)?;
        let mut verdicts = Vec::with_capacity(self.otherwise.len());
        for (at, (name, otherwise)) in self.expectations.names().zip(&self.otherwise).enumerate() {
            let holds = self.holds(rows, at)?;
            if *otherwise == Otherwise::Fail
                && let Some(row) = (0..holds.len()).find(|row| !holds.value(*row))
            {
                return Err(self.failed(name, rows, row)?);
            }
            let passed = holds.true_count();
            let failed = (rows.num_rows() - passed) as u64;
            verdicts.push(Verdict { name: name.to_owned(), passed: passed as u64, failed });
        }
        Ok(verdicts)
    }

    /// The rows that the expectation at `at` holds for. If it cannot be evaluated for a row, it does not
    /// hold; halving finds such rows.
    fn holds(&self, rows: &RecordBatch, at: usize) -> Result<BooleanArray> {
        match self.expectations.holds(rows, at) {
            Ok(holds) => Ok(holds),
            Err(_) if rows.num_rows() <= 1 => Ok(BooleanArray::from(vec![false; rows.num_rows()])),
            Err(_) => {
                let half = rows.num_rows() / 2;
                let first = self.holds(&rows.slice(0, half), at)?;
                let second = self.holds(&rows.slice(half, rows.num_rows() - half), at)?;
                let both = concat(&[&first, &second]).of(&self.table)?;
                Ok(BooleanArray::from(both.to_data()))
            }
        }
    }

    /// Returns an error at the first row with a value that a partition column cannot hold.
    fn partitions(&self, rows: &RecordBatch) -> Result<()> {
        for column in &self.partition_by {
            let Some(values) = rows.column_by_name(column) else { continue };
            if let Some((row, why)) = lake::partition::unfit(values).first() {
                let (table, column, key) = (self.table.clone(), column.clone(), self.key(rows, *row)?);
                return Err(Error::PartitionValue { table, column, key, why });
            }
        }
        Ok(())
    }

    /// The key of a row, for messages.
    fn key(&self, rows: &RecordBatch, row: usize) -> Result<String> {
        let columns = self.keys.iter().map(|key| rows.schema_ref().index_of(key));
        let columns = columns.collect::<Result<Vec<_>, _>>().of(&self.table)?;
        shown(&rows.project(&columns).of(&self.table)?, row).of(&self.table)
    }

    fn failed(&self, name: &str, rows: &RecordBatch, row: usize) -> Result<Error> {
        let key = self.key(rows, row)?;
        Ok(Error::ExpectationFailed { table: self.table.clone(), expectation: name.to_owned(), key })
    }
}
