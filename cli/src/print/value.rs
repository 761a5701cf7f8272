//! One value as text that says exactly what it is.
//!
//! | type | JSON | CSV |
//! | --- | --- | --- |
//! | null | `null` | nothing between the commas |
//! | text | a text | the text, in quotes where it is empty or has to be |
//! | integer, decimal | a number with all of its digits | the same |
//! | float, double | a number that reads back as it; the texts `NaN`, `Infinity`, `-Infinity` | the same |
//! | boolean | `true`, `false` | the same |
//! | timestamp | a text `2026-01-31T23:59:59.123456Z`; without `Z` if it has no zone | the same |
//! | date, time | a text `2026-01-31`, `23:59:59.5` | the same |
//! | bytes | a text of two lowercase hexadecimal digits a byte | the same |
//! | list, struct | an array, an object | its JSON as a text |
//! | map | an object; an array of `key` and `value` where keys are no text | its JSON as a text |

use anyhow::{Result, bail};
use arrow::array::{
    Array, AsArray as _, Float32Array, Float64Array, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Fields, Float16Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use model::text::{self, BytesForm};

/// The text of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Printed {
    /// Null.
    Null,
    /// JSON without quotes.
    Bare(String),
    /// A text.
    Text(String),
}

/// The value in one row of an array.
pub(super) fn value(array: &dyn Array, row: usize) -> Result<Printed> {
    use DataType as T;
    if array.is_null(row) {
        return Ok(Printed::Null);
    }
    let bare = |text: String| Ok(Printed::Bare(text));
    let words = |text: &str| Ok(Printed::Text(text.to_owned()));
    let hex = |raw: &[u8]| Ok(Printed::Text(text::print_bytes(raw, BytesForm::Hex).unwrap_or_default()));
    match array.data_type() {
        T::Null => Ok(Printed::Null),
        T::Boolean => bare(array.as_boolean().value(row).to_string()),
        T::Int8 => bare(array.as_primitive::<Int8Type>().value(row).to_string()),
        T::Int16 => bare(array.as_primitive::<Int16Type>().value(row).to_string()),
        T::Int32 => bare(array.as_primitive::<Int32Type>().value(row).to_string()),
        T::Int64 => bare(array.as_primitive::<Int64Type>().value(row).to_string()),
        T::UInt8 => bare(array.as_primitive::<UInt8Type>().value(row).to_string()),
        T::UInt16 => bare(array.as_primitive::<UInt16Type>().value(row).to_string()),
        T::UInt32 => bare(array.as_primitive::<UInt32Type>().value(row).to_string()),
        T::UInt64 => bare(array.as_primitive::<UInt64Type>().value(row).to_string()),
        T::Float16 => Ok(float(array.as_primitive::<Float16Type>().value(row).to_f32())),
        T::Float32 => Ok(float(cast::<Float32Array>(array)?.value(row))),
        T::Float64 => Ok(double(cast::<Float64Array>(array)?.value(row))),
        T::Decimal128(..) => bare(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        T::Decimal256(..) => bare(array.as_primitive::<Decimal256Type>().value_as_string(row)),
        T::Utf8 => words(cast::<StringArray>(array)?.value(row)),
        T::LargeUtf8 => words(array.as_string::<i64>().value(row)),
        T::Utf8View => words(array.as_string_view().value(row)),
        T::Binary => hex(array.as_binary::<i32>().value(row)),
        T::LargeBinary => hex(array.as_binary::<i64>().value(row)),
        T::BinaryView => hex(array.as_binary_view().value(row)),
        T::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        T::Date32 => words(&text::print_date(array.as_primitive::<Date32Type>().value(row))),
        T::Time32(unit) | T::Time64(unit) => words(&text::print_time(time(array, *unit, row))),
        T::Timestamp(unit, zone) => words(&instant(array, *unit, zone.is_some(), row)?),
        T::List(_) => list(&array.as_list::<i32>().value(row)),
        T::LargeList(_) => list(&array.as_list::<i64>().value(row)),
        T::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row)),
        T::Struct(fields) => {
            let columns = array.as_struct().columns();
            object(fields, |at| value(columns[at].as_ref(), row))
        }
        T::Map(..) => map(&array.as_map().value(row)),
        T::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            value(dictionary.values().as_ref(), dictionary.normalized_keys()[row])
        }
        _ => {
            let options = FormatOptions::default();
            words(&ArrayFormatter::try_new(array, &options)?.value(row).try_to_string()?)
        }
    }
}

/// Named columns of a row as a JSON object.
pub(super) fn object(fields: &Fields, at: impl Fn(usize) -> Result<Printed>) -> Result<Printed> {
    let mut json = String::from("{");
    for (column, field) in fields.iter().enumerate() {
        if fields.iter().take(column).any(|before| before.name() == field.name()) {
            bail!("two columns are called `{}`: give one of them an alias", field.name());
        }
        if column > 0 {
            json.push(',');
        }
        json += &quoted(field.name())?;
        json.push(':');
        json += &at(column)?.json()?;
    }
    json.push('}');
    Ok(Printed::Bare(json))
}

impl Printed {
    /// As JSON.
    pub fn json(self) -> Result<String> {
        Ok(match self {
            Self::Null => "null".to_owned(),
            Self::Bare(text) => text,
            Self::Text(text) => quoted(&text)?,
        })
    }
    /// As a field of CSV. Null is empty, and an empty text is quoted.
    pub fn csv(self) -> String {
        let text = match self {
            Self::Null => return String::new(),
            Self::Bare(text) | Self::Text(text) => text,
        };
        let spaced = text.starts_with(' ') || text.ends_with(' ');
        if text.is_empty() || spaced || text.contains(['"', ',', '\n', '\r']) {
            return format!("\"{}\"", text.replace('"', "\"\""));
        }
        text
    }
}

fn quoted(text: &str) -> Result<String> {
    Ok(serde_json::to_string(text)?)
}

fn float(value: f32) -> Printed {
    let text = text::print_float(value);
    if value.is_finite() { Printed::Bare(text) } else { Printed::Text(text) }
}

fn double(value: f64) -> Printed {
    let text = text::print_double(value);
    if value.is_finite() { Printed::Bare(text) } else { Printed::Text(text) }
}

/// Nanoseconds since midnight.
fn time(array: &dyn Array, unit: TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => i64::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000_000,
        TimeUnit::Millisecond => {
            i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1_000_000
        }
        TimeUnit::Microsecond => {
            array.as_primitive::<Time64MicrosecondType>().value(row).saturating_mul(1_000)
        }
        TimeUnit::Nanosecond => array.as_primitive::<Time64NanosecondType>().value(row),
    }
}

fn instant(array: &dyn Array, unit: TimeUnit, is_zoned: bool, row: usize) -> Result<String> {
    let (ticks, a_second) = match unit {
        TimeUnit::Second => (cast::<TimestampSecondArray>(array)?.value(row), 1),
        TimeUnit::Millisecond => (cast::<TimestampMillisecondArray>(array)?.value(row), 1_000),
        TimeUnit::Microsecond => (cast::<TimestampMicrosecondArray>(array)?.value(row), 1_000_000),
        TimeUnit::Nanosecond => (cast::<TimestampNanosecondArray>(array)?.value(row), 1_000_000_000),
    };
    let nanos = ticks.rem_euclid(a_second) * (1_000_000_000 / a_second);
    Ok(text::print_instant(ticks.div_euclid(a_second), u32::try_from(nanos)?, is_zoned))
}

fn list(items: &dyn Array) -> Result<Printed> {
    let items = (0..items.len()).map(|row| value(items, row)?.json()).collect::<Result<Vec<_>>>()?;
    Ok(Printed::Bare(format!("[{}]", items.join(","))))
}

fn map(entries: &arrow::array::StructArray) -> Result<Printed> {
    let (keys, values) = (entries.column(0), entries.column(1));
    let is_text = matches!(keys.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let mut parts = Vec::with_capacity(entries.len());
    for row in 0..entries.len() {
        let (key, value) = (value(keys, row)?.json()?, value(values, row)?.json()?);
        parts.push(match is_text {
            true => format!("{key}:{value}"),
            false => format!("{{\"key\":{key},\"value\":{value}}}"),
        });
    }
    let inner = parts.join(",");
    Ok(Printed::Bare(if is_text { format!("{{{inner}}}") } else { format!("[{inner}]") }))
}

fn cast<A: 'static>(array: &dyn Array) -> Result<&A> {
    match array.as_any().downcast_ref() {
        Some(array) => Ok(array),
        None => bail!("a column of type {} is held as another", array.data_type()),
    }
}
