//! Expands functions that the engine cannot run but only rewrite, for a session whose optimiser rewrites
//! nothing else.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as EngineResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

const NAMES: &[&str] =
    &["coalesce", "nvl", "nvl2", "arrow_cast", "arrow_try_cast", "cast_to_type", "try_cast_to_type"];

/// The rule.
#[derive(Debug)]
pub(super) struct Macros;

impl OptimizerRule for Macros {
    fn name(&self) -> &'static str {
        "functions_that_are_rewritten"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }
    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> EngineResult<Transformed<LogicalPlan>> {
        let mut schema = DFSchema::clone(plan.schema());
        schema.merge(&merge_schema(&plan.inputs()));
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema))
            .with_config_options(config.options())
            .build();
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|e| expand(e, &context))?.update_data(|e| name.restore(e)))
        })
    }
}

fn expand(expr: Expr, context: &SimplifyContext) -> EngineResult<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) if NAMES.contains(&func.name()) => {
            Ok(match func.simplify(args, context)? {
                ExprSimplifyResult::Simplified(other) => Transformed::yes(other),
                ExprSimplifyResult::Original(args) => {
                    Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                }
            })
        }
        other => Ok(Transformed::no(other)),
    }
}
