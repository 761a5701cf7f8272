//! Rules and functions that replace the engine's own where its answer is not what SQL means. Every session of
//! the process has them; each names the upstream report it works around.
//!
//! - [`null_safe`]: joins by null-safe equality stay null-safe;
//! - [`groups`]: grouping by a column and an expression of it can be planned;
//! - [`doubles`]: a DOUBLE beside a decimal is computed as a double;
//! - [`exact`]: arithmetic that does not fit its type is an error, and times are microseconds;
//! - [`sums`]: sums and averages that do not depend on the order of rows and never wrap;
//! - [`times`]: functions of time for every time that a table can store;
//! - [`pushed`], [`macros`]: the two rewrites that a session without an optimiser needs.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as EngineResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{AnalyzerRule, Optimizer, OptimizerRule};

mod checked;
pub(crate) mod doubles;
pub(crate) mod exact;
mod groups;
mod macros;
pub(crate) mod null_safe;
mod pushed;
mod sums;
mod times;

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// Rules that run on every plan before it is optimised. The engine settles operand types in the middle: rules
/// that influence types come before, rules that need them come after.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(doubles::Doubles),
        Arc::new(TypeCoercion::new()),
        Arc::new(exact::Exact),
    ]
}

/// The engine's own rules, with the faulty ones replaced.
pub(crate) fn optimizer_rules() -> Rules {
    let mended = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        match rule.name() {
            null_safe::REPLACED => Arc::new(null_safe::EliminateCrossJoin::default()),
            groups::REPLACED => Arc::new(groups::EliminateGroups(rule)),
            _ => rule,
        }
    };
    Optimizer::new().rules.into_iter().map(mended).collect()
}

/// The rules without which a plan cannot run: subqueries become joins, DISTINCT an aggregate, and the
/// equalities of a WHERE join keys.
pub(crate) fn necessary_rules() -> Rules {
    vec![
        Arc::new(macros::Macros),
        Arc::new(RewriteSetComparison::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(pushed::IntoJoins),
        Arc::new(ExtractEquijoinPredicate::new()),
    ]
}

/// Functions that replace the engine's functions of the same name.
pub(crate) fn scalar_functions() -> Vec<ScalarUDF> {
    let mut all = times::functions();
    all.extend(checked::functions());
    all
}

/// Aggregates that replace the engine's aggregates of the same name.
pub(crate) fn aggregates() -> Vec<AggregateUDF> {
    sums::aggregates()
}

/// Rewrites every expression of a plan and its subqueries, children first. Columns keep their names; their
/// types may change.
fn rewrite_plan(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> EngineResult<Transformed<Expr>>,
    finish: impl Fn(LogicalPlan) -> EngineResult<LogicalPlan>,
) -> EngineResult<LogicalPlan> {
    let done = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema
                .merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            // The names of grouping sets consist of their expressions, so an alias cannot keep them.
            if matches!(expr, Expr::GroupingSet(_)) {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| rewrite(e, &schema))?.update_data(|e| name.restore(e)))
        })?
        .map_data(&finish)?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(done.data)
}

#[cfg(test)]
mod tests;
