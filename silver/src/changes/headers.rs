//! Record headers that say something of a row: the key it had before.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// The headers of a batch: where each row's begin and end, names and values.
struct Headers {
    column: ArrayRef,
    offsets: Vec<usize>,
    names: StringArray,
    values: BinaryArray,
}
impl Headers {
    fn of(bronze: &RecordBatch) -> Option<Self> {
        let column = bronze.column_by_name("_headers")?;
        let starts = |offsets: &[i32]| offsets.iter().map(|&o| usize::try_from(o).unwrap_or(0)).collect();
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
    /// Where the last header of that name is in a row.
    fn last(&self, row: usize, name: &str) -> Option<usize> {
        let is =
            |&i: &usize| self.names.is_valid(i) && self.names.value(i) == name && self.values.is_valid(i);
        let mut span = self.offsets[row]..self.offsets[row + 1];
        span.rfind(is).filter(|_| self.column.is_valid(row))
    }
}

/// Rows that have header `name` and are `wanted`, each with its bytes.
pub fn values(bronze: &RecordBatch, name: &str, wanted: impl Fn(usize) -> bool) -> Vec<(usize, Vec<u8>)> {
    let Some(headers) = Headers::of(bronze) else { return Vec::new() };
    let found = |row| Some((row, headers.values.value(headers.last(row, name)?).to_vec()));
    (0..bronze.num_rows()).filter(|row| wanted(*row)).filter_map(found).collect()
}

/// For each row whether it has header `name`.
pub fn has(bronze: &RecordBatch, name: &str) -> Vec<bool> {
    let Some(headers) = Headers::of(bronze) else { return vec![false; bronze.num_rows()] };
    (0..bronze.num_rows()).map(|row| headers.last(row, name).is_some()).collect()
}

/// One row of `schema` for each key, which is a JSON object with the columns `names`, bare or below
/// `payload`. What cannot be read is null, and a null key is one that nothing can be found by.
pub fn key_rows(
    keys: &[(usize, Vec<u8>)],
    names: &[String],
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let objects: Vec<serde_json::Value> = keys
        .iter()
        .map(|(_, text)| match serde_json::from_slice::<serde_json::Value>(text) {
            Ok(mut value) if value.get("payload").is_some() => value["payload"].take(),
            Ok(value) => value,
            Err(_) => serde_json::Value::Null,
        })
        .collect();
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let column = |field: &Arc<arrow::datatypes::Field>| {
        if !names.contains(field.name()) {
            return Ok(new_null_array(field.data_type(), keys.len()));
        }
        let text = |object: &serde_json::Value| match object.get(field.name()) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let texts: StringArray = objects.iter().map(text).collect();
        // A date or timestamp comes as its number of days, or of micro- or milliseconds.
        if field.data_type().is_temporal()
            && let Ok(numbers) = cast_with_options(&texts, &arrow::datatypes::DataType::Int64, &options)
            && numbers.null_count() == texts.null_count()
        {
            let numbers = match field.data_type() {
                arrow::datatypes::DataType::Date32 => {
                    cast_with_options(&numbers, &arrow::datatypes::DataType::Int32, &options)?
                }
                _ => numbers,
            };
            return cast_with_options(&numbers, field.data_type(), &options);
        }
        cast_with_options(&texts, field.data_type(), &options)
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(keys.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
}
