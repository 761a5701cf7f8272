//! Columns of a bronze batch: which ones bronze adds, and access by path.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use model::column;

/// True if bronze adds this column.
pub fn is_meta(name: &str) -> bool {
    column::OF_BRONZE.contains(&name)
}

/// A field of a struct column; null where the struct is null.
pub fn child(parent: &StructArray, name: &str) -> Option<ArrayRef> {
    let column = parent.column_by_name(name)?;
    let Some(parent) = parent.nulls().filter(|n| n.null_count() > 0) else { return Some(Arc::clone(column)) };
    let nulls = NullBuffer::union(Some(parent), column.nulls());
    let data = column.to_data().into_builder().nulls(nulls);
    Some(arrow::array::make_array(data.build().expect("the column as it was, with as many nulls as rows")))
}

/// A value by its dotted path.
pub fn path(batch: &RecordBatch, dotted: &str) -> Option<ArrayRef> {
    let mut parts = dotted.split('.');
    let mut column = Arc::clone(batch.column_by_name(parts.next()?)?);
    for part in parts {
        column = child(column.as_struct_opt()?, part)?;
    }
    Some(column)
}

/// A column as text.
pub fn text(column: Option<&ArrayRef>) -> Result<Option<StringArray>, ArrowError> {
    let Some(column) = column else { return Ok(None) };
    Ok(Some(arrow::compute::cast(column, &DataType::Utf8)?.as_string::<i32>().clone()))
}
