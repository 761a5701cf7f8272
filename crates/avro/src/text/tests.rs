//! A value that is written as text, as JSON or in a cell, is the datum that apache-avro writes of it; what
//! is no such value is refused and leaves nothing behind.

#![allow(clippy::arithmetic_side_effects, reason = "a test's own numbers")]

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use model::text::{self, BytesForm, DecimalForm};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const MICROS: i64 = 1_000_000;
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

fn record(kind: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{kind}}}]}}"#)
}

/// A type, a value of it, its JSON and its cell.
#[derive(Debug, Clone)]
struct Sample {
    kind: String,
    value: Value,
    json: String,
    cell: Option<String>,
    encodings: Encodings,
}

fn sample(kind: &str, value: Value, json: String, cell: Option<String>) -> Sample {
    Sample { kind: kind.to_owned(), value, json, cell, encodings: Encodings::TEXT }
}
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}
fn both(kind: &str, value: Value, number: String) -> Sample {
    sample(kind, value, number.clone(), Some(number))
}
fn in_text(kind: &str, value: Value, text: String) -> Sample {
    sample(kind, value, quoted(&text), Some(text))
}
fn logical(kind: &str, logical: &str) -> String {
    format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#)
}
/// A number of JSON, or the word that stands for it.
fn real(printed: String) -> String {
    if printed.ends_with(|c: char| c.is_ascii_digit()) { printed } else { quoted(&printed) }
}
fn instant(seconds: i64, micros: u32) -> String {
    text::print_instant(seconds, micros * 1_000, true)
}
fn unscaled(value: i128) -> Vec<u8> {
    let wide = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let spare = wide.windows(2).take_while(|pair| pair[0] == fill && (pair[1] ^ fill) & 0x80 == 0).count();
    wide[spare..].to_vec()
}

fn samples() -> impl Strategy<Value = Sample> {
    let second = FIRST_SECOND..=LAST_SECOND;
    let digits = -(10_i128.pow(38) - 1)..10_i128.pow(38);
    prop_oneof![
        any::<bool>().prop_map(|v| both(r#""boolean""#, Value::Boolean(v), v.to_string())),
        any::<i32>().prop_map(|v| both(r#""int""#, Value::Int(v), v.to_string())),
        any::<i64>().prop_map(|v| both(r#""long""#, Value::Long(v), v.to_string())),
        (-1_000_i64..1_000).prop_map(|v| both(r#""long""#, Value::Long(v * 1_000), format!("{v}.0e3"))),
        any::<u64>().prop_map(|bits| {
            let value = f64::from_bits(bits);
            // All that are no number are one.
            let (value, printed) = (if value.is_nan() { f64::NAN } else { value }, text::print_double(value));
            sample(r#""double""#, Value::Double(value), real(printed.clone()), Some(printed))
        }),
        any::<u32>().prop_map(|bits| {
            let value = f32::from_bits(bits);
            let (value, printed) = (if value.is_nan() { f32::NAN } else { value }, text::print_float(value));
            sample(r#""float""#, Value::Float(value), real(printed.clone()), Some(printed))
        }),
        any::<String>().prop_map(|v| in_text(r#""string""#, Value::String(v.clone()), v)),
        any::<String>().prop_map(|v| in_text(r#""bytes""#, Value::Bytes(v.clone().into_bytes()), v)),
        any::<Vec<u8>>().prop_map(|raw| {
            let base64 = text::print_bytes(&raw, BytesForm::Base64).expect("any bytes are base64");
            Sample { encodings: Encodings::CONNECT, ..in_text(r#""bytes""#, Value::Bytes(raw), base64) }
        }),
        any::<[u8; 5]>().prop_map(|raw| {
            let hex = text::print_bytes(&raw, BytesForm::Hex).expect("any bytes are hexadecimal");
            let encodings = Encodings { bytes: BytesForm::Hex, ..Encodings::TEXT };
            let kind = r#"{"type":"fixed","name":"F","size":5}"#;
            Sample { encodings, ..in_text(kind, Value::Fixed(5, raw.to_vec()), hex) }
        }),
        any::<[u8; 16]>().prop_map(|raw| {
            let printed = text::print_uuid(raw);
            in_text(r#""string""#, Value::String(printed.clone()), printed)
        }),
        (0_u32..2).prop_map(|at| {
            let symbol = ["a", "b"][at as usize];
            let kind = r#"{"type":"enum","name":"E","symbols":["a","b"]}"#;
            in_text(kind, Value::Enum(at, symbol.to_owned()), symbol.to_owned())
        }),
        second.clone().prop_map(|s| {
            let day = i32::try_from(s.div_euclid(86_400)).expect("a day");
            in_text(&logical("int", "date"), Value::Date(day), text::print_date(day))
        }),
        (0_i32..86_400_000).prop_map(|v| {
            in_text(
                &logical("int", "time-millis"),
                Value::TimeMillis(v),
                text::print_time(i64::from(v) * 1_000_000),
            )
        }),
        (0_i64..86_400 * MICROS).prop_map(|v| {
            in_text(&logical("long", "time-micros"), Value::TimeMicros(v), text::print_time(v * 1_000))
        }),
        (second.clone(), 0_u32..1_000).prop_map(|(s, ms)| {
            let value = Value::TimestampMillis(s * 1_000 + i64::from(ms));
            in_text(&logical("long", "timestamp-millis"), value, instant(s, ms * 1_000))
        }),
        (second, 0_u32..1_000_000).prop_map(|(s, micros)| {
            let value = Value::LocalTimestampMicros(s * MICROS + i64::from(micros));
            in_text(&logical("long", "local-timestamp-micros"), value, instant(s, micros))
        }),
        any::<i64>().prop_map(|v| sample(
            &logical("long", "timestamp-micros"),
            Value::TimestampMicros(v),
            v.to_string(),
            None
        )),
        (digits, 0_i8..=38, 0..3).prop_map(|(value, scale, form)| {
            let kind =
                format!(r#"{{"type":"bytes","logicalType":"decimal","precision":38,"scale":{scale}}}"#);
            let (raw, printed) = (unscaled(value), text::print_decimal(value, scale));
            let value = Value::Decimal(Decimal::from(&raw));
            match form {
                0 => both(&kind, value, printed),
                1 => in_text(&kind, value, printed),
                _ => {
                    let base64 = text::print_bytes(&raw, BytesForm::Base64).expect("any bytes are base64");
                    let json = sample(&kind, value, quoted(&base64), Some(printed));
                    Sample { encodings: Encodings::CONNECT, ..json }
                }
            }
        }),
    ]
}

fn judged(schema: &str, value: Value) -> Vec<u8> {
    let schema = Schema::parse_str(schema).expect("a schema");
    let writer = GenericDatumWriter::builder(&schema).build().expect("a writer");
    writer.write_value_to_vec(Value::Record(vec![("x".to_owned(), value)])).expect("a value of the schema")
}

/// The datum of a JSON value in the column `x`.
fn json(kind: &str, encodings: Encodings, x: &str) -> Result<Vec<u8>, Refused> {
    let shape = Shape::try_new(&record(kind), false, encodings).expect("a schema");
    let mut out = vec![7];
    let written = shape.json(format!(r#"{{"x":{x}}}"#).as_bytes(), &mut out);
    assert!(written.is_ok() || out == [7], "a refused value leaves nothing");
    written.map(|_| out.split_off(1))
}
fn cell(kind: &str, encodings: Encodings, x: &str) -> Result<Vec<u8>, Refused> {
    let shape = Shape::try_new(&record(kind), false, encodings).expect("a schema");
    let mut out = vec![7];
    let written = shape.cells(|name| (name == "x").then_some(x), &mut out);
    assert!(written.is_ok() || out == [7], "a refused value leaves nothing");
    written.map(|()| out.split_off(1))
}

proptest! {
    #[test]
    fn a_value_in_is_the_datum_that_apache_avro_writes(sample in samples()) {
        let Sample { kind, value, json: x, cell: text, encodings } = sample;
        let expected = judged(&record(&kind), value.clone());
        prop_assert_eq!(json(&kind, encodings, &x), Ok(expected.clone()), "{}", x);
        if let Some(text) = &text {
            prop_assert_eq!(cell(&kind, encodings, text), Ok(expected.clone()), "{}", text);
        }
        // The same where null is allowed, on either side, but for an empty cell.
        for (union, branch) in [(format!(r#"["null",{kind}]"#), 1), (format!(r#"[{kind},"null"]"#), 0)] {
            let expected = judged(&record(&union), Value::Union(branch, Box::new(value.clone())));
            prop_assert_eq!(json(&union, encodings, &x), Ok(expected.clone()));
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                prop_assert_eq!(cell(&union, encodings, text), Ok(expected.clone()));
            }
        }
        // And in a list.
        let list = format!(r#"{{"type":"array","items":{kind}}}"#);
        let inner = expected.clone();
        let blocks: Vec<u8> = [&[2][..], &inner, &[2], &inner, &[0]].concat();
        prop_assert_eq!(json(&list, encodings, &format!("[{x},{x}]")), Ok(blocks));
    }

    #[test]
    fn no_text_breaks_a_writer(text in r#"[-+0-9.eE"\\a{}\[\],:n ]{0,30}"#, sample in samples()) {
        let _ = (json(&sample.kind, sample.encodings, &text), cell(&sample.kind, sample.encodings, &text));
    }
}

const MONEY: &str = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}"#;
const FINE: &str = r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}"#;
const AT: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
const DAY: &str = r#"{"type":"int","logicalType":"date"}"#;

#[rstest]
#[case::text_for_a_long(r#""long""#, r#""42""#)]
#[case::text_for_a_boolean(r#""boolean""#, r#""true""#)]
#[case::text_for_a_double(r#""double""#, r#""1.5""#)]
#[case::number_for_a_text(r#""string""#, "1")]
#[case::boolean_for_a_long(r#""long""#, "true")]
#[case::null_where_none_may_be(r#""long""#, "null")]
#[case::object_for_a_long(r#""long""#, "{}")]
#[case::array_for_a_decimal(MONEY, "[1]")]
#[case::two_digit_year(DAY, r#""26-01-31""#)]
#[case::two_digit_year_of_an_instant(AT, r#""26-01-31 10:00:00""#)]
#[case::space(DAY, r#"" 2026-01-31""#)]
fn a_value_of_another_type_is_refused(#[case] kind: &str, #[case] x: &str) {
    assert!(matches!(json(kind, Encodings::TEXT, x), Err(Refused::Unlike { column, .. }) if column == "x"));
}

#[rstest]
#[case::fraction(r#""long""#, "1.5", Reason::Number)]
#[case::beyond_a_long(r#""long""#, "9223372036854775808", Reason::Number)]
#[case::beyond_an_int(r#""int""#, "2147483648", Reason::Number)]
#[case::infinite_float(r#""float""#, "1e39", Reason::Number)]
#[case::rounded_float(r#""float""#, "16777217", Reason::Number)]
#[case::infinite_double(r#""double""#, "1e999", Reason::Number)]
#[case::too_fine(MONEY, "0.001", Reason::Decimal)]
#[case::more_digits_than_declared(MONEY, "12345678901.00", Reason::Decimal)]
#[case::finer_than_its_unit(MILLIS, r#""1970-01-01T00:00:00.0005Z""#, Reason::FinerTime)]
#[case::infinity(AT, r#""infinity""#, Reason::Time)]
fn a_value_that_its_type_does_not_hold_is_refused(
    #[case] kind: &str,
    #[case] x: &str,
    #[case] expected: Reason,
) {
    assert!(
        matches!(json(kind, Encodings::TEXT, x), Err(Refused::Misfit { reason, .. }) if reason == expected)
    );
}

#[test]
fn digits_of_any_size_are_exact() {
    for (x, unscaled_value) in [
        ("0.0000001", 100_i128),
        ("0.00000012", 120),
        ("1e-7", 100),
        ("100000000000000000001", 100_000_000_000_000_000_001_000_000_000),
        ("12345678901234567.123456789", 12_345_678_901_234_567_123_456_789),
        ("-99999999999999999999999999999.999999999", -(10_i128.pow(38) - 1)),
    ] {
        let expected = judged(&record(FINE), Value::Decimal(Decimal::from(unscaled(unscaled_value))));
        assert_eq!(json(FINE, Encodings::TEXT, x), Ok(expected.clone()), "{x}");
        assert_eq!(json(FINE, Encodings::TEXT, &quoted(x)), Ok(expected.clone()), "{x} as a text");
        assert_eq!(cell(FINE, Encodings::TEXT, x), Ok(expected), "{x} in a cell");
    }
}

/// A text of four digits may be either: only the contract tells them apart.
#[test]
fn the_form_that_the_contract_does_not_name_is_refused() {
    let base64 = Encodings { decimals: DecimalForm::Base64, ..Encodings::TEXT };
    let twelve = judged(&record(MONEY), Value::Decimal(Decimal::from(unscaled(123_400))));
    assert_eq!(json(MONEY, Encodings::TEXT, r#""1234""#), Ok(twelve.clone()));
    assert_ne!(json(MONEY, base64, r#""1234""#), Ok(twelve.clone()));
    assert!(json(MONEY, Encodings::TEXT, r#""Jyk=""#).is_err());
    assert!(json(MONEY, base64, r#""12.50""#).is_err());
    assert_eq!(json(MONEY, base64, "1234"), Ok(twelve), "a number has one meaning");
    let hex = Encodings { bytes: BytesForm::Hex, ..Encodings::TEXT };
    assert_eq!(json(r#""bytes""#, hex, r#""6162""#), Ok(vec![4, b'a', b'b']));
    assert!(json(r#""bytes""#, hex, r#""YWI=""#).is_err());
    assert!(json(r#""bytes""#, Encodings::CONNECT, r#""616""#).is_err());
}

const ROW: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"a","type":"int"},{"name":"b","type":"string","default":"x"},{"name":"c","type":["null","int"]},
    {"name":"d","type":"bytes","default":"\u00ff"},
    {"name":"e","type":{"type":"record","name":"S","fields":[
        {"name":"n","type":["null","int"],"default":null},{"name":"m","type":"int","default":7}]},"default":{"n":1}}]}"#;

#[test]
fn a_missing_field_has_its_default_in_json_and_in_cells() {
    let shape = Shape::try_new(ROW, false, Encodings::TEXT).expect("a schema");
    let expected = [&[2][..], &[2, b'x'], &[0], &[2, 0xff], &[2, 2, 14]].concat();
    let (mut from_json, mut from_cells) = (Vec::new(), Vec::new());
    assert_eq!(shape.json(br#"{"a":1}"#, &mut from_json), Ok(None));
    assert_eq!(shape.cells(|name| (name == "a").then_some("1"), &mut from_cells), Ok(()));
    assert_eq!((&from_json, &from_cells), (&expected, &expected));
    let missing = Refused::Missing { column: "a".to_owned() };
    assert_eq!(shape.json(br#"{"c":1}"#, &mut from_json), Err(missing.clone()));
    assert_eq!(shape.cells(|_| None, &mut from_cells), Err(missing));
}

#[test]
fn a_name_that_is_there_twice_is_refused_and_an_unknown_one_is_told() {
    let shape = Shape::try_new(ROW, false, Encodings::TEXT).expect("a schema");
    let mut out = Vec::new();
    assert_eq!(shape.json(br#"{"a":1,"more":{"deep":[1]}}"#, &mut out), Ok(Some("more".to_owned())));
    assert_eq!(shape.json(br#"{"e":{"k":1},"a":1}"#, &mut out), Ok(Some("e.k".to_owned())));
    assert_eq!(
        shape.json(br#"{"c":1,"a":1,"a":1}"#, &mut out),
        Err(Refused::Twice { column: "a".to_owned() })
    );
    assert_eq!(
        shape.json(br#"{"a":1,"e":{"n":1,"n":2}}"#, &mut out),
        Err(Refused::Twice { column: "e.n".to_owned() })
    );
    let map = json(r#"{"type":"map","values":"int"}"#, Encodings::TEXT, r#"{"k":1,"\u006b":2}"#);
    assert_eq!(map, Err(Refused::Twice { column: "x.k".to_owned() }));
}

#[test]
fn fields_come_in_any_order() {
    let shape = Shape::try_new(ROW, false, Encodings::TEXT).expect("a schema");
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let values = [
        br#"{"a":1,"b":"y","c":2,"d":"z","e":{"n":3,"m":4}}"#,
        br#"{"e":{"m":4,"n":3},"d":"z","c":2,"b":"y","a":1}"#,
    ];
    assert_eq!(shape.json(values[0], &mut one), Ok(None));
    assert_eq!(shape.json(values[1], &mut other), Ok(None));
    assert_eq!(one, other);
}

#[test]
fn a_union_takes_the_first_branch_that_the_value_is_of() {
    let union = r#"["null","long","string","double"]"#;
    assert_eq!(json(union, Encodings::TEXT, "null"), Ok(vec![0]));
    assert_eq!(json(union, Encodings::TEXT, "3"), Ok(vec![2, 6]));
    assert_eq!(json(union, Encodings::TEXT, r#""3""#), Ok(vec![4, 2, b'3']));
    assert_eq!(json(union, Encodings::TEXT, "0.5").map(|datum| datum[0]), Ok(6));
    assert!(json(union, Encodings::TEXT, "true").is_err());
    assert_eq!(cell(union, Encodings::TEXT, ""), Ok(vec![4, 0]));
    assert_eq!(cell(r#"["null","long"]"#, Encodings::TEXT, ""), Ok(vec![0]));
}

#[rstest]
#[case::no_json("{")]
#[case::half_a_pair(r#"{"x":"\ud800"}"#)]
#[case::two_values(r#"{"x":"a"}{}"#)]
#[case::not_utf8("{\"x\":\"\u{fffd}")]
fn what_is_no_json_is_refused(#[case] value: &str) {
    for kind in [r#""string""#, MONEY, DAY] {
        let shape = Shape::try_new(&record(kind), false, Encodings::TEXT).expect("a schema");
        assert!(shape.json(value.as_bytes(), &mut Vec::new()).is_err(), "{kind}");
    }
}

#[rstest]
#[case::text(r#""string""#, serde_json::json!("x"), Value::String("x".to_owned()))]
#[case::bytes(r#""bytes""#, serde_json::json!("\u{ff}"), Value::Bytes(vec![0xff]))]
#[case::first_branch(r#"["int","null"]"#, serde_json::json!(7), Value::Union(0, Box::new(Value::Int(7))))]
#[case::date(r#"{"type":"int","logicalType":"date"}"#, serde_json::json!(10), Value::Date(10))]
fn a_default_is_read_as_avro_writes_it(
    #[case] kind: &str,
    #[case] json: serde_json::Value,
    #[case] expected: Value,
) {
    let field = format!(r#"{{"name":"x","type":{kind},"default":{json}}}"#);
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{field}]}}"#);
    let mut datum = Vec::new();
    let shape = Shape::try_new(&schema, false, Encodings::TEXT).expect("a schema");
    assert_eq!(shape.json(b"{}", &mut datum), Ok(None));
    let kind = Schema::parse_str(kind).expect("a schema");
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&kind).build().expect("a reader");
    assert_eq!(reader.read_value(&mut datum.as_slice()).ok(), Some(expected));
}

/// A named type is the same type where it is used again, whatever its logical type.
#[rstest]
#[case::plain(r#"{"type":"fixed","name":"Id","size":16}"#)]
#[case::uuid(r#"{"type":"fixed","name":"Id","size":16,"logicalType":"uuid"}"#)]
#[case::decimal(r#"{"type":"fixed","name":"Id","size":16,"logicalType":"decimal","precision":10,"scale":2}"#)]
fn a_fixed_type_is_found_again_by_its_name(#[case] kind: &str) {
    let schema = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{kind}}},{{"name":"b","type":"Id"}}]}}"#
    );
    Shape::try_new(&schema, false, Encodings::TEXT).expect("both columns have the type");
}
