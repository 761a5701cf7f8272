use proptest::prelude::*;

use super::*;
use crate::testing::{
    EVERYTHING, ID, arrow_text, avro_text, body, everything, everything_stored, framed, read, schema,
};

fn decoder() -> Decoder {
    Decoder::try_new(ID, EVERYTHING.into()).expect("a schema")
}

fn decode(payloads: &[Vec<u8>]) -> Decoded {
    let positions: Vec<u32> = (0..payloads.len() as u32).collect();
    decoder().decode(&positions, |at| &payloads[at as usize], &everything_stored()).expect("types fit")
}

/// The row of each payload as text; `None` if it has no row.
fn outcome(decoded: &Decoded, len: usize) -> Vec<Option<String>> {
    let mut outcome = vec![None; len];
    let fields = everything_stored();
    for (row, &position) in decoded.rows.iter().enumerate() {
        let cell = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| {
            format!("{}:{}", field.name(), arrow_text(column, row))
        };
        let cells: Vec<_> = fields.iter().zip(&decoded.columns).map(cell).collect();
        outcome[position as usize] = Some(format!("{{{}}}", cells.join(",")));
    }
    for (position, _) in &decoded.refused {
        outcome[*position as usize] = None;
    }
    outcome
}

#[derive(Debug, Clone)]
enum Harm {
    None,
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Append(Vec<u8>),
    Replace(Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let bytes = prop::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        4 => Just(Harm::None),
        1 => any::<prop::sample::Index>().prop_map(Harm::Cut),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Flip(at, byte)),
        1 => bytes.clone().prop_map(Harm::Append),
        1 => bytes.prop_map(Harm::Replace),
    ]
}

proptest! {
    #![proptest_config(cases::few(150))]

    /// Good and damaged payloads in any mix: a row equals the other library's reading, an undamaged payload
    /// has a row, and no row depends on its neighbours.
    #[test]
    fn a_bad_payload_never_touches_its_neighbours(mix in prop::collection::vec((any::<i64>(), harm()), 1..30)) {
        let schema = schema(EVERYTHING);
        let mut payloads = Vec::new();
        for (seed, harm) in &mix {
            let mut body = body(&schema, everything(*seed));
            match harm {
                Harm::None => {}
                Harm::Cut(at) => body.truncate(at.index(body.len())),
                Harm::Flip(at, byte) => { let at = at.index(body.len()); body[at] ^= byte }
                Harm::Append(more) => body.extend(more),
                Harm::Replace(other) => body.clone_from(other),
            }
            payloads.push(framed(ID, &body));
        }
        let decoded = decode(&payloads);
        let outcome = outcome(&decoded, payloads.len());
        for ((payload, (_, harm)), got) in payloads.iter().zip(&mix).zip(&outcome) {
            let expected = read(&schema, &payload[avro::Frame::LEN..]).map(|value| avro_text(&value));
            match got {
                Some(_) => prop_assert_eq!(got, &expected),
                None => prop_assert!(!matches!(harm, Harm::None), "a good payload has no row"),
            }
        }
    }
}

#[test]
fn a_value_that_does_not_fit_loses_its_row_and_says_its_column() {
    let json = r#"{"type":"record","name":"R","fields":[
        {"name":"n","type":"int"},{"name":"day","type":{"type":"int","logicalType":"date"}}]}"#;
    let schema = schema(json);
    let payload = |n: i32, day: i32| {
        use apache_avro::types::Value;
        framed(
            ID,
            &body(
                &schema,
                Value::Record(vec![("n".into(), Value::Int(n)), ("day".into(), Value::Date(day))]),
            ),
        )
    };
    let payloads = [payload(1, 10), payload(2, i32::MAX), payload(3, 30)];
    let wanted: Fields = vec![
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("day", arrow::datatypes::DataType::Date32, true),
        arrow::datatypes::Field::new("absent", arrow::datatypes::DataType::Utf8, true),
    ]
    .into();
    let mut decoder = Decoder::try_new(ID, json.into()).expect("a schema");
    let decoded = decoder.decode(&[0, 1, 2], |at| &payloads[at as usize], &wanted).expect("types fit");
    assert_eq!(decoded.refused, [(1, Refusal::Misfit { column: "day".to_owned(), reason: Reason::Time })]);
    assert_eq!(arrow_text(&decoded.columns[0], 2), "3");
    assert_eq!(arrow_text(&decoded.columns[2], 0), "null");
}

#[test]
fn a_decimal_of_no_bytes_is_zero() {
    let json = r#"{"type":"record","name":"R","fields":[
        {"name":"money","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":4}}]}"#;
    let payloads = [framed(ID, &[0]), framed(ID, &[2, 7])];
    let wanted: Fields =
        vec![arrow::datatypes::Field::new("money", arrow::datatypes::DataType::Decimal128(38, 4), true)]
            .into();
    let mut decoder = Decoder::try_new(ID, json.into()).expect("a schema");
    let decoded = decoder.decode(&[0, 1], |at| &payloads[at as usize], &wanted).expect("types fit");
    let read =
        payloads.iter().map(|payload| read(&schema(json), &payload[avro::Frame::LEN..]).expect("valid"));
    let expected: Vec<String> = read.map(|value| avro_text(&value)).collect();
    assert_eq!(expected, ["{money:0}", "{money:7}"]);
    assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
    assert_eq!([0, 1].map(|row| arrow_text(&decoded.columns[0], row)), ["0", "7"]);
}

#[test]
fn a_body_of_no_bytes_is_a_row_of_its_own() {
    let json = r#"{"type":"record","name":"R","fields":[{"name":"nothing","type":"null"}]}"#;
    let payloads = [framed(ID, &[]), framed(ID, &[]), framed(ID, &[1])];
    let mut decoder = Decoder::try_new(ID, json.into()).expect("a schema");
    let decoded =
        decoder.decode(&[0, 1, 2], |at| &payloads[at as usize], &Fields::empty()).expect("no columns");
    assert_eq!(
        (decoded.hollow, decoded.refused),
        (vec![0, 1], vec![(2, Refusal::Fault(Mismatch::Trailing))])
    );
}
