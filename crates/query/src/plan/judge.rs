//! What a plan may not do, judged on the analysed plan, with reasons for the author.
//!
//! *Row-wise*: each output row comes from one input row. *A function of its pins*: the same input versions
//! and the same pinned time give the same rows, however the engine splits the work.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Dependency, Result as EngineResult};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, SortExpr, WindowFrameUnits};

use super::Refusal;
use crate::functions;

/// Checks that each output row comes from one input row: one projection with an optional WHERE over one
/// table.
pub fn row_wise(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut reasons = Vec::new();
    let LogicalPlan::Projection(projection) = plan else {
        return Err(refused(vec![format!("a row-wise model is one SELECT, without {}", name_of(plan))]));
    };
    let below = match projection.input.as_ref() {
        LogicalPlan::Filter(filter) => filter.input.as_ref(),
        other => other,
    };
    let mut scan = below;
    while let LogicalPlan::SubqueryAlias(alias) = scan {
        scan = alias.input.as_ref();
    }
    if !matches!(scan, LogicalPlan::TableScan(_)) {
        reasons.push(format!(
            "it is more than one projection with a WHERE over `changes(...)`: it has {}",
            name_of(scan)
        ));
    }
    check_expressions(plan, &mut reasons);
    if has_subquery(plan) {
        reasons.push("it has a subquery, which looks at other rows".to_owned());
    }
    finish(reasons)
}

/// Checks that the same versions of the inputs and the same pinned time give the same rows.
pub fn function_of_pins(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut reasons = Vec::new();
    check_expressions(plan, &mut reasons);
    let walk = plan.apply_with_subqueries(|node| {
        check_node(node, &mut reasons);
        Ok(TreeNodeRecursion::Continue)
    });
    if let Err(e) = walk {
        reasons.push(e.strip_backtrace());
    }
    finish(reasons)
}

fn refused(reasons: Vec<String>) -> Refusal {
    Refusal { reasons }
}

fn finish(mut reasons: Vec<String>) -> Result<(), Refusal> {
    let mut seen = std::collections::BTreeSet::new();
    reasons.retain(|r| seen.insert(r.clone()));
    if reasons.is_empty() { Ok(()) } else { Err(refused(reasons)) }
}

/// What the node does, for a message.
fn name_of(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Aggregate(_) => "GROUP BY or aggregates",
        LogicalPlan::Window(_) => "window functions",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Unnest(_) => "UNNEST",
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => "a nested SELECT",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "no table",
        _ => "another kind of step",
    }
}

/// Finds functions anywhere that are not known to depend only on their arguments.
fn check_expressions(plan: &LogicalPlan, reasons: &mut Vec<String>) {
    let walk = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            reasons.extend(unrepeatable(expr)?);
            Ok(TreeNodeRecursion::Continue)
        })
    });
    if let Err(e) = walk {
        reasons.push(e.strip_backtrace());
    }
}

/// Why scalar functions of an expression do not depend only on their arguments.
pub(crate) fn unrepeatable(expr: &Expr) -> EngineResult<Vec<String>> {
    let mut reasons = Vec::new();
    expr.apply(|e| {
        if let Expr::ScalarFunction(call) = e {
            reasons.extend(functions::scalar_refusal(call.func.name()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reasons)
}

pub(crate) fn has_subquery(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply(|node| {
        let _ = node.apply_expressions(|expr| {
            found |= expr
                .exists(|e| {
                    Ok(matches!(
                        e,
                        Expr::ScalarSubquery(_)
                            | Expr::InSubquery(_)
                            | Expr::Exists(_)
                            | Expr::SetComparison(_)
                    ))
                })
                .unwrap_or(true);
            Ok(TreeNodeRecursion::Continue)
        });
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn check_node(node: &LogicalPlan, reasons: &mut Vec<String>) {
    match node {
        LogicalPlan::Aggregate(aggregate) => {
            let input = aggregate.input.schema();
            for expr in &aggregate.aggr_expr {
                let _ = expr.apply(|e| {
                    if let Expr::AggregateFunction(call) = e {
                        check_aggregate(call, input, reasons);
                    }
                    Ok(TreeNodeRecursion::Continue)
                });
            }
        }
        LogicalPlan::Window(window) => {
            let input = window.input.schema();
            for expr in &window.window_expr {
                let _ = expr.apply(|e| {
                    if let Expr::WindowFunction(call) = e {
                        check_window(call, input, reasons);
                    }
                    Ok(TreeNodeRecursion::Continue)
                });
            }
        }
        LogicalPlan::Limit(limit) => {
            let ordered = match limit.input.as_ref() {
                LogicalPlan::Sort(sort) => orders_totally(sort.input.schema(), &sort.expr, &[]),
                // The planner puts a projection between the two if the sort key is not selected.
                LogicalPlan::Projection(projection) => match projection.input.as_ref() {
                    LogicalPlan::Sort(sort) => orders_totally(sort.input.schema(), &sort.expr, &[]),
                    _ => false,
                },
                _ => false,
            };
            if !ordered {
                reasons.push(
                    "LIMIT without an ORDER BY that tells all rows apart: add the key columns to the ORDER BY".to_owned(),
                );
            }
        }
        LogicalPlan::Distinct(Distinct::On(on)) => {
            let sort = on.sort_expr.as_deref().unwrap_or_default();
            if !orders_totally(on.input.schema(), sort, &on.on_expr) {
                reasons.push(
                    "DISTINCT ON without an ORDER BY that tells all rows apart: add the key columns to the ORDER BY"
                        .to_owned(),
                );
            }
        }
        LogicalPlan::TableScan(scan) if scan.fetch.is_some() => {
            reasons.push("a scan that stops after some rows".to_owned());
        }
        _ => {}
    }
}

fn check_aggregate(call: &AggregateFunction, input: &DFSchema, reasons: &mut Vec<String>) {
    let name = call.func.name().to_lowercase();
    let args = &call.params.args;
    reasons.extend(functions::aggregate_refusal(&name));
    if functions::adds_up(&name) && args.iter().any(|a| is_float(a, input)) {
        let shown = args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        reasons.push(format!(
            "`{name}({shown})` adds floats, whose sum depends on the order of rows: cast to a decimal, as in `{name}(CAST(x AS DECIMAL(38, 6)))`"
        ));
    }
    if functions::depends_on_order(&name) {
        let own = args
            .iter()
            .all(|a| call.params.order_by.iter().any(|s| s.expr == *a) || matches!(a, Expr::Literal(..)));
        if call.params.order_by.is_empty() || !(own || orders_totally(input, &call.params.order_by, &[])) {
            reasons.push(format!(
                "`{name}` depends on the order of rows: give it an ORDER BY that tells all rows apart, as in `{name}(x ORDER BY x)`"
            ));
        }
    }
}

fn is_float(expr: &Expr, input: &DFSchema) -> bool {
    matches!(expr.get_type(input), Ok(DataType::Float16 | DataType::Float32 | DataType::Float64))
}

fn check_window(call: &WindowFunction, input: &DFSchema, reasons: &mut Vec<String>) {
    let name = call.fun.name().to_lowercase();
    let params = &call.params;
    reasons.extend(functions::window_refusal(&name));
    if functions::adds_up(&name) && params.args.iter().any(|a| is_float(a, input)) {
        reasons.push(format!(
            "`{name}(...) OVER` adds floats, whose sum depends on the order of rows: cast to a decimal"
        ));
    }
    let by_rows = params.window_frame.units != WindowFrameUnits::Range
        && !(params.window_frame.start_bound.is_unbounded() && params.window_frame.end_bound.is_unbounded());
    let ranks = ["rank", "dense_rank", "percent_rank", "cume_dist"].contains(&name.as_str());
    if (functions::picks_rows(&name) || (by_rows && !ranks))
        && !orders_totally(input, &params.order_by, &params.partition_by)
    {
        reasons.push(format!(
            "`{name}(...) OVER (...)` tells rows apart that its ORDER BY does not: add the key columns to it"
        ));
    }
}

/// Whether rows of `input` with equal partition and sort expressions are equal in every column: the
/// expressions contain a key of the input, or all of its columns.
fn orders_totally(input: &DFSchema, sort: &[SortExpr], partition: &[Expr]) -> bool {
    let fixed: Vec<usize> = sort
        .iter()
        .map(|s| &s.expr)
        .chain(partition)
        .filter_map(|e| match e {
            Expr::Column(column) => input.maybe_index_of_column(column),
            _ => None,
        })
        .collect();
    let width = input.fields().len();
    (0..width).all(|i| fixed.contains(&i))
        || input.functional_dependencies().iter().any(|d| {
            d.mode == Dependency::Single
                && d.target_indices.len() == width
                && d.source_indices.iter().all(|i| fixed.contains(i))
        })
}
