//! Keeps joins by null-safe equality (`IS NOT DISTINCT FROM`, INTERSECT, EXCEPT) null-safe.
//!
//! The engine's rule `eliminate_cross_join` takes chains of inner joins apart and rebuilds them, all with the
//! null equality of the topmost join (apache/datafusion#16356 fixed this for a single join only). So
//! null-safe joins are hidden from the rule in a node that it does not look into. They keep their place, keys
//! and meaning; everything above and below is still rewritten.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType, NullEquality, Result as EngineResult};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, Extension, Join, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin as Engine;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule this one replaces.
pub(super) const REPLACED: &str = "eliminate_cross_join";

/// The engine's rule, which does not see null-safe inner joins.
#[derive(Debug, Default)]
pub(crate) struct EliminateCrossJoin(Engine);

impl OptimizerRule for EliminateCrossJoin {
    fn name(&self) -> &str {
        REPLACED
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> EngineResult<Transformed<LogicalPlan>> {
        if !has_null_safe(&plan)? {
            return self.0.rewrite(plan, config);
        }
        let hidden = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if is_null_safe(&join) => {
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(Hidden(join)) })))
            }
            other => Ok(Transformed::no(other)),
        })?;
        let rewritten = self.0.rewrite(hidden.data, config)?;
        let shown = rewritten.data.transform_up_with_subqueries(|node| match &node {
            LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref::<Hidden>() {
                Some(Hidden(join)) => Ok(Transformed::yes(LogicalPlan::Join(join.clone()))),
                None => Ok(Transformed::no(node)),
            },
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(Transformed::new(shown.data, rewritten.transformed, TreeNodeRecursion::Continue))
    }
}

fn is_null_safe(join: &Join) -> bool {
    join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNull
}

fn has_null_safe(plan: &LogicalPlan) -> EngineResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Join(join) if is_null_safe(join));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A join as a node of which a rule sees only the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct Hidden(Join);

impl UserDefinedLogicalNodeCore for Hidden {
    fn name(&self) -> &str {
        "NullSafeJoin"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.0.left, &self.0.right]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.0.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> EngineResult<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return Err(DataFusionError::Internal("a join has two inputs".to_owned()));
        };
        let join = &self.0;
        Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            join.filter.clone(),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )
        .map(Self)
    }
}
