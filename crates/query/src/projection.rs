//! A row-wise model, compiled once and run on batches of changes.
//!
//! A silver model is one projection with an optional WHERE over `changes(bronze.x)`. Nested SELECTs, common
//! table expressions and aliases are folded into expressions over the columns of `changes()`, so a batch
//! needs one vectorised pass and no plan. Rows keep their position: the WHERE becomes a mask beside the
//! projected rows, because a rejected row still has a meaning (a delete).
//!
//! The result includes the source columns of each output column: a value that did not change in the source is
//! carried over only if nothing else contributes to the column.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, and, cast_with_options, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::ExprWithAlias as SQLExprWithAlias;
use model::ClockMs;

use crate::engine::{doubles, exact};
use crate::error::{Doing as _, Error, SqlFault};
use crate::plan::judge::unrepeatable;
use crate::session::{register, stored_schema};
use crate::sql::{self, Parsed, changes_table};

/// One model over the columns of `changes()`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Projection {
    source: SchemaRef,
    schema: SchemaRef,
    columns: Vec<Compiled>,
    filters: Vec<Compiled>,
}

/// An expression and the source columns it reads.
#[derive(Debug, Clone)]
struct Compiled {
    expr: Arc<dyn PhysicalExpr>,
    reads: BTreeSet<usize>,
}

impl Projection {
    /// Compiles a parsed model over `changes`, the columns of its `changes(…)`. The session provides
    /// functions and settings, and gets a table with that name.
    pub async fn compile(ctx: &SessionContext, parsed: &Parsed, changes: &SchemaRef) -> Result<Self, Error> {
        let bronze = parsed.changes.as_ref().ok_or_else(|| {
            refused("the model reads no `changes(…)`", "write `FROM changes(bronze.table)`")
        })?;
        if parsed.uses_as_of || !parsed.tables.is_empty() {
            let help = "a silver row is made of one change alone; put the rest in a gold model";
            return Err(refused("the model reads the clock or a second table", help));
        }
        let empty = MemTable::try_new(Arc::clone(changes), vec![vec![]]).doing("declare the changes")?;
        register(ctx, &changes_table(bronze), Arc::new(empty))?;
        let statement = Statement::Statement(Box::new(parsed.at(ClockMs(0))));
        let plan =
            ctx.state().statement_to_plan(statement).await.map_err(|e| refused(&e.strip_backtrace(), ""))?;
        Self::of(ctx, &plan)
    }

    /// Compiles a plan that scans only the changes.
    pub fn of(ctx: &SessionContext, plan: &LogicalPlan) -> Result<Self, Error> {
        let flat = flatten(plan)?;
        let given: Vec<Field> = plan.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut columns = Vec::with_capacity(flat.columns.len());
        let mut fields = Vec::with_capacity(flat.columns.len());
        for (expr, field) in flat.columns.into_iter().zip(given) {
            let compiled = compile(ctx, expr, &flat.scan)?;
            let kind = compiled.expr.data_type(flat.scan.as_arrow()).doing("type a column")?;
            fields.push(Field::new(field.name(), kind, true));
            columns.push(compiled);
        }
        let schema = stored_schema(&Schema::new(fields)).map_err(|faults| refused(&faults.join("; "), ""))?;
        let filters =
            flat.filters.into_iter().map(|f| compile(ctx, f, &flat.scan)).collect::<Result<_, _>>()?;
        Ok(Self { source: Arc::new(flat.scan.as_arrow().clone()), schema, columns, filters })
    }

    /// The columns of its input.
    pub fn source(&self) -> &SchemaRef {
        &self.source
    }
    /// The columns of its output, with the types a table stores.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All output columns, with one row for each of `batch`.
    pub fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let columns = (0..self.columns.len()).map(|at| self.column(batch, at)).collect::<Result<_, _>>()?;
        assemble(Arc::clone(&self.schema), columns, batch.num_rows())
    }

    /// One output column, with one value for each row of `batch`.
    pub fn column(&self, batch: &RecordBatch, at: usize) -> Result<ArrayRef, Error> {
        let given = evaluate(&self.columns[at].expr, batch)?;
        let stored = self.schema.field(at);
        if given.data_type() == stored.data_type() {
            return Ok(given);
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&given, stored.data_type(), &options).map_err(|source| {
            let what = format!("`{}` from {} to {}", stored.name(), given.data_type(), stored.data_type());
            Error::Shape { what, source }
        })
    }

    /// The rows that the WHERE accepts. NULL rejects.
    pub fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let mut all: Option<BooleanArray> = None;
        for filter in &self.filters {
            let one = truth(&evaluate(&filter.expr, batch)?)?;
            all = Some(match all {
                Some(all) => and(&all, &one)
                    .map_err(|source| Error::Shape { what: "the WHERE of a model".to_owned(), source })?,
                None => one,
            });
        }
        Ok(all.unwrap_or_else(|| BooleanArray::from(vec![true; batch.num_rows()])))
    }

    /// Source columns of an output column. `None`: no such output column.
    pub fn dependencies(&self, column: &str) -> Option<Vec<&str>> {
        let at = self.schema.index_of(column).ok()?;
        Some(self.columns[at].reads.iter().map(|&i| self.source.field(i).name().as_str()).collect())
    }

    /// Source columns that the WHERE reads.
    pub fn filter_dependencies(&self) -> Vec<&str> {
        let reads: BTreeSet<usize> = self.filters.iter().flat_map(|f| f.reads.iter().copied()).collect();
        reads.into_iter().map(|i| self.source.field(i).name().as_str()).collect()
    }

    /// Whether there is a WHERE.
    pub fn filters(&self) -> bool {
        !self.filters.is_empty()
    }
}

/// Runs an expression on a batch.
pub(crate) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef, Error> {
    expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).doing("evaluate an expression")
}

/// A boolean result with NULL as false.
fn truth(result: &ArrayRef) -> Result<BooleanArray, Error> {
    match result.as_any().downcast_ref::<BooleanArray>() {
        Some(mask) if mask.null_count() > 0 => Ok(prep_null_mask_filter(mask)),
        Some(mask) => Ok(mask.clone()),
        None if *result.data_type() == DataType::Null => Ok(BooleanArray::from(vec![false; result.len()])),
        None => Err(refused(&format!("the WHERE gives {}, not a boolean", result.data_type()), "")),
    }
}

fn assemble(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let rows = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &rows)
        .map_err(|source| Error::Shape { what: "the rows of a model".to_owned(), source })
}

fn refused(message: &str, help: &str) -> Error {
    Error::Sql(SqlFault::nowhere(message, help))
}

/// Expressions over the columns of the one scan.
struct Flat {
    scan: DFSchemaRef,
    columns: Vec<Expr>,
    filters: Vec<Expr>,
}

/// Folds projections, filters and aliases down to the scan.
fn flatten(plan: &LogicalPlan) -> Result<Flat, Error> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let columns = scan.projected_schema.columns().into_iter().map(Expr::Column).collect();
            Ok(Flat { scan: Arc::clone(&scan.projected_schema), columns, filters: Vec::new() })
        }
        LogicalPlan::SubqueryAlias(alias) => flatten(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut flat = flatten(&filter.input)?;
            flat.filters.push(substitute(filter.predicate.clone(), filter.input.schema(), &flat.columns)?);
            Ok(flat)
        }
        LogicalPlan::Projection(projection) => {
            let Flat { scan, columns, filters } = flatten(&projection.input)?;
            let over = projection.input.schema();
            let columns = projection
                .expr
                .iter()
                .map(|e| substitute(e.clone(), over, &columns))
                .collect::<Result<_, _>>()?;
            Ok(Flat { scan, columns, filters })
        }
        other => {
            let what = other.display().to_string();
            let step = what.split([':', ' ']).next().unwrap_or_default();
            Err(refused(
                &format!("a row of the result needs more than one change: {step}"),
                "a silver model is one SELECT with an optional WHERE; aggregate, join and sort in gold",
            ))
        }
    }
}

/// `expr` with each column of its input replaced by that column's expression.
fn substitute(expr: Expr, over: &DFSchema, columns: &[Expr]) -> Result<Expr, Error> {
    let replace = |expr: Expr| match &expr {
        Expr::Column(column) => {
            let at = over.index_of_column(column)?;
            Ok(Transformed::yes(columns[at].clone().unalias()))
        }
        _ => Ok(Transformed::no(expr)),
    };
    Ok(expr.unalias().transform_up(replace).doing("fold a nested SELECT")?.data)
}

/// A physical expression over `scan`. It is simplified first, because some functions cannot run, only be
/// simplified.
fn compile(ctx: &SessionContext, expr: Expr, scan: &DFSchemaRef) -> Result<Compiled, Error> {
    let state = ctx.state();
    let reads = expr
        .column_refs()
        .into_iter()
        .map(|column: &Column| scan.index_of_column(column))
        .collect::<Result<_, _>>()
        .doing("find a column")?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(scan))
        .with_config_options(Arc::clone(state.config_options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    // Does what the analyser's rules do to expressions of a plan.
    let planned = expr
        .transform_up(|e| doubles::unify(e, scan))
        .and_then(|expr| simplifier.coerce(expr.data, scan))
        .and_then(|expr| expr.transform_up(|e| exact::rewrite(e, scan)))
        .and_then(|expr| simplifier.simplify(expr.data))
        .and_then(|expr| state.create_physical_expr(expr, scan));
    let expr = planned.map_err(|e| refused(&e.strip_backtrace(), ""))?;
    Ok(Compiled { expr, reads })
}

/// Compiles an expression given as text over `schema`.
#[cfg(test)]
pub(crate) fn compiled(
    ctx: &SessionContext,
    text: &str,
    schema: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>, Error> {
    let scan: DFSchemaRef =
        Arc::new(DFSchema::try_from(schema.as_ref().clone()).doing("name the columns of an expression")?);
    let expr = SQLExprWithAlias { expr: sql::expression(text)?, alias: None };
    let expr = ctx
        .state()
        .create_logical_expr_from_sql_expr(expr, &scan)
        .map_err(|e| refused(&e.strip_backtrace(), ""))?;
    Ok(compile(ctx, expr.unalias(), &scan)?.expr)
}

/// Compiles a boolean expression given as text over `schema`. Also returns the columns it reads.
pub(crate) fn predicate(
    ctx: &SessionContext,
    text: &str,
    schema: &SchemaRef,
) -> Result<(Arc<dyn PhysicalExpr>, BTreeSet<usize>), Error> {
    let scan: DFSchemaRef =
        Arc::new(DFSchema::try_from(schema.as_ref().clone()).doing("name the columns of a predicate")?);
    let expr = SQLExprWithAlias { expr: sql::expression(text)?, alias: None };
    let expr = ctx
        .state()
        .create_logical_expr_from_sql_expr(expr, &scan)
        .map_err(|e| refused(&e.strip_backtrace(), ""))?;
    let expr = expr.unalias();
    if let Some(why) = unrepeatable(&expr).doing("look through a predicate")?.into_iter().next() {
        return Err(refused(&why, "a rule looks at the row alone: compare with a column"));
    }
    let compiled = compile(ctx, expr, &scan)?;
    match compiled.expr.data_type(schema).doing("type a predicate")? {
        DataType::Boolean | DataType::Null => Ok((compiled.expr, compiled.reads)),
        other => Err(refused(&format!("`{text}` gives {other}, not a boolean"), "write a condition")),
    }
}

#[cfg(test)]
mod tests;
