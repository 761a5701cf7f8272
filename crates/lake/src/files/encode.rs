//! Encodes rows as a parquet file. It blocks its thread: callers run it on `runtime::cpu`.
//!
//! Integers, dates and timestamps are delta-packed, because keys, offsets and times mostly grow. A dictionary
//! costs a hash per value, so a string column gets one only if its values repeat in a sample. Zstandard at
//! level 1 costs about as much as Snappy and saves a third more space. But each column of each file needs a
//! compressor to be set up, and a decompressor in readers, which is most of the work in small files; so small
//! files use Snappy. Compaction merges them into large ones.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, Encoding, Type as Physical, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::files::stats::FileStats;

/// Rows in a row group, the least that is fetched to read one row.
const GROUP_ROWS: usize = 256 * 1024;
/// From this many rows on, a compressor is worth its memory.
const LARGE_ROWS: usize = 16 * 1024;
/// Rows in the sample that decides the encoding.
const SAMPLE: usize = 2048;

/// A parquet file in memory, with the statistics for its Add.
pub(crate) struct Encoded {
    pub bytes: Vec<u8>,
    pub rows: u64,
    pub stats: String,
}

/// Encodes batches of one schema into one file.
pub(crate) fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Encoded, ParquetError> {
    let options = ArrowWriterOptions::new()
        .with_properties(properties(schema, batches)?)
        .with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, schema.clone().into(), options)?;
    let mut stats = FileStats::default();
    let mut rows = 0;
    for batch in batches {
        writer.write(batch)?;
        stats.add(batch);
        rows += batch.num_rows() as u64;
    }
    writer.close()?;
    Ok(Encoded { bytes, rows, stats: stats.json() })
}

fn properties(schema: &Schema, batches: &[RecordBatch]) -> Result<WriterProperties, ParquetError> {
    let is_large = batches.iter().map(RecordBatch::num_rows).sum::<usize>() >= LARGE_ROWS;
    let compression = if is_large { Compression::ZSTD(ZstdLevel::try_new(1)?) } else { Compression::SNAPPY };
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by("lakepulse".to_owned());
    for column in ArrowSchemaConverter::new().convert(schema)?.columns() {
        let path = column.path().clone();
        builder = match column.physical_type() {
            Physical::INT32 | Physical::INT64 => plain(builder, path, Encoding::DELTA_BINARY_PACKED),
            Physical::FLOAT | Physical::DOUBLE => plain(builder, path, Encoding::PLAIN),
            Physical::BYTE_ARRAY if !repeats(batches, path.parts()) => plain(builder, path, Encoding::PLAIN),
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn plain(
    builder: parquet::file::properties::WriterPropertiesBuilder,
    path: ColumnPath,
    encoding: Encoding,
) -> parquet::file::properties::WriterPropertiesBuilder {
    builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

/// Whether at most half of a sample's values are distinct. Anything but a column or a struct's field is assumed
/// to repeat: the writer drops the dictionary when it grows too large.
fn repeats(batches: &[RecordBatch], path: &[String]) -> bool {
    let Some(column) = batches.first().and_then(|batch| leaf(batch, path)) else { return true };
    let sample = column.slice(0, column.len().min(SAMPLE));
    let distinct = match sample.data_type() {
        DataType::Utf8 => {
            sample.as_string::<i32>().iter().flatten().map(str::as_bytes).collect::<HashSet<_>>().len()
        }
        DataType::Binary => sample.as_binary::<i32>().iter().flatten().collect::<HashSet<_>>().len(),
        _ => return true,
    };
    distinct * 2 <= sample.len()
}

fn leaf(batch: &RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (first, rest) = path.split_first()?;
    let mut column = batch.column_by_name(first)?.clone();
    for name in rest {
        column = column.as_struct_opt()?.column_by_name(name)?.clone();
    }
    Some(column)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;

    #[test]
    fn ints_are_packed_and_only_strings_that_repeat_get_a_dictionary() {
        let rows = 1000;
        let unique = StringArray::from_iter_values((0..rows).map(|i| format!("customer {i}")));
        let few = StringArray::from_iter_values((0..rows).map(|i| format!("country {}", i % 7)));
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef),
            ("unique", Arc::new(unique) as ArrayRef),
            ("few", Arc::new(few) as ArrayRef),
        ])
        .expect("valid");
        let encoded = encode(batch.schema_ref(), std::slice::from_ref(&batch)).expect("encodes");
        assert_eq!(encoded.rows, 1000);
        let file = SerializedFileReader::new(bytes::Bytes::from(encoded.bytes)).expect("a parquet file");
        let group = file.metadata().row_group(0);
        let dictionary = |i: usize| group.column(i).dictionary_page_offset().is_some();
        assert_eq!([dictionary(0), dictionary(1), dictionary(2)], [false, false, true]);
        assert!(group.column(0).encodings().any(|e| e == Encoding::DELTA_BINARY_PACKED));
    }
}
