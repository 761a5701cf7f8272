//! Compares a JSON value, parsed by `serde_json`, with the stored one, one value at a time.

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Map, Value};

use super::value::Agrees;

/// Parses a value and removes the envelope of Kafka Connect's converter.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    match value {
        Value::Object(mut object) if is_connect(&object) => {
            Some(object.remove("payload").unwrap_or(Value::Null))
        }
        value => Some(value),
    }
}

fn is_connect(object: &Map<String, Value>) -> bool {
    object.len() == 2 && object.contains_key("schema") && object.contains_key("payload")
}

/// Compares a value with the columns of a row. `whole`: the table stores the text in one column. `plain`: the
/// record has no Connect envelope, so a decimal is a number or its digits as text.
pub fn agrees(bytes: &[u8], whole: bool, plain: bool, rows: &RecordBatch, row: usize) -> Agrees {
    let Some(value) = parse(bytes) else {
        return Agrees::No("its value is no JSON, and yet it was decoded".to_owned());
    };
    if whole {
        let text = rows.column_by_name("value").filter(|column| column.is_valid(row));
        let text = text.and_then(|column| column.as_string_opt::<i32>());
        let same = text.is_some_and(|text| text.value(row).as_bytes() == bytes);
        return if same { Agrees::Yes } else { Agrees::No("`value` is not the record's text".to_owned()) };
    }
    match value {
        Value::Null => Agrees::Yes,
        Value::Object(object) => object.iter().fold(Agrees::Yes, |so_far, (name, value)| {
            so_far.and(|| match rows.column_by_name(name) {
                Some(column) => one(value, plain, column, row).below(name),
                None => Agrees::Unknown("a field is no column".to_owned()),
            })
        }),
        _ => Agrees::Unknown("a value is no object".to_owned()),
    }
}

fn one(value: &Value, plain: bool, column: &ArrayRef, row: usize) -> Agrees {
    let text = || super::compare::text(column, row);
    let unlike = || format!("is {} where {value} is right", text());
    let yes = |same: bool| if same { Agrees::Yes } else { Agrees::No(unlike()) };
    let unknown = || Agrees::Unknown(format!("a {} written as {}", column.data_type(), kind(value)));
    if value.is_null() || column.is_null(row) {
        // A default may replace a null.
        let both = value.is_null() == column.is_null(row);
        return if both {
            Agrees::Yes
        } else if value.is_null() {
            unknown()
        } else {
            Agrees::No(unlike())
        };
    }
    match (column.data_type(), value) {
        (DataType::Boolean, Value::Bool(b)) => yes(column.as_boolean().value(row) == *b),
        (DataType::Int64, Value::Number(n)) => match n.as_i64() {
            Some(n) => yes(column.as_primitive::<Int64Type>().value(row) == n),
            None => unknown(),
        },
        (DataType::Float64, Value::Number(n)) => match n.as_f64() {
            // The parsers may differ in the last bit.
            Some(d) => yes(is_near(column.as_primitive::<Float64Type>().value(row), d)),
            None => unknown(),
        },
        (DataType::Utf8, Value::String(t)) => yes(column.as_string::<i32>().value(row) == t),
        (DataType::Decimal128(_, _), Value::Number(n)) if n.is_i64() || n.is_u64() => {
            yes(same_digits(&text(), &n.to_string()))
        }
        // This parser rounds every other number to a double, so the stored digits are compared as a double.
        (DataType::Decimal128(_, _), Value::Number(n)) => match (text().parse(), n.as_f64()) {
            (Ok(stored), Some(right)) => yes(is_near(stored, right)),
            _ => unknown(),
        },
        (DataType::Decimal128(_, _), Value::String(t)) if plain && is_number(t) => {
            yes(same_digits(&text(), t))
        }
        (DataType::Timestamp(_, _), Value::String(t)) => match chrono::DateTime::parse_from_rfc3339(t) {
            Ok(at) => {
                yes(column.as_primitive::<TimestampMicrosecondType>().value(row) == at.timestamp_micros())
            }
            Err(_) => unknown(),
        },
        (DataType::Struct(_), Value::Object(object)) => {
            let parent = column.as_struct();
            object.iter().fold(Agrees::Yes, |so_far, (name, value)| {
                so_far.and(|| match parent.column_by_name(name) {
                    Some(column) => one(value, plain, column, row).below(name),
                    None => Agrees::Unknown("a field is no column".to_owned()),
                })
            })
        }
        (DataType::List(_), Value::Array(items)) => {
            let list = column.as_list::<i32>().value(row);
            yes(list.len() == items.len()).and(|| {
                items.iter().enumerate().fold(Agrees::Yes, |so_far, (at, item)| {
                    so_far.and(|| one(item, plain, &list, at).below(&at.to_string()))
                })
            })
        }
        _ => unknown(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn is_near(stored: f64, right: f64) -> bool {
    stored.to_bits() == right.to_bits() || stored == right.next_up() || stored == right.next_down()
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
        && digits.matches('.').count() < 2
}

/// Whether two plain decimal texts are the same number.
fn same_digits(a: &str, b: &str) -> bool {
    let trimmed = |text: &str| {
        let text = text.strip_prefix('+').unwrap_or(text);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        let digits = digits.trim_start_matches('0');
        let digits = if digits.is_empty() || digits.starts_with('.') {
            format!("0{digits}")
        } else {
            digits.to_owned()
        };
        if digits == "0" { digits } else { format!("{sign}{digits}") }
    };
    trimmed(a) == trimmed(b)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::zeros("1.50", "1.5", true)]
    #[case::whole("7.00", "7", true)]
    #[case::sign("-0.010", "-.01", true)]
    #[case::other("1.05", "1.5", false)]
    #[case::tenfold("15", "150", false)]
    #[case::zero("0.00", "-0", true)]
    fn numbers_are_one_by_their_digits(#[case] a: &str, #[case] b: &str, #[case] same: bool) {
        assert_eq!(same_digits(a, b), same);
    }

    #[rstest]
    #[case::right(r#"{"id":1,"name":"a","price":"1234"}"#, Some(true))]
    #[case::in_connects_envelope(r#"{"schema":{},"payload":{"id":1,"name":"a"}}"#, Some(true))]
    #[case::other(r#"{"id":2,"name":"a","price":"1234"}"#, Some(false))]
    #[case::base64_read_as_digits(r#"{"id":1,"name":"a","price":"2500"}"#, Some(false))]
    #[case::null_for_a_text(r#"{"id":1,"name":null}"#, None)]
    #[case::no_rule(r#"{"id":"1"}"#, None)]
    fn columns_are_held_against_the_fields(#[case] json: &str, #[case] agrees_: Option<bool>) {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(38, 2), true),
        ]);
        let price = Decimal128Array::from(vec![123_400]).with_precision_and_scale(38, 2).expect("fits");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["a"])),
            Arc::new(price),
        ];
        let rows = RecordBatch::try_new(Arc::new(schema), columns).expect("fits");
        let said = agrees(json.as_bytes(), false, true, &rows, 0);
        let found = match said {
            Agrees::Yes => Some(true),
            Agrees::No(_) => Some(false),
            Agrees::Unknown(_) => None,
        };
        assert_eq!(found, agrees_);
    }
}
