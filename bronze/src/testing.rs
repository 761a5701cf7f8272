//! Records from literals, and an independent reading of both sides of a decode.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

use avro::Frame;
use model::Offset;
use stream::{Record, Records};
pub use testkit::samples::{EVERYTHING, body, everything, read, schema};

pub const ID: u32 = 7;

/// [`EVERYTHING`] in the table's types.
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

/// A datum with its frame.
pub fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame { id, body }.encode(&mut out);
    out
}

/// The expected value of a table, as text.
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
            // A decimal without bytes is zero; the library reads it but cannot write it back.
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

/// The actual value in a table, as text.
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

/// Records of partition 3, as the consumer returns them.
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

/// An Avro topic with default settings.
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
