//! Expressions over a batch in which single rows may fail.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat, prep_null_mask_filter};
use arrow::datatypes::DataType;
use query::Error;

/// A column of `kind`; null, and reported with its row and message, where it cannot be computed.
pub fn column(
    batch: &RecordBatch,
    kind: &DataType,
    compute: impl Fn(&RecordBatch) -> Result<ArrayRef, Error>,
    mut failed: impl FnMut(usize, String),
) -> ArrayRef {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let typed = |batch: &RecordBatch| {
        let column = compute(batch).map_err(|e| reason(&e))?;
        if column.data_type() == kind {
            return Ok(column);
        }
        cast_with_options(&column, kind, &options).map_err(|e| e.to_string())
    };
    let mut parts = Vec::new();
    halve(batch, 0, kind, &typed, &mut parts, &mut failed);
    match parts.as_slice() {
        [one] => Arc::clone(one),
        _ => {
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).unwrap_or_else(|error| {
                // No row keeps a value that is not its own: they are all put aside with the reason.
                (0..batch.num_rows()).for_each(|row| failed(row, error.to_string()));
                new_null_array(kind, batch.num_rows())
            })
        }
    }
}

/// A mask; false, and reported, where it cannot be computed.
pub fn mask(
    batch: &RecordBatch,
    compute: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>,
    failed: impl FnMut(usize, String),
) -> BooleanArray {
    let mask = column(batch, &DataType::Boolean, |b| Ok(Arc::new(compute(b)?)), failed);
    let mask = mask.as_boolean();
    if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) }
}

/// Whole if it can be, else each half by itself, down to the rows that fail.
fn halve(
    batch: &RecordBatch,
    start: usize,
    kind: &DataType,
    compute: &dyn Fn(&RecordBatch) -> Result<ArrayRef, String>,
    parts: &mut Vec<ArrayRef>,
    failed: &mut dyn FnMut(usize, String),
) {
    match compute(batch) {
        Ok(column) => parts.push(column),
        Err(reason) if batch.num_rows() == 1 => {
            failed(start, reason);
            parts.push(new_null_array(kind, 1));
        }
        Err(_) if batch.num_rows() == 0 => parts.push(new_null_array(kind, 0)),
        Err(_) => {
            let half = batch.num_rows() / 2;
            halve(&batch.slice(0, half), start, kind, compute, parts, failed);
            halve(&batch.slice(half, batch.num_rows() - half), start + half, kind, compute, parts, failed);
        }
    }
}

/// The innermost message: what is wrong with the value.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;

    #[test]
    fn only_the_rows_that_fail_are_null() {
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, true)]));
        let texts: StringArray =
            (0..100).map(|n| Some(if n == 41 { "x".to_owned() } else { n.to_string() })).collect();
        let batch = RecordBatch::try_new(schema, vec![Arc::new(texts)]).expect("fits");
        let mut bad = Vec::new();
        let compute = |b: &RecordBatch| Ok(Arc::clone(b.column(0)));
        let numbers = column(&batch, &DataType::Int64, compute, |row, why| bad.push((row, why)));
        let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
        assert_eq!((numbers.len(), numbers.null_count(), numbers.value(99)), (100, 1, 99));
        assert!(bad.len() == 1 && bad[0].0 == 41 && bad[0].1.contains("'x'"), "{bad:?}");
    }
}
