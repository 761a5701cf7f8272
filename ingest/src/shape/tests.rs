use apache_avro::reader::datum::GenericDatumReader;
use rstest::rstest;
use serde_json::json;

use super::*;

fn one(kind: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{kind}}}]}}"#)
}

fn round(kind: &str, json: Json) -> Result<Value, BadRow> {
    let shape = Shape::try_new(&one(kind)).expect("a schema");
    let row = Map::from_iter([("f".to_owned(), json)]);
    let body = shape.encode(&row)?;
    let reader = GenericDatumReader::builder(&shape.schema).build().expect("a reader");
    match reader.read_value(&mut body.as_slice()).expect("what was written") {
        Value::Record(mut fields) => Ok(fields.remove(0).1),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::int_as_text(r#""int""#, json!("12"), Value::Int(12))]
#[case::long(r#""long""#, json!(-5), Value::Long(-5))]
#[case::double_as_text(r#""double""#, json!("1e3"), Value::Double(1000.0))]
#[case::boolean_as_text(r#""boolean""#, json!("true"), Value::Boolean(true))]
#[case::empty_is_null(r#"["null","int"]"#, json!(""), Value::Union(0, Box::new(Value::Null)))]
#[case::empty_text_is_text(r#"["null","string"]"#, json!(""), Value::Union(1, Box::new(Value::String(String::new()))))]
#[case::date(r#"{"type":"int","logicalType":"date"}"#, json!("1970-01-11"), Value::Date(10))]
#[case::zoned(r#"{"type":"long","logicalType":"timestamp-millis"}"#, json!("1970-01-01T01:00:01.5+01:00"), Value::TimestampMillis(1_500))]
#[case::plain(r#"{"type":"long","logicalType":"timestamp-micros"}"#, json!("1970-01-01 00:00:01"), Value::TimestampMicros(1_000_000))]
fn a_value_is_read_as_its_type_says(#[case] kind: &str, #[case] json: Json, #[case] expected: Value) {
    assert_eq!(round(kind, json), Ok(expected));
}

#[rstest]
#[case::fraction_for_an_int(r#""int""#, json!(1.5))]
#[case::too_wide(r#""int""#, json!(1_i64 << 40))]
#[case::number_for_text(r#""string""#, json!(1))]
#[case::no_symbol(r#"{"type":"enum","name":"E","symbols":["a"]}"#, json!("b"))]
#[case::finer_than_its_type(r#"{"type":"long","logicalType":"timestamp-millis"}"#, json!("1970-01-01T00:00:00.0005Z"))]
#[case::no_date(r#"{"type":"int","logicalType":"date"}"#, json!("2026-02-30"))]
#[case::grown_scale(r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#, json!("1.234"))]
#[case::too_many_digits(r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#, json!("1234.5"))]
#[case::digits_a_double_may_have_lost(r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":18}"#, json!(0.123_456_789_012_345_68))]
#[case::null_without_null(r#""int""#, Json::Null)]
fn what_does_not_fit_is_a_bad_row(#[case] kind: &str, #[case] json: Json) {
    assert!(matches!(round(kind, json), Err(BadRow::BadValue { .. })));
}

#[rstest]
#[case("0", 0)]
#[case("-0.10", -10)]
#[case("12345678901234567890123456789012345.67", 1_234_567_890_123_456_789_012_345_678_901_234_567)]
#[case("-1.28", -128)]
#[case("1.28", 128)]
fn a_decimal_keeps_every_digit(#[case] text: &str, #[case] unscaled: i128) {
    let kind = r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}"#;
    let Ok(Value::Decimal(decimal)) = round(kind, json!(text)) else { panic!("no decimal") };
    let raw: Vec<u8> = decimal.try_into().expect("bytes");
    let fill = if raw[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; 16];
    wide[16 - raw.len()..].copy_from_slice(&raw);
    assert_eq!(i128::from_be_bytes(wide), unscaled);
}

#[test]
fn columns_are_neither_dropped_nor_made_up() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":"int"},{"name":"b","type":"string","default":"x"},{"name":"c","type":["null","int"]}]}"#;
    let shape = Shape::try_new(schema).expect("a schema");
    let row = |json: Json| json.as_object().expect("an object").clone();
    assert!(shape.encode(&row(json!({"a": 1}))).is_ok());
    assert_eq!(shape.encode(&row(json!({"c": 1}))), Err(BadRow::MissingColumn("a".to_owned())));
    assert_eq!(shape.encode(&row(json!({"a": 1, "z": 1}))), Err(BadRow::UnknownColumn("z".to_owned())));
    assert!(shape.encode_part(&row(json!({"a": 1, "z": 1}))).is_ok());
}
