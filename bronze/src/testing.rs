//! Records from literals, a schema with every type, and a second reading of both sides of a decode.

use std::collections::{BTreeMap, HashMap};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Decimal, Schema};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

use model::Offset;
use stream::{Record, Records};

pub const ID: u32 = 7;

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

/// As the table stores [`EVERYTHING`].
pub fn everything_stored() -> Fields {
    let null = |name: &str, kind: DataType| Field::new(name, kind, true);
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = |kind: DataType| DataType::List(null("element", kind).into());
    let line = DataType::Struct(
        vec![null("n", DataType::Int64), null("amount", DataType::Decimal128(38, 2))].into(),
    );
    let row = DataType::Struct(
        vec![null("key", DataType::Int64), null("label", DataType::Utf8), null("lines", list(line))].into(),
    );
    let entry = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), null("value", DataType::Int64)].into(),
    );
    vec![
        null("flag", DataType::Boolean),
        null("small", DataType::Int64),
        null("big", DataType::Int64),
        null("single", DataType::Float64),
        null("twin", DataType::Float64),
        null("blob", DataType::Binary),
        null("text", DataType::Utf8),
        null("money", DataType::Decimal128(38, 4)),
        null("fixed_money", DataType::Decimal128(38, 2)),
        null("hash", DataType::Binary),
        null("day", DataType::Date32),
        null("clock", DataType::Int64),
        null("seen", at.clone()),
        null("seen_us", at),
        null("id", DataType::Utf8),
        null("state", DataType::Utf8),
        null("again", DataType::Utf8),
        null("tags", list(DataType::Utf8)),
        null("counts", DataType::Map(Field::new("key_value", entry, false).into(), false)),
        null("after", row.clone()),
        null("before", row),
    ]
    .into()
}

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

pub fn schema(json: &str) -> Schema {
    Schema::parse_str(json).expect("a schema")
}

/// A value as a body behind no frame.
pub fn body(schema: &Schema, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("the value is of its schema")
}

/// A body as a payload.
pub fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    stream::frame(id, body, &mut out);
    out
}

/// The value of exactly `body`, as the other library reads it.
pub fn read(schema: &Schema, body: &[u8]) -> Option<Value> {
    let reader = GenericDatumReader::builder(schema).build().expect("a reader");
    let mut rest = body;
    let value = reader.read_value(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

/// What a table should hold for a value, as text.
pub fn avro_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(v) => v.to_string(),
        Value::Int(v) | Value::Date(v) => v.to_string(),
        Value::TimeMillis(v) => (i64::from(*v) * 1_000).to_string(),
        Value::Long(v) | Value::TimestampMicros(v) | Value::TimeMicros(v) => v.to_string(),
        Value::TimestampMillis(v) => (v * 1_000).to_string(),
        Value::Float(v) => double_text(f64::from(*v)),
        Value::Double(v) => double_text(*v),
        Value::Bytes(v) | Value::Fixed(_, v) => format!("{v:02x?}"),
        Value::String(v) | Value::Enum(_, v) => format!("{v:?}"),
        Value::Uuid(v) => format!("{:?}", v.to_string()),
        Value::Decimal(v) => {
            // A decimal of no bytes is zero; the library reads it, but cannot write it back.
            let raw: Vec<u8> = v.clone().try_into().unwrap_or_default();
            let fill = if raw.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 16];
            let from = raw.len().saturating_sub(16);
            let kept = &raw[from..];
            wide[16 - kept.len()..].copy_from_slice(kept);
            i128::from_be_bytes(wide).to_string()
        }
        Value::Union(_, inner) => avro_text(inner),
        Value::Array(items) => format!("[{}]", items.iter().map(avro_text).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().map(|(k, v)| (k.clone(), avro_text(v))).collect();
            format!("{sorted:?}")
        }
        Value::Record(fields) => {
            let text = |(name, v): &(String, Value)| format!("{name}:{}", avro_text(v));
            format!("{{{}}}", fields.iter().map(text).collect::<Vec<_>>().join(","))
        }
        other => panic!("{other:?} is not in these tests"),
    }
}

fn double_text(v: f64) -> String {
    if v.is_nan() { "NaN".to_owned() } else { format!("{v:e}") }
}

/// What a table does hold, as text.
pub fn arrow_text(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => double_text(array.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value(row).to_string(),
        DataType::Utf8 => format!("{:?}", array.as_string::<i32>().value(row)),
        DataType::Binary => format!("{:02x?}", array.as_binary::<i32>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            format!("[{}]", (0..items.len()).map(|i| arrow_text(&items, i)).collect::<Vec<_>>().join(","))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            let pairs = (0..entries.len()).map(|i| (keys.value(i).to_owned(), arrow_text(values, i)));
            format!("{:?}", pairs.collect::<BTreeMap<_, _>>())
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let text = |(field, column): (&std::sync::Arc<Field>, &ArrayRef)| {
                format!("{}:{}", field.name(), arrow_text(column, row))
            };
            format!("{{{}}}", fields.iter().zip(columns).map(text).collect::<Vec<_>>().join(","))
        }
        other => panic!("{other} is not stored"),
    }
}

/// A record as a literal.
#[derive(Debug, Clone, Default)]
pub struct Literal {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(&'static str, Option<&'static [u8]>)>,
}

/// Records of partition 3, as they come from Kafka.
pub fn records(literals: &[Literal]) -> Records {
    let mut records = Records::new("t.topic".parse().expect("a name"), "T".parse().expect("an id"), 3);
    for literal in literals {
        records.push(&Record {
            offset: Offset(literal.offset),
            timestamp: literal.timestamp,
            key: literal.key.as_deref(),
            value: literal.value.as_deref(),
            headers: &literal.headers,
        });
    }
    records
}

/// Values at offsets 0, 1, …, without keys.
pub fn log(values: impl IntoIterator<Item = Option<Vec<u8>>>) -> Records {
    let literal = |(offset, value)| Literal { offset: offset as i64, value, ..Literal::default() };
    records(&values.into_iter().enumerate().map(literal).collect::<Vec<_>>())
}

/// Indexes of all records.
pub fn all(records: &Records) -> Vec<u32> {
    (0..records.len() as u32).collect()
}

/// A topic of Avro whose contract says nothing else.
pub fn topic() -> catalog::Topic {
    catalog::Topic {
        name: "t.rows".parse().expect("a name"),
        table: "bronze.rows".parse().expect("a name"),
        description: None,
        value: catalog::ValueFormat::Avro,
        envelope: catalog::Envelope::None,
        decimals: model::text::DecimalForm::Text,
        bytes: model::text::BytesForm::Text,
        key_format: None,
        value_schema: None,
        declared: true,
        key_schema: None,
        key: Vec::new(),
        partition_by: Vec::new(),
        event_time: None,
        epoch: None,
        full_identity: false,
        snapshots: Default::default(),
        placeholder: None,
        partitions: 1,
        replication: 1,
        retention: None,
        compatibility: "NONE".to_owned(),
        config: std::collections::BTreeMap::new(),
        location: catalog::Location::new("topics.yaml", 1),
    }
}
