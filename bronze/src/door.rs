//! Encodings of values other than Avro: JSON, or the serialisers of Kafka's own client, which write a single
//! value without its type.

use avro::text::{Refused, Shape};
use catalog::KeyFormat;
use model::text::print_uuid;

/// How a value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// JSON.
    Json,
    /// UTF-8, by `StringSerializer`.
    Text,
    /// Eight bytes, by `LongSerializer`.
    Long,
    /// Four bytes, by `IntegerSerializer`.
    Int,
    /// The hyphenated form, by `UUIDSerializer`.
    Uuid,
    /// Any bytes, by `ByteArraySerializer`.
    Bytes,
}
impl Door {
    /// The encoding of keys of this format. `None` for Avro with the registry's frame.
    pub fn of(format: KeyFormat) -> Option<Self> {
        Some(match format {
            KeyFormat::Avro => return None,
            KeyFormat::Json => Self::Json,
            KeyFormat::Text => Self::Text,
            KeyFormat::Long => Self::Long,
            KeyFormat::Int => Self::Int,
            KeyFormat::Uuid => Self::Uuid,
            KeyFormat::Bytes => Self::Bytes,
        })
    }

    /// Appends a value as a datum of `shape`. Returns whether the schema has all of its fields.
    pub fn write(self, shape: &Shape, value: &[u8], out: &mut Vec<u8>) -> Result<bool, Refused> {
        let cell = |text: &str, out: &mut Vec<u8>| shape.cell(text, out).map(|()| true);
        let unlike = |wanted| Refused::Unlike { column: String::new(), wanted, found: String::new() };
        let text = || str::from_utf8(value).map_err(|_| unlike("a text in UTF-8"));
        match self {
            Self::Json => shape.json(value, out).map(|unknown| unknown.is_none()),
            Self::Text => cell(text()?, out),
            Self::Long => {
                let raw = value.try_into().map_err(|_| unlike("a long of eight bytes"))?;
                cell(&i64::from_be_bytes(raw).to_string(), out)
            }
            Self::Int => {
                let raw = value.try_into().map_err(|_| unlike("an int of four bytes"))?;
                cell(&i32::from_be_bytes(raw).to_string(), out)
            }
            Self::Uuid => {
                let raw = model::text::uuid(text()?).map_err(|_| unlike("a UUID with hyphens"))?;
                cell(&print_uuid(raw), out)
            }
            Self::Bytes => shape.bytes(value, out).map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Fields};
    use avro::text::Encodings;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::json::{Dialect, Known, SchemaParts};
    use crate::testing::arrow_text;

    const ALL: [KeyFormat; 7] = [
        KeyFormat::Avro,
        KeyFormat::Json,
        KeyFormat::Text,
        KeyFormat::Long,
        KeyFormat::Int,
        KeyFormat::Uuid,
        KeyFormat::Bytes,
    ];

    /// The key column as text; `None` if the key cannot be read.
    fn key(format: KeyFormat, kind: &str, stored: DataType, raw: &[u8]) -> Option<String> {
        let door = Door::of(format).expect("no Avro");
        let schema = format!(r#"{{"type":"record","name":"K","fields":[{{"name":"id","type":{kind}}}]}}"#);
        let dialect = Dialect::through(door, 0, &schema.into(), true, Encodings::TEXT, None);
        let mut parts = SchemaParts::default();
        parts.declare(Known::Ready(Box::new(dialect.expect("a schema"))));
        let wanted: Fields = vec![Field::new("id", stored, true)].into();
        let read = parts.decode(1, |_| Some(raw), &wanted);
        let part = read.parts.first().filter(|part| part.refused.is_empty() && read.refused.is_empty())?;
        Some(arrow_text(&part.columns[0], 0))
    }

    #[rstest]
    #[case::text(KeyFormat::Text, r#""string""#, DataType::Utf8, b"X", r#""X""#)]
    #[case::no_text(KeyFormat::Text, r#""string""#, DataType::Utf8, b"", r#""""#)]
    #[case::text_that_looks_like_json(KeyFormat::Text, r#""string""#, DataType::Utf8, b"null", r#""null""#)]
    #[case::text_that_begins_like_a_frame(
        KeyFormat::Text,
        r#""string""#,
        DataType::Utf8,
        b"\0\0\0\0\x07a",
        r#""\0\0\0\0\u{7}a""#
    )]
    #[case::number_in_a_text(KeyFormat::Text, r#""long""#, DataType::Int64, b"42", "42")]
    #[case::long(KeyFormat::Long, r#""long""#, DataType::Int64, &[0, 0, 0, 0, 0, 0, 1, 0], "256")]
    #[case::long_of_a_text(KeyFormat::Long, r#""string""#, DataType::Utf8, &[0xff; 8], r#""-1""#)]
    #[case::int(KeyFormat::Int, r#"["null","int"]"#, DataType::Int64, &[0xff, 0xff, 0xff, 0xfe], "-2")]
    #[case::uuid(
        KeyFormat::Uuid,
        r#""string""#,
        DataType::Utf8,
        b"01234567-89AB-cdef-0123-456789abcdef",
        r#""01234567-89ab-cdef-0123-456789abcdef""#
    )]
    #[case::bytes(KeyFormat::Bytes, r#""bytes""#, DataType::Binary, b"\x00\xff", "[00, ff]")]
    #[case::json(KeyFormat::Json, r#""long""#, DataType::Int64, b"7", "7")]
    fn a_key_is_read_as_its_format_says(
        #[case] format: KeyFormat,
        #[case] kind: &str,
        #[case] stored: DataType,
        #[case] raw: &[u8],
        #[case] expected: &str,
    ) {
        assert_eq!(key(format, kind, stored, raw).as_deref(), Some(expected));
    }

    #[rstest]
    #[case::short_long(KeyFormat::Long, r#""long""#, DataType::Int64, &[0; 7])]
    #[case::long_for_an_int(KeyFormat::Int, r#""int""#, DataType::Int64, &[0; 8])]
    #[case::text_for_a_long(KeyFormat::Text, r#""long""#, DataType::Int64, b"4x")]
    #[case::no_utf8(KeyFormat::Text, r#""string""#, DataType::Utf8, b"\xff")]
    #[case::no_uuid(KeyFormat::Uuid, r#""string""#, DataType::Utf8, b"0123456789abcdef0123456789abcdef")]
    #[case::bytes_for_a_text(KeyFormat::Bytes, r#""string""#, DataType::Utf8, b"abc")]
    #[case::text_for_json(KeyFormat::Json, r#""string""#, DataType::Utf8, b"X")]
    fn a_key_of_another_format_is_not_read(
        #[case] format: KeyFormat,
        #[case] kind: &str,
        #[case] stored: DataType,
        #[case] raw: &[u8],
    ) {
        assert_eq!(key(format, kind, stored, raw), None);
    }

    proptest! {
        #[test]
        fn any_key_of_a_serialiser_comes_back(long: i64, int: i32, text: String, id: [u8; 16], raw: Vec<u8>) {
            let uuid = print_uuid(id);
            for (format, kind, stored, bytes, expected) in [
                (KeyFormat::Long, r#""long""#, DataType::Int64, long.to_be_bytes().to_vec(), long.to_string()),
                (KeyFormat::Int, r#""int""#, DataType::Int64, int.to_be_bytes().to_vec(), int.to_string()),
                (KeyFormat::Text, r#""string""#, DataType::Utf8, text.clone().into_bytes(), format!("{text:?}")),
                (KeyFormat::Uuid, r#""string""#, DataType::Utf8, uuid.clone().into_bytes(), format!("{uuid:?}")),
                (KeyFormat::Bytes, r#""bytes""#, DataType::Binary, raw.clone(), format!("{raw:02x?}")),
            ] {
                prop_assert_eq!(key(format, kind, stored, &bytes), Some(expected));
            }
        }

        #[test]
        fn no_key_breaks_a_reader(raw: Vec<u8>) {
            for format in ALL.into_iter().filter(|format| *format != KeyFormat::Avro) {
                for (kind, stored) in [(r#""long""#, DataType::Int64), (r#""string""#, DataType::Utf8)] {
                    let _ = key(format, kind, stored, &raw);
                }
            }
        }
    }
}
