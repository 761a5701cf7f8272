//! Makes `GROUP BY a, CAST(a AS DECIMAL(24, 4))` plannable.
//!
//! The engine's rule `eliminate_group_by_constant` removes from a GROUP BY the expressions that depend on its
//! other columns, and puts them into a projection above. There a column and a cast of it have the same name,
//! so the rule fails (no upstream report found). In that case the plan is kept, which is correct.

use std::sync::Arc;

use datafusion::common::Result as EngineResult;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule that this one replaces.
pub(super) const REPLACED: &str = "eliminate_group_by_constant";

/// The engine's rule, applied only if it succeeds.
#[derive(Debug)]
pub(super) struct EliminateGroups(pub(super) Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for EliminateGroups {
    fn name(&self) -> &str {
        REPLACED
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }
    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> EngineResult<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan.clone(), config).or_else(|_| Ok(Transformed::no(plan)))
    }
}
