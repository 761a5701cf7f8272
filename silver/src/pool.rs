//! References rows of several batches, and composes folded rows from them.
//!
//! Folding copies no values; a folded row is a list of references ([`Image`]) until [`Pool::rows`] gathers
//! all rows, by column.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{
    ArrayRef, DynComparator, RecordBatch, RecordBatchOptions, make_comparator, new_null_array,
};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::fold::{Cell, Cells, Image};

/// Batches of one schema.
#[derive(Debug, Clone)]
pub struct Pool {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}
impl Pool {
    /// An empty pool.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Vec::new() }
    }
    /// The columns of every row.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    /// Adds a batch with the pool's columns. Its rows are then `RowRef { batch, row }` with the returned
    /// number.
    pub fn add(&mut self, batch: RecordBatch) -> u32 {
        debug_assert_eq!(batch.num_columns(), self.schema.fields().len());
        self.batches.push(batch);
        u32::try_from(self.batches.len() - 1).expect("a decision reads fewer than 2^32 batches")
    }
    /// One batch by its number.
    pub fn batch(&self, at: u32) -> &RecordBatch {
        &self.batches[at as usize]
    }
    /// The rows of these images, in order.
    pub fn rows<'a>(
        &self,
        images: impl ExactSizeIterator<Item = &'a Image> + Clone,
    ) -> Result<RecordBatch, ArrowError> {
        let count = images.len();
        let columns = (0..self.schema.fields().len()).map(|column| self.column(column, images.clone()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    fn column<'a>(
        &self,
        column: usize,
        images: impl Iterator<Item = &'a Image>,
    ) -> Result<ArrayRef, ArrowError> {
        let nothing = new_null_array(self.schema.field(column).data_type(), 1);
        let mut arrays: Vec<&dyn arrow::array::Array> =
            self.batches.iter().map(|b| b.column(column).as_ref()).collect();
        let missing = (arrays.len(), 0);
        arrays.push(nothing.as_ref());
        let places: Vec<(usize, usize)> = images
            .map(|image| match image.cell(column) {
                Cell::At(row) => (row.batch as usize, row.row as usize),
                Cell::Missing => missing,
            })
            .collect();
        interleave(&arrays, &places)
    }
}

/// Compares values of a pool, with one comparator per column and pair of batches.
pub struct Comparing<'a> {
    pool: &'a Pool,
    made: RefCell<AHashMap<(usize, u32, u32), DynComparator>>,
}
impl<'a> Comparing<'a> {
    /// Compares rows of `pool`.
    pub fn new(pool: &'a Pool) -> Self {
        Self { pool, made: RefCell::default() }
    }
}
impl Cells for Comparing<'_> {
    fn same(&self, column: usize, a: Cell, b: Cell) -> bool {
        let is_null = |cell: Cell| match cell {
            Cell::Missing => true,
            Cell::At(row) => self.pool.batch(row.batch).column(column).is_null(row.row as usize),
        };
        let (Cell::At(left), Cell::At(right)) = (a, b) else { return is_null(a) && is_null(b) };
        let mut made = self.made.borrow_mut();
        let comparator = made.entry((column, left.batch, right.batch)).or_insert_with(|| {
            let array = |batch: u32| self.pool.batch(batch).column(column);
            // A type that arrow cannot compare always opens a version, which loses nothing.
            make_comparator(array(left.batch), array(right.batch), SortOptions::default())
                .unwrap_or_else(|_| Box::new(|_, _| Ordering::Less))
        });
        comparator(left.row as usize, right.row as usize) == Ordering::Equal
    }
}
