//! Compares a value, decoded by a library that bronze does not use, with the stored value.
//!
//! `apache-avro` reads Avro, `serde_json` reads JSON. The effect of a table's type on a value is implemented
//! a second time here, from the documentation and for one value at a time: an integer of any width is a
//! BIGINT, a decimal is its digits, an instant is microseconds. Without such a rule the answer is
//! [`Agrees::Unknown`], which is counted and never taken for a yes.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use num_bigint::BigInt;

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agrees {
    /// The same.
    Yes,
    /// They differ; the place and both values.
    No(String),
    /// There is no rule for this pair of types.
    Unknown(String),
}
impl Agrees {
    fn of(equal: bool, what: impl FnOnce() -> String) -> Self {
        if equal { Self::Yes } else { Self::No(what()) }
    }
    /// The same result for a value below this name.
    pub fn below(self, name: &str) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No(what) => Self::No(join(name, &what)),
            Self::Unknown(what) => Self::Unknown(join(name, &what)),
        }
    }
    /// The worse of two results.
    pub fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No(_) => self,
            Self::Yes => other(),
            Self::Unknown(_) => match other() {
                no @ Self::No(_) => no,
                _ => self,
            },
        }
    }
}

fn join(name: &str, what: &str) -> String {
    match what.strip_prefix('`') {
        Some(rest) => format!("`{name}.{rest}"),
        None => format!("`{name}` {what}"),
    }
}

/// A writer's schema, with its named types.
pub struct Writer {
    root: Avro,
    named: HashMap<String, Avro>,
}
impl Writer {
    /// Parses a schema; Kafka Connect's types become logical types.
    pub fn parse(json: &str) -> Result<Self> {
        let root = Avro::parse_str(&avro::in_form(json, avro::Form::Wire))?;
        let mut named = HashMap::new();
        collect(&root, &mut named);
        Ok(Self { root, named })
    }

    /// Decodes one datum, which must use all of the bytes.
    pub fn datum(&self, mut bytes: &[u8]) -> Result<Value> {
        let value = GenericDatumReader::builder(&self.root).build()?.read_value(&mut bytes)?;
        ensure!(bytes.is_empty(), "{} bytes are left over", bytes.len());
        Ok(value)
    }

    /// Compares the fields of a record with the columns of one row. Ignores columns that the record lacks:
    /// they are null or not part of the value.
    pub fn agrees(&self, value: &Value, rows: &RecordBatch, row: usize) -> Agrees {
        let (value, schema) = self.inner(value, &self.root);
        let (Value::Record(fields), Avro::Record(record)) = (value, schema) else {
            return Agrees::Unknown("is no record".to_owned());
        };
        let columns = rows.schema();
        fields.iter().zip(&record.fields).fold(Agrees::Yes, |so_far, ((name, value), field)| {
            so_far.and(|| match columns.index_of(name) {
                Ok(at) => self.one(value, &field.schema, rows.column(at), row).below(name),
                Err(_) => Agrees::Unknown(format!("`{name}` is no column")),
            })
        })
    }

    /// Compares a value with a stored one.
    pub fn holds(&self, value: &Value, column: &ArrayRef, row: usize) -> Agrees {
        self.one(value, &self.root, column, row)
    }

    fn inner<'v>(&'v self, value: &'v Value, schema: &'v Avro) -> (&'v Value, &'v Avro) {
        match (value, schema) {
            (Value::Union(branch, value), Avro::Union(union)) => {
                match union.variants().get(*branch as usize) {
                    Some(schema) => self.inner(value, schema),
                    None => (value, schema),
                }
            }
            (value, Avro::Ref { name }) => match self.named.get(&name.fullname(None)) {
                Some(schema) => (value, schema),
                None => (value, schema),
            },
            pair => pair,
        }
    }
    /// Compares one value with a stored one.
    fn one(&self, value: &Value, schema: &Avro, column: &ArrayRef, row: usize) -> Agrees {
        let (value, schema) = self.inner(value, schema);
        if matches!(value, Value::Null) || column.is_null(row) {
            let both = matches!(value, Value::Null) && column.is_null(row);
            return Agrees::of(both, || {
                format!("is {} where {value:?} is right", super::compare::text(column, row))
            });
        }
        let text = || super::compare::text(column, row);
        let unlike = |right: String| move || format!("is {} where {right} is right", text());
        let unknown = || Agrees::Unknown(format!("is {} for {:?}", column.data_type(), kind(value)));
        match column.data_type() {
            DataType::Boolean => match value {
                Value::Boolean(b) => Agrees::of(column.as_boolean().value(row) == *b, unlike(b.to_string())),
                _ => unknown(),
            },
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => match whole(value) {
                Some(n) => Agrees::of(integer(column, row) == Some(n), unlike(n.to_string())),
                None => unknown(),
            },
            DataType::Float32 | DataType::Float64 => match double(value) {
                Some(d) => {
                    let stored = floating(column, row);
                    let same = stored.to_bits() == d.to_bits() || (stored.is_nan() && d.is_nan());
                    Agrees::of(same, unlike(format!("{d:?}")))
                }
                None => unknown(),
            },
            DataType::Utf8 => match value {
                Value::String(t) | Value::Enum(_, t) => {
                    Agrees::of(column.as_string::<i32>().value(row) == t, unlike(format!("{t:?}")))
                }
                Value::Uuid(u) => {
                    Agrees::of(column.as_string::<i32>().value(row) == u.to_string(), unlike(u.to_string()))
                }
                Value::Record(fields) => match scaled(fields) {
                    Some(text) => Agrees::of(column.as_string::<i32>().value(row) == text, unlike(text)),
                    None => unknown(),
                },
                _ => unknown(),
            },
            DataType::Binary => match value {
                Value::Bytes(b) | Value::Fixed(_, b) => {
                    Agrees::of(column.as_binary::<i32>().value(row) == b.as_slice(), unlike(format!("{b:?}")))
                }
                Value::String(t) => {
                    Agrees::of(column.as_binary::<i32>().value(row) == t.as_bytes(), unlike(format!("{t:?}")))
                }
                _ => unknown(),
            },
            DataType::Date32 => match value {
                Value::Date(days) => {
                    let stored = column.as_primitive::<Date32Type>().value(row);
                    Agrees::of(stored == *days, unlike(format!("day {days}")))
                }
                _ => unknown(),
            },
            DataType::Timestamp(TimeUnit::Microsecond, _) => match micros(value) {
                Some(at) => {
                    let stored = column.as_primitive::<TimestampMicrosecondType>().value(row);
                    Agrees::of(Some(stored) == at, unlike(format!("{at:?} microseconds")))
                }
                None => unknown(),
            },
            DataType::Decimal128(_, scale) => match (value, schema) {
                (Value::Decimal(digits), Avro::Decimal(kind)) => {
                    let stored = BigInt::from(column.as_primitive::<Decimal128Type>().value(row));
                    let right = BigInt::from(digits.clone());
                    let same = same_number((&stored, i64::from(*scale)), (&right, kind.scale as i64));
                    Agrees::of(same, unlike(format!("{right}e-{}", kind.scale)))
                }
                _ => unknown(),
            },
            DataType::List(_) => match value {
                Value::Array(items) => {
                    let list = column.as_list::<i32>().value(row);
                    Agrees::of(list.len() == items.len(), unlike(format!("a list of {}", items.len()))).and(
                        || {
                            let Avro::Array(array) = schema else { return unknown() };
                            items.iter().enumerate().fold(Agrees::Yes, |so_far, (at, item)| {
                                so_far.and(|| self.one(item, &array.items, &list, at).below(&at.to_string()))
                            })
                        },
                    )
                }
                _ => unknown(),
            },
            DataType::Map(_, _) => match value {
                Value::Map(pairs) => {
                    let entries: StructArray = column.as_map().value(row);
                    let (keys, values) = (entries.column(0).clone(), entries.column(1).clone());
                    let Some(keys) = keys.as_string_opt::<i32>() else { return unknown() };
                    let Avro::Map(map) = schema else { return unknown() };
                    Agrees::of(keys.len() == pairs.len(), unlike(format!("a map of {}", pairs.len()))).and(
                        || {
                            (0..keys.len()).fold(Agrees::Yes, |so_far, at| {
                                so_far.and(|| match pairs.get(keys.value(at)) {
                                    Some(value) => {
                                        self.one(value, &map.types, &values, at).below(keys.value(at))
                                    }
                                    None => Agrees::No(format!(
                                        "has `{}`, which is not in the value",
                                        keys.value(at)
                                    )),
                                })
                            })
                        },
                    )
                }
                _ => unknown(),
            },
            DataType::Struct(_) => match value {
                Value::Record(fields) => {
                    let (parent, Avro::Record(record)) = (column.as_struct(), schema) else {
                        return unknown();
                    };
                    fields.iter().zip(&record.fields).fold(Agrees::Yes, |so_far, ((name, value), field)| {
                        so_far.and(|| match parent.column_by_name(name) {
                            Some(column) => self.one(value, &field.schema, column, row).below(name),
                            None => Agrees::Unknown(format!("`{name}` is no column")),
                        })
                    })
                }
                _ => unknown(),
            },
            _ => unknown(),
        }
    }
}

fn collect(schema: &Avro, named: &mut HashMap<String, Avro>) {
    match schema {
        Avro::Record(record) => {
            named.insert(record.name.fullname(None), schema.clone());
            record.fields.iter().for_each(|field| collect(&field.schema, named));
        }
        Avro::Enum(inner) => drop(named.insert(inner.name.fullname(None), schema.clone())),
        Avro::Fixed(inner) => drop(named.insert(inner.name.fullname(None), schema.clone())),
        Avro::Array(array) => collect(&array.items, named),
        Avro::Map(map) => collect(&map.types, named),
        Avro::Union(union) => union.variants().iter().for_each(|variant| collect(variant, named)),
        _ => {}
    }
}

/// The kind of a value, without its content.
fn kind(value: &Value) -> String {
    let text = format!("{value:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(n) | Value::TimeMillis(n) => Some(i64::from(*n)),
        Value::Long(n) | Value::TimeMicros(n) => Some(*n),
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "back again shows whether it was exact")]
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(f64::from(*f)),
        Value::Double(d) => Some(*d),
        Value::Int(n) => Some(f64::from(*n)),
        _ => None,
    }
}

fn integer(column: &ArrayRef, row: usize) -> Option<i64> {
    Some(match column.data_type() {
        DataType::Int8 => i64::from(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => i64::from(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => i64::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row),
        _ => return None,
    })
}

fn floating(column: &ArrayRef, row: usize) -> f64 {
    match column.as_primitive_opt::<Float32Type>() {
        Some(column) => f64::from(column.value(row)),
        None => column.as_primitive::<Float64Type>().value(row),
    }
}

/// Microseconds of an instant. `Some(None)`: it has no exact or valid number, so nothing stored can be right.
fn micros(value: &Value) -> Option<Option<i64>> {
    match value {
        Value::TimestampMillis(at) | Value::LocalTimestampMillis(at) => Some(at.checked_mul(1_000)),
        Value::TimestampMicros(at) | Value::LocalTimestampMicros(at) => Some(Some(*at)),
        Value::TimestampNanos(at) | Value::LocalTimestampNanos(at) => {
            Some((at % 1_000 == 0).then(|| at.div_euclid(1_000)))
        }
        _ => None,
    }
}

/// Whether two pairs of digits and scale are the same number.
fn same_number((a, a_scale): (&BigInt, i64), (b, b_scale): (&BigInt, i64)) -> bool {
    let shift = |number: &BigInt, by: i64| match u32::try_from(by) {
        Ok(by) if by < 1_000 => number * BigInt::from(10).pow(by),
        _ => number.clone(),
    };
    shift(a, b_scale - a_scale.min(b_scale)) == shift(b, a_scale - a_scale.min(b_scale))
}

/// A decimal that carries its scale, as PostgreSQL prints it. `None`: the record is not one.
fn scaled(fields: &[(String, Value)]) -> Option<String> {
    let [(scale_name, Value::Int(scale)), (value_name, Value::Bytes(raw))] = fields else { return None };
    if scale_name != "scale" || value_name != "value" || scale.unsigned_abs() > 100_000 {
        return None;
    }
    let number = BigInt::from_signed_bytes_be(raw);
    let Ok(places) = usize::try_from(*scale) else {
        return Some((number * BigInt::from(10).pow(scale.unsigned_abs())).to_string());
    };
    if places == 0 {
        return Some(number.to_string());
    }
    let digits = format!("{:0>width$}", number.magnitude().to_string(), width = places + 1);
    let (whole, behind) = digits.split_at(digits.len() - places);
    let sign = if number.sign() == num_bigint::Sign::Minus { "-" } else { "" };
    Some(format!("{sign}{whole}.{behind}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":"int"},{"name":"name","type":["null","string"]},{"name":"rate","type":"double"},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#;

    fn rows(id: i64, name: Option<&str>, rate: f64, price: i128) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("rate", DataType::Float64, true),
            Field::new("price", DataType::Decimal128(38, 3), true),
        ]);
        let price = Decimal128Array::from(vec![price]).with_precision_and_scale(38, 3).expect("fits");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![id])),
            Arc::new(StringArray::from(vec![name])),
            Arc::new(Float64Array::from(vec![rate])),
            Arc::new(price),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("fits")
    }

    /// 7, null, 0.5, 12.34.
    fn value(writer: &Writer) -> Value {
        let mut bytes = vec![14, 0];
        bytes.extend(0.5_f64.to_le_bytes());
        bytes.extend([4, 0x04, 0xd2]);
        writer.datum(&bytes).expect("a datum")
    }

    #[test]
    fn each_column_is_held_against_the_value_by_its_own_type() {
        let writer = Writer::parse(SCHEMA).expect("a schema");
        let value = value(&writer);
        assert_eq!(writer.agrees(&value, &rows(7, None, 0.5, 12_340), 0), Agrees::Yes);
        for (stored, column) in [
            (rows(8, None, 0.5, 12_340), "`id`"),
            (rows(7, Some(""), 0.5, 12_340), "`name`"),
            (rows(7, None, 0.5_f64.next_up(), 12_340), "`rate`"),
            (rows(7, None, 0.5, 12_300), "`price`"),
            (rows(7, None, 0.5, 1_234), "`price`"),
        ] {
            let said = writer.agrees(&value, &stored, 0);
            assert!(matches!(&said, Agrees::No(what) if what.starts_with(column)), "{said:?}");
        }
    }

    #[test]
    fn bytes_that_are_left_over_are_no_datum() {
        let writer = Writer::parse(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#);
        let writer = writer.expect("a schema");
        assert!(writer.datum(&[2]).is_ok() && writer.datum(&[2, 0]).is_err() && writer.datum(&[]).is_err());
    }
}
