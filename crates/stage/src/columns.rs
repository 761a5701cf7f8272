//! Rows in the columns that somebody else expects.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// Batches in exactly the columns of `schema`, by name. Extra columns go; a missing one is an error.
pub fn columns_of(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    let one = |batch: &RecordBatch| {
        let columns = schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name());
            let missing = || ArrowError::SchemaError(format!("there is no column `{}`", field.name()));
            let column = column.ok_or_else(missing)?;
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                arrow::compute::cast(column, field.data_type())
            }
        });
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &rows)
    };
    batches.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        let field = |(name, kind): &(&str, DataType)| Field::new(*name, kind.clone(), true);
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_are_found_by_name_and_cast_and_a_missing_one_is_named() {
        let held = schema(&[("extra", DataType::Utf8), ("id", DataType::Int32)]);
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["x"])), Arc::new(Int32Array::from(vec![7]))];
        let rows = [RecordBatch::try_new(held, columns).expect("two columns")];
        let wanted = schema(&[("id", DataType::Int64)]);
        let found = columns_of(&rows, &wanted).expect("found").remove(0);
        assert_eq!(found.schema(), wanted);
        assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[7]);
        let error = columns_of(&rows, &schema(&[("other", DataType::Utf8)])).expect_err("missing");
        assert!(error.to_string().contains("`other`"), "{error}");
    }
}
