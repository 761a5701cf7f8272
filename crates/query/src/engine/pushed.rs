//! Moves the conditions of a WHERE into the inner joins below it, so that a session without an optimiser does
//! not multiply tables that a WHERE joins.
//!
//! It is deliberately independent of the engine's rules, because `verify` uses it for a second opinion on
//! them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, NullEquality, Result as EngineResult};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug)]
pub(super) struct IntoJoins;

impl OptimizerRule for IntoJoins {
    fn name(&self) -> &'static str {
        "conditions_into_joins"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }
    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> EngineResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        if !matches!(filter.input.as_ref(), LogicalPlan::Join(join) if takes(join)) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let LogicalPlan::Join(join) = Arc::unwrap_or_clone(filter.input) else {
            unreachable!("matched above")
        };
        Ok(Transformed::yes(push(join, split_conjunction_owned(filter.predicate))?))
    }
}

fn takes(join: &Join) -> bool {
    join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing
}

/// The join with each condition where its columns are: on one side, or between both.
fn push(join: Join, conditions: Vec<Expr>) -> EngineResult<LogicalPlan> {
    let (mut left, mut right, mut between, mut above) = (vec![], vec![], vec![], vec![]);
    for condition in conditions {
        let columns = condition.column_refs();
        let only =
            |side: &LogicalPlan| !columns.is_empty() && columns.iter().all(|c| side.schema().has_column(c));
        let has_subquery = condition.exists(|e| {
            Ok(matches!(
                e,
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
            ))
        })?;
        let to = if condition.is_volatile() || has_subquery {
            &mut above
        } else if only(&join.left) {
            &mut left
        } else if only(&join.right) {
            &mut right
        } else {
            &mut between
        };
        to.push(condition);
    }
    between.extend(join.filter);
    let joined = LogicalPlan::Join(Join {
        left: filtered(join.left, left)?,
        right: filtered(join.right, right)?,
        filter: conjunction(between),
        ..join
    });
    Ok(Arc::unwrap_or_clone(filtered(Arc::new(joined), above)?))
}

fn filtered(plan: Arc<LogicalPlan>, conditions: Vec<Expr>) -> EngineResult<Arc<LogicalPlan>> {
    match conjunction(conditions) {
        Some(all) => Ok(Arc::new(LogicalPlan::Filter(Filter::try_new(all, plan)?))),
        None => Ok(plan),
    }
}
