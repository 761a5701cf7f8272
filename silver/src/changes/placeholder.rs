//! Finds Debezium's placeholder for an unchanged TOASTed column, in each form it takes.
//!
//! | type | form |
//! | --- | --- |
//! | text, JSON, XML, an enum | the placeholder |
//! | `bytea` | its bytes; as text their base64 or hexadecimal digits |
//! | arrays of text | one element, the placeholder |
//! | arrays of `uuid` | one element, the UUID that is named by the placeholder |
//! | arrays of numbers, dates, times | one element for each byte of the placeholder |
//! | `hstore` | the map `{placeholder: placeholder}`, or its JSON |
//!
//! The connector configures the placeholder (`unavailable.value.placeholder`), so the contract has it.

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, ListArray, MapArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::error::ArrowError;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use md5::{Digest as _, Md5};

/// All forms of one placeholder.
#[derive(Debug, Clone)]
pub(super) struct Placeholder {
    bytes: Vec<u8>,
    /// Forms of the whole text.
    texts: Vec<String>,
    /// Forms of a list's only text.
    items: Vec<String>,
}
impl Placeholder {
    pub fn new(placeholder: &str) -> Self {
        let bytes = placeholder.as_bytes();
        let quoted = serde_json::Value::from(placeholder).to_string();
        let mut texts = vec![
            placeholder.to_owned(),
            format!("{{{quoted}:{quoted}}}"),
            format!("{{{quoted}: {quoted}}}"),
            quoted,
            hex::encode(bytes),
            hex::encode_upper(bytes),
            format!("\\x{}", hex::encode(bytes)),
        ];
        texts.extend([&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD].map(|e| e.encode(bytes)));
        texts.sort();
        texts.dedup();
        Self { bytes: bytes.to_vec(), items: vec![placeholder.to_owned(), named_uuid(bytes)], texts }
    }

    /// The rows where a column has the placeholder. `None` if there are none.
    pub fn find(&self, column: &ArrayRef) -> Result<Option<BooleanArray>, ArrowError> {
        let rows = column.len();
        let mask: BooleanArray = match column.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                (0..rows).map(|row| Some(texts.is_valid(row) && self.is_text(texts.value(row)))).collect()
            }
            DataType::Binary => {
                let values = column.as_binary::<i32>();
                (0..rows).map(|row| Some(values.is_valid(row) && values.value(row) == self.bytes)).collect()
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                (0..rows).map(|row| Ok(Some(self.is_list(list, row)?))).collect::<Result<_, ArrowError>>()?
            }
            DataType::Map(..) => {
                let map = column.as_map();
                (0..rows).map(|row| Some(self.is_map(map, row))).collect()
            }
            _ => return Ok(None),
        };
        Ok((mask.true_count() > 0).then_some(mask))
    }

    fn is_text(&self, text: &str) -> bool {
        self.texts.iter().any(|form| form == text)
    }

    fn is_list(&self, list: &ListArray, row: usize) -> Result<bool, ArrowError> {
        let length = usize::try_from(list.value_length(row)).expect("arrow checks that offsets rise");
        if list.is_null(row) || (length != 1 && length != self.bytes.len()) {
            return Ok(false);
        }
        let items = list.value(row);
        if items.null_count() > 0 {
            return Ok(false);
        }
        Ok(match items.data_type() {
            DataType::Utf8 => {
                let texts = items.as_string::<i32>();
                let alone = length == 1 && self.items.iter().any(|form| form == texts.value(0));
                alone || self.are_bytes(length, |at| number(texts.value(at)))
            }
            DataType::Binary => length == 1 && items.as_binary::<i32>().value(0) == self.bytes,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 => {
                let numbers = whole(&items)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                self.are_bytes(length, |at| u8::try_from(numbers.value(at)).ok())
            }
            // The byte may be counted in any unit.
            DataType::Timestamp(..) | DataType::Time64(_) | DataType::Time32(_) | DataType::Duration(_) => {
                let numbers = whole(&items)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let in_unit = |unit: i64| {
                    self.are_bytes(length, |at| {
                        let value = numbers.value(at);
                        (value % unit == 0).then(|| u8::try_from(value / unit).ok()).flatten()
                    })
                };
                [1, 1_000, 1_000_000].into_iter().any(in_unit)
            }
            DataType::Float32 | DataType::Float64 => {
                let numbers = arrow::compute::cast(&items, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                self.are_bytes(length, |at| {
                    let value = numbers.value(at);
                    (0..=u8::MAX).find(|byte| value.total_cmp(&f64::from(*byte)).is_eq())
                })
            }
            DataType::Decimal128(_, scale) => {
                let numbers = items.as_primitive::<Decimal128Type>();
                let one = 10_i128.checked_pow(u32::try_from(*scale).unwrap_or(0)).unwrap_or(1);
                // The byte as a number, or as its unscaled digits.
                let in_unit = |unit: i128| {
                    self.are_bytes(length, |at| {
                        let value = numbers.value(at);
                        (value % unit == 0).then(|| u8::try_from(value / unit).ok()).flatten()
                    })
                };
                in_unit(one) || in_unit(1)
            }
            _ => false,
        })
    }

    /// True if there is one element per byte of the placeholder, equal to that byte.
    fn are_bytes(&self, length: usize, at: impl Fn(usize) -> Option<u8>) -> bool {
        length == self.bytes.len() && self.bytes.iter().enumerate().all(|(n, byte)| at(n) == Some(*byte))
    }

    fn is_map(&self, map: &MapArray, row: usize) -> bool {
        if map.is_null(row) || map.value_length(row) != 1 {
            return false;
        }
        let entry = map.value(row);
        let is = |column: &ArrayRef| {
            let text = column.as_string_opt::<i32>().filter(|texts| texts.is_valid(0));
            text.is_some_and(|texts| texts.value(0).as_bytes() == self.bytes)
        };
        entry.columns().iter().all(is)
    }
}

fn whole(items: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let narrow = match items.data_type() {
        DataType::Date32 | DataType::Time32(_) => arrow::compute::cast(items, &DataType::Int32)?,
        _ => ArrayRef::clone(items),
    };
    cast_with_options(&narrow, &DataType::Int64, &CastOptions::default())
}

/// Reads a byte from its digits, or from the base64 of an unscaled decimal.
fn number(text: &str) -> Option<u8> {
    if let Ok(bytes) = STANDARD.decode(text)
        && let [byte] = bytes[..]
    {
        return Some(byte);
    }
    let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|b| b == b'0'));
    whole.map_or(text, |(whole, _)| whole).parse().ok()
}

/// The version 3 UUID of a name, as Java's `UUID.nameUUIDFromBytes` computes it.
fn named_uuid(name: &[u8]) -> String {
    let mut bytes: [u8; 16] = Md5::digest(name).into();
    bytes[6] = (bytes[6] & 0x0f) | 0x30;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, ListBuilder, MapBuilder,
        StringArray, StringBuilder,
    };

    use super::*;

    const MARKERS: [&str; 3] = ["__debezium_unavailable_value", "?", "«nichts»\u{1f}\"x\""];

    /// A list column of three rows: `items`, the same with its last element changed by `other`, null.
    macro_rules! lists {
        ($builder:expr, $items:expr, $other:expr) => {{
            let mut list = ListBuilder::new($builder);
            let items: Vec<_> = $items;
            for item in &items {
                list.values().append_value(*item);
            }
            list.append(true);
            for item in &items[..items.len() - 1] {
                list.values().append_value(*item);
            }
            list.values().append_value($other);
            list.append(true);
            list.append(false);
            Arc::new(list.finish()) as ArrayRef
        }};
    }

    fn only_the_first(placeholder: &Placeholder, column: ArrayRef, what: &str) {
        let found = placeholder.find(&column).expect("a type");
        let found = found.unwrap_or_else(|| panic!("{what} is not found"));
        assert_eq!(found, BooleanArray::from(vec![true, false, false]), "{what}");
    }

    #[test]
    fn every_typed_form_of_every_marker_is_found_and_nothing_beside_it() {
        for text in MARKERS {
            let placeholder = Placeholder::new(text);
            let bytes = text.as_bytes();
            let of = |form: String| {
                Arc::new(StringArray::from(vec![Some(form), Some("x".into()), None])) as ArrayRef
            };
            only_the_first(&placeholder, of(text.to_owned()), "text");
            only_the_first(&placeholder, of(hex::encode(bytes)), "hex");
            only_the_first(&placeholder, of(STANDARD.encode(bytes)), "base64");
            only_the_first(&placeholder, of(URL_SAFE.encode(bytes)), "base64-url-safe");
            let json = serde_json::json!({ text: text }).to_string();
            only_the_first(&placeholder, of(json), "hstore as JSON");
            let raw = BinaryArray::from(vec![Some(bytes), Some(b"x".as_slice()), None]);
            only_the_first(&placeholder, Arc::new(raw), "bytea");
            let numbers = || bytes.iter().map(|b| i64::from(*b)).collect::<Vec<_>>();
            only_the_first(&placeholder, lists!(Int64Builder::new(), numbers(), 7), "int8[]");
            let days = bytes.iter().map(|b| i32::from(*b)).collect::<Vec<_>>();
            only_the_first(&placeholder, lists!(Date32Builder::new(), days, 7), "date[]");
            let floats = bytes.iter().map(|b| f64::from(*b)).collect::<Vec<_>>();
            only_the_first(&placeholder, lists!(Float64Builder::new(), floats, -0.5), "float8[]");
            for (scale, unit) in [(0, 1), (4, 10_000), (4, 1)] {
                let decimal = Decimal128Builder::new().with_data_type(DataType::Decimal128(38, scale));
                let values = numbers().into_iter().map(|n| i128::from(n) * unit).collect::<Vec<_>>();
                only_the_first(&placeholder, lists!(decimal, values, 7), "numeric[]");
            }
            let texts: Vec<String> = numbers().iter().map(ToString::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            only_the_first(&placeholder, lists!(StringBuilder::new(), texts, "7"), "numeric[] as text");
            only_the_first(&placeholder, lists!(StringBuilder::new(), vec![text], "x"), "text[]");
            let uuid = named_uuid(bytes);
            let other = "b68a35a7-17ad-35b3-af2a-ae46edb4545b";
            only_the_first(&placeholder, lists!(StringBuilder::new(), vec![uuid.as_str()], other), "uuid[]");
            let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
            for (key, value) in [(text, text), (text, "x")] {
                map.keys().append_value(key);
                map.values().append_value(value);
                map.append(true).expect("an entry");
            }
            map.append(false).expect("null");
            only_the_first(&placeholder, Arc::new(map.finish()), "hstore");
        }
    }

    #[test]
    fn the_uuid_is_the_one_that_debezium_writes() {
        assert_eq!(named_uuid(b"__debezium_unavailable_value"), "b68a35a7-17ad-35b3-af2a-ae46edb4545a");
    }
}
