//! Converts rows of one schema to another.
//!
//! A file keeps the schema it was written with, and the table's schema may have grown since. Columns and struct
//! fields are matched by name at every depth, and missing ones are null. A value is cast only where every value
//! fits: an int to a wider int, a decimal to more digits.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::error::ArrowError;

/// `batch` with exactly the columns of `schema`.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref().fields() == schema.fields() {
        return batch.clone().with_schema(schema.clone());
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => array(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// One column cast to another type. A value that does not fit is an error, never a null.
pub(crate) fn array(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    match (column.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let from = column.as_any().downcast_ref::<StructArray>().ok_or_else(|| wrong(column))?;
            Ok(Arc::new(structure(from, fields)?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let from = column.as_any().downcast_ref::<ListArray>().ok_or_else(|| wrong(column))?;
            let values = array(from.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(
                item.clone(),
                from.offsets().clone(),
                values,
                from.nulls().cloned(),
            )?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let from = column.as_any().downcast_ref::<MapArray>().ok_or_else(|| wrong(column))?;
            let DataType::Struct(fields) = entries.data_type() else { return Err(wrong(column)) };
            let pairs = pairs(from, fields)?;
            let (offsets, nulls) = (from.offsets().clone(), from.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, *sorted)?))
        }
        (DataType::Null, _) => Ok(new_null_array(to, column.len())),
        _ => cast_with_options(column, to, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}

fn structure(from: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let child = |field: &Arc<Field>| match from.column_by_name(field.name()) {
        Some(column) => array(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), from.len())),
    };
    let children = fields.iter().map(child).collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields.clone(), children, from.nulls().cloned(), from.len())
}

/// Matches keys and values of a map by their order: writers name them differently.
fn pairs(from: &MapArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = [from.keys(), from.values()];
    let columns =
        columns.iter().zip(fields).map(|(c, f)| array(c, f.data_type())).collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new(fields.clone(), columns, None)
}

fn wrong(column: &ArrayRef) -> ArrowError {
    ArrowError::CastError(format!("array is not what its type {} says", column.data_type()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Int32Array, Int64Array, StringViewArray};
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;

    #[test]
    fn missing_columns_are_null_and_ints_widen() {
        let batch = RecordBatch::try_from_iter([
            ("s", Arc::new(StringViewArray::from(vec!["a", "b"])) as ArrayRef),
            ("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
        ])
        .expect("valid");
        let field = |name: &str, t| Field::new(name, t, true);
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            field("n", DataType::Int64),
            field("new", DataType::Utf8),
            field("s", DataType::Utf8),
        ]));
        let rows = conform(&batch, &schema).expect("conforms");
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(rows.column(1).null_count(), 2);
        assert_eq!(rows.column(2).as_string::<i32>().value(1), "b");
    }

    #[test]
    fn a_struct_gains_a_field_and_keeps_its_nulls() {
        let have: Fields = vec![Field::new("id", DataType::Int64, true)].into();
        let want: Fields =
            vec![Field::new("id", DataType::Int64, true), Field::new("x", DataType::Utf8, true)].into();
        let rows = StructArray::new(
            have,
            vec![Arc::new(Int64Array::from(vec![1, 2]))],
            Some(vec![true, false].into()),
        );
        let rows = array(&(Arc::new(rows) as ArrayRef), &DataType::Struct(want)).expect("conforms");
        assert_eq!((rows.null_count(), rows.as_struct().column(1).null_count()), (1, 2));
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let wide = Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef;
        assert!(array(&wide, &DataType::Int32).is_err());
    }
}
