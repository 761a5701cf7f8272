//! From a parsed text and declared inputs to a plan, and what a plan may not do.
//!
//! A [`Planner`] knows the name, schema and key of inputs, but no rows: `validate` plans with the catalog's
//! declarations, a stage with its tables' schemas. Both judge the same plan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Constraint, Constraints};
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use futures::FutureExt;
use model::{ClockMs, TableName};

use crate::error::{Doing, Error, SqlFault};
use crate::session;
use crate::sql::{Parsed, parse};

pub(crate) mod judge;
pub use judge::{function_of_pins, row_wise};

/// Why a plan is refused: every reason, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Never empty.
    pub reasons: Vec<String>,
}
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}
impl std::error::Error for Refusal {}

/// A planned text over declared inputs.
#[derive(Debug, Clone)]
pub struct Planned {
    /// With resolved types, not optimised. Its scans have no rows.
    pub plan: LogicalPlan,
    /// The schema of a table that stores the result: [`session::stored_schema`].
    pub schema: SchemaRef,
}

/// Plans texts over declared inputs.
pub struct Planner {
    ctx: SessionContext,
    as_of: ClockMs,
}
impl Planner {
    /// A planner without inputs. `as_of` is the pinned time; any value will do if only the schema matters.
    pub fn new(as_of: ClockMs) -> Self {
        Self { ctx: session::session(), as_of }
    }

    /// Declares an input. `keys` are columns that together are unique; empty if unknown.
    pub fn declare(&self, name: &TableName, schema: &Schema, keys: &[String]) -> Result<(), Error> {
        let indices: Option<Vec<usize>> = keys.iter().map(|k| schema.index_of(k).ok()).collect();
        let key = indices.filter(|i| !i.is_empty()).map(Constraint::PrimaryKey);
        let table = MemTable::try_new(Arc::new(schema.clone()), vec![vec![]])
            .doing("declare an input")?
            .with_constraints(Constraints::new_unverified(key.into_iter().collect()));
        session::register(&self.ctx, name, Arc::new(table))
    }

    /// Declares an input that is a query over inputs declared before.
    pub fn declare_view(&self, name: &TableName, parsed: &Parsed) -> Result<(), Error> {
        let view = ViewTable::new(self.logical(parsed)?, None);
        session::register(&self.ctx, name, Arc::new(view))
    }

    /// Plans a text. Errors of the engine have line and column if the engine gives them.
    pub fn plan(&self, parsed: &Parsed) -> Result<Planned, Error> {
        let plan = self.logical(parsed)?;
        let state = self.ctx.state();
        let plan = state
            .analyzer()
            .execute_and_check(plan, state.config_options(), |_, _| {})
            .map_err(|e| Error::Sql(fault(&e)))?;
        let schema = session::stored_schema(plan.schema().as_arrow())
            .map_err(|reasons| Error::Refused(Refusal { reasons }))?;
        Ok(Planned { plan, schema })
    }

    fn logical(&self, parsed: &Parsed) -> Result<LogicalPlan, Error> {
        let statement = EngineStatement::Statement(Box::new(parsed.at(self.as_of)));
        let planning = self.ctx.state();
        // Planning is async for remote catalogs; ours is in memory and answers at once.
        planning
            .statement_to_plan(statement)
            .now_or_never()
            .unwrap_or_else(|| Err(DataFusionError::Internal("the catalog in memory had to wait".to_owned())))
            .map_err(|e| Error::Sql(fault(&e)))
    }
}

/// The schema of a table that stores the result of `sql` over `inputs`.
pub fn plan_schema(sql: &str, inputs: &[(TableName, SchemaRef)]) -> Result<SchemaRef, Error> {
    let planner = Planner::new(ClockMs(0));
    for (name, schema) in inputs {
        planner.declare(name, schema, &[])?;
    }
    Ok(planner.plan(&parse(sql)?)?.schema)
}

/// An engine error as a fault, with its place if the engine knows it.
fn fault(error: &DataFusionError) -> SqlFault {
    let text = error.strip_backtrace();
    let text = ["Error during planning: ", "Schema error: ", "SQL error: ", "type_coercion\ncaused by\n"]
        .iter()
        .fold(text, |text, prefix| text.replace(prefix, ""));
    let Some(diagnostic) = error.diagnostic() else { return SqlFault::nowhere(lower(&text), "") };
    let place = diagnostic.span.map_or((0, 0), |s| (s.start.line, s.start.column));
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let notes = diagnostic.notes.iter().map(|n| n.message.as_str());
    let helps = diagnostic.helps.iter().map(|h| h.message.as_str());
    let help = notes.chain(helps).collect::<Vec<_>>().join(", ");
    SqlFault { line: number(place.0), column: number(place.1), message: lower(&text), help }
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
