//! Fixes what the engine computes wrongly without an error: arithmetic that does not fit its type becomes an
//! error ([`super::checked`]), and times are microseconds, as in tables.
//!
//! The engine plans TIMESTAMP literals, `CAST(… AS TIMESTAMP)`, AT TIME ZONE and comparisons of dates with
//! times in nanoseconds, which cover only the years 1677 to 2262 (apache/datafusion#8336). No table stores
//! finer times than microseconds, so using those loses nothing.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DFSchemaRef, Result as EngineResult, ScalarValue, plan_err};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, TryCast, Union, Values};
use datafusion::optimizer::AnalyzerRule;

use super::{checked, rewrite_plan};

/// The rule; runs after the engine settled types.
#[derive(Debug)]
pub(super) struct Exact;

impl AnalyzerRule for Exact {
    fn name(&self) -> &'static str {
        "exact_arithmetic_and_microseconds"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> EngineResult<LogicalPlan> {
        rewrite_plan(plan, rewrite, own_types)
    }
}

/// Rewrites one expression whose children are done and whose operands have their types.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> EngineResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let function = match (left.get_type(schema), right.get_type(schema)) {
                (Ok(l), Ok(r)) => checked::binary(op, &l, &r),
                // Such as the parameter of a lambda.
                _ => None,
            };
            match function {
                Some(function) => Transformed::yes(function.call(vec![*left, *right])),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Negative(inner) => match inner.get_type(schema).ok().and_then(|t| checked::negation(&t)) {
            Some(function) => Transformed::yes(function.call(vec![*inner])),
            None => Transformed::no(Expr::Negative(inner)),
        },
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. })
            if has_negative_scale(field.data_type()) =>
        {
            return plan_err!("a decimal's scale is not negative: {} cannot be cast to", field.data_type());
        }
        Expr::ScalarFunction(call) if call.func.name().starts_with("arrow_") => {
            let call = Expr::ScalarFunction(call);
            match call.get_type(schema) {
                Ok(given) if has_negative_scale(&given) => {
                    return plan_err!("a decimal's scale is not negative: {given} cannot be cast to");
                }
                _ => Transformed::no(call),
            }
        }
        Expr::Cast(mut cast) if is_nanoseconds(cast.field.data_type()) => {
            cast.field = in_microseconds(&cast.field);
            Transformed::yes(Expr::Cast(cast))
        }
        Expr::TryCast(mut cast) if is_nanoseconds(cast.field.data_type()) => {
            cast.field = in_microseconds(&cast.field);
            Transformed::yes(Expr::TryCast(cast))
        }
        Expr::Literal(ScalarValue::TimestampNanosecond(at, zone), metadata) => {
            let at = at.map(|ns| ns.div_euclid(1000));
            Transformed::yes(Expr::Literal(ScalarValue::TimestampMicrosecond(at, zone), metadata))
        }
        other => Transformed::no(other),
    })
}

fn is_nanoseconds(given: &DataType) -> bool {
    matches!(given, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

/// The engine computes wrongly or panics with such decimals.
fn has_negative_scale(given: &DataType) -> bool {
    match given {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale < 0,
        _ => false,
    }
}

fn in_microseconds(field: &FieldRef) -> FieldRef {
    let DataType::Timestamp(TimeUnit::Nanosecond, zone) = field.data_type() else { return Arc::clone(field) };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    Arc::new(field.as_ref().clone().with_data_type(micros))
}

/// Gives a union or a list of values the types of its rewritten inputs; otherwise it would keep its old ones.
fn own_types(plan: LogicalPlan) -> EngineResult<LogicalPlan> {
    if let LogicalPlan::Values(Values { schema, values }) = plan {
        let schema = values_schema(&schema, &values)?;
        return Ok(LogicalPlan::Values(Values { schema, values }));
    }
    let LogicalPlan::Union(Union { inputs, schema }) = plan else { return Ok(plan) };
    let Some(first) = inputs.first().map(|input| Arc::clone(input.schema())) else {
        return Ok(LogicalPlan::Union(Union { inputs, schema }));
    };
    let fields = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let field = match first.fields().get(at) {
            Some(below) if below.data_type() != field.data_type() => {
                Arc::new(Field::clone(field).with_data_type(below.data_type().clone()))
            }
            _ => Arc::clone(field),
        };
        (qualifier.cloned(), field)
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?;
    Ok(LogicalPlan::Union(Union { inputs, schema: Arc::new(schema) }))
}

/// The columns of a list of values, with the types of its first row.
pub(super) fn values_schema(schema: &DFSchemaRef, values: &[Vec<Expr>]) -> EngineResult<DFSchemaRef> {
    let none = DFSchema::empty();
    let fields = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let given = values.first().and_then(|row| row[at].get_type(&none).ok());
        let field = match given {
            Some(given) if given != *field.data_type() => Arc::new(Field::clone(field).with_data_type(given)),
            _ => Arc::clone(field),
        };
        (qualifier.cloned(), field)
    });
    Ok(Arc::new(DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?))
}
