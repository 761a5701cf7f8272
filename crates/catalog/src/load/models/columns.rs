//! Columns that a header names, and columns that an output must not have.

use arrow::datatypes::{Schema, SchemaRef};

use crate::fault::did_you_mean;
use crate::load::Context;
use crate::load::header::Draft;
use crate::load::rules::check_predicate;
use crate::models::HIDDEN;
use crate::shape::object::{Entry, Value};
use crate::{Envelope, Kind, Model, Topic};

/// The columns that `scd2` adds, in lower case.
const HISTORY: &[&str] = &["__start_at", "__end_at", "valid_from", "valid_to"];

/// Checks that every column in the header exists in the output, and that no output column has a reserved name.
pub(super) fn check(cx: &mut Context<'_>, draft: &Draft, model: &Model, schema: &Schema) {
    for key in ["keys", "track_history", "partition_by", "cluster_by"] {
        for Entry { line, value } in draft.header.list(key) {
            if let Value::Text(column) = value {
                known_column(cx, draft, *line, column, key, schema);
            }
        }
    }
    if model.change_feed && !model.deletion_vectors {
        let message = format!("`{}` has a change feed and no deletion vectors", draft.name);
        let help = "drop `deletion_vectors: off`: a copied file would tell each of its rows as gone and new";
        cx.faults.add(&draft.at(draft.header.line_of("change_feed")), message, help);
    }
    if let Some(columns) = draft.header.object("columns") {
        for (column, line, _) in columns.objects() {
            known_column(cx, draft, line, column, "columns", schema);
        }
    }
    if !draft.kind.is_silver() {
        return;
    }
    let history: &[&str] = if model.kind == Kind::Scd2 { HISTORY } else { &[] };
    for field in schema.fields() {
        let name = field.name().to_lowercase();
        if HIDDEN.contains(&&*name) || history.contains(&&*name) {
            let message = format!("column `{}` is one that silver adds itself", field.name());
            cx.faults.add(&draft.sql_at(0), message, "give it another alias, or leave it out");
        }
    }
}

/// Adds a fault if `column` is not in `schema`.
fn known_column(
    cx: &mut Context<'_>,
    draft: &Draft,
    line: usize,
    column: &str,
    key: &str,
    schema: &Schema,
) -> bool {
    let known = schema.field_with_name(column).is_ok();
    if !known {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let message = format!("column `{column}` of `{key}` is not in the output of `{}`", draft.name);
        cx.faults.add(&draft.at(line), message, did_you_mean(column, names));
    }
    known
}

/// `sequence_by`, `deletes_when` and `truncates_when`, which refer to columns of `changes(…)`.
pub(super) fn check_without_envelope(
    cx: &mut Context<'_>,
    draft: &Draft,
    model: &Model,
    topic: &Topic,
    changes: &SchemaRef,
) {
    use arrow::datatypes::DataType::{Date32, Int8, Int16, Int32, Int64, Timestamp};
    let header = &draft.header;
    for key in ["sequence_by", "deletes_when", "truncates_when"] {
        if header.has(key) && topic.envelope != Envelope::None {
            let message = format!("`{key}` stands beside the envelope of topic `{}`", topic.name);
            let help = "drop it: the envelope says order, deletes and truncates";
            cx.faults.add(&draft.at(header.line_of(key)), message, help);
            return;
        }
    }
    if let Some(column) = &model.sequence_by {
        let line = header.line_of("sequence_by");
        match changes.field_with_name(column).map(|field| field.data_type()) {
            Ok(Int8 | Int16 | Int32 | Int64 | Date32 | Timestamp(..)) => {}
            Ok(other) => {
                let message = format!("`sequence_by` column `{column}` is of type {other}");
                cx.faults.add(&draft.at(line), message, "name a whole number, a date or a timestamp");
            }
            Err(_) => {
                let names = changes.fields().iter().map(|field| field.name().as_str());
                let message = format!("`sequence_by` column `{column}` is not in `changes({})`", topic.table);
                cx.faults.add(&draft.at(line), message, did_you_mean(column, names));
            }
        }
    }
    let predicates = [("deletes_when", &model.deletes_when), ("truncates_when", &model.truncates_when)];
    for (key, predicate) in predicates {
        let Some(predicate) = predicate else { continue };
        check_predicate(cx, &draft.at(header.line_of(key)), key, predicate, changes);
    }
}
