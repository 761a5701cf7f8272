//! A DOUBLE beside a decimal is computed as a double, as in PostgreSQL and DuckDB.
//!
//! The session reads `0.5` as a decimal, so that decimals stay exact. Beside a double, the engine would turn
//! the *double* into DECIMAL(30, 15) (apache/datafusion#14272): small values become zero; large values,
//! infinities and NaN become errors; `coalesce(f, 0.0)` becomes a decimal column. So before the engine
//! settles types, decimals that meet a double become doubles: literals by parsing their digits, correctly
//! rounded, everything else by a cast.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result as EngineResult, ScalarValue};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, Values,
};
use datafusion::optimizer::AnalyzerRule;

use super::exact::values_schema;
use super::rewrite_plan;

/// Functions that convert their arguments to a common type.
const UNIFYING: &[&str] = &[
    "coalesce",
    "nvl",
    "ifnull",
    "nvl2",
    "nullif",
    "greatest",
    "least",
    "make_array",
    "range",
    "generate_series",
];

/// The rule; runs before the engine settles types.
#[derive(Debug)]
pub(super) struct Doubles;

impl AnalyzerRule for Doubles {
    fn name(&self) -> &'static str {
        "doubles_stay_doubles"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> EngineResult<LogicalPlan> {
        rewrite_plan(plan, unify, unify_inputs)
    }
}

/// Rewrites one expression whose children are done.
pub(crate) fn unify(expr: Expr, schema: &DFSchema) -> EngineResult<Transformed<Expr>> {
    let kind = |e: &Expr| Kind::of(e, schema);
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if meets(op) => {
            let mixed = Kind::mixed([kind(&left), kind(&right)]);
            let [left, right] = [*left, *right].map(|e| to_double_if(mixed, e, schema));
            let binary = BinaryExpr::new(Box::new(left), op, Box::new(right));
            Transformed::new_transformed(Expr::BinaryExpr(binary), mixed)
        }
        Expr::Between(mut between) => {
            let mixed = Kind::mixed([kind(&between.expr), kind(&between.low), kind(&between.high)]);
            for e in [&mut between.expr, &mut between.low, &mut between.high] {
                in_place(mixed, e, schema);
            }
            Transformed::new_transformed(Expr::Between(between), mixed)
        }
        Expr::InList(mut list) => {
            let mixed = Kind::mixed(list.list.iter().chain([list.expr.as_ref()]).map(kind));
            in_place(mixed, &mut list.expr, schema);
            list.list = list.list.into_iter().map(|e| to_double_if(mixed, e, schema)).collect();
            Transformed::new_transformed(Expr::InList(list), mixed)
        }
        Expr::Case(mut case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then).chain(case.else_expr.as_ref());
            let mixed_results = Kind::mixed(results.map(|e| kind(e)));
            let compared = case.expr.iter().chain(case.when_then_expr.iter().map(|(when, _)| when));
            let mixed_compared = case.expr.is_some() && Kind::mixed(compared.map(|e| kind(e)));
            for (when, then) in &mut case.when_then_expr {
                in_place(mixed_compared, when, schema);
                in_place(mixed_results, then, schema);
            }
            case.else_expr.iter_mut().for_each(|e| in_place(mixed_results, e, schema));
            case.expr.iter_mut().for_each(|e| in_place(mixed_compared, e, schema));
            Transformed::new_transformed(Expr::Case(case), mixed_results || mixed_compared)
        }
        Expr::ScalarFunction(mut call) if UNIFYING.contains(&call.func.name()) => {
            let mixed = Kind::mixed(call.args.iter().map(kind));
            call.args = call.args.into_iter().map(|e| to_double_if(mixed, e, schema)).collect();
            Transformed::new_transformed(Expr::ScalarFunction(call), mixed)
        }
        Expr::InSubquery(InSubquery { mut expr, mut subquery, negated }) => {
            let given = subquery.subquery.schema();
            let theirs = Expr::Column(Column::from(given.qualified_field(0)));
            let (mine, other) = (kind(&expr), Kind::of(&theirs, given));
            let mixed = Kind::mixed([mine, other]);
            in_place(mixed, &mut expr, schema);
            if mixed && other == Kind::Decimal {
                let plan = cast_columns(&subquery.subquery, &[true])?;
                subquery = Subquery { subquery: Arc::new(plan), ..subquery };
            }
            Transformed::new_transformed(Expr::InSubquery(InSubquery { expr, subquery, negated }), mixed)
        }
        other => Transformed::no(other),
    })
}

/// Converts the columns of a union and the keys of a join, whose sides have their own types.
fn unify_inputs(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    match plan {
        LogicalPlan::Union(mut union) => {
            let width = union.schema.fields().len();
            let kinds =
                |at: usize| union.inputs.iter().map(move |i| Kind::of_type(i.schema().field(at).data_type()));
            let mixed: Vec<bool> = (0..width).map(|at| Kind::mixed(kinds(at))).collect();
            if mixed.contains(&true) {
                for input in &mut union.inputs {
                    *input = Arc::new(cast_columns(input, &mixed)?);
                }
                // The engine starts from the type that the union has so far.
                let fields = union.schema.iter().zip(&mixed).map(|((qualifier, field), mixed)| {
                    let field = if *mixed {
                        Arc::new(Field::clone(field).with_data_type(DataType::Float64))
                    } else {
                        Arc::clone(field)
                    };
                    (qualifier.cloned(), field)
                });
                let schema = DFSchema::new_with_metadata(fields.collect(), union.schema.metadata().clone())?;
                union.schema = Arc::new(schema);
            }
            Ok(LogicalPlan::Union(union))
        }
        // The planner has already converted the columns to one type.
        LogicalPlan::Values(Values { schema, mut values }) => {
            let none = DFSchema::empty();
            for at in 0..schema.fields().len() {
                let was_double = |row: &Vec<Expr>| matches!(&row[at], Expr::Cast(cast) if Kind::of(&cast.expr, &none) == Kind::Double);
                if Kind::of_type(schema.field(at).data_type()) == Kind::Decimal
                    && values.iter().any(was_double)
                {
                    for row in &mut values {
                        row[at] = match std::mem::take(&mut row[at]) {
                            Expr::Cast(cast) if Kind::of(&cast.expr, &none) == Kind::Double => *cast.expr,
                            Expr::Cast(cast) => double(*cast.expr),
                            other => double(other),
                        };
                    }
                }
            }
            let schema = values_schema(&schema, &values)?;
            Ok(LogicalPlan::Values(Values { schema, values }))
        }
        LogicalPlan::Join(Join {
            left,
            right,
            on,
            filter,
            join_type,
            join_constraint,
            schema,
            null_equality,
            null_aware,
        }) => {
            let on = on
                .into_iter()
                .map(|(l, r)| {
                    let mixed = Kind::mixed([Kind::of(&l, left.schema()), Kind::of(&r, right.schema())]);
                    (to_double_if(mixed, l, left.schema()), to_double_if(mixed, r, right.schema()))
                })
                .collect();
            Ok(LogicalPlan::Join(Join {
                left,
                right,
                on,
                filter,
                join_type,
                join_constraint,
                schema,
                null_equality,
                null_aware,
            }))
        }
        other => Ok(other),
    }
}

/// The plan with these columns cast to double if they are decimals.
fn cast_columns(plan: &Arc<LogicalPlan>, which: &[bool]) -> EngineResult<LogicalPlan> {
    let schema = plan.schema();
    let columns = (0..schema.fields().len()).map(|at| {
        let (qualifier, field) = schema.qualified_field(at);
        let column = Expr::Column(Column::from((qualifier, field)));
        if which[at] && Kind::of_type(field.data_type()) == Kind::Decimal {
            double(column).alias_qualified(qualifier.cloned(), field.name())
        } else {
            column
        }
    });
    LogicalPlanBuilder::from(Arc::clone(plan)).project(columns.collect::<Vec<_>>())?.build()
}

/// Operators whose operands the engine converts to a common type.
fn meets(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq
            | O::NotEq
            | O::Lt
            | O::LtEq
            | O::Gt
            | O::GtEq
            | O::IsDistinctFrom
            | O::IsNotDistinctFrom
            | O::Plus
            | O::Minus
            | O::Multiply
            | O::Divide
            | O::Modulo
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Double,
    Decimal,
    Other,
}
impl Kind {
    fn of(expr: &Expr, schema: &DFSchema) -> Self {
        // An expression without a type has incompatible operands; the engine reports that.
        expr.get_type(schema).map_or(Self::Other, |t| Self::of_type(&t))
    }
    fn of_type(given: &DataType) -> Self {
        match given {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Double,
            t if t.is_decimal() => Self::Decimal,
            _ => Self::Other,
        }
    }
    fn mixed(kinds: impl IntoIterator<Item = Self>) -> bool {
        let (mut double, mut decimal) = (false, false);
        for kind in kinds {
            double |= kind == Self::Double;
            decimal |= kind == Self::Decimal;
        }
        double && decimal
    }
}

fn in_place(mixed: bool, expr: &mut Box<Expr>, schema: &DFSchema) {
    if mixed && Kind::of(expr, schema) == Kind::Decimal {
        **expr = double(std::mem::take(expr.as_mut()));
    }
}

fn to_double_if(mixed: bool, expr: Expr, schema: &DFSchema) -> Expr {
    if mixed && Kind::of(&expr, schema) == Kind::Decimal { double(expr) } else { expr }
}

/// The expression as a double. Parses the digits of a literal, because dividing its unscaled value by a power
/// of ten would round twice.
fn double(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(value, metadata) if value.data_type().is_decimal() => {
            let digits = match value {
                ScalarValue::Decimal128(digits, _, scale) => {
                    digits.map(|d| format!("{d}e{}", -i32::from(*scale)))
                }
                ScalarValue::Decimal256(digits, _, scale) => {
                    digits.map(|d| format!("{d}e{}", -i32::from(*scale)))
                }
                _ => return Expr::Cast(Cast::new(Box::new(expr), DataType::Float64)),
            };
            let number = digits.and_then(|text| text.parse().ok());
            Expr::Literal(ScalarValue::Float64(number), metadata.clone())
        }
        Expr::Negative(inner) if matches!(inner.as_ref(), Expr::Literal(..)) => {
            Expr::Negative(Box::new(double(inner.as_ref().clone())))
        }
        _ => Expr::Cast(Cast::new(Box::new(expr), DataType::Float64)),
    }
}
