//! Reads record headers, such as the one with the key that a row had before.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int64Array, RecordBatch, RecordBatchOptions, StringArray, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use model::{column, text};
use serde_json::value::RawValue;

/// The headers of a batch: the offsets of each row's headers, names and values.
struct Headers {
    column: ArrayRef,
    offsets: Vec<usize>,
    names: StringArray,
    values: BinaryArray,
}
impl Headers {
    fn of(bronze: &RecordBatch) -> Option<Self> {
        let column = bronze.column_by_name(column::HEADERS)?;
        let start =
            |&offset: &i32| usize::try_from(offset).expect("arrow checks that offsets are not negative");
        let starts = |offsets: &[i32]| offsets.iter().map(start).collect();
        let (entries, offsets): (StructArray, Vec<usize>) = if let Some(map) = column.as_map_opt() {
            (map.entries().clone(), starts(map.value_offsets()))
        } else {
            let list = column.as_list_opt::<i32>()?;
            (list.values().as_struct_opt()?.clone(), starts(list.value_offsets()))
        };
        let names: &StringArray = entries.columns().first()?.as_string_opt()?;
        let values: &BinaryArray = entries.columns().get(1)?.as_binary_opt()?;
        Some(Self { column: Arc::clone(column), offsets, names: names.clone(), values: values.clone() })
    }
    /// The index of a row's last header of that name.
    fn last(&self, row: usize, name: &str) -> Option<usize> {
        let is =
            |&i: &usize| self.names.is_valid(i) && self.names.value(i) == name && self.values.is_valid(i);
        let mut span = self.offsets[row]..self.offsets[row + 1];
        span.rfind(is).filter(|_| self.column.is_valid(row))
    }
}

/// The rows that have header `name` and are `wanted`, with its bytes.
pub fn values(bronze: &RecordBatch, name: &str, wanted: impl Fn(usize) -> bool) -> Vec<(usize, Vec<u8>)> {
    let Some(headers) = Headers::of(bronze) else { return Vec::new() };
    let found = |row| Some((row, headers.values.value(headers.last(row, name)?).to_vec()));
    (0..bronze.num_rows()).filter(|row| wanted(*row)).filter_map(found).collect()
}

/// For each row, whether it has header `name`.
pub fn has(bronze: &RecordBatch, name: &str) -> Vec<bool> {
    let Some(headers) = Headers::of(bronze) else { return vec![false; bronze.num_rows()] };
    (0..bronze.num_rows()).map(|row| headers.last(row, name).is_some()).collect()
}

/// One row of `schema` per key. A key is a JSON object with the columns `names`, bare or below `payload`. An
/// unreadable value is null, and a null key finds nothing.
pub fn key_rows(
    keys: &[(usize, Vec<u8>)],
    names: &[String],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let objects: Vec<Object<'_>> = keys.iter().map(|(_, text)| object(text)).collect();
    let column = |field: &Arc<Field>| {
        if !names.contains(field.name()) {
            return new_null_array(field.data_type(), keys.len());
        }
        let texts: Vec<Option<String>> =
            objects.iter().map(|object| as_text(object.get(field.name().as_str())?)).collect();
        column(field.data_type(), &texts)
    };
    let columns = schema.fields().iter().map(column).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(keys.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
}

/// The members of a JSON object as raw text, because a number would change if it went through a double.
type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn object(json: &[u8]) -> Object<'_> {
    let whole = members(json);
    match whole.get("payload") {
        Some(payload) => members(payload.get().as_bytes()),
        None => whole,
    }
}

fn members(json: &[u8]) -> Object<'_> {
    serde_json::from_slice(json).unwrap_or_default()
}

/// A member as text. `None` for null.
fn as_text(member: &RawValue) -> Option<String> {
    match member.get() {
        "null" => None,
        quoted if quoted.starts_with('"') => serde_json::from_str(quoted).ok(),
        other => Some(other.to_owned()),
    }
}

/// Converts texts to a column; a text that does not fit exactly is null.
fn column(data_type: &DataType, texts: &[Option<String>]) -> ArrayRef {
    fn each<T>(texts: &[Option<String>], read: impl Fn(&str) -> Option<T>) -> Vec<Option<T>> {
        texts.iter().map(|text| read(text.as_deref()?)).collect()
    }
    let integer = |text: &str| text::integer(text).ok();
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(each(texts, integer))),
        DataType::Boolean => Arc::new(BooleanArray::from(each(texts, |t| text::boolean(t).ok()))),
        DataType::Float64 => Arc::new(Float64Array::from(each(texts, |t| text::double(t).ok()))),
        DataType::Utf8 => Arc::new(StringArray::from_iter(texts)),
        // A day may also be a number.
        DataType::Date32 => {
            let days = |t: &str| text::date(t).ok().or_else(|| i32::try_from(integer(t)?).ok());
            Arc::new(Date32Array::from(each(texts, days)))
        }
        // An instant may also be a number of microseconds.
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = each(texts, |t| integer(t).or_else(|| text::instant(t).ok()));
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let digits = |t: &str| text::decimal(t, u32::from(*precision), u32::try_from(*scale).ok()?).ok();
            let digits = Decimal128Array::from(each(texts, digits)).with_data_type(data_type.clone());
            Arc::new(digits)
        }
        // A key of another type finds nothing.
        other => new_null_array(other, texts.len()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any key is read as it was written: bare or below `payload`, as number or as text.
        #[test]
        fn an_old_key_is_read_exactly(long: i64, digits in -99_999_999_999_999_999_999_999_999_999_999_999_999_i128..=99_999_999_999_999_999_999_999_999_999_999_999_999,
                                      name: String, days in -700_000..2_900_000_i32, quoted: bool, wrapped: bool) {
            let decimal = text::print_decimal(digits, 4);
            let number = if quoted { format!("\"{decimal}\"") } else { decimal };
            let day = if quoted { format!("\"{}\"", text::print_date(days)) } else { days.to_string() };
            let key = format!("{{\"id\":{long},\"d\":{number},\"n\":{},\"t\":{day}}}", serde_json::json!(name));
            let key = if wrapped { format!("{{\"schema\":{{}},\"payload\":{key}}}") } else { key };
            let schema: SchemaRef = Arc::new(Schema::new(vec![
                Field::new("id", DataType::Int64, true), Field::new("d", DataType::Decimal128(38, 4), true),
                Field::new("n", DataType::Utf8, true), Field::new("t", DataType::Date32, true),
                Field::new("other", DataType::Int64, true),
            ]));
            let names = ["id", "d", "n", "t"].map(str::to_owned);
            let rows = key_rows(&[(3, key.into_bytes())], &names, &schema).expect("rows");
            let expected: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(vec![long])),
                Arc::new(Decimal128Array::from(vec![digits]).with_data_type(DataType::Decimal128(38, 4))),
                Arc::new(StringArray::from(vec![name])),
                Arc::new(Date32Array::from(vec![days])),
                new_null_array(&DataType::Int64, 1),
            ];
            prop_assert_eq!(rows.columns(), expected.as_slice());
        }
    }

    #[test]
    fn what_cannot_be_read_is_null() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        for key in ["", "[]", "{\"id\":1.5}", "{\"id\":\"x\"}", "{\"payload\":7}", "{\"id\":null}", "\u{0}"] {
            let rows = key_rows(&[(0, key.into())], &["id".to_owned()], &schema).expect("rows");
            assert_eq!(rows.column(0).null_count(), 1, "{key}");
        }
    }
}
