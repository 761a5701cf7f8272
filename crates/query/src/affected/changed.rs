//! The plan for the values that changed rows of a query can have in some of its columns.
//!
//! `of(P, C)` gives a superset of the values in columns `C` of the rows of `P` that exist only before or only
//! after a change of the inputs. `both(P)` gives a superset of the rows of `P` before and after. Each rule
//! gives a superset:
//! - scan: the added and removed rows;
//! - filter: kept if that costs nothing, else dropped;
//! - join: the changed rows of one side with `both` of the other, and vice versa. A side without needed
//!   columns is not read; then keys of rows without a partner are affected needlessly. A needed column that
//!   the join equates with an expression of the changed side is taken from there. For an outer side, every
//!   row is also given with nulls in that side's columns, because a row may gain or lose its partner;
//! - semi and anti join: the left rows that a changed right row can match;
//! - aggregate: the groups of the changed rows; the value of an aggregate cannot be needed;
//! - window: all rows of the partitions of the changed rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality, ScalarValue};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Union,
};

use super::Why;
use super::world::World;

/// Columns of a plan's output.
pub(super) type Need = BTreeSet<Column>;

/// The rules, over the versions of a refresh.
pub(super) struct Changes<'a> {
    pub(super) world: &'a World,
}
impl Changes<'_> {
    /// Whether the plan reads a changed input.
    pub(super) fn touches(&self, plan: &LogicalPlan) -> EngineResult<bool> {
        let mut found = false;
        plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                found |= self.world.changed(scan)?;
            }
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    }

    /// A plan with exactly the columns in `need`, named as in `plan`. The plan must read a changed input, and
    /// `need` must not be empty.
    pub(super) fn of(&self, plan: &LogicalPlan, need: &Need) -> Result<LogicalPlan, Why> {
        match plan {
            LogicalPlan::TableScan(scan) => match self.world.touched(scan)? {
                Some((touched, _)) => Ok(pick(touched, identity(need))?),
                None => Why::unsound(format!("{} did not change", scan.table_name)),
            },
            LogicalPlan::SubqueryAlias(alias) => {
                let inner: Vec<(Expr, Column)> = need
                    .iter()
                    .map(|c| Ok((Expr::Column(input_column(plan, &alias.input, c)?), c.clone())))
                    .collect::<EngineResult<_>>()?;
                Ok(pick(self.of(&alias.input, &columns(inner.iter().map(|(e, _)| e)))?, inner)?)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.of(&sort.input, need),
            LogicalPlan::Distinct(Distinct::All(input)) => self.of(input, need),
            LogicalPlan::Filter(filter) => {
                if !is_chain(&filter.input) {
                    return self.of(&filter.input, need);
                }
                let mut more = need.clone();
                more.extend(columns([&filter.predicate]));
                let input = self.of(&filter.input, &more)?;
                let kept = Filter::try_new(filter.predicate.clone(), Arc::new(input))?;
                Ok(pick(LogicalPlan::Filter(kept), identity(need))?)
            }
            LogicalPlan::Projection(projection) => {
                let given = need.iter().map(|c| {
                    let at = plan.schema().index_of_column(c)?;
                    Ok((projection.expr[at].clone().unalias(), c.clone()))
                });
                let given = given.collect::<EngineResult<Vec<_>>>()?;
                self.computed(&projection.input, given)
            }
            LogicalPlan::Aggregate(aggregate) => {
                if aggregate.group_expr.is_empty() {
                    return Why::unsound("it aggregates all rows into one");
                }
                if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
                    return Why::unsound("it groups by several sets of columns at once");
                }
                let mut given = Vec::with_capacity(need.len());
                for column in need {
                    let at = plan.schema().index_of_column(column)?;
                    let Some(group) = aggregate.group_expr.get(at) else {
                        return Why::unsound(format!("the key depends on the aggregate `{}`", column.name));
                    };
                    given.push((group.clone().unalias(), column.clone()));
                }
                self.computed(&aggregate.input, given)
            }
            LogicalPlan::Window(window) => self.window(plan, window, need),
            LogicalPlan::Union(union) => {
                let mut parts = Vec::new();
                for input in &union.inputs {
                    if self.touches(input)? {
                        let given = need
                            .iter()
                            .map(|c| Ok((Expr::Column(input_column(plan, input, c)?), c.clone())))
                            .collect::<EngineResult<Vec<_>>>()?;
                        let inner = self.of(input, &columns(given.iter().map(|(e, _)| e)))?;
                        parts.push(pick(inner, given)?);
                    }
                }
                Ok(union_all(parts)?)
            }
            LogicalPlan::Join(join) => self.join(plan, join, need),
            LogicalPlan::Limit(_) => Why::unsound("LIMIT: which rows are in depends on all others"),
            LogicalPlan::Unnest(_) => Why::unsound("UNNEST below the key"),
            LogicalPlan::RecursiveQuery(_) => Why::unsound("a recursive query"),
            other => Why::unsound(format!("no rule for {}", other.display())),
        }
    }

    /// Evaluates expressions over the changed rows of a plan.
    fn computed(&self, input: &LogicalPlan, given: Vec<(Expr, Column)>) -> Result<LogicalPlan, Why> {
        let need = columns(given.iter().map(|(e, _)| e));
        if need.is_empty() {
            return Why::unsound("the key is a constant");
        }
        Ok(pick(self.of(input, &need)?, given)?)
    }

    fn window(
        &self,
        plan: &LogicalPlan,
        window: &datafusion::logical_expr::Window,
        need: &Need,
    ) -> Result<LogicalPlan, Why> {
        let input = window.input.as_ref();
        for column in need {
            if plan.schema().index_of_column(column)? >= input.schema().fields().len() {
                return Why::unsound(format!("the key depends on the window function `{}`", column.name));
            }
        }
        let mut parts = vec![self.of(input, need)?];
        let mut seen: Vec<Vec<Expr>> = Vec::new();
        for expr in &window.window_expr {
            let Expr::WindowFunction(call) = expr.clone().unalias() else {
                return Why::unsound(format!("no rule for the window expression `{expr}`"));
            };
            let partition = call.params.partition_by;
            if partition.is_empty() {
                return Why::unsound("a window without PARTITION BY looks at all rows");
            }
            let within = need.iter().all(|c| partition.contains(&Expr::Column(c.clone())));
            if within || seen.contains(&partition) {
                continue;
            }
            let named = (0..).map(|i| Column::new_unqualified(format!("__p{i}")));
            let given: Vec<(Expr, Column)> = partition.iter().cloned().zip(named).collect();
            let on = given.iter().map(|(e, c)| (e.clone(), Expr::Column(c.clone()))).collect();
            let touched = self.computed(input, given)?;
            let rows = join_of(
                self.both(input)?,
                touched,
                on,
                None,
                JoinType::LeftSemi,
                NullEquality::NullEqualsNull,
            )?;
            parts.push(pick(rows, identity(need))?);
            seen.push(partition);
        }
        Ok(union_all(parts)?)
    }

    fn join(&self, plan: &LogicalPlan, join: &Join, need: &Need) -> Result<LogicalPlan, Why> {
        let known = [
            JoinType::Inner,
            JoinType::Left,
            JoinType::Right,
            JoinType::Full,
            JoinType::LeftSemi,
            JoinType::LeftAnti,
        ];
        if !known.contains(&join.join_type) {
            return Why::unsound(format!("no rule for a {} join", join.join_type));
        }
        if join.null_aware {
            return Why::unsound("NOT IN: one null on its right side changes every row");
        }
        let width = join.left.schema().fields().len();
        let (mut left, mut right) = (Need::new(), Need::new());
        for column in need {
            let side = if plan.schema().index_of_column(column)? < width { &mut left } else { &mut right };
            side.insert(column.clone());
        }
        let mut parts = Vec::new();
        if self.touches(&join.left)? {
            let own = Side { plan: &join.left, need: &left, keeps: keeps(join.join_type, JoinType::Left) };
            parts.push(self.side(join, &own, &join.right, &right, |(l, r)| (l.clone(), r.clone()))?);
        }
        if self.touches(&join.right)? {
            let own = Side { plan: &join.right, need: &right, keeps: keeps(join.join_type, JoinType::Right) };
            parts.push(self.side(join, &own, &join.left, &left, |(l, r)| (r.clone(), l.clone()))?);
        }
        // Rows that gain or lose their partner.
        let with_nulls = [
            (&left, matches!(join.join_type, JoinType::Right | JoinType::Full)),
            (&right, matches!(join.join_type, JoinType::Left | JoinType::Full)),
        ];
        let mut all = Vec::new();
        for part in parts {
            for (side, nullable) in with_nulls {
                if nullable && !side.is_empty() {
                    all.push(nulled(part.clone(), need, side)?);
                }
            }
            all.push(pick(part, identity(need))?);
        }
        Ok(union_all(all)?)
    }

    /// The changed rows of one side, joined with the other side's rows before or after.
    fn side(
        &self,
        join: &Join,
        own: &Side<'_>,
        other: &LogicalPlan,
        other_need: &Need,
        orient: impl Fn(&(Expr, Expr)) -> (Expr, Expr),
    ) -> Result<LogicalPlan, Why> {
        let on: Vec<(Expr, Expr)> = join.on.iter().map(orient).collect();
        let mut given: Vec<(Expr, Column)> = identity(own.need);
        let mut missing = Need::new();
        for column in other_need {
            let wanted = Expr::Column(column.clone()).get_type(other.schema())?;
            let mut equal = None;
            for (mine, theirs) in &on {
                if *theirs == Expr::Column(column.clone()) && mine.get_type(own.plan.schema())? == wanted {
                    equal = Some(mine.clone());
                }
            }
            match equal {
                Some(mine) => given.push((mine, column.clone())),
                None => {
                    missing.insert(column.clone());
                }
            }
        }
        let semi = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
        if missing.is_empty() && !given.is_empty() {
            return self.computed(own.plan, given);
        }
        if on.is_empty() && (join.filter.is_none() || semi) {
            return Why::unsound("every row is joined with every row");
        }
        let mut mine = own.need.clone();
        mine.extend(columns(on.iter().map(|(m, _)| m)));
        let filtered = join.filter.as_ref().and_then(|filter| {
            let mut more = mine.clone();
            more.extend(columns([filter]).into_iter().filter(|c| own.plan.schema().has_column(c)));
            self.of(own.plan, &more).ok().map(|changed| (changed, filter.clone()))
        });
        let (changed, filter) = match filtered {
            Some((changed, filter)) => (changed, Some(filter)),
            None if on.is_empty() => return Why::unsound("a join by a computed value that changes"),
            None => (self.of(own.plan, &mine)?, None),
        };
        let kind = if own.keeps { JoinType::Left } else { JoinType::Inner };
        Ok(join_of(changed, self.both(other)?, on, filter, kind, join.null_equality)?)
    }

    /// Every row of a plan before and after; rows in both versions may appear twice.
    fn both(&self, plan: &LogicalPlan) -> Result<LogicalPlan, Why> {
        if !self.touches(plan)? {
            return Ok(self.world.at_now(plan)?);
        }
        if !is_monotone(plan)? {
            let (old, now) = (self.world.at_old(plan)?, self.world.at_now(plan)?);
            return Ok(requalified(union_all(vec![old, now])?, plan.schema())?);
        }
        // More input rows give no fewer output rows here. So the new version plus the removed rows covers the
        // old version, which need not be read.
        let now = self.world.at_now(plan)?;
        let widened = now.transform_up(|node| {
            use datafusion::common::tree_node::Transformed;
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            let Some((_, removed)) = self.world.touched(scan)? else { return Ok(Transformed::no(node)) };
            let schema = Arc::clone(node.schema());
            Ok(Transformed::yes(requalified(union_all(vec![node, removed])?, &schema)?))
        })?;
        Ok(widened.data)
    }
}

/// The side of a join whose changed rows are used.
struct Side<'a> {
    plan: &'a LogicalPlan,
    /// Needed columns of this side.
    need: &'a Need,
    /// Whether its rows are in the result even without a partner.
    keeps: bool,
}

fn keeps(join: JoinType, outer: JoinType) -> bool {
    join == outer || join == JoinType::Full
}

/// Whether more rows in the inputs can only give more rows.
fn is_monotone(plan: &LogicalPlan) -> EngineResult<bool> {
    let mut monotone = true;
    plan.apply(|node| {
        monotone &= match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::Join(join) => matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi),
            _ => false,
        };
        Ok(if monotone { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(monotone)
}

/// Whether the plan is one scan below projections and filters only.
fn is_chain(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::Projection(p) => is_chain(&p.input),
        LogicalPlan::Filter(f) => is_chain(&f.input),
        LogicalPlan::SubqueryAlias(a) => is_chain(&a.input),
        _ => false,
    }
}

fn columns<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Need {
    exprs.into_iter().flat_map(|e| e.column_refs().into_iter().cloned().collect::<Vec<_>>()).collect()
}

fn identity(need: &Need) -> Vec<(Expr, Column)> {
    need.iter().map(|c| (Expr::Column(c.clone()), c.clone())).collect()
}

/// The column of `input` at the position that `column` has in `plan`.
fn input_column(plan: &LogicalPlan, input: &LogicalPlan, column: &Column) -> EngineResult<Column> {
    let at = plan.schema().index_of_column(column)?;
    Ok(Column::from(input.schema().qualified_field(at)))
}

/// Exactly these expressions, under these names.
fn pick(plan: LogicalPlan, given: Vec<(Expr, Column)>) -> EngineResult<LogicalPlan> {
    let exprs = given.into_iter().map(|(expr, name)| match expr {
        Expr::Column(column) if column == name => Expr::Column(column),
        other => other.alias_qualified(name.relation, name.name),
    });
    LogicalPlanBuilder::from(plan).project(exprs.collect::<Vec<_>>())?.build()
}

/// The needed columns, with nulls in those of one side.
fn nulled(plan: LogicalPlan, need: &Need, side: &Need) -> EngineResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let given = need.iter().map(|c| {
        let expr = Expr::Column(c.clone());
        if side.contains(c) {
            let null = ScalarValue::try_from(&expr.get_type(schema.as_ref())?)?;
            return Ok((Expr::Literal(null, None), c.clone()));
        }
        Ok((expr, c.clone()))
    });
    let given = given.collect::<EngineResult<Vec<_>>>()?;
    pick(plan, given)
}

/// All rows of plans with the same columns, under the names of the first.
fn union_all(plans: Vec<LogicalPlan>) -> EngineResult<LogicalPlan> {
    let mut plans = plans;
    if plans.len() == 1
        && let Some(only) = plans.pop()
    {
        return Ok(only);
    }
    let Some(schema) = plans.first().map(|p| Arc::clone(p.schema())) else {
        return Err(DataFusionError::Plan("a union of nothing".to_owned()));
    };
    // A union drops the qualifiers of columns, so columns with the same name get temporary names.
    let renamed = plans.into_iter().map(|plan| {
        let from = Arc::clone(plan.schema());
        let given = (0..from.fields().len())
            .map(|i| {
                (
                    Expr::Column(Column::from(from.qualified_field(i))),
                    Column::new_unqualified(format!("__u{i}")),
                )
            })
            .collect();
        Ok(Arc::new(pick(plan, given)?))
    });
    let union = Union::try_new_with_loose_types(renamed.collect::<EngineResult<_>>()?)?;
    requalified(LogicalPlan::Union(union), &schema)
}

/// The columns of a plan, by position, under the names of `schema`.
fn requalified(plan: LogicalPlan, schema: &DFSchema) -> EngineResult<LogicalPlan> {
    let from = Arc::clone(plan.schema());
    let given = (0..schema.fields().len())
        .map(|i| {
            (Expr::Column(Column::from(from.qualified_field(i))), Column::from(schema.qualified_field(i)))
        })
        .collect();
    pick(plan, given)
}

fn join_of(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    kind: JoinType,
    nulls: NullEquality,
) -> EngineResult<LogicalPlan> {
    let (left, right) = (Arc::new(left), Arc::new(right));
    Ok(LogicalPlan::Join(Join::try_new(left, right, on, filter, kind, JoinConstraint::On, nulls, false)?))
}
