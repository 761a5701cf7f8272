//! Plans, optimises and runs a query over empty tables before there are rows, with the session that it will
//! use: a query that can never run is a fault of its text, instead of an error at each refresh.
//!
//! Without rows no value is evaluated, so what fails here fails for any rows.

use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::FutureExt;

use crate::affected::Maintenance;
use crate::error::{Error, SqlFault};
use crate::plan::Planned;
use crate::session::session;

/// Faults that prevent the query from ever being computed; empty if there are none. `keys` are the keys of
/// the table that stores the result; without keys only the query itself is tried.
///
/// A query that cannot be *restricted* to the keys of changed rows has no fault: it is refreshed in full, as
/// [`Maintenance::explain`] says.
pub fn rehearse(planned: &Planned, keys: &[String]) -> Vec<SqlFault> {
    let mut faults = Vec::new();
    if let Err(error) = run_empty(&planned.plan) {
        faults.push(fault(&error));
        return faults;
    }
    if !keys.is_empty()
        && let Err(error) = Maintenance::try_new(planned, keys)
    {
        faults.push(match error {
            Error::Sql(fault) => fault,
            Error::Engine { source, .. } => fault(&source),
            other => SqlFault::nowhere(other.to_string(), ""),
        });
    }
    faults
}

/// Whether the engine can run the plan.
pub(crate) fn can_run(state: &SessionState, plan: &LogicalPlan) -> Result<(), String> {
    // Planning is async for remote sources; declared inputs answer at once.
    match state.create_physical_plan(plan).now_or_never() {
        Some(planned) => planned.map(drop).map_err(|e| e.strip_backtrace()),
        None => Ok(()),
    }
}

/// Runs a plan over its empty declared inputs on its own thread, because the caller may or may not be in a
/// runtime.
fn run_empty(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async { session().execute_logical_plan(plan.clone()).await?.collect().await })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("rehearsal".to_owned()).spawn_scoped(scope, run)?;
        thread.join().unwrap_or_else(|_| {
            Err(DataFusionError::Internal("the engine panicked over empty tables".to_owned()))
        })
    })
    .map(drop)
}

/// The engine's error as a fault that a person can act on.
fn fault(error: &DataFusionError) -> SqlFault {
    let text = error.strip_backtrace();
    let first = text.lines().next().unwrap_or_default();
    let help = if text.contains("ScalarSubquery") || text.contains("InSubquery") || text.contains("Exists(") {
        "write the subquery as a join: `LEFT JOIN … ON …` with GROUP BY"
    } else if text.contains("lateral") || text.contains("OuterReferenceColumn") || text.contains("outer_ref")
    {
        "write the subquery as a join: group it by what it is compared with, and join it by that"
    } else if text.contains("ESCAPE") || text.contains("escape") {
        "write `starts_with`, `contains`, `strpos` or `regexp_like` instead of ESCAPE"
    } else {
        "write it in another way: the engine that runs it does not know this one"
    };
    SqlFault::nowhere(format!("the query can never run: {first}"), help)
}

#[cfg(test)]
mod tests;
