//! One file of a table, as the log describes it.

use std::collections::HashMap;
use std::sync::OnceLock;

use arrow::datatypes::DataType;
use deltalake::kernel::{Add, DeletionVectorDescriptor, Remove};
use serde::Deserialize;

/// A data file, as the log describes it.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub add: Add,
    stats: OnceLock<Stats>,
}

/// Statistics of an Add as written: counts of physical rows, deleted ones included.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    num_records: Option<u64>,
    min_values: HashMap<String, serde_json::Value>,
    max_values: HashMap<String, serde_json::Value>,
    null_count: HashMap<String, serde_json::Value>,
}

/// A bound of a type whose bounds are exact enough to skip files by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    /// Integers, and dates as days.
    Int(i64),
    Text(String),
}

/// Path and vector: together they identify one state of a file.
pub(crate) type FileKey = (String, Option<String>);

pub(crate) fn key(path: &str, vector: Option<&DeletionVectorDescriptor>) -> FileKey {
    let vector = vector.map(|v| {
        format!("{}{}@{}", v.storage_type.as_ref(), v.path_or_inline_dv, v.offset.unwrap_or_default())
    });
    (path.to_owned(), vector)
}

impl DataFile {
    pub fn new(add: Add) -> Self {
        Self { add, stats: OnceLock::new() }
    }

    /// A removed file, for reading the rows it held. `Remove` has no statistics.
    pub fn removed(remove: &Remove) -> Self {
        Self::new(Add {
            path: remove.path.clone(),
            partition_values: remove.partition_values.clone().unwrap_or_default(),
            size: remove.size.unwrap_or_default(),
            deletion_vector: remove.deletion_vector.clone(),
            ..Add::default()
        })
    }

    pub fn key(&self) -> FileKey {
        key(&self.add.path, self.add.deletion_vector.as_ref())
    }

    /// Rows in the file, deleted ones included. `None` if its writer did not record them.
    pub fn physical_rows(&self) -> Option<u64> {
        self.stats().num_records
    }

    /// Rows hidden by the file's vector.
    pub fn deleted_rows(&self) -> u64 {
        self.add.deletion_vector.as_ref().map_or(0, |v| v.cardinality.max(0).cast_unsigned())
    }

    /// Least and greatest value of a column, if the log has both. The bounds may be wider than the values,
    /// never narrower.
    pub fn bounds(&self, column: &str, data_type: &DataType) -> Option<(Bound, Bound)> {
        if let Some(value) = self.add.partition_values.get(column) {
            let bound = parse_partition(value.as_deref()?, data_type)?;
            return Some((bound.clone(), bound));
        }
        let stats = self.stats();
        let bound = |values: &HashMap<String, serde_json::Value>| parse(values.get(column)?, data_type);
        Some((bound(&stats.min_values)?, bound(&stats.max_values)?))
    }

    /// Nulls in a column among the physical rows.
    pub fn nulls(&self, column: &str) -> Option<u64> {
        match self.add.partition_values.get(column) {
            Some(Some(_)) => Some(0),
            Some(None) => self.physical_rows(),
            None => self.stats().null_count.get(column)?.as_u64(),
        }
    }

    /// The `Remove` action that ends this state of the file.
    pub fn remove(&self, data_change: bool, now_ms: i64) -> Remove {
        Remove {
            path: self.add.path.clone(),
            data_change,
            deletion_timestamp: Some(now_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(self.add.partition_values.clone()),
            size: Some(self.add.size),
            deletion_vector: self.add.deletion_vector.clone(),
            ..Remove::default()
        }
    }

    /// The `Add` action of the same file with another vector. Its bounds stay valid but are no longer tight.
    pub fn with_vector(&self, vector: DeletionVectorDescriptor) -> Add {
        let stats = self.add.stats.as_ref().and_then(|stats| {
            let mut stats: serde_json::Map<String, serde_json::Value> = serde_json::from_str(stats).ok()?;
            stats.insert("tightBounds".to_owned(), false.into());
            serde_json::to_string(&stats).ok()
        });
        Add { stats, data_change: true, deletion_vector: Some(vector), ..self.add.clone() }
    }

    fn stats(&self) -> &Stats {
        self.stats.get_or_init(|| {
            self.add.stats.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default()
        })
    }
}

fn parse(value: &serde_json::Value, data_type: &DataType) -> Option<Bound> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            value.as_i64().map(Bound::Int)
        }
        DataType::Date32 => days(value.as_str()?).map(Bound::Int),
        DataType::Utf8 => value.as_str().map(|s| Bound::Text(s.to_owned())),
        _ => None,
    }
}

fn parse_partition(value: &str, data_type: &DataType) -> Option<Bound> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            value.parse().ok().map(Bound::Int)
        }
        DataType::Date32 => days(value).map(Bound::Int),
        DataType::Utf8 => Some(Bound::Text(value.to_owned())),
        _ => None,
    }
}

/// Days since the epoch of a date in the log.
fn days(text: &str) -> Option<i64> {
    let date: chrono::NaiveDate = text.parse().ok()?;
    Some(date.signed_duration_since(chrono::NaiveDate::default()).num_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stats: &str) -> DataFile {
        DataFile::new(Add {
            path: "a.parquet".into(),
            stats: Some(stats.into()),
            partition_values: HashMap::from([("day".to_owned(), Some("1970-01-03".to_owned()))]),
            ..Add::default()
        })
    }

    #[test]
    fn bounds_are_read_from_statistics_and_partition_values() {
        let file = file(
            r#"{"numRecords":3,"minValues":{"id":1,"s":"a"},"maxValues":{"id":9},"nullCount":{"id":1}}"#,
        );
        assert_eq!(file.bounds("id", &DataType::Int64), Some((Bound::Int(1), Bound::Int(9))));
        assert_eq!(file.bounds("s", &DataType::Utf8), None, "one bound is none");
        assert_eq!(file.bounds("day", &DataType::Date32), Some((Bound::Int(2), Bound::Int(2))));
        assert_eq!((file.nulls("id"), file.physical_rows()), (Some(1), Some(3)));
    }

    #[test]
    fn a_file_under_another_vector_keeps_its_counts_but_not_tight_bounds() {
        let vector = DeletionVectorDescriptor {
            storage_type: deltalake::kernel::StorageType::Inline,
            path_or_inline_dv: "x".into(),
            offset: None,
            size_in_bytes: 1,
            cardinality: 1,
        };
        let add = file(r#"{"numRecords":3}"#).with_vector(vector);
        assert_eq!(add.stats.as_deref(), Some(r#"{"numRecords":3,"tightBounds":false}"#));
    }
}
