use apache_avro::types::Value as Avro;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use avro::{from_connect, timestamp_type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::testing::{EVERYTHING, arrow_text, body, everything, everything_stored, framed, schema};

fn dialect(schema: &str) -> Known {
    Known::Ready(Box::new(Dialect::try_new(0, &schema.into(), false, Encodings::CONNECT).expect("a schema")))
}
fn declared(schema: &str) -> SchemaParts {
    let mut parts = SchemaParts::default();
    parts.declare(dialect(schema));
    parts
}
fn of(kind: &str) -> String {
    format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{kind}}},{{"name":"y","type":["null","int"]}}]}}"#
    )
}
fn wanted(kind: DataType) -> Fields {
    vec![Field::new("x", kind, true), Field::new("y", DataType::Int64, true)].into()
}
fn decode(parts: &mut SchemaParts, values: &[&str], wanted: &Fields) -> Values {
    parts.decode(values.len(), |row| Some(values[row as usize].as_bytes()), wanted)
}
/// All refusals, including those of the parts.
fn refused(values: &Values) -> Vec<(u32, Refusal)> {
    let inner = values.parts.iter().flat_map(|part| &part.refused);
    inner.chain(&values.refused).cloned().collect()
}
/// The single value, or why it was refused.
fn one(kind: &str, stored: DataType, x: &str) -> Result<String, Refusal> {
    let value = format!(r#"{{"x":{x}}}"#);
    let values = decode(&mut declared(&of(kind)), &[&value], &wanted(stored));
    match refused(&values).pop() {
        Some((_, refusal)) => Err(refusal),
        None => Ok(arrow_text(&values.parts[0].columns[0], 0)),
    }
}

/// Writes a value as Connect's JSON converter does.
fn connect(value: &Avro) -> Value {
    let base64 = |bytes: &[u8]| json!(STANDARD.encode(bytes));
    let double = |value: f64| match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        value => json!(value),
    };
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(value) => json!(value),
        Avro::Int(value) | Avro::Date(value) | Avro::TimeMillis(value) => json!(value),
        Avro::Long(value) | Avro::TimestampMillis(value) | Avro::TimestampMicros(value) => json!(value),
        Avro::Float(value) => double((*value).into()),
        Avro::Double(value) => double(*value),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => base64(bytes),
        Avro::String(text) | Avro::Enum(_, text) => json!(text),
        Avro::Uuid(uuid) => json!(uuid.to_string()),
        Avro::Decimal(decimal) => base64(&Vec::<u8>::try_from(decimal.clone()).expect("bytes")),
        Avro::Array(items) => items.iter().map(connect).collect(),
        Avro::Map(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), connect(value))).collect())
        }
        Avro::Record(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), connect(value))).collect())
        }
        Avro::Union(_, inner) => connect(inner),
        other => panic!("{other:?} is not in the schema"),
    }
}

proptest! {
    #![proptest_config(cases::few(64))]
    #[test]
    fn json_gives_the_columns_that_avro_gives(seeds in prop::collection::vec(any::<i32>(), 1..20)) {
        let stored = everything_stored();
        let values: Vec<Avro> = seeds.iter().map(|&seed| everything(seed.into())).collect();
        let texts: Vec<String> = values.iter().map(|value| connect(value).to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let from_json = decode(&mut declared(EVERYTHING), &texts, &stored);
        prop_assert!(refused(&from_json).is_empty(), "{:?}", refused(&from_json));
        let writer = schema(EVERYTHING);
        let frames: Vec<Vec<u8>> = values.into_iter().map(|value| framed(0, &body(&writer, value))).collect();
        let rows: Vec<u32> = (0..frames.len() as u32).collect();
        let mut decoder = Decoder::try_new(0, EVERYTHING.into()).expect("a schema");
        let from_avro = decoder.decode(&rows, |row| &frames[row as usize], &stored).expect("fits");
        let text = |columns: &[ArrayRef]| -> Vec<Vec<String>> {
            columns.iter().map(|c| (0..c.len()).map(|row| arrow_text(c, row)).collect()).collect()
        };
        prop_assert_eq!(text(&from_json.parts[0].columns), text(&from_avro.columns));
    }
}

const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;
const DAY: &str = r#"{"type":"int","logicalType":"date"}"#;
const AT: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const ZONED: &str = r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}"#;
const FREE: &str = r#"{"type":"record","name":"V","connect.name":"io.debezium.data.VariableScaleDecimal",
    "fields":[{"name":"scale","type":"int"},{"name":"value","type":"bytes"}]}"#;

fn money() -> DataType {
    DataType::Decimal128(38, 2)
}

#[rstest]
#[case::greatest_long(r#""long""#, DataType::Int64, "9223372036854775807", "9223372036854775807")]
#[case::whole_double(r#""int""#, DataType::Int64, "3.0", "3")]
#[case::nullable(r#"["long","null"]"#, DataType::Int64, "7", "7")]
#[case::base64_decimal(MONEY, money(), r#""Jyk=""#, "10025")]
#[case::negative_decimal(MONEY, money(), r#""+uw=""#, "-1300")]
#[case::number_decimal(MONEY, money(), "12345678901234.56", "1234567890123456")]
#[case::day(DAY, DataType::Date32, "15706", "15706")]
#[case::day_text(DAY, DataType::Date32, r#""2013-01-01""#, "15706")]
#[case::instant(AT, timestamp_type(), "1357043696789012", "1357043696789012")]
#[case::instant_text(AT, timestamp_type(), r#""2013-01-01T12:34:56.789012Z""#, "1357043696789012")]
#[case::zoned(ZONED, timestamp_type(), r#""2013-01-01T12:34:56.789012Z""#, "1357043696789012")]
#[case::zoned_as_declared(r#""string""#, DataType::Utf8, r#""-infinity""#, r#""-infinity""#)]
#[case::free_decimal(
    FREE,
    DataType::Utf8,
    r#"{"scale":9,"value":"J+QbMka+ybFuOYEV"}"#,
    r#""12345678901234567890.123456789""#
)]
#[case::micro_timestamp(
    r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#,
    timestamp_type(),
    "1357043696789012",
    "1357043696789012"
)]
#[case::debezium_day(
    r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#,
    DataType::Date32,
    "15706",
    "15706"
)]
#[case::escapes(r#""string""#, DataType::Utf8, r#""\u00dc\n客户\u0001""#, r#""Ü\n客户\u{1}""#)]
fn a_value_is_read_as_its_type_says(
    #[case] kind: &str,
    #[case] stored: DataType,
    #[case] x: &str,
    #[case] expected: &str,
) {
    assert_eq!(one(kind, stored, x).expect("fits"), expected);
}

#[rstest]
#[case::text_for_a_number(r#""long""#, DataType::Int64, r#""7""#, "unlike_schema")]
#[case::number_for_a_text(r#""string""#, DataType::Utf8, "7", "unlike_schema")]
#[case::null_where_none_may_be(r#""int""#, DataType::Int64, "null", "unlike_schema")]
#[case::beyond_an_int(r#""int""#, DataType::Int64, "2147483648", "inexact_number")]
#[case::fraction(r#""long""#, DataType::Int64, "1.5", "inexact_number")]
#[case::digits_for_base64(MONEY, money(), r#""12.50""#, "unlike_schema")]
#[case::too_fine_a_decimal(MONEY, money(), "0.001", "inexact_decimal")]
#[case::odd_day(DAY, DataType::Date32, "-2147472692", "time_out_of_range")]
#[case::infinity(AT, timestamp_type(), r#""-infinity""#, "time_out_of_range")]
#[case::zoned_infinity(ZONED, timestamp_type(), r#""-infinity""#, "time_out_of_range")]
#[case::no_time(ZONED, timestamp_type(), r#""soon""#, "bad_time")]
#[case::half_a_value(r#""string""#, DataType::Utf8, r#""half"#, "bad_json")]
#[case::twice(r#""int""#, DataType::Int64, "1}{", "bad_json")]
#[case::too_much_base64(
    r#"{"type":"fixed","name":"F","size":2}"#,
    DataType::Binary,
    r#""3q2+7w==""#,
    "unlike_schema"
)]
fn what_does_not_fit_is_refused(
    #[case] kind: &str,
    #[case] stored: DataType,
    #[case] x: &str,
    #[case] label: &str,
) {
    assert_eq!(one(kind, stored, x).expect_err("does not fit").label(), label);
}

const ROW: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"after","type":["null",{"type":"record","name":"Row","fields":[
        {"name":"id","type":"int"},{"name":"name","type":["null","string"]}]}]},
    {"name":"op","type":"string"}]}"#;

fn row_fields() -> Fields {
    let row = vec![Field::new("id", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    vec![Field::new("after", DataType::Struct(row.into()), true), Field::new("op", DataType::Utf8, true)]
        .into()
}

#[test]
fn fields_come_in_any_order_and_a_missing_one_is_null() {
    let values = [
        r#"{"after":{"id":1,"name":"a"},"op":"c"}"#,
        r#"{"op":"c","after":{"name":"a","id":1}}"#,
        r#"{"op":"c","after":{"id":1}}"#,
        r#"{"op":"c"}"#,
    ];
    let read = decode(&mut declared(ROW), &values, &row_fields());
    assert!(refused(&read).is_empty(), "{:?}", refused(&read));
    let text: Vec<String> = (0..4).map(|row| arrow_text(&read.parts[0].columns[0], row)).collect();
    assert_eq!(text[0], text[1]);
    assert_ne!(text[0], text[2]);
    assert_eq!(text[3], "null");
}

#[test]
fn a_bad_value_says_where_and_leaves_its_neighbours_alone() {
    let good = r#"{"after":{"id":1,"name":"a"},"op":"c"}"#;
    let values = [
        good,
        r#"{"after":{"id":1,"name":{"a":[1]}},"op":"c"}"#,
        good,
        r#"{"after":{"name":"a"},"op":"c"}"#,
        "",
        good,
    ];
    let read = decode(&mut declared(ROW), &values, &row_fields());
    let unlike = |column: &str, wanted| Refusal::Unlike { column: column.to_owned(), wanted };
    assert_eq!(
        refused(&read),
        [
            (1, unlike("after.name", "a text")),
            (3, unlike("after.id", "a value, which the schema requires,")),
            (4, Refusal::Empty),
        ]
    );
    assert_eq!(read.parts[0].rows, [0, 2, 5]);
    assert_eq!(read.parts[0].columns[1].len(), 3);
}

#[test]
fn fields_that_the_schema_lacks_are_told() {
    let values =
        [r#"{"op":"c","extra":{"deep":[1,2]}}"#, r#"{"op":"c"}"#, r#"{"after":{"id":1,"more":2},"op":"c"}"#];
    let read = decode(&mut declared(ROW), &values, &row_fields());
    assert_eq!((refused(&read), read.partly), (vec![], vec![0, 2]));
}

const PART: &str = r#"{"type":"struct","optional":false,"name":"s","fields":[{"type":"int32","optional":false,"field":"x"},{"type":"int32","optional":true,"field":"y"}]}"#;

fn with_part(payload: &str) -> String {
    format!(r#"{{"schema":{PART},"payload":{payload}}}"#)
}
/// Learns the new schema parts and returns their number.
fn learn(parts: &mut SchemaParts, values: &[&str]) -> usize {
    let fresh = parts.fresh(values.iter().map(|value| value.as_bytes()));
    let n = fresh.len();
    for part in fresh {
        let schema = from_connect(&part.part).expect("a schema of Connect");
        parts.learn(part, dialect(&schema));
    }
    n
}

#[test]
fn a_schema_part_is_looked_at_once_however_the_value_is_laid_out() {
    let spaced = format!("{{ \"schema\" : {PART} , \"payload\" : {{\"x\":2}} }}");
    let turned = format!(r#"{{"payload":{{"y":9,"x":3}},"schema":{PART}}}"#);
    let texts = [with_part(r#"{"x":1,"y":null}"#), with_part(r#"{"x":4,"y":4}"#), spaced, turned];
    let values: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut parts = SchemaParts::default();
    assert_eq!(learn(&mut parts, &values), 1);
    assert_eq!(learn(&mut parts, &values), 0);
    let read = decode(&mut parts, &values, &wanted(DataType::Int64));
    assert!(refused(&read).is_empty(), "{:?}", refused(&read));
    let x: Vec<String> = (0..4).map(|row| arrow_text(&read.parts[0].columns[0], row)).collect();
    assert_eq!(x, ["1", "4", "2", "3"]);
}

#[test]
fn a_null_payload_is_no_value_and_a_cut_one_is_an_error_row() {
    let (good, null) = (with_part(r#"{"x":1}"#), with_part("null"));
    let cut = &good[..good.len() - 1];
    let trailing = with_part(r#"{"x":1},"more":{"x":2}"#);
    let mut parts = SchemaParts::default();
    assert_eq!(learn(&mut parts, &[&good]), 1);
    let read = decode(&mut parts, &[&good, &null, cut, &trailing], &wanted(DataType::Int64));
    assert_eq!(read.parts[0].rows, [0]);
    let labels: Vec<_> = refused(&read).into_iter().map(|(row, refusal)| (row, refusal.label())).collect();
    assert_eq!(labels, [(2, "bad_json"), (3, "bad_json")]);
}

#[test]
fn json_that_names_no_schema_is_read_by_a_declared_one_or_not_at_all() {
    let plain = r#"{"x":1}"#;
    let mut parts = SchemaParts::default();
    assert_eq!(learn(&mut parts, &[&with_part(plain)]), 1);
    let none = decode(&mut parts, &[plain, "nonsense"], &wanted(DataType::Int64));
    assert_eq!(refused(&none)[0], (0, Refusal::NoSchemaPart));
    assert_eq!(refused(&none)[1].1.label(), "bad_json");
    parts.declare(dialect(&of(r#""int""#)));
    let read = decode(&mut parts, &[plain, r#"{"schema":null,"payload":{"x":1}}"#], &wanted(DataType::Int64));
    assert!(refused(&read).is_empty(), "{:?}", refused(&read));
    assert_eq!(read.parts[0].rows, [0, 1]);
}

#[test]
fn a_schema_that_was_refused_refuses_its_values_and_no_others() {
    let other = r#"{"schema":{"type":"struct","fields":[]},"payload":{}}"#;
    let good = with_part(r#"{"x":1}"#);
    let mut parts = SchemaParts::default();
    assert_eq!(learn(&mut parts, &[&good]), 1);
    let refusal = Refusal::SchemaPart { why: "it has no columns".to_owned() };
    for fresh in parts.fresh([other.as_bytes()].into_iter()) {
        parts.learn(fresh, Known::Refused(refusal.clone()));
    }
    let read = decode(&mut parts, &[other, &good], &wanted(DataType::Int64));
    assert_eq!(refused(&read), [(0, refusal)]);
    assert_eq!(read.parts[0].rows, [1]);
}
