//! Compares two sets of rows by key: missing, surplus and changed rows.
//!
//! Values must be exactly equal, a DOUBLE bit for bit: no model may sum doubles, and every other operation of
//! SQL gives the same bits in every plan of one engine. Two NaN values are equal.

use ahash::AHashMap;
use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// How many offending keys are named; all are counted.
const NAMED: usize = 5;

/// The difference between the rows that a table must hold and the rows that it holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Number of expected rows.
    pub expected: usize,
    /// Number of actual rows.
    pub actual: usize,
    /// Expected rows that are not there.
    pub missing: usize,
    /// Rows that were not expected, duplicates included.
    pub extra: usize,
    /// Rows with the right key but other values.
    pub changed: usize,
    /// Numbers that differ only in their last digits, if that is allowed.
    pub rounded: usize,
    /// The first offending keys, each with its fault.
    pub named: Vec<String>,
}
impl Difference {
    /// Whether both sides have the same rows.
    pub fn is_empty(&self) -> bool {
        self.missing + self.extra + self.changed == 0
    }
    /// Adds another difference to this one.
    pub fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.actual += other.actual;
        self.missing += other.missing;
        self.extra += other.extra;
        self.changed += other.changed;
        self.rounded += other.rounded;
        self.named.extend(other.named);
        self.named.truncate(NAMED);
    }
    fn name(&mut self, what: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(what());
        }
    }
}

/// Compares two sets of rows by `keys`, over the columns of `columns`. Rows and batches may come in any
/// order.
pub fn compare(
    columns: &SchemaRef,
    keys: &[String],
    expected: &[RecordBatch],
    actual: &[RecordBatch],
) -> Result<Difference> {
    sides(columns, keys, expected, actual, false)
}

/// Like [`compare`], for rows of another engine that rounds differently: numbers may differ in their last
/// digits, and these are counted.
pub fn compare_rounded(
    columns: &SchemaRef,
    keys: &[String],
    expected: &[RecordBatch],
    actual: &[RecordBatch],
) -> Result<Difference> {
    sides(columns, keys, expected, actual, true)
}

fn sides(
    columns: &SchemaRef,
    keys: &[String],
    expected: &[RecordBatch],
    actual: &[RecordBatch],
    rounded: bool,
) -> Result<Difference> {
    let expected = Side::new(columns, keys, expected).context("the recomputed rows")?;
    let actual = Side::new(columns, keys, actual).context("the rows of the table")?;
    let mut difference =
        Difference { expected: expected.rows.len(), actual: actual.rows.len(), ..Default::default() };
    let mut open: AHashMap<&OwnedRow, Vec<usize>> = AHashMap::with_capacity(expected.rows.len());
    for (at, key) in expected.rows.iter().enumerate() {
        open.entry(key).or_default().push(at);
    }
    for (at, key) in actual.rows.iter().enumerate() {
        match open.get_mut(key).and_then(Vec::pop) {
            None => {
                difference.extra += 1;
                difference
                    .name(|| format!("{} is there and must not be (or is there twice)", actual.key(at)));
            }
            Some(twin) => {
                let (unequal, near) = first_unequal(&expected, twin, &actual, at, rounded);
                difference.rounded += near;
                if let Some(column) = unequal {
                    difference.changed += 1;
                    difference.name(|| {
                        format!(
                            "{} has `{}` = {} where {} is right",
                            actual.key(at),
                            columns.field(column).name(),
                            actual.text(column, at),
                            expected.text(column, twin)
                        )
                    });
                }
            }
        }
    }
    for at in open.into_values().flatten() {
        difference.missing += 1;
        difference.name(|| format!("{} is missing", expected.key(at)));
    }
    Ok(difference)
}

/// One side as one batch, with its keys in a comparable form.
struct Side {
    batch: RecordBatch,
    key_columns: Vec<usize>,
    rows: Vec<OwnedRow>,
}
impl Side {
    fn new(columns: &SchemaRef, keys: &[String], batches: &[RecordBatch]) -> Result<Self> {
        let batch = conform_all(columns, batches)?;
        let key_columns = keys.iter().map(|key| Ok(columns.index_of(key)?)).collect::<Result<Vec<_>>>()?;
        let fields = key_columns.iter().map(|&at| SortField::new(columns.field(at).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let key_arrays: Vec<ArrayRef> = key_columns.iter().map(|&at| batch.column(at).clone()).collect();
        let rows = if key_arrays.is_empty() {
            Vec::new()
        } else {
            converter.convert_columns(&key_arrays)?.iter().map(|row| row.owned()).collect()
        };
        Ok(Self { batch, key_columns, rows })
    }
    fn key(&self, at: usize) -> String {
        let schema = self.batch.schema();
        let part = |&column: &usize| format!("{}={}", schema.field(column).name(), self.text(column, at));
        self.key_columns.iter().map(part).collect::<Vec<_>>().join(" ")
    }
    fn text(&self, column: usize, at: usize) -> String {
        text(self.batch.column(column), at)
    }
}

/// The columns of `schema`, in its order and types.
fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let column = |field: &arrow::datatypes::FieldRef| -> Result<ArrayRef> {
        let found =
            batch.column_by_name(field.name()).with_context(|| format!("column `{}`", field.name()))?;
        let options = CastOptions { safe: false, ..CastOptions::default() };
        Ok(cast_with_options(found, field.data_type(), &options)?)
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Brings batches to the columns of `schema` and concatenates them.
pub fn conform_all(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let conformed = batches.iter().map(|batch| conform(schema, batch)).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(schema, &conformed)?)
}

/// The first column that differs, and how many numbers before it differ only by rounding.
fn first_unequal(left: &Side, l: usize, right: &Side, r: usize, rounded: bool) -> (Option<usize>, usize) {
    let mut near = 0;
    for column in 0..left.batch.num_columns() {
        let (a, b) = (left.batch.column(column), right.batch.column(column));
        if same(a, l, b, r) {
            continue;
        }
        if !rounded || !is_rounded(a, l, b, r) {
            return (Some(column), near);
        }
        near += 1;
    }
    (None, near)
}

/// Whether two numbers differ by no more than rounding explains.
fn is_rounded(a: &ArrayRef, l: usize, b: &ArrayRef, r: usize) -> bool {
    if a.is_null(l) || b.is_null(r) {
        return false;
    }
    match a.data_type() {
        DataType::Float64 => {
            let (a, b) = (a.as_primitive::<Float64Type>().value(l), b.as_primitive::<Float64Type>().value(r));
            (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        DataType::Decimal128(_, _) => {
            let (a, b) =
                (a.as_primitive::<Decimal128Type>().value(l), b.as_primitive::<Decimal128Type>().value(r));
            let apart = a.abs_diff(b);
            // A double has sixteen digits.
            apart <= 1 || apart <= a.unsigned_abs().max(b.unsigned_abs()) / 1_000_000_000_000_000
        }
        _ => false,
    }
}

/// Whether two columns of one type hold the same value in these rows.
pub fn same(a: &ArrayRef, l: usize, b: &ArrayRef, r: usize) -> bool {
    if a.is_null(l) || b.is_null(r) {
        return a.is_null(l) && b.is_null(r);
    }
    if *a.data_type() == DataType::Float64 {
        let (a, b) = (a.as_primitive::<Float64Type>().value(l), b.as_primitive::<Float64Type>().value(r));
        return a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    }
    a.slice(l, 1).to_data() == b.slice(r, 1).to_data()
}

/// Prints values of a batch as text.
pub struct Columns<'a>(&'a RecordBatch);
impl<'a> Columns<'a> {
    /// For the rows of a batch.
    pub fn new(batch: &'a RecordBatch) -> Self {
        Self(batch)
    }
    /// These columns of a row as `a=1 b=2`.
    pub fn row(&self, columns: &[String], row: usize) -> String {
        let part = |name: &String| {
            let text = self.0.column_by_name(name).map_or_else(|| "?".to_owned(), |c| text(c, row));
            format!("{name}={text}")
        };
        columns.iter().map(part).collect::<Vec<_>>().join(" ")
    }
}

/// One value as text.
pub fn text(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    ArrayFormatter::try_new(column.as_ref(), &options)
        .map_or_else(|_| "?".to_owned(), |formatter| formatter.value(row).to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(rows: &[(i64, Option<&str>, f64)]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("rate", DataType::Float64, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0))),
                Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>()),
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
            ],
        )
        .expect("columns fit")
    }
    fn difference(expected: &RecordBatch, actual: &[RecordBatch]) -> Difference {
        compare(&expected.schema(), &["id".to_owned()], std::slice::from_ref(expected), actual)
            .expect("comparable")
    }

    #[test]
    fn the_same_rows_in_another_order_and_other_batches_are_the_same() {
        let expected = batch(&[(1, Some("a"), 0.3), (2, None, 1.0)]);
        let actual = [batch(&[(2, None, 1.0)]), batch(&[(1, Some("a"), 0.3)])];
        assert!(difference(&expected, &actual).is_empty());
    }

    #[test]
    fn a_missing_a_doubled_and_a_changed_row_are_named() {
        let expected = batch(&[(1, Some("a"), 1.0), (2, Some("b"), 1.0), (3, None, 1.0)]);
        let found =
            difference(&expected, &[batch(&[(1, Some("a"), 1.0), (1, Some("a"), 1.0), (3, Some("c"), 1.0)])]);
        assert_eq!((found.missing, found.extra, found.changed), (1, 1, 1));
        let text = found.named.join("\n");
        assert!(text.contains("id=2 is missing"), "{text}");
        assert!(text.contains("id=1 is there and must not be"), "{text}");
        assert!(text.contains("id=3 has `name` = c where NULL is right"), "{text}");
    }

    #[test]
    fn a_double_off_by_its_last_bit_differs_and_no_number_is_no_number() {
        let of =
            |value: f64, stored: f64| difference(&batch(&[(1, None, value)]), &[batch(&[(1, None, stored)])]);
        assert_eq!(of(0.3, 0.1 + 0.2).changed, 1);
        assert_eq!(of(0.0, -0.0).changed, 1);
        assert!(of(f64::NAN, f64::NAN).is_empty());
    }
}
