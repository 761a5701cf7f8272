//! Parquet files to rows.
//!
//! A row group at a time: parquet's push decoder names the bytes of its wanted columns, they are
//! fetched in one request, then decoded off the async threads, so memory is bounded by a row group and
//! no thread that serves the network decodes. A vector becomes a selection of rows before decoding:
//! deleted rows are never materialised.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowSelection, RowSelector,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;
use roaring::RoaringTreemap;

use crate::files::conform;
use crate::files::stage::at;
use crate::log::Log;
use crate::log::file::DataFile;
use crate::{Error, Result};

/// Footers kept in memory. Files never change, so a footer is never stale.
const FOOTERS: usize = 1024;
/// First guess at what holds a footer.
const TAIL: u64 = 64 * 1024;
const BATCH_ROWS: usize = 32 * 1024;

/// Which rows of a file.
#[derive(Debug, Clone)]
pub(crate) enum Pick {
    /// All, deleted ones too.
    All,
    /// All but these.
    Without(Arc<RoaringTreemap>),
    /// These alone.
    Only(Arc<RoaringTreemap>),
}

/// Reads files of a lake, keeping footers.
#[derive(Debug, Default)]
pub(crate) struct Reader(Mutex<HashMap<Path, Arc<ArrowReaderMetadata>>>);

impl Reader {
    /// The picked rows of a file, with exactly the columns of `schema`.
    pub async fn rows(
        &self,
        log: &Log,
        file: &DataFile,
        schema: &SchemaRef,
        pick: Pick,
    ) -> Result<Vec<RecordBatch>> {
        self.fold(log, file, schema, pick, Vec::new(), |rows, _, batch| rows.push(batch)).await
    }

    /// Feeds the picked rows to `step`, in order. It gets the position of a batch's first row in the
    /// file, which is only meaningful when all rows are picked.
    pub async fn fold<T, F>(
        &self,
        log: &Log,
        file: &DataFile,
        schema: &SchemaRef,
        pick: Pick,
        mut state: T,
        step: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut T, u64, RecordBatch) + Send + Sync + 'static,
    {
        let path = at(&log.dir, &file.add.path)?;
        let footer = self.footer(log, &path, file.add.size).await?;
        let plan = Arc::new(ReadPlan::new(&path, file, &footer, schema));
        let step = Arc::new(step);
        let mut first = 0;
        for group in 0..footer.metadata().num_row_groups() {
            let rows = rows_of(&path, footer.metadata().row_group(group).num_rows())?;
            if let Some(selection) = selection(&pick, first, rows) {
                let mut decoder = plan.decoder(&footer, group, selection)?;
                while let Some(rows) = plan.fetched(log, &mut decoder).await? {
                    let (plan, step) = (plan.clone(), step.clone());
                    state = runtime::cpu::run(move || {
                        plan.decode(rows, first, &mut state, step.as_ref()).map(|()| state)
                    })
                    .await?;
                }
            }
            first += rows;
        }
        Ok(state)
    }

    /// Rows in a file whose writer did not say how many.
    pub async fn count(&self, log: &Log, file: &DataFile) -> Result<u64> {
        let path = at(&log.dir, &file.add.path)?;
        let footer = self.footer(log, &path, file.add.size).await?;
        rows_of(&path, footer.metadata().file_metadata().num_rows())
    }

    async fn footer(&self, log: &Log, path: &Path, size: i64) -> Result<Arc<ArrowReaderMetadata>> {
        if let Some(known) = self.0.lock().get(path) {
            return Ok(known.clone());
        }
        let bad = |source| Error::BadFile { path: path.to_string(), source };
        let size = match u64::try_from(size) {
            Ok(known) if known > 0 => known,
            _ => log.store.size(path).await?,
        };
        // Not parquet's push decoder of footers: it subtracts the length that a damaged footer names from
        // the file's, unchecked. Nor `load_and_finish`: what the store says would come back as its text.
        let mut want = TAIL.min(size);
        let metadata = loop {
            let tail = log.store.range(path, size - want..size).await?;
            let mut reader = ParquetMetaDataReader::new();
            match reader.try_parse_sized(&tail, size) {
                Ok(()) => break reader.finish().map_err(bad)?,
                Err(ParquetError::NeedMoreData(more)) if want < size => {
                    want = (more as u64).clamp(want + 1, size)
                }
                Err(source) => return Err(bad(source)),
            }
        };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let footer = Arc::new(ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(bad)?);
        let mut kept = self.0.lock();
        if kept.len() >= FOOTERS {
            kept.clear();
        }
        kept.insert(path.clone(), footer.clone());
        Ok(footer)
    }
}

/// Ranges of a file, whole. A file that ends before them is shorter than its log or its footer says.
async fn fetch(log: &Log, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let bytes = log.store.ranges(path, ranges).await?;
    let short =
        ranges.iter().zip(&bytes).find(|(range, bytes)| range.end - range.start != bytes.len() as u64);
    match short {
        None => Ok(bytes),
        Some((range, bytes)) => {
            let fault = format!("{} bytes at offset {range:?} instead of all", bytes.len());
            Err(Error::BadFile { path: path.to_string(), source: ParquetError::EOF(fault) })
        }
    }
}

/// Rows that a footer counts.
fn rows_of(path: &Path, counted: i64) -> Result<u64> {
    u64::try_from(counted).map_err(|_| Error::BadFile {
        path: path.to_string(),
        source: ParquetError::General(format!("its footer counts {counted} rows")),
    })
}

/// How one file gives the columns asked for.
struct ReadPlan {
    path: Path,
    schema: SchemaRef,
    mask: ProjectionMask,
    /// Values that are the same in every row: the partition's.
    partition: HashMap<String, Option<String>>,
}

impl ReadPlan {
    fn new(path: &Path, file: &DataFile, footer: &ArrowReaderMetadata, schema: &SchemaRef) -> Self {
        let roots = footer.schema().fields().iter().enumerate();
        let wanted = roots.filter(|(_, f)| schema.fields().find(f.name()).is_some()).map(|(i, _)| i);
        Self {
            path: path.clone(),
            schema: schema.clone(),
            mask: ProjectionMask::roots(footer.parquet_schema(), wanted),
            partition: file.add.partition_values.clone(),
        }
    }

    /// Decodes the selected rows of one row group.
    fn decoder(
        &self,
        footer: &ArrowReaderMetadata,
        group: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetPushDecoder> {
        let builder = ParquetPushDecoderBuilder::new_with_metadata(footer.clone())
            .with_row_groups(vec![group])
            .with_projection(self.mask.clone())
            .with_batch_size(BATCH_ROWS);
        let decoder = match selection {
            Some(selection) => builder.with_row_selection(selection).build(),
            None => builder.build(),
        };
        decoder.map_err(|source| self.bad(source))
    }

    /// The rows of the decoder's group, still encoded. `None`: they were given before.
    async fn fetched(
        &self,
        log: &Log,
        decoder: &mut ParquetPushDecoder,
    ) -> Result<Option<ParquetRecordBatchReader>> {
        loop {
            match decoder.try_next_reader().map_err(|source| self.bad(source))? {
                DecodeResult::NeedsData(ranges) => {
                    let bytes = fetch(log, &self.path, &ranges).await?;
                    decoder.push_ranges(ranges, bytes).map_err(|source| self.bad(source))?;
                }
                DecodeResult::Data(rows) => return Ok(Some(rows)),
                DecodeResult::Finished => return Ok(None),
            }
        }
    }

    fn bad(&self, source: ParquetError) -> Error {
        Error::BadFile { path: self.path.to_string(), source }
    }

    fn decode<T>(
        &self,
        rows: ParquetRecordBatchReader,
        mut first: u64,
        state: &mut T,
        step: &(dyn Fn(&mut T, u64, RecordBatch) + Send + Sync),
    ) -> Result<()> {
        for batch in rows {
            let batch = batch.and_then(|b| self.complete(b)).and_then(|b| conform::conform(&b, &self.schema));
            let batch = batch.map_err(|source| Error::BadRows { table: self.path.to_string(), source })?;
            let rows = batch.num_rows() as u64;
            step(state, first, batch);
            first += rows;
        }
        Ok(())
    }

    /// Adds the partition's values, which the file does not hold.
    fn complete(&self, batch: RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
        if self.partition.is_empty() {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        let (mut fields, mut columns) = (batch.schema_ref().fields().to_vec(), batch.columns().to_vec());
        for field in self.schema.fields() {
            if let Some(value) = self.partition.get(field.name()) {
                fields.push(field.clone());
                columns.push(constant(value.as_deref(), field.data_type(), rows)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
    }
}

fn constant(
    value: Option<&str>,
    data_type: &arrow::datatypes::DataType,
    rows: usize,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    match value {
        None => Ok(new_null_array(data_type, rows)),
        Some(value) => {
            let text: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
            conform::array(&text, data_type)
        }
    }
}

/// The rows to decode of a group that begins at row `first`. The outer `None`: nothing; the inner:
/// everything.
#[allow(clippy::option_option, reason = "both are said above")]
fn selection(pick: &Pick, first: u64, rows: u64) -> Option<Option<RowSelection>> {
    let within = |rows_of: &RoaringTreemap| -> Vec<u64> {
        let mut iter = rows_of.iter();
        iter.advance_to(first);
        iter.take_while(|row| *row < first + rows).map(|row| row - first).collect()
    };
    let (marked, marked_are_read) = match pick {
        Pick::All => return Some(None),
        Pick::Without(deleted) => (within(deleted), false),
        Pick::Only(wanted) => (within(wanted), true),
    };
    match (marked.len() as u64, marked_are_read) {
        (0, false) => return Some(None),
        (0, true) => return None,
        (n, false) if n == rows => return None,
        _ => {}
    }
    Some(Some(select(&marked, rows, marked_are_read)))
}

/// A selection in which `marked` positions are read and the rest skipped, or the other way round.
pub(crate) fn select(marked: &[u64], rows: u64, marked_are_read: bool) -> RowSelection {
    let selector = |count: u64, read: bool| {
        let count = usize::try_from(count).expect("a row group has no more rows than memory can count");
        if read { RowSelector::select(count) } else { RowSelector::skip(count) }
    };
    let mut selectors = Vec::new();
    let mut next = 0;
    for row in marked {
        if *row > next {
            selectors.push(selector(row - next, !marked_are_read));
        }
        selectors.push(selector(1, marked_are_read));
        next = row + 1;
    }
    if next < rows {
        selectors.push(selector(rows - next, !marked_are_read));
    }
    selectors.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(selection: Option<Option<RowSelection>>) -> Option<Option<Vec<(usize, bool)>>> {
        selection.map(|s| s.map(|s| s.iter().map(|r| (r.row_count, r.skip)).collect()))
    }

    #[test]
    fn a_vector_over_two_groups_is_cut_at_their_border() {
        let deleted = Arc::new(RoaringTreemap::from_iter([1, 9, 10, 19]));
        let without = Pick::Without(deleted.clone());
        let skip = true;
        assert_eq!(
            runs(selection(&without, 0, 10)),
            Some(Some(vec![(1, !skip), (1, skip), (7, !skip), (1, skip)]))
        );
        assert_eq!(
            runs(selection(&Pick::Only(deleted), 10, 10)),
            Some(Some(vec![(1, !skip), (8, skip), (1, !skip)]))
        );
        assert_eq!(runs(selection(&without, 20, 10)), Some(None), "an untouched group is read whole");
    }

    #[test]
    fn a_group_without_a_wanted_row_is_not_read() {
        let all = Arc::new(RoaringTreemap::from_iter(0..10));
        assert_eq!(runs(selection(&Pick::Without(all.clone()), 0, 10)), None);
        assert_eq!(runs(selection(&Pick::Only(all), 10, 10)), None);
    }

    #[test]
    fn a_footer_that_counts_fewer_rows_than_none_is_an_error_and_no_empty_file() {
        let path = Path::from("t/part.parquet");
        assert_eq!(rows_of(&path, 7).expect("counted"), 7);
        assert!(matches!(rows_of(&path, -1), Err(Error::BadFile { .. })));
    }
}
