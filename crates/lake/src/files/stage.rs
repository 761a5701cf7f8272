//! Writes rows to files that no commit refers to yet.
//!
//! Order: encode, upload, and only then may a commit refer to the file. If the process stops before the commit,
//! the file is an orphan that vacuum deletes a week later. A commit that is tried again refers to the same
//! file, so no row is ever written twice.
//! very same file, so no row is ever written twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use deltalake::kernel::Add;
use object_store::path::Path;

use crate::files::conform;
use crate::files::encode::encode;
use crate::files::partition::{Partition, partitions, path};
use crate::log::{Log, schema};
use crate::store::wall_ms;
use crate::{Error, Result};

/// The most Arrow bytes of one file; encoded, it has about a quarter of that.
const FILE_BYTES: usize = 512 * 1024 * 1024;

/// A file in the store that no commit refers to yet.
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

/// Encodes and uploads rows. Columns that `table` has are cast to its types. Other columns are kept, for a
/// commit that widens the schema. `vectors`: whether the table has deletion vectors.
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
            size: i64::try_from(size).expect("bytes in memory are fewer than 2^63"),
            modification_time: wall_ms(),
            data_change: true,
            stats: Some(file.stats),
            ..Add::default()
        };
        staged.push(StagedFile { add, schema, rows: file.rows });
    }
    Ok(staged)
}

/// The store path of a path in the log.
pub(crate) fn at(dir: &Path, path: &str) -> Result<Path> {
    let bad = |source: object_store::path::Error| Error::Unreachable {
        path: path.to_owned(),
        source: source.into(),
    };
    Path::parse(format!("{dir}/{path}")).map_err(bad)
}

/// Casts batches and splits them by partition, keeping the order of rows within each.
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
            // Batches of one call may differ by a column that was added in between.
            if widest != rows.schema_ref() {
                *widest = schema::widen(name, widest, rows.schema_ref())?;
            }
            all.push(rows);
        }
    }
    Ok(parts.into_iter().map(|(partition, (schema, rows))| (partition, schema, rows)).collect())
}

/// The target types of a batch's columns: the table's types, for columns that the table has.
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

/// The schema without partition columns: their values are in the log, not in the files.
pub(crate) fn without(schema: &Schema, partition_by: &[String]) -> SchemaRef {
    let fields: Fields =
        schema.fields().iter().filter(|f| !partition_by.contains(f.name())).cloned().collect();
    Arc::new(Schema::new(fields))
}

fn chunks(batches: Vec<RecordBatch>) -> Vec<Vec<RecordBatch>> {
    let mut chunks: Vec<Vec<RecordBatch>> = Vec::new();
    let mut bytes = usize::MAX;
    for batch in batches {
        // A slice counts the whole buffer it shares, which only makes files smaller.
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
