//! Types of PostgreSQL: the Avro type for each, and the conversion of a value's text.
//!
//! The mapping is Debezium's, unless that would lose a value: a `numeric` without precision is text (with
//! NaN, infinity and every digit), an interval is PostgreSQL's text (a month is not a number of
//! microseconds). `infinity` is the end of a date's or timestamp's range, as inside PostgreSQL.

use std::collections::HashMap;

use avro::text::{Kind as Avro, Reason, Type, Unfit, Unit};
use avro::wire;
use model::text;
use serde_json::{Value as Json, json};

/// Debezium's placeholder for a TOASTed value that did not change.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The kind of a column's values.
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
    /// Text, with Debezium's name for its content.
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
    /// Element type of an array; 0 if it is not an array.
    pub element: u32,
    /// Base type of a domain, and its modifier.
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

    /// The Avro type of a column for a new schema.
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

    /// Appends `text` as a value of the type, or returns what the type needs instead. After an error the
    /// appended bytes are invalid.
    pub fn write(&self, of: Type<'_>, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        match (of.kind(), self) {
            (Avro::Union, _) => return self.in_union(of, text, out),
            (Avro::Boolean, _) => match text {
                "t" | "true" => out.push(1),
                "f" | "false" => out.push(0),
                _ => return Err("boolean".to_owned()),
            },
            (Avro::Bytes, Self::Bytes) => {
                let digits = text.strip_prefix("\\x").ok_or("bytea in hexadecimal")?;
                wire::bytes(&hex::decode(digits).map_err(|_| "bytea in hexadecimal")?, out);
            }
            (Avro::Text, Self::Zoned) => wire::text(&iso(text), out),
            (Avro::Date, _) | (Avro::Int, Self::Date) if infinite(text).is_some() => {
                let day = if infinite(text) == Some(true) { i32::MAX } else { i32::MIN };
                wire::long(day.into(), out);
            }
            (Avro::Int, Self::Date) => {
                let days = text::date(text).map_err(|_| wanted(Avro::Date, Unfit::Unlike))?;
                wire::long(days.into(), out);
            }
            (Avro::Instant(Unit::Micros), _) | (Avro::Long, Self::Timestamp | Self::Zoned)
                if infinite(text).is_some() =>
            {
                wire::long(if infinite(text) == Some(true) { i64::MAX } else { i64::MIN }, out);
            }
            (Avro::Long, Self::Timestamp | Self::Zoned) => {
                let micros = text::instant(utc(text));
                wire::long(micros.map_err(|_| wanted(Avro::Instant(Unit::Micros), Unfit::Unlike))?, out);
            }
            (Avro::Long, Self::Time) => {
                let micros = text::time(text);
                wire::long(micros.map_err(|_| wanted(Avro::Time(Unit::Micros), Unfit::Unlike))?, out);
            }
            (Avro::Instant(_), _) => plain(of, utc(text), out)?,
            (Avro::List(item), Self::Array(inner)) => {
                let items = elements(text).ok_or("array of one dimension")?;
                if !items.is_empty() {
                    wire::long(items.len() as i64, out);
                }
                for text in items {
                    match text {
                        Some(text) => inner.write(item, &text, out)?,
                        None if item.null(out) => {}
                        None => return Err("array without nulls".to_owned()),
                    }
                }
                wire::long(0, out);
            }
            _ => plain(of, text, out)?,
        }
        Ok(())
    }

    /// Appends with the first branch that accepts the text.
    fn in_union(&self, of: Type<'_>, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let (start, mut refused) = (out.len(), "null".to_owned());
        for (at, branch) in of.branches() {
            wire::long(at, out);
            match self.write(branch, text, out) {
                Ok(()) => return Ok(()),
                Err(other) => refused = other,
            }
            out.truncate(start);
        }
        Err(refused)
    }
}

/// Appends the placeholder for a value that the log does not contain. `false`: the type cannot hold it.
pub fn unavailable(of: Type<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match of.kind() {
        Avro::Text | Avro::Bytes => wire::text(UNAVAILABLE, out),
        Avro::List(item) => {
            wire::long(1, out);
            if !unavailable(item, out) {
                out.truncate(start);
                return false;
            }
            wire::long(0, out);
        }
        Avro::Union => {
            return of.branches().any(|(at, branch)| {
                out.truncate(start);
                wire::long(at, out);
                let has_room = unavailable(branch, out);
                if !has_room {
                    out.truncate(start);
                }
                has_room
            });
        }
        _ => return false,
    }
    true
}

/// Appends Debezium's filler for a missing value of a delete if null is not allowed. `false`: there is none.
pub fn filler(of: Type<'_>, out: &mut Vec<u8>) -> bool {
    let text = match of.kind() {
        _ if of.null(out) => return true,
        Avro::Bytes | Avro::List(_) => {
            wire::long(0, out);
            return true;
        }
        Avro::Text => "",
        Avro::Boolean => "f",
        Avro::Date => "1970-01-01",
        Avro::Time(_) => "00:00:00",
        Avro::Instant(_) => "1970-01-01 00:00:00",
        _ => "0",
    };
    let start = out.len();
    let written = Kind::Text(None).write(of, text, out);
    if written.is_err() {
        out.truncate(start);
    }
    written.is_ok()
}

/// Appends a text with the strict parser of CSV cells.
fn plain(of: Type<'_>, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    of.cell(text, out).map_err(|unfit| wanted(of.kind(), unfit))
}

/// What the type needs, in words.
fn wanted(kind: Avro<'_>, unfit: Unfit) -> String {
    let is_too_fine = unfit == Unfit::Misfit(Reason::FinerTime);
    let words = match kind {
        Avro::Fixed(size) => return format!("text of {size} bytes"),
        Avro::Symbols(symbols) => return format!("one of {}", symbols.join(", ")),
        Avro::Decimal { precision, scale } => {
            return format!("decimal of {precision} digits, {scale} of them behind the point");
        }
        Avro::Boolean => "boolean",
        Avro::Int => "int of 32 bits",
        Avro::Long => "long",
        Avro::Float => "number that a float holds",
        Avro::Double => "number that a double holds",
        Avro::Uuid => "uuid",
        Avro::Date => "date like 2026-01-31",
        Avro::Time(Unit::Millis) if is_too_fine => "time",
        Avro::Time(Unit::Millis) => "time like 23:59:59.999",
        Avro::Time(_) => "time like 23:59:59.999999",
        Avro::Instant(_) if is_too_fine => "timestamp as coarse as its type",
        Avro::Instant(_) => "timestamp like 2026-01-31T12:00:00Z",
        Avro::Null => "Null that a text can hold",
        Avro::List(_) => "Array that a text can hold",
        Avro::Map(_) => "Map that a text can hold",
        Avro::Record => "Record that a text can hold",
        Avro::Text | Avro::Bytes | Avro::Union | Avro::Foreign(_) => "value that a text can hold",
    };
    words.to_owned()
}

/// `numeric(p, s)`. Text if it has no precision, a negative scale, or too many digits for a table.
fn numeric(modifier: i32) -> Kind {
    let packed = modifier.wrapping_sub(4).cast_unsigned();
    let (precision, scale) = (packed >> 16, packed & 0x7ff);
    // The scale is a signed 11-bit number.
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

/// A timestamp without its zone, which is always UTC in our sessions.
fn utc(text: &str) -> &str {
    text.strip_suffix("+00").unwrap_or(text)
}

/// `2013-01-01 00:00:00.5+00` as `2013-01-01T00:00:00.5Z`.
fn iso(text: &str) -> String {
    match text.strip_suffix("+00") {
        Some(plain) => format!("{}Z", plain.replacen(' ', "T", 1)),
        None => text.to_owned(),
    }
}

/// The elements of an array's text. `None`: it has several dimensions.
fn elements(text: &str) -> Option<Vec<Option<String>>> {
    // Unusual bounds precede the array.
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
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use avro::text::Shape;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn shape(json: &Json) -> Shape {
        Shape::lenient(&json.to_string()).expect("an Avro type")
    }
    /// Encodes a text and decodes it with another library.
    fn read_as(kind: &Kind, declared: &Json, text: &str) -> Result<Value, String> {
        let mut datum = Vec::new();
        kind.write(shape(declared).root(), text, &mut datum)?;
        let schema = Schema::parse(declared).expect("an Avro type");
        let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
        let mut rest = datum.as_slice();
        let value = reader.read_value(&mut rest).expect("a datum of its type");
        assert!(rest.is_empty(), "bytes are left over");
        Ok(value)
    }
    fn read(kind: &Kind, text: &str) -> Result<Value, String> {
        read_as(kind, &kind.avro(), text)
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
        let declared = json!({ "type": "long", "logicalType": "timestamp-micros" });
        let read = read_as(&Kind::Zoned, &declared, "1970-01-01 00:00:01+00");
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
        let of = |kind: Kind| {
            let mut out = Vec::new();
            let shape = shape(&json!(["null", kind.avro()]));
            unavailable(shape.root(), &mut out).then_some(out)
        };
        assert!(of(Kind::Text(None)).is_some() && of(Kind::Bytes).is_some());
        assert!(of(Kind::Array(Box::new(Kind::Text(None)))).is_some());
        assert!(of(decimal(38, 2)).is_none() && of(Kind::Array(Box::new(Kind::Long))).is_none());
    }

    proptest! {
        /// A text of PostgreSQL has the same value as in a CSV cell.
        #[test]
        fn a_text_means_the_same_in_a_cell_and_from_a_database(
            unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_i8..=38, double: f64, float: f32,
            long: i64, micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000,
        ) {
            let decimal = json!({ "type": "bytes", "logicalType": "decimal", "precision": 38, "scale": scale });
            let (seconds, part) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            let at = text::print_instant(seconds, part as u32 * 1_000, false).replace('T', " ");
            for (kind, text) in [
                (decimal, text::print_decimal(unscaled, scale)),
                (json!("double"), text::print_double(double)),
                (json!("float"), text::print_float(float)),
                (json!("long"), long.to_string()),
                (json!({ "type": "long", "logicalType": "timestamp-micros" }), at),
            ] {
                let mut body = Vec::new();
                Kind::Text(None).write(shape(&kind).root(), &text, &mut body).expect("its own print");
                let record = json!({ "type": "record", "name": "R", "fields": [{ "name": "f", "type": kind }] });
                let shape = crate::shape::Shape::with(&record.to_string(), avro::text::Encodings::TEXT);
                let cells = serde_json::Map::from_iter([("f".to_owned(), json!(text))]);
                let encoded = shape.expect("a schema").encode(crate::shape::RawRow::Cells(&cells));
                prop_assert_eq!(encoded, Ok(body), "{}", text);
            }
        }
    }
}
