//! Runs a model's SQL and expectations row by row in the engine.
//!
//! The WHERE is taken out of the plan and becomes one more column, because a row that it rejects still
//! deletes its key. The rest of the plan is unchanged and runs without the optimiser. If a row cannot be
//! computed, the batch is halved until that row stands alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use model::{ClockMs, TableName};
use parking_lot::Mutex;

use crate::verify::engine::{self, Effort};

/// The column that says whether the WHERE accepts a row.
const PASSES: &str = "__passes";

/// A table with one batch, which every run replaces.
#[derive(Debug)]
struct Slot {
    schema: SchemaRef,
    batch: Mutex<RecordBatch>,
}
impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch.lock().clone();
        let rows = futures::stream::iter([Ok(batch)]);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// Compiles expressions over rows with one schema.
pub struct Bench {
    ctx: SessionContext,
    slot: Arc<Slot>,
    /// The table's name in SQL.
    from: String,
}
impl Bench {
    /// For a table called `name` with these columns.
    pub fn new(name: &TableName, schema: &SchemaRef) -> Result<Self> {
        Self::of(name, schema, format!("{}.{}", name.schema(), name.table()))
    }

    /// For the changes of a bronze table, with these columns.
    pub fn of_changes(bronze: &TableName, schema: &SchemaRef) -> Result<Self> {
        let from = format!("changes({}.{})", bronze.schema(), bronze.table());
        Self::of(&query::sql::changes_table(bronze), schema, from)
    }

    fn of(name: &TableName, schema: &SchemaRef, from: String) -> Result<Self> {
        let ctx = engine::session(Effort::Plain);
        let batch = Mutex::new(RecordBatch::new_empty(Arc::clone(schema)));
        let slot = Arc::new(Slot { schema: Arc::clone(schema), batch });
        let partition: Arc<dyn PartitionStream> = Arc::clone(&slot) as _;
        let table = StreamingTable::try_new(Arc::clone(schema), vec![partition])?;
        query::session::register(&ctx, name, Arc::new(table))?;
        Ok(Self { ctx, slot, from })
    }

    /// Plans a statement over the table.
    pub async fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        Ok(self.ctx.state().statement_to_plan(statement).await?)
    }

    /// Compiles one expression over the table.
    pub async fn expression(&self, text: &str) -> Result<Program> {
        let sql = format!("SELECT (\n{text}\n) AS value FROM {}", self.from);
        let parsed = query::sql::parse(&sql)?;
        let plan = self.plan(Statement::Statement(Box::new(parsed.at(ClockMs(0))))).await?;
        let taken = Taken::of(&plan)?;
        let mut program = self.program(plan).await?;
        program.reads = taken.reads.into_iter().next().unwrap_or_default();
        Ok(program)
    }

    /// Compiles a plan that returns one row for each row of the table.
    pub async fn program(&self, plan: LogicalPlan) -> Result<Program> {
        let state = self.ctx.state();
        let physical = state.create_physical_plan(&plan).await.context("plan an expression")?;
        let reads = BTreeSet::new();
        Ok(Program { ctx: self.ctx.clone(), slot: Arc::clone(&self.slot), physical, reads })
    }
}

/// A compiled plan that runs over batches.
pub struct Program {
    ctx: SessionContext,
    slot: Arc<Slot>,
    physical: Arc<dyn ExecutionPlan>,
    /// The columns of the table that it reads.
    pub reads: BTreeSet<usize>,
}
impl Program {
    /// All result columns for a batch, one row per row.
    pub async fn run(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
        *self.slot.batch.lock() = batch.clone();
        let ran = collect(Arc::clone(&self.physical), self.ctx.task_ctx()).await.map_err(|e| root(&e))?;
        let schema = self.physical.schema();
        let all = arrow::compute::concat_batches(&schema, &ran).map_err(|e| e.to_string())?;
        if all.num_rows() != batch.num_rows() {
            return Err(format!("{} rows of {}", all.num_rows(), batch.num_rows()));
        }
        Ok(all.columns().to_vec())
    }

    /// The only result column as `kind`. A value that cannot be computed is null, and its reason is returned.
    pub async fn column(&self, batch: &RecordBatch, kind: &DataType) -> Result<(ArrayRef, Failed)> {
        let (mut parts, mut failed): (Vec<ArrayRef>, Failed) = (Vec::new(), Vec::new());
        let mut open = vec![(0, batch.num_rows())];
        while let Some((from, len)) = open.pop() {
            let part = batch.slice(from, len);
            let computed = self.run(&part).await.and_then(|columns| {
                let only = columns.first().ok_or("no column")?;
                cast(only, kind)
            });
            match computed {
                Ok(column) => parts.push(column),
                Err(reason) if len == 1 => {
                    failed.push((from, reason));
                    parts.push(new_null_array(kind, 1));
                }
                Err(_) if len == 0 => parts.push(new_null_array(kind, 0)),
                Err(_) => {
                    open.push((from + len / 2, len - len / 2));
                    open.push((from, len / 2));
                }
            }
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok((concat(&parts)?, failed))
    }

    /// The only result column as booleans. Null, and what cannot be computed, becomes `unknown`.
    pub async fn mask(&self, batch: &RecordBatch, unknown: bool) -> Result<(BooleanArray, Failed)> {
        let (column, failed) = self.column(batch, &DataType::Boolean).await?;
        let mask = column.as_boolean();
        let truth = mask.iter().map(|value| Some(value.unwrap_or(unknown))).collect();
        Ok((truth, failed))
    }
}

/// Rows that cannot be computed, each with the reason.
pub type Failed = Vec<(usize, String)>;

fn cast(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, kind, &options).map_err(|e| e.to_string())
}

fn root(error: &DataFusionError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What the parts of a silver model's plan read.
pub struct Taken {
    /// For each column of the model, the columns of the changes that it reads.
    pub reads: Vec<BTreeSet<usize>>,
    /// The columns that the WHERE reads.
    pub filters: BTreeSet<usize>,
}
impl Taken {
    /// Analyses a plan.
    pub fn of(plan: &LogicalPlan) -> Result<Self> {
        Ok(match plan {
            LogicalPlan::TableScan(scan) => {
                let places = 0..scan.projected_schema.fields().len();
                Self { reads: places.map(|at| BTreeSet::from([at])).collect(), filters: BTreeSet::new() }
            }
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input)?,
            LogicalPlan::Filter(filter) => {
                let mut below = Self::of(&filter.input)?;
                let read = below.read(&filter.predicate, &filter.input)?;
                below.filters.extend(read);
                below
            }
            LogicalPlan::Projection(projection) => {
                let below = Self::of(&projection.input)?;
                let reads = projection.expr.iter().map(|expr| below.read(expr, &projection.input));
                Self { reads: reads.collect::<Result<_>>()?, filters: below.filters }
            }
            other => bail!("a row of the model needs more than one change: {}", other.display()),
        })
    }

    fn read(&self, expr: &Expr, input: &LogicalPlan) -> Result<BTreeSet<usize>> {
        let mut read = BTreeSet::new();
        for column in expr.column_refs() {
            read.extend(&self.reads[input.schema().index_of_column(column)?]);
        }
        Ok(read)
    }
}

/// The plan with only the columns in `needed` (ascending), without filtering rows. `passes` adds the WHERE as
/// the last column; otherwise it is left out.
pub fn take(plan: &LogicalPlan, needed: &BTreeSet<usize>, passes: bool) -> Result<LogicalPlan> {
    let column = |schema: &datafusion::common::DFSchema, at: usize| {
        Expr::Column(Column::from(schema.qualified_field(at)))
    };
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let mut columns: Vec<Expr> =
                needed.iter().map(|&at| column(&scan.projected_schema, at)).collect();
            columns.extend((passes || needed.is_empty()).then(|| lit(true).alias(PASSES)));
            LogicalPlanBuilder::from(plan.clone()).project(columns)?.build()?
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let below = take(&alias.input, needed, passes)?;
            LogicalPlanBuilder::from(below).alias(alias.alias.clone())?.build()?
        }
        LogicalPlan::Filter(filter) => {
            if !passes {
                return take(&filter.input, needed, false);
            }
            let mut wider = needed.clone();
            for read in filter.predicate.column_refs() {
                wider.insert(filter.input.schema().index_of_column(read)?);
            }
            let below = take(&filter.input, &wider, true)?;
            let mut columns: Vec<Expr> = needed.iter().map(|&at| column(filter.input.schema(), at)).collect();
            let lets = Expr::IsTrue(Box::new(filter.predicate.clone()));
            columns.push(passed(&below).and(lets).alias(PASSES));
            LogicalPlanBuilder::from(below).project(columns)?.build()?
        }
        LogicalPlan::Projection(projection) => {
            let mut below = BTreeSet::new();
            for expr in needed.iter().map(|&at| &projection.expr[at]) {
                for read in expr.column_refs() {
                    below.insert(projection.input.schema().index_of_column(read)?);
                }
            }
            let below = take(&projection.input, &below, passes)?;
            let mut columns: Vec<Expr> = needed.iter().map(|&at| projection.expr[at].clone()).collect();
            if passes {
                columns.push(passed(&below).alias(PASSES));
            } else if columns.is_empty() {
                columns.push(lit(true).alias(PASSES));
            }
            LogicalPlanBuilder::from(below).project(columns)?.build()?
        }
        other => bail!("a row of the model needs more than one change: {}", other.display()),
    })
}

/// The last column of a plan.
fn passed(plan: &LogicalPlan) -> Expr {
    let last = plan.schema().fields().len() - 1;
    Expr::Column(Column::from(plan.schema().qualified_field(last)))
}
