//! Claims of a user about every row, and about a table as a whole.
//!
//! A predicate says what is *valid* and is never inverted. Like a CHECK constraint in SQL, it holds unless it
//! is FALSE; NULL means that nothing is known to be wrong. To require a value, write `email IS NOT NULL`.
//!
//! A measure is one number about the whole table; its bounds are inclusive. A measure over no rows is NULL,
//! and holds for the same reason.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{cast, is_null, or_kleene};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use model::ClockMs;

use crate::error::{Doing as _, Error, SqlFault};
use crate::projection::{evaluate, predicate};
use crate::sql;

/// Predicates over rows of one schema, compiled once.
#[derive(Debug, Clone)]
pub struct Expectations {
    schema: SchemaRef,
    all: Vec<CompiledExpectation>,
}

#[derive(Debug, Clone)]
struct CompiledExpectation {
    name: String,
    holds: Arc<dyn PhysicalExpr>,
    reads: BTreeSet<usize>,
}

impl Expectations {
    /// Compiles `(name, predicate)` pairs over the columns of `schema`.
    pub fn compile<'a>(
        ctx: &SessionContext,
        predicates: impl IntoIterator<Item = (&'a str, &'a str)>,
        schema: &SchemaRef,
    ) -> Result<Self, Error> {
        let all = predicates.into_iter().map(|(name, text)| {
            let (holds, reads) = predicate(ctx, text, schema)?;
            Ok(CompiledExpectation { name: name.to_owned(), holds, reads })
        });
        Ok(Self { schema: Arc::clone(schema), all: all.collect::<Result<_, Error>>()? })
    }
    /// The names, in the given order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|e| e.name.as_str())
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// Columns that the predicate at index `at` reads.
    pub fn dependencies(&self, at: usize) -> Vec<&str> {
        self.all[at].reads.iter().map(|&i| self.schema.field(i).name().as_str()).collect()
    }
    /// For each predicate, in order, the rows for which it holds.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<BooleanArray>, Error> {
        (0..self.all.len()).map(|at| self.holds(batch, at)).collect()
    }
    /// The rows for which the predicate at index `at` holds.
    pub fn holds(&self, batch: &RecordBatch, at: usize) -> Result<BooleanArray, Error> {
        let result = evaluate(&self.all[at].holds, batch)?;
        match result.as_any().downcast_ref::<BooleanArray>() {
            Some(mask) if mask.null_count() == 0 => Ok(mask.clone()),
            Some(mask) => is_null(mask).and_then(|unknown| or_kleene(mask, &unknown)).map_err(|source| {
                Error::Shape { what: format!("the expectation `{}`", self.all[at].name), source }
            }),
            None => Ok(BooleanArray::from(vec![true; batch.num_rows()])),
        }
    }
}

/// A condition on rows, such as the one that makes an event a delete. NULL is not true.
#[derive(Debug, Clone)]
pub struct Condition(Arc<dyn PhysicalExpr>);
impl Condition {
    /// Compiles a predicate over the columns of `schema`.
    pub fn compile(ctx: &SessionContext, text: &str, schema: &SchemaRef) -> Result<Self, Error> {
        Ok(Self(predicate(ctx, text, schema)?.0))
    }
    /// The rows for which it is true.
    pub fn is_true(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let result = evaluate(&self.0, batch)?;
        Ok(match result.as_any().downcast_ref::<BooleanArray>() {
            Some(mask) if mask.null_count() == 0 => mask.clone(),
            Some(mask) => arrow::compute::prep_null_mask_filter(mask),
            None => BooleanArray::from(vec![false; batch.num_rows()]),
        })
    }
}

/// Bounds of a measure, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Least valid value.
    pub at_least: Option<f64>,
    /// Greatest valid value.
    pub at_most: Option<f64>,
}
impl Bounds {
    /// Whether a measured value lies between them. A missing value does; NaN does not.
    pub fn hold(&self, value: Option<f64>) -> bool {
        value.is_none_or(|v| {
            self.at_least.is_none_or(|least| v >= least) && self.at_most.is_none_or(|most| v <= most)
        })
    }
}

/// Takes a measure: `query` is a SELECT of one row and one column over tables of the session; its current
/// time is `as_of`.
pub async fn measure(ctx: &SessionContext, query: &str, as_of: ClockMs) -> Result<Option<f64>, Error> {
    let parsed = sql::parse(query)?;
    let statement = Statement::Statement(Box::new(parsed.at(as_of)));
    let plan = ctx.state().statement_to_plan(statement).await.doing("plan a measure")?;
    let frame = ctx.execute_logical_plan(plan).await.doing("plan a measure")?;
    let batches = frame.collect().await.doing("take a measure")?;
    let Some(batch) = batches.iter().find(|b| b.num_rows() > 0) else { return Ok(None) };
    if batch.num_columns() != 1 || batches.iter().map(RecordBatch::num_rows).sum::<usize>() != 1 {
        let message = format!("a measure is one number, `{query}` gives more");
        return Err(Error::Sql(SqlFault::nowhere(message, "write one aggregate such as `avg(…)`")));
    }
    let number = cast(batch.column(0), &DataType::Float64)
        .map_err(|source| Error::Shape { what: "a measure to DOUBLE".to_owned(), source })?;
    let number = number.as_primitive::<Float64Type>();
    Ok((!number.is_null(0)).then(|| number.value(0)))
}

#[cfg(test)]
mod tests;
