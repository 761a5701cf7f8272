//! The form of a plan that the rules expect: equalities of joins are in `on`, comma joins are joins,
//! subqueries in predicates are semi and anti joins, and predicates of one table are right above its scan.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Optimizer, OptimizerRule};

use crate::engine::null_safe::EliminateCrossJoin;
use crate::plan::judge::has_subquery;
use crate::session::session;

/// The plan in that form, or why it has none.
pub(super) fn normal_form(plan: &LogicalPlan) -> Result<LogicalPlan, String> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::default()),
        Arc::new(PushDownFilter::new()),
    ];
    let state = session().state();
    let normal = Optimizer::with_rules(rules)
        .optimize(plan.clone(), &state, |_, _| {})
        .map_err(|e| format!("the query has no form the rules know: {}", e.strip_backtrace()))?;
    if has_subquery(&normal) {
        return Err("a subquery stands in an expression and is no join".to_owned());
    }
    Ok(normal)
}
