//! The marker that a source writes for a TOASTed value that did not change, in the form of the column's type.
//!
//! From Debezium's documentation: a text is the marker itself; bytes are its bytes (as text: base64 or
//! hexadecimal digits); a list of texts contains only the marker; a list of UUIDs only its name-based UUID; a
//! list of numbers or times has one element per byte; a map has it as key and value.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Debezium's default marker.
pub const USUAL: &str = "__debezium_unavailable_value";
/// Java's name-based UUID of the default marker.
const USUAL_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// One marker in all its forms.
pub struct UnchangedMarker {
    text: String,
    texts: Vec<String>,
}
impl UnchangedMarker {
    /// Computes every text form of the marker.
    pub fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let json = serde_json::Value::from(text).to_string();
        let mut texts =
            vec![text.to_owned(), json.clone(), hex.clone(), hex.to_uppercase(), format!("\\x{hex}")];
        texts.extend([format!("{{{json}:{json}}}"), format!("{{{json}: {json}}}")]);
        texts.extend([STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|base| base.encode(bytes)));
        Self { text: text.to_owned(), texts }
    }

    /// Whether a value is the marker.
    pub fn is(&self, column: &ArrayRef, row: usize) -> bool {
        if column.is_null(row) {
            return false;
        }
        match column.data_type() {
            DataType::Utf8 => self.texts.iter().any(|text| text == column.as_string::<i32>().value(row)),
            DataType::Binary => column.as_binary::<i32>().value(row) == self.text.as_bytes(),
            DataType::List(_) => self.is_list(&column.as_list::<i32>().value(row)),
            DataType::Map(_, _) => {
                let entries = column.as_map().value(row);
                entries.len() == 1
                    && entries.columns().iter().all(|column| {
                        column.is_valid(0)
                            && column.as_string_opt::<i32>().is_some_and(|text| text.value(0) == self.text)
                    })
            }
            _ => false,
        }
    }

    fn is_list(&self, items: &ArrayRef) -> bool {
        let (bytes, len) = (self.text.as_bytes(), items.len());
        if items.null_count() > 0 || (len != 1 && len != bytes.len()) {
            return false;
        }
        if len == 1 {
            let uuid = self.text == USUAL;
            let alone = match items.data_type() {
                DataType::Utf8 => {
                    let text = items.as_string::<i32>().value(0);
                    text == self.text || (uuid && text == USUAL_UUID)
                }
                DataType::Binary => items.as_binary::<i32>().value(0) == bytes,
                _ => false,
            };
            if alone {
                return true;
            }
        }
        // A byte may be in any unit: microseconds converted from milliseconds, or hundredths of a decimal.
        let units = |scale: u32| [1, 1_000, 1_000_000, 10_i128.saturating_pow(scale)];
        let bytes_in = |values: &[i128], unit: i128| {
            values.len() == bytes.len() && values.iter().zip(bytes).all(|(v, b)| *v == i128::from(*b) * unit)
        };
        let whole = |items: &ArrayRef| -> Option<Vec<i128>> {
            let narrow = match items.data_type() {
                DataType::Date32 | DataType::Time32(_) => cast(items, &DataType::Int32).ok()?,
                _ => ArrayRef::clone(items),
            };
            let wide = cast(&narrow, &DataType::Int64).ok()?;
            Some(wide.as_primitive::<Int64Type>().values().iter().map(|v| i128::from(*v)).collect())
        };
        match items.data_type() {
            DataType::Utf8 => {
                let texts = items.as_string::<i32>();
                len == bytes.len() && (0..len).all(|at| is_byte(texts.value(at), bytes[at]))
            }
            DataType::Float32 | DataType::Float64 => {
                let Ok(items) = cast(items, &DataType::Float64) else { return false };
                let values = items.as_primitive::<Float64Type>();
                len == bytes.len()
                    && (0..len).all(|at| values.value(at).to_bits() == f64::from(bytes[at]).to_bits())
            }
            DataType::Decimal128(_, scale) => {
                let values: Vec<i128> = items.as_primitive::<Decimal128Type>().values().to_vec();
                let scale = u32::try_from(*scale).unwrap_or_default();
                bytes_in(&values, 1) || bytes_in(&values, 10_i128.saturating_pow(scale))
            }
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => {
                whole(items).is_some_and(|values| units(0).iter().any(|unit| bytes_in(&values, *unit)))
            }
            kind if kind.is_integer() || *kind == DataType::Date32 => {
                whole(items).is_some_and(|values| bytes_in(&values, 1))
            }
            _ => false,
        }
    }
}

/// Whether a text is a byte: as digits, or as the base64 of a decimal's digits.
fn is_byte(text: &str, byte: u8) -> bool {
    let digits =
        text.split_once('.').filter(|(_, rest)| rest.chars().all(|c| c == '0')).map_or(text, |(d, _)| d);
    digits.parse() == Ok(byte) || STANDARD.decode(text).is_ok_and(|decoded| decoded == [byte])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Builder, ListBuilder, StringArray};

    use super::*;

    #[test]
    fn the_marker_is_known_in_the_form_of_each_type() {
        let marker = UnchangedMarker::new(USUAL);
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        for form in marker.texts.clone() {
            assert!(marker.is(&text(&form), 0), "{form}");
        }
        assert!(!marker.is(&text("a"), 0));
        let bytes = Arc::new(BinaryArray::from(vec![USUAL.as_bytes()])) as ArrayRef;
        assert!(marker.is(&bytes, 0));
        let mut list = ListBuilder::new(Int64Builder::new());
        USUAL.bytes().for_each(|byte| list.values().append_value(i64::from(byte)));
        list.append(true);
        list.values().append_value(1);
        list.append(true);
        let list = Arc::new(list.finish()) as ArrayRef;
        assert!(marker.is(&list, 0) && !marker.is(&list, 1));
    }
}
