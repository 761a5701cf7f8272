//! Types of PostgreSQL: which Avro type stands for each, and how a value's text becomes one.
//!
//! The mapping is Debezium's, except where that loses a value: a `numeric` without precision is text
//! (NaN, infinity and every digit stay), an interval is PostgreSQL's own text (a month is no number of
//! microseconds). `infinity` is the far end of a date's or timestamp's range, as it is inside PostgreSQL.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::UnionSchema;
use apache_avro::types::Value;
use serde_json::{Value as Json, json};

use crate::shape::scalar;

/// What stands for a TOASTed value that did not change, as Debezium has it.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Long,
    Float,
    Double,
    Decimal {
        precision: u32,
        scale: u32,
    },
    /// Text, with the name by which Debezium tells apart what is in it.
    Text(Option<&'static str>),
    Bytes,
    Date,
    Time,
    Timestamp,
    /// A timestamp with a zone; the session's zone is UTC.
    Zoned,
    Array(Box<Kind>),
}

/// A type of the catalogue.
#[derive(Debug, Clone)]
pub struct PgType {
    /// `b` base, `d` domain, `e` enum, and so on.
    pub kind: char,
    /// Element type of an array, 0 for what is none.
    pub element: u32,
    /// Type below a domain, and its modifier.
    pub base: (u32, i32),
}

/// Types of a database by oid.
pub type Types = HashMap<u32, PgType>;

impl Kind {
    /// The kind of a column.
    pub fn of(types: &Types, oid: u32, modifier: i32) -> Self {
        match oid {
            16 => Self::Bool,
            17 => Self::Bytes,
            20 | 26 => Self::Long,
            21 | 23 => Self::Int,
            700 => Self::Float,
            701 => Self::Double,
            114 | 3802 => Self::Text(Some("io.debezium.data.Json")),
            142 => Self::Text(Some("io.debezium.data.Xml")),
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::Zoned,
            1700 => numeric(modifier),
            2950 => Self::Text(Some("io.debezium.data.Uuid")),
            _ => match types.get(&oid) {
                Some(PgType { kind: 'd', base: (base, own), .. }) if *base != oid => {
                    Self::of(types, *base, *own)
                }
                Some(PgType { kind: 'e', .. }) => Self::Text(Some("io.debezium.data.Enum")),
                Some(PgType { element, .. }) if *element != 0 => {
                    Self::Array(Box::new(Self::of(types, *element, modifier)))
                }
                _ => Self::Text(None),
            },
        }
    }

    /// The Avro type of a column that no schema names yet.
    pub fn avro(&self) -> Json {
        let named = |kind: &str, name: &str| json!({ "type": kind, "connect.name": name });
        match self {
            Self::Bool => json!("boolean"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Float => json!("float"),
            Self::Double => json!("double"),
            Self::Decimal { precision, scale } => {
                json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
            }
            Self::Text(None) => json!("string"),
            Self::Text(Some(name)) => named("string", name),
            Self::Bytes => json!("bytes"),
            Self::Date => {
                json!({ "type": "int", "logicalType": "date", "connect.name": "io.debezium.time.Date" })
            }
            Self::Time => json!({
                "type": "long", "logicalType": "time-micros", "connect.name": "io.debezium.time.MicroTime",
            }),
            Self::Timestamp => json!({
                "type": "long",
                "logicalType": "local-timestamp-micros",
                "connect.name": "io.debezium.time.MicroTimestamp",
            }),
            Self::Zoned => named("string", "io.debezium.time.ZonedTimestamp"),
            Self::Array(inner) => json!({ "type": "array", "items": ["null", inner.avro()] }),
        }
    }

    /// The value that `text` is, as `schema`; or what the schema wants instead.
    pub fn value(&self, schema: &Schema, text: &str) -> Result<Value, String> {
        match (schema, self) {
            (Schema::Union(union), _) => self.in_union(union, text),
            (Schema::Boolean, _) => match text {
                "t" | "true" => Ok(Value::Boolean(true)),
                "f" | "false" => Ok(Value::Boolean(false)),
                _ => Err("boolean".to_owned()),
            },
            (Schema::Bytes, Self::Bytes) => {
                let digits = text.strip_prefix("\\x").ok_or("bytea in hexadecimal")?;
                hex::decode(digits).map(Value::Bytes).map_err(|_| "bytea in hexadecimal".to_owned())
            }
            (Schema::String, Self::Zoned) => Ok(Value::String(iso(text))),
            (Schema::Int, Self::Date) => match self.value(&Schema::Date, text)? {
                Value::Date(days) => Ok(Value::Int(days)),
                _ => Err("date".to_owned()),
            },
            (Schema::Long, Self::Timestamp | Self::Zoned) => {
                match self.value(&Schema::TimestampMicros, text)? {
                    Value::TimestampMicros(micros) => Ok(Value::Long(micros)),
                    _ => Err("timestamp".to_owned()),
                }
            }
            (Schema::Long, Self::Time) => match scalar(&Schema::TimeMicros, text)? {
                Value::TimeMicros(micros) => Ok(Value::Long(micros)),
                _ => Err("time".to_owned()),
            },
            (Schema::Date, _) if infinite(text).is_some() => {
                Ok(Value::Date(if infinite(text) == Some(true) { i32::MAX } else { i32::MIN }))
            }
            (Schema::TimestampMicros, _) if infinite(text).is_some() => Ok(Value::TimestampMicros(end(text))),
            (Schema::LocalTimestampMicros, _) if infinite(text).is_some() => {
                Ok(Value::LocalTimestampMicros(end(text)))
            }
            (
                Schema::TimestampMicros
                | Schema::TimestampMillis
                | Schema::LocalTimestampMicros
                | Schema::LocalTimestampMillis,
                _,
            ) => scalar(schema, text.strip_suffix("+00").unwrap_or(text)),
            (Schema::Array(array), Self::Array(inner)) => {
                let items = elements(text).ok_or("array of one dimension")?;
                let item = |item: Option<String>| match item {
                    Some(text) => inner.value(&array.items, &text),
                    None => null(&array.items).ok_or_else(|| "array without nulls".to_owned()),
                };
                Ok(Value::Array(items.into_iter().map(item).collect::<Result<_, _>>()?))
            }
            _ => scalar(schema, text),
        }
    }

    fn in_union(&self, union: &UnionSchema, text: &str) -> Result<Value, String> {
        let mut wanted = Err("null".to_owned());
        for (at, branch) in union.variants().iter().enumerate() {
            if *branch != Schema::Null {
                match self.value(branch, text) {
                    Ok(value) => return Ok(Value::Union(at as u32, Box::new(value))),
                    Err(other) => wanted = Err(other),
                }
            }
        }
        wanted
    }
}

/// Null, where the schema has it.
pub fn null(schema: &Schema) -> Option<Value> {
    match schema {
        Schema::Null => Some(Value::Null),
        Schema::Union(union) => {
            let at = union.variants().iter().position(|branch| *branch == Schema::Null)?;
            Some(Value::Union(at as u32, Box::new(Value::Null)))
        }
        _ => None,
    }
}

/// What stands for a value that the log does not hold, where the type has room for it.
pub fn unavailable(schema: &Schema) -> Option<Value> {
    match schema {
        Schema::String => Some(Value::String(UNAVAILABLE.to_owned())),
        Schema::Bytes => Some(Value::Bytes(UNAVAILABLE.as_bytes().to_vec())),
        Schema::Array(array) => Some(Value::Array(vec![unavailable(&array.items)?])),
        Schema::Union(union) => {
            let found = union.variants().iter().enumerate().find_map(|(at, s)| Some((at, unavailable(s)?)));
            found.map(|(at, value)| Value::Union(at as u32, Box::new(value)))
        }
        _ => None,
    }
}

/// What Debezium makes up where a delete holds nothing and the schema has no null.
pub fn filler(schema: &Schema) -> Option<Value> {
    if let Some(null) = null(schema) {
        return Some(null);
    }
    let text = match schema {
        Schema::String => "",
        Schema::Boolean => "f",
        Schema::Date => "1970-01-01",
        Schema::TimeMillis | Schema::TimeMicros => "00:00:00",
        Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros => "1970-01-01 00:00:00",
        Schema::Bytes => return Some(Value::Bytes(Vec::new())),
        Schema::Array(_) => return Some(Value::Array(Vec::new())),
        _ => "0",
    };
    Kind::Text(None).value(schema, text).ok()
}

fn scalar(schema: &Schema, text: &str) -> Result<Value, String> {
    scalar::value(schema, text)
}

/// `numeric(p, s)`; without one, of a negative scale or too long for a table: text.
fn numeric(modifier: i32) -> Kind {
    let packed = modifier.wrapping_sub(4).cast_unsigned();
    let (precision, scale) = (packed >> 16, packed & 0x7ff);
    // The scale is a signed number of 11 bits.
    if modifier < 4 || scale >= 0x400 || precision > 38 || scale > precision {
        return Kind::Text(None);
    }
    Kind::Decimal { precision, scale }
}

fn infinite(text: &str) -> Option<bool> {
    match text {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

fn end(text: &str) -> i64 {
    if infinite(text) == Some(true) { i64::MAX } else { i64::MIN }
}

/// `2013-01-01 00:00:00.5+00` as `2013-01-01T00:00:00.5Z`.
fn iso(text: &str) -> String {
    match text.strip_suffix("+00") {
        Some(plain) => format!("{}Z", plain.replacen(' ', "T", 1)),
        None => text.to_owned(),
    }
}

/// The elements of an array's text; nothing for one of several dimensions.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    // Bounds that are not the usual ones stand before it.
    let text = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut found = Vec::new();
    while rest.peek().is_some() {
        let (mut item, mut quoted) = (String::new(), false);
        loop {
            match rest.next() {
                None | Some(',') => break,
                Some('"') => {
                    quoted = true;
                    loop {
                        match rest.next()? {
                            '"' => break,
                            '\\' => item.push(rest.next()?),
                            other => item.push(other),
                        }
                    }
                }
                Some('\\') => item.push(rest.next()?),
                Some('{') if !quoted => return None,
                Some(other) => item.push(other),
            }
        }
        found.push((quoted || item != "NULL").then_some(item));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn schema(json: &Json) -> Schema {
        Schema::parse(json).expect("an Avro type")
    }
    fn read(kind: &Kind, text: &str) -> Result<Value, String> {
        kind.value(&schema(&kind.avro()), text)
    }
    fn decimal(precision: u32, scale: u32) -> Kind {
        Kind::Decimal { precision, scale }
    }

    #[rstest]
    #[case::plain((18 << 16) + 2 + 4, decimal(18, 2))]
    #[case::whole((9 << 16) + 4, decimal(9, 0))]
    #[case::without_precision(-1, Kind::Text(None))]
    #[case::too_long((39 << 16) + 4, Kind::Text(None))]
    #[case::negative_scale((3 << 16) + 0x7fe + 4, Kind::Text(None))]
    fn a_numeric_is_a_decimal_where_a_table_can_hold_it(#[case] modifier: i32, #[case] kind: Kind) {
        assert_eq!(Kind::of(&Types::new(), 1700, modifier), kind);
    }

    #[rstest]
    #[case::bool(Kind::Bool, "t", Value::Boolean(true))]
    #[case::nan(Kind::Double, "NaN", Value::Double(f64::NAN))]
    #[case::infinite_double(Kind::Double, "-Infinity", Value::Double(f64::NEG_INFINITY))]
    #[case::numeric_nan(Kind::Text(None), "NaN", Value::String("NaN".to_owned()))]
    #[case::bytea(Kind::Bytes, "\\xdead", Value::Bytes(vec![0xde, 0xad]))]
    #[case::date(Kind::Date, "2013-01-01", Value::Date(15_706))]
    #[case::year_1(Kind::Date, "0001-01-01", Value::Date(-719_162))]
    #[case::infinite_date(Kind::Date, "infinity", Value::Date(i32::MAX))]
    #[case::time(Kind::Time, "01:00:00.5", Value::TimeMicros(3_600_500_000))]
    #[case::timestamp(
        Kind::Timestamp,
        "2013-01-01 12:34:56.789012",
        Value::LocalTimestampMicros(1_357_043_696_789_012)
    )]
    #[case::never(Kind::Timestamp, "-infinity", Value::LocalTimestampMicros(i64::MIN))]
    #[case::zoned(
        Kind::Zoned,
        "2013-01-01 00:00:00.123456+00",
        Value::String("2013-01-01T00:00:00.123456Z".to_owned())
    )]
    #[case::infinite_zoned(Kind::Zoned, "-infinity", Value::String("-infinity".to_owned()))]
    fn a_text_is_the_value_it_says(#[case] kind: Kind, #[case] text: &str, #[case] value: Value) {
        // NaN differs from itself.
        assert_eq!(format!("{:?}", read(&kind, text)), format!("{:?}", Ok::<_, String>(value)));
    }

    #[test]
    fn a_timestamp_with_a_zone_goes_into_a_declared_timestamp() {
        let declared = schema(&json!({ "type": "long", "logicalType": "timestamp-micros" }));
        let read = Kind::Zoned.value(&declared, "1970-01-01 00:00:01+00");
        assert_eq!(read, Ok(Value::TimestampMicros(1_000_000)));
    }

    #[test]
    fn what_a_decimal_cannot_hold_is_refused_and_not_rounded() {
        for text in ["NaN", "1.005", "99999999999999999.00"] {
            assert!(read(&decimal(18, 2), text).is_err(), "{text}");
        }
    }

    #[rstest]
    #[case::plain("{1,2}", Some(vec![Some("1"), Some("2")]))]
    #[case::empty("{}", Some(vec![]))]
    #[case::null_and_the_text_null(r#"{NULL,"NULL"}"#, Some(vec![None, Some("NULL")]))]
    #[case::quoted(r#"{"a,b","c\"d\\",""}"#, Some(vec![Some("a,b"), Some("c\"d\\"), Some("")]))]
    #[case::bounds("[0:1]={1,2}", Some(vec![Some("1"), Some("2")]))]
    #[case::two_dimensions("{{1},{2}}", None)]
    fn the_text_of_an_array_is_taken_apart(#[case] text: &str, #[case] items: Option<Vec<Option<&str>>>) {
        let items = items.map(|items| items.into_iter().map(|item| item.map(str::to_owned)).collect());
        assert_eq!(elements(text), items);
    }

    #[test]
    fn only_text_and_bytes_have_room_for_a_placeholder() {
        let of = |kind: Kind| unavailable(&schema(&json!(["null", kind.avro()])));
        assert!(of(Kind::Text(None)).is_some() && of(Kind::Bytes).is_some());
        assert!(of(Kind::Array(Box::new(Kind::Text(None)))).is_some());
        assert!(of(decimal(38, 2)).is_none() && of(Kind::Array(Box::new(Kind::Long))).is_none());
    }
}
