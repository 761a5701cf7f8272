//! Rows to files that no commit names yet.
//!
//! Order: encode, upload, and only then may a commit name the file. Stop before the commit and the
//! file is an orphan that vacuum deletes a week later; a commit that has to be tried again names the
//! very same file, so no row is ever written twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type, Field, Fields, Schema, SchemaRef};
use deltalake::kernel::Add;
use object_store::path::Path;

use crate::encode::encode;
use crate::log::Log;
use crate::stats::date;
use crate::store::wall_ms;
use crate::{Error, Result, conform, schema};

/// Arrow bytes of one file at most; about a quarter of that once encoded.
const FILE_BYTES: usize = 512 * 1024 * 1024;

/// A file in the store that no commit names yet.
#[derive(Debug, Clone)]
pub struct StagedFile {
    pub(crate) add: Add,
    /// Columns of the rows, partition columns included.
    pub(crate) schema: SchemaRef,
    rows: u64,
}
impl StagedFile {
    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }
    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.add.size.max(0).cast_unsigned()
    }
    /// Its path in the table.
    pub fn path(&self) -> &str {
        &self.add.path
    }
}

/// Values of the partition columns, as the log writes them.
type Partition = Vec<Option<String>>;

/// Encodes and uploads rows. Columns that `table` has are cast to its types, others are kept: a commit
/// that widens the schema brings them in. `vectors`: whether the table has any.
pub(crate) async fn stage(
    log: &Log,
    table: &SchemaRef,
    partition_by: &[String],
    vectors: bool,
    batches: Vec<RecordBatch>,
) -> Result<Vec<StagedFile>> {
    let (name, table, columns) = (log.table.clone(), table.clone(), partition_by.to_vec());
    let encoded = runtime::cpu::run(move || {
        let mut files = Vec::new();
        for (partition, schema, rows) in split(&name, &table, &columns, batches)? {
            let body = without(&schema, &columns);
            for chunk in chunks(rows) {
                let rows = chunk.iter().map(|b| conform::conform(b, &body)).collect::<Result<Vec<_>, _>>();
                let rows = rows.map_err(|source| Error::BadRows { table: name.clone(), source })?;
                let file =
                    encode(&body, &rows).map_err(|source| Error::BadFile { path: name.clone(), source })?;
                files.push((partition.clone(), schema.clone(), file));
            }
        }
        Ok::<_, Error>(files)
    })
    .await?;
    let mut staged = Vec::with_capacity(encoded.len());
    for (partition, schema, file) in encoded {
        let path = path(partition_by, &partition, vectors);
        let size = file.bytes.len();
        log.store.put(&at(&log.dir, &path)?, file.bytes.into()).await?;
        let add = Add {
            path,
            partition_values: partition_by.iter().cloned().zip(partition).collect::<HashMap<_, _>>(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modification_time: wall_ms(),
            data_change: true,
            stats: Some(file.stats),
            ..Add::default()
        };
        staged.push(StagedFile { add, schema, rows: file.rows });
    }
    Ok(staged)
}

/// A path of the log below a table's folder.
pub(crate) fn at(dir: &Path, path: &str) -> Result<Path> {
    let bad = |source: object_store::path::Error| Error::Unreachable {
        path: path.to_owned(),
        source: source.into(),
    };
    Path::parse(format!("{dir}/{path}")).map_err(bad)
}

/// Casts batches and cuts them by partition, keeping the order of rows within each.
fn split(
    name: &str,
    table: &SchemaRef,
    partition_by: &[String],
    batches: Vec<RecordBatch>,
) -> Result<Vec<(Partition, SchemaRef, Vec<RecordBatch>)>> {
    let mut parts: BTreeMap<Partition, (SchemaRef, Vec<RecordBatch>)> = BTreeMap::new();
    let mut last: Option<(SchemaRef, SchemaRef)> = None;
    for batch in batches.into_iter().filter(|b| b.num_rows() > 0) {
        let bad = |source| Error::BadRows { table: name.to_owned(), source };
        let schema = match &last {
            Some((given, schema)) if given == batch.schema_ref() => schema.clone(),
            _ => target(name, table, batch.schema_ref())?,
        };
        last = Some((batch.schema(), schema.clone()));
        let batch = conform::conform(&batch, &schema).map_err(bad)?;
        for (partition, rows) in partitions(name, partition_by, batch)? {
            let (widest, all) = parts.entry(partition).or_insert_with(|| (schema.clone(), Vec::new()));
            // Batches of one call may differ by a column that came up between them.
            if widest != rows.schema_ref() {
                *widest = schema::widen(name, widest, rows.schema_ref())?;
            }
            all.push(rows);
        }
    }
    Ok(parts.into_iter().map(|(partition, (schema, rows))| (partition, schema, rows)).collect())
}

/// The types the columns of a batch take: the table's where it has them.
fn target(name: &str, table: &SchemaRef, batch: &Schema) -> Result<SchemaRef> {
    if table.fields() == batch.fields() {
        return Ok(table.clone());
    }
    let stored = schema::stored(name, batch)?;
    let field = |field: &Arc<Field>| match table.fields().find(field.name()) {
        Some((_, known)) if !known.data_type().is_nested() => known.clone(),
        _ => field.clone(),
    };
    Ok(Arc::new(Schema::new(stored.fields().iter().map(field).collect::<Fields>())))
}

fn partitions(
    name: &str,
    partition_by: &[String],
    batch: RecordBatch,
) -> Result<Vec<(Partition, RecordBatch)>> {
    if partition_by.is_empty() {
        return Ok(vec![(Vec::new(), batch)]);
    }
    let arrays = partition_by
        .iter()
        .map(|column| {
            let none = || Error::NoColumn { table: name.to_owned(), column: column.clone() };
            batch.column_by_name(column).ok_or_else(none)
        })
        .collect::<Result<Vec<_>>>()?;
    let texts = |rows: usize| {
        let text = |(column, array): (&String, &&ArrayRef)| values(name, column, &array.slice(0, rows));
        partition_by.iter().zip(&arrays).map(text).collect::<Result<Vec<_>>>()
    };
    // Of one day, as a rule.
    if batch.num_rows() > 0 && arrays.iter().all(|array| is_constant(array)) {
        let partition = texts(1)?.into_iter().flatten().collect();
        return Ok(vec![(partition, batch)]);
    }
    let columns = texts(batch.num_rows())?;
    let mut rows: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let partition = columns.iter().map(|c| c[row].clone()).collect();
        rows.entry(partition).or_default().push(u32::try_from(row).unwrap_or(u32::MAX));
    }
    // An empty string and null are one partition of two values.
    if rows.len() == 1 {
        return Ok(rows.into_keys().map(|partition| (partition, batch.clone())).collect());
    }
    let taken = rows.into_iter().map(|(partition, rows)| {
        let rows = take_record_batch(&batch, &UInt32Array::from(rows));
        Ok((partition, rows.map_err(|source| Error::BadRows { table: name.to_owned(), source })?))
    });
    taken.collect()
}

/// Whether all rows have one value. `false` where that cannot be told.
fn is_constant(array: &ArrayRef) -> bool {
    let first = Scalar::new(array.slice(0, 1));
    not_distinct(array, &first).is_ok_and(|same| same.false_count() == 0)
}

/// Whether a table may be partitioned by a column of this type.
pub(crate) fn partitionable(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Date32
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
    )
}

/// A partition column as the log writes it.
fn values(name: &str, column: &str, array: &ArrayRef) -> Result<Vec<Option<String>>> {
    let unfit = || Error::Unsupported {
        table: name.to_owned(),
        feature: format!("partition column `{column}` of type {}", array.data_type()),
    };
    match array.data_type() {
        // The log writes an empty string as it writes null.
        DataType::Utf8 => Ok(array
            .as_string::<i32>()
            .iter()
            .map(|v| v.filter(|v| !v.is_empty()).map(str::to_owned))
            .collect()),
        DataType::Date32 => {
            let text = |v: Option<i32>| v.map(|days| date(days).ok_or_else(unfit)).transpose();
            array.as_primitive::<Date32Type>().iter().map(text).collect()
        }
        t if partitionable(t) => {
            let text = conform::array(array, &DataType::Utf8).map_err(|_| unfit())?;
            Ok(text.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect())
        }
        _ => Err(unfit()),
    }
}

/// Partition values are in the log, not in the files.
pub(crate) fn without(schema: &Schema, partition_by: &[String]) -> SchemaRef {
    let fields: Fields =
        schema.fields().iter().filter(|f| !partition_by.contains(f.name())).cloned().collect();
    Arc::new(Schema::new(fields))
}

fn chunks(batches: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut chunks: Vec<Vec<RecordBatch>> = Vec::new();
    let mut bytes = usize::MAX;
    for batch in batches {
        // Slices count the buffers they share, which only makes files smaller.
        let size = batch.get_array_memory_size();
        if bytes.saturating_add(size) > FILE_BYTES {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(batch);
        }
    }
    chunks
}

/// A name that no file ever had, below a folder for each partition column.
///
/// The log has the values, but Polars takes them from the path, so every file of a table names all of them. Too
/// long a name for a folder is left out with the others: Polars refuses the table then. Where a value had to be
/// escaped it would not find the file's vector and show deleted rows: a space in the name, which it does not
/// find the file by either, makes it refuse that, too.
fn path(partition_by: &[String], partition: &Partition, vectors: bool) -> String {
    let folder = |(column, value): (&String, &Option<String>)| {
        let value = value.as_deref().map_or_else(|| NO_VALUE.to_owned(), escaped);
        format!("{}={value}", escaped(column))
    };
    let folders: Vec<String> = partition_by.iter().zip(partition).map(folder).collect();
    let (mut parts, mut between) = (folders, '-');
    if vectors && parts.iter().any(|folder| folder.contains('%')) {
        between = ' ';
    }
    if parts.iter().any(|folder| folder.len() > FOLDER_BYTES) {
        parts.clear();
    }
    parts.push(format!("part{between}{}.parquet", uuid::Uuid::new_v4()));
    parts.join("/")
}

/// What Hive calls the partition of rows without a value.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";
/// File systems take 255, and put something behind a name while they write.
const FOLDER_BYTES: usize = 200;

/// A name or value as it may stand in a folder's name. Nothing is left in it that a URL would escape: Polars gets
/// paths as URLs from delta-rs, and asks the store for them without undoing that.
fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let write = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int64Array};

    use super::*;

    #[test]
    fn rows_are_cut_by_partition_in_order() {
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef),
            ("day", Arc::new(Date32Array::from(vec![Some(1), Some(0), Some(1), None])) as ArrayRef),
        ])
        .expect("valid");
        let parts = partitions("t", &["day".to_owned()], batch).expect("cuts");
        let ids =
            |i: usize| parts[i].1.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
        assert_eq!(
            parts.iter().map(|(p, _)| p[0].as_deref()).collect::<Vec<_>>(),
            [None, Some("1970-01-01"), Some("1970-01-02")]
        );
        assert_eq!([ids(0), ids(1), ids(2)], [vec![4], vec![2], vec![1, 3]]);
    }
    #[test]
    fn rows_of_one_partition_stay_together() {
        let nulls = Date32Array::from(vec![None, None]);
        for (days, text) in [(Date32Array::from(vec![1, 1]), Some("1970-01-02")), (nulls, None)] {
            let ids = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
            let batch = RecordBatch::try_from_iter([("id", ids), ("day", Arc::new(days) as ArrayRef)]);
            let parts = partitions("t", &["day".to_owned()], batch.expect("valid")).expect("cuts");
            assert_eq!(parts.len(), 1);
            assert_eq!((parts[0].0[0].as_deref(), parts[0].1.num_rows()), (text, 2));
        }
    }
    #[test]
    fn a_path_names_every_partition_column() {
        let by = ["region".to_owned(), "day".to_owned()];
        let folders = |region: Option<&str>| {
            let path = path(&by, &vec![region.map(str::to_owned), Some("2013-01-01".to_owned())], true);
            let (folders, file) = path.rsplit_once('/')?;
            assert_eq!(file.starts_with("part "), folders.contains('%'), "{path}");
            Some(folders.to_owned())
        };
        for (region, folder) in [
            (Some("Far West"), "region=Far%20West"),
            (Some("a/b=c"), "region=a%2Fb%3Dc"),
            (Some("50% \u{394}"), "region=50%25%20%CE%94"),
            (None, "region=__HIVE_DEFAULT_PARTITION__"),
        ] {
            assert_eq!(folders(region), Some(format!("{folder}/day=2013-01-01")));
        }
        assert_eq!(folders(Some(&"\u{394}".repeat(40))), None, "no file system has names that long");
    }
}
