//! Restricts a query to the rows of some keys, as close to the scans as is correct.
//!
//! A semi join at the top keeps only the rows of the keys, so the result is correct whatever happens below
//! it. For speed, the keys are also pushed to the scans: every step keeps all rows that can contribute to a
//! row of the keys, and may keep more. Groups, window partitions and the partners of a join are kept whole or
//! not at all.
//!
//! If a join equates a key column with an expression of the other side, that side is restricted, too: orders
//! joined with customers, keyed by the customer, read only a part of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::kernels::aggregate::{max, max_string, min, min_string};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, ScalarValue};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, TableSource,
};
use model::TableName;

use super::world::{is_own, table_of};

/// Up to this many keys are listed in a scan's predicate; more become a range.
const LISTED: usize = 1000;

/// A restricted plan.
pub(super) struct Restricted {
    pub(super) plan: LogicalPlan,
    /// Inputs of which every scan is restricted.
    pub(super) narrowed: BTreeSet<TableName>,
}

/// An expression over a plan, and the index of the key column whose values it must have.
type On = Vec<(Expr, usize)>;

/// The plan's rows whose columns `names` are in `keys` (the same columns, in the same order).
pub(super) fn restrict(plan: &LogicalPlan, names: &[String], keys: &RecordBatch) -> EngineResult<Restricted> {
    let mut push = Push { keys: Keys::try_new(keys)?, scans: BTreeMap::new() };
    let on = key_columns(plan, names)?;
    let pushed = push.down(plan, on.clone())?;
    let plan = push.keys.semi(pushed, &on)?;
    let narrowed = push.scans.into_iter().filter_map(|(t, all)| all.then_some(t)).collect();
    Ok(Restricted { plan, narrowed })
}

/// The same rows, with nothing pushed down.
pub(super) fn only_top(
    plan: &LogicalPlan,
    names: &[String],
    keys: &RecordBatch,
) -> EngineResult<LogicalPlan> {
    Keys::try_new(keys)?.semi(plan.clone(), &key_columns(plan, names)?)
}

fn key_columns(plan: &LogicalPlan, names: &[String]) -> EngineResult<On> {
    names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let field = plan.schema().qualified_field_with_unqualified_name(name)?;
            Ok((Expr::Column(Column::from(field)), i))
        })
        .collect()
}

/// The keys as a table to join with.
struct Keys {
    source: Arc<dyn TableSource>,
    columns: Vec<Column>,
    types: Vec<DataType>,
    /// Per column, a predicate that all its values satisfy, if it can be written.
    bounds: Vec<Option<Bound>>,
    /// Matching nulls prevents pruning in the engine, so it is used only if a key has a null.
    nulls: NullEquality,
}

/// Values by which a scan can skip rows.
enum Bound {
    /// These values, with null if there is one.
    Listed(Vec<ScalarValue>, bool),
    /// All values in a range, with null if there is one.
    Range(ScalarValue, ScalarValue, bool),
}

impl Keys {
    fn try_new(keys: &RecordBatch) -> EngineResult<Self> {
        let fields = keys.schema();
        let columns =
            (0..keys.num_columns()).map(|i| Column::new(Some("__keys"), fields.field(i).name())).collect();
        let any_null = keys.columns().iter().any(|c| c.null_count() > 0);
        let bounds = keys.columns().iter().map(bound).collect::<EngineResult<_>>()?;
        let table = MemTable::try_new(keys.schema(), vec![vec![keys.clone()]])?;
        Ok(Self {
            source: provider_as_source(Arc::new(table)),
            columns,
            types: fields.fields().iter().map(|f| f.data_type().clone()).collect(),
            bounds,
            nulls: if any_null { NullEquality::NullEqualsNull } else { NullEquality::NullEqualsNothing },
        })
    }

    /// The rows whose expressions have the values of a key.
    fn semi(&self, plan: LogicalPlan, on: &On) -> EngineResult<LogicalPlan> {
        let keys = LogicalPlanBuilder::scan("__keys", Arc::clone(&self.source), None)?.build()?;
        let on = on.iter().map(|(expr, i)| {
            let column = Expr::Column(self.columns[*i].clone());
            let wanted = expr.get_type(plan.schema())?;
            let key =
                if wanted == self.types[*i] { column } else { column.cast_to(&wanted, keys.schema())? };
            Ok((expr.clone(), key))
        });
        let on = on.collect::<EngineResult<Vec<_>>>()?;
        let (left, right) = (Arc::new(plan), Arc::new(keys));
        let join =
            Join::try_new(left, right, on, None, JoinType::LeftSemi, JoinConstraint::On, self.nulls, false)?;
        Ok(LogicalPlan::Join(join))
    }

    /// A predicate that accepts all rows of the keys, and whether it accepts no others.
    fn predicate(&self, on: &On, plan: &LogicalPlan) -> EngineResult<(Option<Expr>, bool)> {
        let (mut all, mut exact) = (None::<Expr>, on.len() == 1);
        for (expr, i) in on {
            let plain = matches!(expr, Expr::Column(_)) && expr.get_type(plan.schema())? == self.types[*i];
            let Some(bound) = self.bounds[*i].as_ref().filter(|_| plain) else {
                exact = false;
                continue;
            };
            let literal = |v: &ScalarValue| Expr::Literal(v.clone(), None);
            let (values, null) = match bound {
                Bound::Listed(values, null) => {
                    let list = values.iter().map(literal).collect();
                    (Expr::InList(InList::new(Box::new(expr.clone()), list, false)), *null)
                }
                Bound::Range(low, high, null) => {
                    exact = false;
                    let from = binary(expr.clone(), Operator::GtEq, literal(low));
                    let to = binary(expr.clone(), Operator::LtEq, literal(high));
                    (binary(from, Operator::And, to), *null)
                }
            };
            let one = if null { binary(values, Operator::Or, expr.clone().is_null()) } else { values };
            all = Some(match all {
                Some(before) => binary(before, Operator::And, one),
                None => one,
            });
        }
        Ok((all, exact))
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Only for types whose statistics are exact and ordered like their values.
fn bound(column: &Arc<dyn Array>) -> EngineResult<Option<Bound>> {
    use arrow::array::AsArray;
    use arrow::datatypes::{Date32Type, Int8Type, Int16Type, Int32Type, Int64Type};
    let null = column.null_count() > 0;
    let scalar = |i| ScalarValue::try_from_array(column, i);
    let known = matches!(
        column.data_type(),
        DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Utf8
    );
    if !known || column.null_count() == column.len() {
        return Ok(None);
    }
    if column.len() <= LISTED {
        let mut values = (0..column.len())
            .filter(|i| column.is_valid(*i))
            .map(scalar)
            .collect::<EngineResult<Vec<_>>>()?;
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        values.dedup();
        return Ok(Some(Bound::Listed(values, null)));
    }
    macro_rules! range {
        ($arrow:ty, $scalar:ident) => {{
            let values = column.as_primitive::<$arrow>();
            (ScalarValue::$scalar(min(values)), ScalarValue::$scalar(max(values)))
        }};
    }
    let (low, high) = match column.data_type() {
        DataType::Int8 => range!(Int8Type, Int8),
        DataType::Int16 => range!(Int16Type, Int16),
        DataType::Int32 => range!(Int32Type, Int32),
        DataType::Int64 => range!(Int64Type, Int64),
        DataType::Date32 => range!(Date32Type, Date32),
        _ => {
            let values = column.as_string::<i32>();
            let text = |s: Option<&str>| ScalarValue::Utf8(s.map(str::to_owned));
            (text(min_string(values)), text(max_string(values)))
        }
    };
    Ok(Some(Bound::Range(low, high, null)))
}

/// Pushes keys towards the scans.
struct Push {
    keys: Keys,
    /// Per input, whether all of its scans so far were restricted.
    scans: BTreeMap<TableName, bool>,
}
impl Push {
    /// A plan that has at least the rows of `plan` whose expressions have the values of a key, with their
    /// whole groups and partitions.
    fn down(&mut self, plan: &LogicalPlan, on: On) -> EngineResult<LogicalPlan> {
        match plan {
            LogicalPlan::TableScan(scan) if is_own(scan) => Ok(plan.clone()),
            LogicalPlan::TableScan(scan) => {
                let all = self.scans.entry(table_of(&scan.table_name)?).or_insert(true);
                *all &= !on.is_empty();
                self.at_scan(plan, &on)
            }
            LogicalPlan::Projection(projection) => {
                let below = rewritten(plan, &on, |at| Some(projection.expr[at].clone().unalias()))?;
                self.one(plan, &projection.input, below)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = alias.input.schema();
                let below =
                    rewritten(plan, &on, |at| Some(Expr::Column(Column::from(input.qualified_field(at)))))?;
                self.one(plan, &alias.input, below)
            }
            LogicalPlan::Filter(filter) => self.one(plan, &filter.input, on),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.one(plan, &sort.input, on),
            LogicalPlan::Aggregate(aggregate) => {
                let sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
                let groups = if sets { &[] } else { aggregate.group_expr.as_slice() };
                let below = rewritten(plan, &on, |at| groups.get(at).map(|g| g.clone().unalias()))?;
                self.one(plan, &aggregate.input, below)
            }
            LogicalPlan::Window(window) => {
                let partitions: Vec<_> = window
                    .window_expr
                    .iter()
                    .map(|e| match e.clone().unalias() {
                        Expr::WindowFunction(call) => call.params.partition_by,
                        _ => vec![],
                    })
                    .collect();
                let whole = |e: &Expr| partitions.iter().all(|p| p.contains(e));
                let below = on.into_iter().filter(|(e, _)| whole(e)).collect();
                self.one(plan, &window.input, below)
            }
            LogicalPlan::Union(union) => {
                let mut inputs = Vec::with_capacity(union.inputs.len());
                for input in &union.inputs {
                    let below = rewritten(plan, &on, |at| {
                        Some(Expr::Column(Column::from(input.schema().qualified_field(at))))
                    })?;
                    inputs.push(self.down(input, below)?);
                }
                plan.with_new_exprs(plan.expressions(), inputs)
            }
            LogicalPlan::Join(join) => self.join(plan, join, on),
            other => {
                let inputs =
                    other.inputs().into_iter().map(|i| self.down(i, vec![])).collect::<EngineResult<_>>()?;
                other.with_new_exprs(other.expressions(), inputs)
            }
        }
    }

    fn one(&mut self, plan: &LogicalPlan, input: &LogicalPlan, on: On) -> EngineResult<LogicalPlan> {
        let input = self.down(input, on)?;
        plan.with_new_exprs(plan.expressions(), vec![input])
    }

    fn at_scan(&self, plan: &LogicalPlan, on: &On) -> EngineResult<LogicalPlan> {
        if on.is_empty() {
            return Ok(plan.clone());
        }
        let (predicate, exact) = self.keys.predicate(on, plan)?;
        let filtered = match predicate {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan.clone()))?),
            None => plan.clone(),
        };
        if exact { Ok(filtered) } else { self.keys.semi(filtered, on) }
    }

    fn join(&mut self, plan: &LogicalPlan, join: &Join, on: On) -> EngineResult<LogicalPlan> {
        let (to_left, to_right) = match join.join_type {
            JoinType::Inner => (true, true),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftMark => (true, false),
            JoinType::LeftAnti => (!join.null_aware, false),
            JoinType::Right => (false, true),
            _ => (false, false),
        };
        let within = |side: &LogicalPlan, e: &Expr| {
            let columns = e.column_refs();
            !columns.is_empty() && columns.iter().all(|c| side.schema().has_column(c))
        };
        let side = |ok: bool, side: &LogicalPlan| -> On {
            on.iter().filter(|(e, _)| ok && within(side, e)).cloned().collect()
        };
        let (mut left, mut right) = (side(to_left, &join.left), side(to_right, &join.right));
        // A mark or null-aware join depends on more rows of the other side than the partners.
        let partners = !join.null_aware && !matches!(join.join_type, JoinType::LeftMark);
        if partners && join.null_equality == NullEquality::NullEqualsNothing {
            let (own_left, own_right) = (left.clone(), right.clone());
            for (l, r) in &join.on {
                let equal = |a: &Expr, b: &Expr| -> EngineResult<bool> {
                    Ok(a.get_type(join.left.schema())? == b.get_type(join.right.schema())?)
                };
                if !equal(l, r)? {
                    continue;
                }
                right.extend(own_left.iter().filter(|(e, _)| e == l).map(|(_, i)| (r.clone(), *i)));
                left.extend(own_right.iter().filter(|(e, _)| e == r).map(|(_, i)| (l.clone(), *i)));
            }
        }
        let inputs = vec![self.down(&join.left, distinct(left))?, self.down(&join.right, distinct(right))?];
        plan.with_new_exprs(plan.expressions(), inputs)
    }
}

/// Keeps each pair of expression and key column once.
fn distinct(on: On) -> On {
    let mut kept: On = Vec::with_capacity(on.len());
    for one in on {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// The expressions in terms of the input's columns, which `below` finds by position. Leaves out constants and
/// expressions with other columns.
fn rewritten(plan: &LogicalPlan, on: &On, below: impl Fn(usize) -> Option<Expr>) -> EngineResult<On> {
    let mut all = Vec::with_capacity(on.len());
    for (expr, i) in on {
        let mut known = true;
        let rewritten = expr.clone().transform_up(|e| match &e {
            Expr::Column(column) => match below(plan.schema().index_of_column(column)?) {
                Some(other) => Ok(Transformed::yes(other)),
                None => {
                    known = false;
                    Ok(Transformed::no(e))
                }
            },
            _ => Ok(Transformed::no(e)),
        })?;
        if known && !rewritten.data.column_refs().is_empty() {
            all.push((rewritten.data, *i));
        }
    }
    Ok(all)
}
