//! Finds the rows of a set of keys.
//!
//! [`Finder`] is the interface. The implementation here reads the key columns of every file whose bounds admit
//! a key, so an upsert costs a scan of those columns. A key index could replace it without other changes.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use futures::{StreamExt as _, TryStreamExt as _};
use roaring::RoaringTreemap;

use crate::files::conform::{array, conform};
use crate::files::read::Pick;
use crate::log::file::{Bound, DataFile};
use crate::log::{Log, schema};
use crate::table::commit::Keys;
use crate::table::lake::Shared;
use crate::{Error, Result};

/// Files read concurrently. More would hold more row groups in memory, and the cores are few.
pub(crate) const FILES_AT_ONCE: usize = 4;

/// Finds rows by key.
#[async_trait::async_trait]
pub(crate) trait Finder: Debug + Send + Sync {
    /// Positions, in each file, of the rows whose key is one of `keys`, deleted rows included. Files without
    /// such rows may be left out.
    async fn find(
        &self,
        shared: &Arc<Shared>,
        log: &Log,
        files: Vec<Arc<DataFile>>,
        keys: Arc<KeySet>,
    ) -> Result<Vec<(Arc<DataFile>, RoaringTreemap)>>;
}

/// Reads the key columns of the files that may contain a key.
#[derive(Debug)]
pub(crate) struct ScanFinder;

#[async_trait::async_trait]
impl Finder for ScanFinder {
    async fn find(
        &self,
        shared: &Arc<Shared>,
        log: &Log,
        files: Vec<Arc<DataFile>>,
        keys: Arc<KeySet>,
    ) -> Result<Vec<(Arc<DataFile>, RoaringTreemap)>> {
        let candidates: Vec<_> = files.into_iter().filter(|file| keys.may_be_in(file)).collect();
        let scans = candidates.into_iter().map(|file| {
            let keys = keys.clone();
            async move {
                let schema = keys.schema.clone();
                let step =
                    move |found: &mut Result<RoaringTreemap, ArrowError>, first: u64, batch: RecordBatch| {
                        if let Ok(rows) = found
                            && let Err(failed) = keys.matches(&batch, |row| {
                                rows.insert(first + row as u64);
                            })
                        {
                            *found = Err(failed);
                        }
                    };
                let start = Ok(RoaringTreemap::new());
                let found = shared.reader.fold(log, &file, &schema, Pick::All, start, step).await?;
                let found = found.map_err(|source| Error::BadRows { table: log.table.clone(), source })?;
                Ok::<_, Error>((file, found))
            }
        });
        let found: Vec<_> = futures::stream::iter(scans).buffered(FILES_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().filter(|(_, rows)| !rows.is_empty()).collect())
    }
}

/// Keys to search for, in the table's types.
pub(crate) struct KeySet {
    /// The key columns.
    pub schema: SchemaRef,
    matcher: Matcher,
    /// Distinct values of each column, ascending; `None` if bounds cannot exclude any.
    values: Vec<Option<Vec<Bound>>>,
}

impl Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySet({} columns)", self.schema.fields().len())
    }
}

enum Matcher {
    /// One integer column, the most frequent case.
    Ints(HashSet<i64, RandomState>),
    Rows {
        converter: RowConverter,
        keys: HashSet<Box<[u8]>, RandomState>,
    },
}

impl KeySet {
    /// Casts keys to the types of the table's columns. A null equals a null.
    pub fn try_new(table: &str, columns: &SchemaRef, keys: &Keys) -> Result<Self> {
        let bad = |source| Error::BadRows { table: table.to_owned(), source };
        let schema = schema::project(table, columns, &keys.columns)?;
        for column in &keys.columns {
            keys.rows.column_by_name(column).ok_or_else(|| Error::NoColumn {
                table: format!("{table} (its keys)"),
                column: column.clone(),
            })?;
        }
        let rows = conform(&keys.rows, &schema).map_err(bad)?;
        let values = rows.columns().iter().map(values).collect();
        let matcher = match rows.columns() {
            [only] if *only.data_type() == DataType::Int64 && only.null_count() == 0 => {
                Matcher::Ints(only.as_primitive::<Int64Type>().values().iter().copied().collect())
            }
            columns => {
                let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
                let converter = RowConverter::new(fields).map_err(bad)?;
                let encoded = converter.convert_columns(columns).map_err(bad)?;
                let keys = encoded.iter().map(|row| row.as_ref().into()).collect();
                Matcher::Rows { converter, keys }
            }
        };
        Ok(Self { schema, matcher, values })
    }

    /// Whether a file's bounds admit any key.
    pub fn may_be_in(&self, file: &DataFile) -> bool {
        self.schema.fields().iter().zip(&self.values).all(|(field, values)| {
            let (Some(values), Some((least, greatest))) =
                (values, file.bounds(field.name(), field.data_type()))
            else {
                return true;
            };
            let from = values.partition_point(|v| *v < least);
            values.get(from).is_some_and(|v| *v <= greatest)
        })
    }

    /// Calls `hit` with the number of each row whose key is one of these.
    pub fn matches(&self, rows: &RecordBatch, mut hit: impl FnMut(usize)) -> Result<(), ArrowError> {
        match &self.matcher {
            Matcher::Ints(keys) => {
                let column = rows.column(0).as_primitive::<Int64Type>();
                for (row, value) in column.values().iter().enumerate() {
                    if keys.contains(value) && column.is_valid(row) {
                        hit(row);
                    }
                }
            }
            Matcher::Rows { converter, keys } => {
                for (row, key) in converter.convert_columns(rows.columns())?.iter().enumerate() {
                    if keys.contains(key.as_ref()) {
                        hit(row);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A column's values as bounds. `None` if it has a null or a type without exact bounds.
fn values(column: &ArrayRef) -> Option<Vec<Bound>> {
    if column.null_count() > 0 {
        return None;
    }
    let distinct: BTreeSet<Bound> = match column.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let wide = array(column, &DataType::Int64).ok()?;
            wide.as_primitive::<Int64Type>().values().iter().map(|v| Bound::Int(*v)).collect()
        }
        DataType::Date32 => {
            column.as_primitive::<Date32Type>().values().iter().map(|v| Bound::Int((*v).into())).collect()
        }
        DataType::Utf8 => {
            column.as_string::<i32>().iter().flatten().map(|v| Bound::Text(v.to_owned())).collect()
        }
        _ => return None,
    };
    Some(distinct.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use deltalake::kernel::Add;

    use super::*;

    fn keys(ids: &[i64], names: &[&str]) -> KeySet {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]));
        let narrow = Int32Array::from_iter_values(ids.iter().map(|i| i32::try_from(*i).expect("small")));
        let rows = RecordBatch::try_from_iter([
            ("name", Arc::new(StringArray::from(names.to_vec())) as ArrayRef),
            ("id", Arc::new(narrow) as ArrayRef),
        ]);
        let keys = Keys { columns: vec!["id".into(), "name".into()], rows: rows.expect("valid") };
        KeySet::try_new("t", &schema, &keys).expect("valid")
    }
    fn file(stats: &str) -> DataFile {
        DataFile::new(Add { stats: Some(stats.to_owned()), ..Add::default() })
    }

    #[test]
    fn a_file_is_left_out_only_if_no_key_lies_within_its_bounds() {
        let keys = keys(&[5, 90], &["a", "b"]);
        let between = r#"{"minValues":{"id":6},"maxValues":{"id":89}}"#;
        let holds = r#"{"minValues":{"id":6},"maxValues":{"id":90}}"#;
        let other_name = r#"{"minValues":{"id":6,"name":"c"},"maxValues":{"id":90,"name":"d"}}"#;
        assert_eq!(
            [between, holds, other_name, "{}"].map(|s| keys.may_be_in(&file(s))),
            [false, true, false, true]
        );
    }

    #[test]
    fn a_composite_key_matches_as_a_whole() {
        let keys = keys(&[5, 90], &["a", "b"]);
        let rows = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![5, 5, 90])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec!["a", "b", "b"])) as ArrayRef),
        ]);
        let mut hits = Vec::new();
        keys.matches(&rows.expect("valid"), |row| hits.push(row)).expect("matches");
        assert_eq!(hits, [0, 2]);
    }
}
