use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use rstest::rstest;
use serde_json::json;

use super::*;

fn one(kind: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{kind}}}]}}"#)
}

fn read_back(kind: &str, body: &[u8]) -> Value {
    let schema = Schema::parse_str(&one(kind)).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    match reader.read_value(&mut &*body).expect("what was written") {
        Value::Record(mut fields) => fields.remove(0).1,
        other => panic!("{other:?}"),
    }
}

/// A text in a cell.
fn cell(kind: &str, text: &str) -> Result<Value, BadRow> {
    let shape = Shape::with(&one(kind), Encodings::TEXT).expect("a schema");
    let cells = Map::from_iter([("f".to_owned(), json!(text))]);
    Ok(read_back(kind, &shape.encode(RawRow::Cells(&cells))?))
}
/// A value in a line of JSON.
fn line(kind: &str, json: &str) -> Result<Value, BadRow> {
    let shape = Shape::with(&one(kind), Encodings::TEXT).expect("a schema");
    Ok(read_back(kind, &shape.encode(RawRow::Json(&format!(r#"{{"f":{json}}}"#)))?))
}

const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#;

#[rstest]
#[case::int(r#""int""#, "12", Value::Int(12))]
#[case::whole_with_a_point(r#""long""#, "12.0", Value::Long(12))]
#[case::exponent(r#""double""#, "1e3", Value::Double(1000.0))]
#[case::boolean(r#""boolean""#, "true", Value::Boolean(true))]
#[case::empty_is_null(r#"["null","int"]"#, "", Value::Union(0, Box::new(Value::Null)))]
#[case::empty_text_is_text(
    r#"["null","string"]"#,
    "",
    Value::Union(1, Box::new(Value::String(String::new())))
)]
#[case::date(r#"{"type":"int","logicalType":"date"}"#, "1970-01-11", Value::Date(10))]
#[case::zoned(
    r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    "1970-01-01T01:00:01.5+01:00",
    Value::TimestampMillis(1_500)
)]
#[case::plain(
    r#"{"type":"long","logicalType":"timestamp-micros"}"#,
    "1970-01-01 00:00:01",
    Value::TimestampMicros(1_000_000)
)]
fn a_cell_is_read_as_its_type_says(#[case] kind: &str, #[case] text: &str, #[case] expected: Value) {
    assert_eq!(cell(kind, text), Ok(expected));
}

#[rstest]
#[case::long(r#""long""#, "-5", Value::Long(-5))]
#[case::exponent_for_a_long(r#""long""#, "1e3", Value::Long(1_000))]
#[case::point_for_a_long(r#""long""#, "1.0", Value::Long(1))]
#[case::infinite(r#""double""#, r#""inf""#, Value::Double(f64::INFINITY))]
fn a_value_of_a_line_is_read_as_its_type_says(
    #[case] kind: &str,
    #[case] json: &str,
    #[case] expected: Value,
) {
    assert_eq!(line(kind, json), Ok(expected));
}

#[rstest]
#[case::fraction_for_an_int(r#""int""#, "1.5")]
#[case::text_for_a_long(r#""long""#, r#""42""#)]
#[case::text_for_a_boolean(r#""boolean""#, r#""true""#)]
#[case::too_wide(r#""int""#, "1099511627776")]
#[case::number_for_text(r#""string""#, "1")]
#[case::no_symbol(r#"{"type":"enum","name":"E","symbols":["a"]}"#, r#""b""#)]
#[case::finer_than_its_type(
    r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    r#""1970-01-01T00:00:00.0005Z""#
)]
#[case::no_date(r#"{"type":"int","logicalType":"date"}"#, r#""2026-02-30""#)]
#[case::two_digit_year(r#"{"type":"int","logicalType":"date"}"#, r#""26-01-31""#)]
#[case::grown_scale(MONEY, r#""1.234""#)]
#[case::too_many_digits(MONEY, r#""1234.5""#)]
#[case::null_without_null(r#""int""#, "null")]
#[case::infinite_float(r#""float""#, "1e39")]
#[case::rounded_float(r#""float""#, "16777217")]
fn what_does_not_fit_is_a_bad_row(#[case] kind: &str, #[case] json: &str) {
    assert!(matches!(line(kind, json), Err(BadRow::BadValue { .. })));
}

#[test]
fn columns_are_neither_dropped_nor_made_up() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":"int"},{"name":"b","type":"string","default":"x"},{"name":"c","type":["null","int"]},
        {"name":"d","type":["null",{"type":"record","name":"D","fields":[{"name":"e","type":"int"}]}]}]}"#;
    let shape = Shape::with(schema, Encodings::TEXT).expect("a schema");
    let unknown = |name: &str| Err(BadRow::UnknownColumn(name.to_owned()));
    assert!(shape.encode(RawRow::Json(r#"{"a":1}"#)).is_ok());
    assert_eq!(shape.encode(RawRow::Json(r#"{"c":1}"#)), Err(BadRow::MissingColumn("a".to_owned())));
    assert_eq!(shape.encode(RawRow::Json(r#"{"a":1,"z":1}"#)), unknown("z"));
    assert_eq!(shape.encode(RawRow::Json(r#"{"a":1,"d":{"e":1,"z":2}}"#)), unknown("d.z"));
    assert_eq!(shape.encode(RawRow::Json(r#"{"a":1,"a":1}"#)), Err(BadRow::Twice("a".to_owned())));
    assert!(shape.encode_part(RawRow::Json(r#"{"a":1,"z":1}"#)).is_ok());
    let cells = Map::from_iter([("a".to_owned(), json!("1")), ("z".to_owned(), json!("1"))]);
    assert_eq!(shape.encode(RawRow::Cells(&cells)), unknown("z"));
    assert!(shape.encode_part(RawRow::Cells(&cells)).is_ok());
}
