//! How values come in that are no Avro: as JSON, or as one of the serialisers of Kafka's own client wrote
//! them, which put one value into a key and nothing that says what it is.

use catalog::KeyFormat;
use datum::{Refused, Shape};
use model::text::print_uuid;

/// How a value comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// JSON.
    Json,
    /// UTF-8, as of `StringSerializer`.
    Text,
    /// Eight bytes, as of `LongSerializer`.
    Long,
    /// Four bytes, as of `IntegerSerializer`.
    Int,
    /// The hyphenated form, as of `UUIDSerializer`.
    Uuid,
    /// Any bytes, as of `ByteArraySerializer`.
    Bytes,
}
impl Door {
    /// How keys of this format come in. `None`: in Avro behind a registry's frame.
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

    /// Appends a value as a datum of `shape`. Says whether every field of it was in the schema.
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
