//! The engine without its optimiser.
//!
//! The stages run their queries through the optimiser. A wrong rule there makes a table wrong, and a second
//! evaluation with the same rules would agree. So this session has only the logical rewrites without which a
//! plan cannot run at all (a subquery becomes a join, a DISTINCT an aggregate), and one partition. Joins
//! compare every pair of rows. If that would take too long, equal keys are found by hash; [`Effort`] reports
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan, TableScanBuilder};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::output_requirements::OutputRequirements;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::prelude::SessionContext;
use model::TableName;

/// The most pairs of rows for which joins compare each with each.
const PAIRS: u128 = 4_000_000;

/// How far a plan was rewritten to end in reasonable time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Not rewritten.
    Plain,
    /// Joins on equal keys use hashes.
    Hashed,
    /// In addition, conditions of a WHERE over several tables become join conditions.
    Joined,
}
impl Effort {
    /// The text for a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "no rule of the optimiser",
            Self::Hashed => "joins by hash, no other rule of the optimiser",
            Self::Joined => "joins by hash and out of the WHERE, no other rule of the optimiser",
        }
    }
}

/// A session with the functions and settings of the stages' sessions, and as few rules as `effort` allows.
pub fn session(effort: Effort) -> SessionContext {
    type Rule = Arc<dyn OptimizerRule + Send + Sync>;
    let mut rules: Vec<Rule> = vec![
        Arc::new(Macros),
        Arc::new(RewriteSetComparison::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(NullAware(ExtractEquijoinPredicate::new())),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
    ];
    if effort != Effort::Plain {
        rules.push(Arc::new(ExtractEquijoinPredicate::new()));
    }
    if effort == Effort::Joined {
        rules.push(Arc::new(EliminateCrossJoin::new()));
    }
    let physical: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![
        Arc::new(OutputRequirements::new_add_mode()),
        Arc::new(EnsureRequirements::new()),
        Arc::new(OutputRequirements::new_remove_mode()),
        Arc::new(SanityCheckPlan::new()),
    ];
    let state = query::session().state();
    let config = state.config().clone().with_target_partitions(1);
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rules(physical)
        .build();
    SessionContext::new_with_state(state)
}

/// The rows of a plan whose scans are declared inputs, read from `inputs`. Only the declared columns are
/// visible, found by name.
pub async fn run(
    plan: &LogicalPlan,
    inputs: &BTreeMap<TableName, Input>,
) -> Result<(Vec<RecordBatch>, Effort)> {
    let (mut pairs, mut scans) = (1_u128, 0);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let rows = table_of(scan).and_then(|name| inputs.get(&name)).map_or(1, |input| input.rows);
            pairs = pairs.saturating_mul(u128::from(rows.max(1)));
            scans += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let placed = plan.clone().transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) => {
            let missing = || DataFusionError::Plan(format!("the input `{}` was not given", scan.table_name));
            let input = table_of(scan).and_then(|name| inputs.get(&name)).ok_or_else(missing)?;
            Ok(Transformed::yes(over(scan, &input.provider)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    let effort = if scans < 2 || pairs <= PAIRS { Effort::Plain } else { joins(&placed.data)? };
    let frame = session(effort).execute_logical_plan(placed.data).await.context("plan the query")?;
    Ok((frame.collect().await.context("run the query")?, effort))
}

/// One version of an input.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
    /// Their number.
    pub rows: u64,
}

/// How to run a plan over many rows. Conditions are taken out of a WHERE only if the plan has a cross join,
/// and never if null equals null, because that rule forgets it.
fn joins(plan: &LogicalPlan) -> Result<Effort> {
    let (mut crossed, mut nulls) = (false, false);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            crossed |= join.on.is_empty() && join.filter.is_none();
            nulls |= join.null_equality == datafusion::common::NullEquality::NullEqualsNull;
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                nulls |= matches!(expr, Expr::BinaryExpr(binary)
                    if binary.op == datafusion::logical_expr::Operator::IsNotDistinctFrom);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(if crossed && !nulls { Effort::Joined } else { Effort::Hashed })
}

fn table_of(scan: &TableScan) -> Option<TableName> {
    format!("{}.{}", scan.table_name.schema().unwrap_or_default(), scan.table_name.table()).parse().ok()
}

/// The same scan over another source.
fn over(scan: &TableScan, provider: &Arc<dyn TableProvider>) -> EngineResult<LogicalPlan> {
    let given: SchemaRef = provider.schema();
    let mut places = Vec::with_capacity(scan.projected_schema.fields().len());
    for field in scan.projected_schema.fields() {
        let place = given.index_of(field.name()).ok();
        let place = place.filter(|at| given.field(*at).data_type() == field.data_type());
        places.push(place.ok_or_else(|| {
            let what = format!("no column `{}` of type {}", field.name(), field.data_type());
            DataFusionError::Plan(format!("`{}` has {what}", scan.table_name))
        })?);
    }
    let source = provider_as_source(Arc::clone(provider));
    TableScanBuilder::new(scan.table_name.clone(), source)
        .with_projection(Some(places))
        .build()
        .map(LogicalPlan::TableScan)
}

/// The only implementation of `NOT IN` that respects nulls is the hash join, so it always needs its equal
/// keys.
#[derive(Debug)]
struct NullAware(ExtractEquijoinPredicate);
impl OptimizerRule for NullAware {
    fn name(&self) -> &str {
        "keys_of_not_in"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> EngineResult<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) if join.null_aware => self.0.rewrite(plan, config),
            _ => Ok(Transformed::no(plan)),
        }
    }
}

/// Replaces functions that the engine can only expand, by their expansion: it has no code to run them.
#[derive(Debug)]
struct Macros;
impl Macros {
    const NAMES: [&'static str; 8] = [
        "coalesce",
        "nvl",
        "ifnull",
        "nvl2",
        "arrow_cast",
        "arrow_try_cast",
        "cast_to_type",
        "try_cast_to_type",
    ];
    fn expand(expr: Expr, context: &SimplifyContext) -> EngineResult<Transformed<Expr>> {
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if Self::NAMES.contains(&func.name()) => {
                Ok(match func.simplify(args, context)? {
                    ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
                    ExprSimplifyResult::Original(args) => {
                        Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
                    }
                })
            }
            other => Ok(Transformed::no(other)),
        }
    }
}
impl OptimizerRule for Macros {
    fn name(&self) -> &str {
        "functions_that_are_macros"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> EngineResult<Transformed<LogicalPlan>> {
        let mut schema = datafusion::common::DFSchema::clone(plan.schema());
        for input in plan.inputs() {
            schema.merge(input.schema());
        }
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema))
            .with_config_options(config.options())
            .build();
        // A column keeps the name by which other expressions refer to it.
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expanded = expr.transform_up(|expr| Self::expand(expr, &context))?;
            Ok(expanded.update_data(|expr| name.restore(expr)))
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::MemTable;

    use super::*;

    fn input(column: &str, values: &[Option<i64>]) -> Input {
        let schema = Arc::new(Schema::new(vec![
            Field::new(column, DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]));
        let names: StringArray = values.iter().map(|v| v.map(|v| v.to_string())).collect();
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(values.to_vec())), Arc::new(names)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("fits");
        let table = MemTable::try_new(schema, vec![vec![batch]]).expect("fits");
        Input { provider: Arc::new(table), rows: values.len() as u64 }
    }

    async fn count(sql: &str) -> usize {
        let inputs = BTreeMap::from([
            ("silver.a".parse().expect("a name"), input("k", &[Some(1), None, Some(3)])),
            ("silver.b".parse().expect("a name"), input("x", &[Some(1), None])),
        ]);
        let planner = query::plan::Planner::new(model::ClockMs(0));
        for (name, input) in &inputs {
            planner.declare(name, &input.provider.schema(), &[]).expect("declared");
        }
        let planned = planner.plan(&query::sql::parse(sql).expect("parsed")).expect("planned");
        let (rows, _) = run(&planned.plan, &inputs).await.expect("it runs");
        rows.iter().map(RecordBatch::num_rows).sum()
    }

    #[tokio::test]
    async fn what_sql_can_say_runs_without_the_rules() {
        for (sql, rows) in [
            ("SELECT k FROM silver.a WHERE k IN (SELECT x FROM silver.b)", 1),
            ("SELECT k FROM silver.a a WHERE EXISTS (SELECT 1 FROM silver.b b WHERE b.x = a.k)", 1),
            ("SELECT k FROM silver.a WHERE k NOT IN (SELECT x FROM silver.b)", 0),
            ("SELECT DISTINCT coalesce(k, 3) AS k FROM silver.a", 2),
            ("SELECT k, (SELECT max(x) FROM silver.b) AS m FROM silver.a", 3),
            ("SELECT a.k FROM silver.a a, silver.b b WHERE a.k = b.x", 1),
            ("SELECT a.k FROM silver.a a FULL JOIN silver.b b ON a.k = b.x", 4),
            ("SELECT k, count(*) AS n FROM silver.a GROUP BY k ORDER BY k LIMIT 2", 2),
            ("SELECT k, row_number() OVER (ORDER BY k, name) AS r FROM silver.a", 3),
            ("SELECT k FROM silver.a UNION SELECT x FROM silver.b", 3),
        ] {
            assert_eq!(count(sql).await, rows, "{sql}");
        }
    }

    #[tokio::test]
    async fn null_equals_null_below_another_join() {
        let sql = "SELECT a.k FROM silver.a a JOIN silver.b c ON c.x IS NOT DISTINCT FROM a.k \
                   JOIN silver.b b ON b.x = 1";
        assert_eq!(count(sql).await, 2);
    }
}
