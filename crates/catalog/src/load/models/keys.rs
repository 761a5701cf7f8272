//! Keys. In silver, all key columns of the source, at most renamed or widened. In gold, at least one column.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::fault::listed;
use crate::load::Context;
use crate::load::header::Draft;
use crate::{Envelope, Kind, Model, Topic};

/// A stored gold table needs a key, by which its rows are replaced and published.
pub(super) fn check_gold(cx: &mut Context<'_>, draft: &Draft, model: &Model, schema: &Schema) {
    if !model.keys.is_empty() {
        return;
    }
    let message = format!("missing key `keys` in the header of gold table `{}`", draft.name);
    let columns = listed(schema.fields().iter().map(|field| field.name()).take(12));
    let help = format!("name the columns that no two rows share, of {columns}");
    cx.faults.add(&draft.at(draft.header.line), message, help);
}

/// The key columns of the output must be exactly those of the source.
pub(super) fn check_silver(
    cx: &mut Context<'_>,
    draft: &Draft,
    model: &Model,
    plan: &LogicalPlan,
    topic: &Topic,
) {
    let line = draft.header.line_of("keys");
    if model.kind == Kind::Append && model.keys.is_empty() {
        return;
    }
    if topic.key.is_empty() {
        let message =
            format!("`{}` is `{}` over `{}`, which has no key", draft.name, model.kind.as_str(), topic.table);
        let help = format!("declare `key:` of topic `{}` in topics.yaml, or use `kind: append`", topic.name);
        cx.faults.add(&draft.at(line), message, help);
        return;
    }
    check_order(cx, draft, model, topic);
    if model.keys.is_empty() {
        let message = format!("missing key `keys` in the header of `{}`", draft.name);
        let help = format!("name the output columns that hold {}", listed(&topic.key));
        cx.faults.add(&draft.at(line), message, help);
        return;
    }
    let mut covered = Vec::new();
    for key in &model.keys {
        let Ok(at) = plan.schema().as_arrow().index_of(key) else { continue };
        match origin(plan, at) {
            Some(source) if topic.key.contains(&source) => covered.push(source),
            Some(source) => {
                let message = format!("key `{key}` is the column `{source}`, which is no key of the source");
                let help = format!("the keys of `{}` are {}", topic.table, listed(&topic.key));
                cx.faults.add(&draft.at(line), message, help);
            }
            None => {
                let message = format!("key `{key}` is computed");
                let help = "a key column is one of the source's, renamed or cast to a wider type only";
                cx.faults.add(&draft.at(line), message, help);
            }
        }
    }
    let missing: Vec<&String> = topic.key.iter().filter(|column| !covered.contains(column)).collect();
    let sound = covered.len() == model.keys.len();
    if sound && !missing.is_empty() {
        let message = format!("key {} of the source is not among `keys`", listed(missing));
        let help = "select it and add it: rows of other keys would be merged into one";
        cx.faults.add(&draft.at(line), message, help);
    }
}

/// Requires an order of the events of a key. Offsets order them if key columns alone choose the partition. A
/// log position of the database or `sequence_by` orders them in any case.
fn check_order(cx: &mut Context<'_>, draft: &Draft, model: &Model, topic: &Topic) {
    let elsewhere: Vec<&String> = topic.partition_by.iter().filter(|c| !topic.key.contains(c)).collect();
    let positioned = topic.envelope == Envelope::Debezium;
    if model.kind == Kind::Append || model.sequence_by.is_some() || positioned || elsewhere.is_empty() {
        return;
    }
    let message = format!(
        "nothing orders the events of a key of `{}`: topic `{}` is partitioned by {}, which is not of its key",
        draft.name,
        topic.name,
        listed(elsewhere)
    );
    let help = match topic.envelope {
        Envelope::None => "name a column that rises with each event in `sequence_by`, or drop `partition_by`",
        Envelope::Debezium | Envelope::DebeziumFlat => "drop `partition_by` of the topic",
    };
    cx.faults.add(&draft.at(draft.header.line_of("kind")), message, help);
}

/// The column of the scan that becomes output column `at` with nothing but renaming and widening.
fn origin(plan: &LogicalPlan, at: usize) -> Option<String> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projected_schema.field(at).name().clone()),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at),
        LogicalPlan::Filter(filter) => origin(&filter.input, at),
        LogicalPlan::Projection(projection) => {
            let input = projection.input.schema();
            let mut expr = projection.expr.get(at)?;
            loop {
                expr = match expr {
                    Expr::Alias(alias) => &alias.expr,
                    Expr::Cast(cast) => {
                        let from =
                            datafusion::logical_expr::ExprSchemable::get_type(&*cast.expr, input).ok()?;
                        let to = cast.field.data_type();
                        if !widens(&from, to) {
                            return None;
                        }
                        &cast.expr
                    }
                    Expr::Column(column) => {
                        return origin(&projection.input, input.maybe_index_of_column(column)?);
                    }
                    _ => return None,
                };
            }
        }
        _ => None,
    }
}

/// Whether distinct values stay distinct and every value fits.
fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{
        Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View,
    };
    let digits = |whole: &DataType| match whole {
        Int8 => Some(3),
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    if from == to {
        return true;
    }
    match (from, to) {
        (Utf8 | Utf8View | LargeUtf8, Utf8 | Utf8View | LargeUtf8)
        | (Date32, Timestamp(..))
        | (Float32, Float64) => true,
        (Timestamp(from, _), Timestamp(to, _)) => from <= to,
        (Decimal128(from, from_scale), Decimal128(to, to_scale)) => {
            from_scale <= to_scale
                && i16::from(*from) - i16::from(*from_scale) <= i16::from(*to) - i16::from(*to_scale)
        }
        (whole, Decimal128(to, scale)) => {
            digits(whole).is_some_and(|digits| digits <= i16::from(*to) - i16::from(*scale))
        }
        (from, to) => matches!((digits(from), digits(to)), (Some(from), Some(to)) if from <= to),
    }
}
