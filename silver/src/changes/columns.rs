//! Columns of a bronze batch: which are bronze's own, what lies below a path, where a placeholder stands.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::UNCHANGED;

/// Whether a bronze column is one of those that bronze adds.
pub fn is_meta(name: &str) -> bool {
    matches!(
        name,
        "_keys"
            | "_key"
            | "_topic_id"
            | "_partition"
            | "_offset"
            | "_timestamp"
            | "_headers"
            | "_schema_id"
            | "_epoch"
            | "_redrive"
            | "_ingested_at"
            | "_error"
            | "_raw"
            | "_ingested_date"
    )
}

/// A field of a struct column, null where the struct is.
pub fn child(parent: &StructArray, name: &str) -> Option<ArrayRef> {
    let column = parent.column_by_name(name)?;
    let Some(parent) = parent.nulls().filter(|n| n.null_count() > 0) else { return Some(Arc::clone(column)) };
    let nulls = NullBuffer::union(Some(parent), column.nulls());
    let data = column.to_data().into_builder().nulls(nulls);
    Some(arrow::array::make_array(data.build().ok()?))
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

/// Where a column holds the placeholder. `None`: nowhere.
pub fn placeholders(column: &ArrayRef) -> Result<Option<BooleanArray>, ArrowError> {
    let mask = match column.data_type() {
        DataType::Utf8 => cmp::eq(column.as_string::<i32>(), &StringArray::new_scalar(UNCHANGED))?,
        DataType::Binary => {
            let wanted = arrow::array::BinaryArray::new_scalar(UNCHANGED.as_bytes());
            cmp::eq(column.as_binary::<i32>(), &wanted)?
        }
        DataType::List(item) if *item.data_type() == DataType::Utf8 => {
            let list = column.as_list::<i32>();
            let single = |row: usize| {
                list.is_valid(row) && list.value_length(row) == 1 && {
                    let item = list.value(row);
                    item.is_valid(0) && item.as_string::<i32>().value(0) == UNCHANGED
                }
            };
            (0..list.len()).map(|row| Some(single(row))).collect()
        }
        _ => return Ok(None),
    };
    if mask.true_count() == 0 {
        return Ok(None);
    }
    Ok(Some(if mask.null_count() == 0 { mask } else { arrow::compute::prep_null_mask_filter(&mask) }))
}
