//! A schema of Avro with every type that a table can store, values of it, and a second library to write and to
//! read them.

use std::collections::HashMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};

/// Every type that a table can store, nested and nullable.
pub const EVERYTHING: &str = r#"{"type":"record","name":"Everything","namespace":"t","fields":[
  {"name":"flag","type":"boolean"},
  {"name":"small","type":"int"},
  {"name":"big","type":["null","long"],"default":null},
  {"name":"single","type":"float"},
  {"name":"twin","type":["double","null"]},
  {"name":"blob","type":"bytes"},
  {"name":"text","type":["null","string"]},
  {"name":"money","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":4}},
  {"name":"fixed_money","type":{"type":"fixed","name":"M","size":16,"logicalType":"decimal","precision":38,"scale":2}},
  {"name":"hash","type":{"type":"fixed","name":"H","size":4}},
  {"name":"day","type":{"type":"int","logicalType":"date"}},
  {"name":"clock","type":{"type":"int","logicalType":"time-millis"}},
  {"name":"seen","type":{"type":"long","logicalType":"timestamp-millis"}},
  {"name":"seen_us","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
  {"name":"id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"state","type":{"type":"enum","name":"S","symbols":["new","paid","sent"]}},
  {"name":"again","type":["null","S"]},
  {"name":"tags","type":{"type":"array","items":["null","string"]}},
  {"name":"counts","type":{"type":"map","values":"long"}},
  {"name":"after","type":["null",{"type":"record","name":"Row","fields":[
     {"name":"key","type":"int"},{"name":"label","type":["null","string"]},
     {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"n","type":"int"},{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}}]}}}]}]},
  {"name":"before","type":["null","Row"]}
]}"#;

/// A value of [`EVERYTHING`] that differs in every field by `seed`.
pub fn everything(seed: i64) -> Value {
    let text = |n: i64| format!("{}{n}", "æ".repeat((n.unsigned_abs() % 7) as usize));
    let some = |branch: u32, value: Value| Value::Union(branch, Box::new(value));
    let maybe = |branch: u32, null: u32, odd: i64, value: Value| match (seed + odd) % 3 {
        0 => some(null, Value::Null),
        _ => some(branch, value),
    };
    let bytes = |n: i128| Decimal::from(n.to_be_bytes());
    let line = |n: i64| {
        Value::Record(vec![
            ("n".into(), Value::Int(n as i32)),
            ("amount".into(), Value::Decimal(bytes(i128::from(n) * 12_345))),
        ])
    };
    let row = Value::Record(vec![
        ("key".into(), Value::Int(seed as i32)),
        ("label".into(), maybe(1, 0, 5, Value::String(text(seed)))),
        (
            "lines".into(),
            Value::Array((0..seed.unsigned_abs() % 4).map(|n| line(n as i64 + seed % 1000)).collect()),
        ),
    ]);
    let symbol = (seed.unsigned_abs() % 3) as u32;
    let state = Value::Enum(symbol, ["new", "paid", "sent"][symbol as usize].to_owned());
    let counts = (0..seed.unsigned_abs() % 3).map(|n| (format!("k{n}"), Value::Long(seed ^ n as i64)));
    let full = 10_i128.pow(38) - 1 - i128::from(seed.unsigned_abs());
    Value::Record(vec![
        ("flag".into(), Value::Boolean(seed % 2 == 0)),
        ("small".into(), Value::Int(seed as i32)),
        ("big".into(), maybe(1, 0, 1, Value::Long(seed.wrapping_mul(0x0005_DEEC_E66D)))),
        ("single".into(), Value::Float([seed as f32 / 3.0, f32::NAN, f32::INFINITY][symbol as usize])),
        (
            "twin".into(),
            maybe(0, 1, 2, Value::Double([seed as f64 / 7.0, f64::NEG_INFINITY, f64::NAN][symbol as usize])),
        ),
        ("blob".into(), Value::Bytes(seed.to_le_bytes().to_vec())),
        ("text".into(), maybe(1, 0, 3, Value::String(text(seed)))),
        ("money".into(), Value::Decimal(bytes(if seed % 2 == 0 { full } else { -full }))),
        ("fixed_money".into(), Value::Decimal(bytes(i128::from(seed) * 1_000_000_007))),
        ("hash".into(), Value::Fixed(4, (seed as i32).to_be_bytes().to_vec())),
        ("day".into(), Value::Date(seed.rem_euclid(2_000_000) as i32)),
        ("clock".into(), Value::TimeMillis((seed.unsigned_abs() % 86_400_000) as i32)),
        ("seen".into(), Value::TimestampMillis(seed.rem_euclid(200_000_000_000_000))),
        ("seen_us".into(), maybe(1, 0, 4, Value::TimestampMicros(seed.rem_euclid(200_000_000_000_000_000)))),
        ("id".into(), Value::Uuid(apache_avro::Uuid::from_u128(seed.unsigned_abs().into()))),
        ("state".into(), state.clone()),
        ("again".into(), maybe(1, 0, 0, state)),
        (
            "tags".into(),
            Value::Array(
                (0..seed.unsigned_abs() % 5)
                    .map(|n| match n {
                        2 => some(0, Value::Null),
                        _ => some(1, Value::String(text(n as i64))),
                    })
                    .collect(),
            ),
        ),
        ("counts".into(), Value::Map(counts.collect::<HashMap<_, _>>())),
        ("after".into(), maybe(1, 0, 1, row.clone())),
        ("before".into(), maybe(1, 0, 2, row)),
    ])
}

/// A schema, parsed.
pub fn schema(json: &str) -> Schema {
    Schema::parse_str(json).expect("a schema")
}

/// A value as a body behind no frame.
pub fn body(schema: &Schema, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("the value is of its schema")
}

/// The value of exactly `body`, as the other library reads it.
pub fn read(schema: &Schema, body: &[u8]) -> Option<Value> {
    let reader = GenericDatumReader::builder(schema).build().expect("a reader");
    let mut rest = body;
    let value = reader.read_value(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}
