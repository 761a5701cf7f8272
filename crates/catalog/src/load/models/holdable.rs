//! What a table cannot hold, reported before the table is created: names inside columns, partition columns,
//! keys.
//!
//! The types of columns are checked when the query is planned.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, Schema};

use crate::load::Context;
use crate::load::header::Draft;
use crate::shape::object::{Entry, Value};
use crate::{Kind, Model};

/// Characters that Delta does not allow in names.
const ILLEGAL: [char; 10] = [' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// Adds a fault for each column that the model's table could not hold, or could not hold as partition column or
/// key.
pub(super) fn check(cx: &mut Context<'_>, draft: &Draft, model: &Model, schema: &Schema) {
    if model.kind == Kind::View {
        return;
    }
    for field in schema.fields() {
        let mut faults = Vec::new();
        inside(field.name(), field, &mut faults);
        for (message, help) in faults {
            cx.faults.add(&draft.sql_at(0), format!("`{}`: {message}", draft.name), help);
        }
    }
    for key in ["keys", "track_history", "partition_by", "cluster_by"] {
        let mut seen = HashSet::new();
        for Entry { line, value } in draft.header.list(key) {
            let Value::Text(column) = value else { continue };
            if !seen.insert(column) {
                let message = format!("column `{column}` stands twice in `{key}` of `{}`", draft.name);
                cx.faults.add(&draft.at(*line), message, "name it once");
                continue;
            }
            let Ok(field) = schema.field_with_name(column) else { continue };
            let fault = match key {
                "partition_by" => unfit_partition(field),
                "keys" => unfit_key(field),
                _ => None,
            };
            if let Some(help) = fault {
                let message = format!(
                    "column `{column}` of `{key}` of `{}` is of type {}",
                    draft.name,
                    field.data_type()
                );
                cx.faults.add(&draft.at(*line), message, help);
            }
        }
    }
    let all = |name: &str| model.partition_by.iter().any(|column| column == name);
    if model.kind == Kind::Table && schema.fields().iter().all(|field| all(field.name())) {
        let message = format!("`{}` is partitioned by all of its columns", draft.name);
        let help = "leave one out: partition columns stand in the log, and its files would hold nothing";
        cx.faults.add(&draft.at(draft.header.line_of("partition_by")), message, help);
    }
}

/// What a partition column may be instead. `None`: it is allowed.
fn unfit_partition(field: &Field) -> Option<&'static str> {
    use DataType::{Date32, Int8, Int16, Int32, Int64, Utf8};
    (!matches!(field.data_type(), Utf8 | Date32 | Int8 | Int16 | Int32 | Int64))
        .then_some("partition by a text, a date or a whole number: cast it, or take another column")
}

/// What a key may be instead. `None`: it is allowed.
fn unfit_key(field: &Field) -> Option<&'static str> {
    field.data_type().is_nested().then_some("a key is one plain value: take fields of it, or cast it to text")
}

/// Names within a column: Delta refuses names that differ only in case, and some characters.
fn inside(path: &str, field: &Field, faults: &mut Vec<(String, &'static str)>) {
    match field.data_type() {
        DataType::Struct(fields) => {
            if fields.is_empty() {
                faults.push((
                    format!("column `{path}` is a struct without fields"),
                    "give it one, or leave it out",
                ));
            }
            let mut seen = HashSet::new();
            for field in fields {
                let inner = format!("{path}.{}", field.name());
                if field.name().is_empty() || field.name().contains(ILLEGAL) {
                    let help = "give it a plain name: letters, digits and `_`";
                    faults.push((format!("`{inner}` has a name that no table takes"), help));
                }
                if !seen.insert(field.name().to_lowercase()) {
                    let help = "give one of them another name: tables do not tell upper and lower case apart";
                    faults.push((format!("`{inner}` stands twice in `{path}`"), help));
                }
                inside(&inner, field, faults);
            }
        }
        DataType::List(item) => inside(&format!("{path}[]"), item, faults),
        DataType::Map(entries, _) => {
            if let DataType::Struct(pair) = entries.data_type() {
                for (of, field) in ["key", "value"].iter().zip(pair) {
                    inside(&format!("{path}.{of}"), field, faults);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::load::fixture::valid;
    use crate::load::tests::one_fault;

    const SALES: &str = "models/gold/sales.sql";

    #[rstest]
    #[case::two_names_by_case("named_struct('X', 1, 'x', 2)", "`extra.x` stands twice in `extra`")]
    #[case::two_names_deep("named_struct('a', [named_struct('k', 1, 'K', 2)])", "`extra.a[].K` stands twice")]
    #[case::a_space_inside("named_struct('a b', 1)", "`extra.a b` has a name that no table takes")]
    #[case::an_interval("INTERVAL '1 day'", "interval")]
    #[case::an_interval_inside("named_struct('i', INTERVAL '1 day')", "interval")]
    #[case::a_time_of_day("CAST('10:00:00' AS TIME)", "time")]
    #[tokio::test]
    async fn a_column_that_no_table_holds_is_named(#[case] column: &str, #[case] says: &str) {
        let files = valid().replace(
            SALES,
            "sum(o.total) AS total\n",
            &format!("sum(o.total) AS total, {column} AS extra\n"),
        );
        let found = crate::load::tests::faults(&files).await;
        assert!(!found.is_empty(), "{column} is taken");
        let all = found.join("\n").to_lowercase();
        assert!(all.contains("extra") && all.contains(&says.to_lowercase()), "{all}");
        assert!(found.iter().all(|fault| fault.starts_with(SALES)), "{all}");
    }

    #[rstest]
    #[case::a_flag("true AS b", "partition_by: [b]", "`b` of `partition_by`")]
    #[case::a_struct("named_struct('a', 1) AS b", "partition_by: [b]", "`b` of `partition_by`")]
    #[case::a_decimal("CAST(1 AS DECIMAL(10, 2)) AS b", "partition_by: [b]", "`b` of `partition_by`")]
    #[case::a_timestamp("CAST('2024-01-01' AS TIMESTAMP) AS b", "partition_by: [b]", "`b` of `partition_by`")]
    #[case::twice("1 AS b", "partition_by: [b, b]", "`b` stands twice in `partition_by`")]
    #[case::everything("1 AS b", "partition_by: [b, customer_id, region, total]", "`partition_by`")]
    #[tokio::test]
    async fn a_partition_column_that_no_table_takes_is_named(
        #[case] column: &str,
        #[case] header: &str,
        #[case] says: &str,
    ) {
        let files = valid()
            .replace(SALES, "sum(o.total) AS total\n", &format!("sum(o.total) AS total, {column}\n"))
            .replace(SALES, "publish: shop.sales\n", &format!("publish: shop.sales\n{header}\n"));
        let found = crate::load::tests::faults(&files).await;
        assert!(found.iter().any(|fault| fault.contains(says) && fault.contains("gold.sales")), "{found:#?}");
    }

    #[tokio::test]
    async fn a_key_is_one_plain_value() {
        let files = valid()
            .replace(
                SALES,
                "sum(o.total) AS total\n",
                "sum(o.total) AS total, make_array(o.customer_id) AS many\n",
            )
            .replace(SALES, "keys: [customer_id, region]", "keys: [customer_id, region, many]");
        one_fault(files, &format!("{SALES}:3"), &["`many` of `keys`", "plain value"]).await;
    }

    #[tokio::test]
    async fn a_topic_takes_no_map_whose_keys_are_no_texts() {
        let files = valid().replace(
            SALES,
            "sum(o.total) AS total\n",
            "sum(o.total) AS total, map([1], ['a']) AS numbers\n",
        );
        let found = crate::load::tests::faults(&files).await;
        assert!(
            found.iter().any(|fault| fault.contains("numbers") && fault.contains("shop.sales")),
            "{found:#?}"
        );
    }
}
