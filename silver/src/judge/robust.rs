//! Evaluates expressions over a batch in which single rows may fail.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat, prep_null_mask_filter};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use query::Error;

/// A column of `kind`. A value that cannot be computed is null and reported with its row and message.
///
/// # Errors
/// The computed parts are too large for one column. That is not the fault of a row, and a smaller batch may
/// hold the same rows.
pub fn column(
    batch: &RecordBatch,
    kind: &DataType,
    compute: impl Fn(&RecordBatch) -> Result<ArrayRef, Error>,
    mut failed: impl FnMut(usize, String),
) -> Result<ArrayRef, ArrowError> {
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
        [one] => Ok(Arc::clone(one)),
        _ => concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
    }
}

/// A mask. A value that cannot be computed is false and reported. Returns the same errors as [`column`].
pub fn mask(
    batch: &RecordBatch,
    compute: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>,
    failed: impl FnMut(usize, String),
) -> Result<BooleanArray, ArrowError> {
    let mask = column(batch, &DataType::Boolean, |b| Ok(Arc::new(compute(b)?)), failed)?;
    let mask = mask.as_boolean();
    Ok(if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) })
}

/// Computes the whole batch if possible, else each half, down to the failing rows.
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

/// The innermost message, which says what is wrong with the value.
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
        let numbers =
            column(&batch, &DataType::Int64, compute, |row, why| bad.push((row, why))).expect("small");
        let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
        assert_eq!((numbers.len(), numbers.null_count(), numbers.value(99)), (100, 1, 99));
        assert!(bad.len() == 1 && bad[0].0 == 41 && bad[0].1.contains("'x'"), "{bad:?}");
    }

    /// A dictionary with few values replaces a column of two gigabytes.
    #[test]
    fn parts_that_are_too_large_together_are_an_error_and_no_column_of_nulls() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let numbers = Int64Array::from_iter_values(0..200);
        let batch = RecordBatch::try_new(schema, vec![Arc::new(numbers)]).expect("fits");
        let kind = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let compute = |b: &RecordBatch| {
            let texts = cast_with_options(b.column(0), &DataType::Utf8, &strict);
            let fits = texts.and_then(|texts| cast_with_options(&texts, &kind, &strict));
            fits.map_err(|source| Error::Shape { what: "a part".to_owned(), source })
        };
        let mut failed = 0;
        column(&batch, &kind, compute, |_, _| failed += 1).expect_err("200 texts, 128 places");
        assert_eq!(failed, 0, "it is no fault of a row");
    }
}
