//! Partition columns: their values are in the log as text, not in the files.
//!
//! A value must read back as it was written, or a row could never be found by it again. The log writes an empty
//! string in the same way as null, and a date with a year of more than four digits sorts and parses differently
//! in every reader. Such values are refused before a file is written. [`unfit`] reports them in advance, so
//! that a caller can quarantine the rows.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Date32Type};

use crate::files::conform;
use crate::files::stats::date;
use crate::{Error, Result};

/// Values of the partition columns, in the log's form.
pub(crate) type Partition = Vec<Option<String>>;

/// Splits a batch by partition, keeping the order of rows within each.
pub(crate) fn partitions(
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
    // The usual case: all rows belong to one day.
    if batch.num_rows() > 0 && arrays.iter().all(|array| is_constant(array)) {
        let partition = texts(1)?.into_iter().flatten().collect();
        return Ok(vec![(partition, batch)]);
    }
    let columns = texts(batch.num_rows())?;
    let mut rows: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let partition = columns.iter().map(|c| c[row].clone()).collect();
        rows.entry(partition)
            .or_default()
            .push(u32::try_from(row).expect("a batch has fewer than 2^32 rows"));
    }
    let taken = rows.into_iter().map(|(partition, rows)| {
        let rows = take_record_batch(&batch, &UInt32Array::from(rows));
        Ok((partition, rows.map_err(|source| Error::BadRows { table: name.to_owned(), source })?))
    });
    taken.collect()
}

/// Whether all rows have the same value. `false` if that is unknown.
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

/// Rows whose value cannot be a partition value, each with the reason.
pub fn unfit(column: &ArrayRef) -> Vec<(usize, &'static str)> {
    match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            let empty = |row: &usize| texts.is_valid(*row) && texts.value(*row).is_empty();
            (0..texts.len()).filter(empty).map(|row| (row, EMPTY)).collect()
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>();
            let far = |row: &usize| days.is_valid(*row) && date(days.value(*row)).is_none();
            (0..days.len()).filter(far).map(|row| (row, FAR)).collect()
        }
        _ => Vec::new(),
    }
}

const EMPTY: &str = "it is an empty string, which a partition column cannot tell from null";
const FAR: &str = "its year is not between 0 and 9999, which a partition column cannot hold";

/// The values of a partition column in the log's form.
fn values(name: &str, column: &str, array: &ArrayRef) -> Result<Vec<Option<String>>> {
    if let Some((_, why)) = unfit(array).first() {
        let (table, column) = (name.to_owned(), column.to_owned());
        return Err(Error::BadPartitionValue { table, column, why });
    }
    let unfit = || Error::Unsupported {
        table: name.to_owned(),
        feature: format!("partition column `{column}` of type {}", array.data_type()),
    };
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()),
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

/// A new file name, below one folder per partition column.
///
/// The log has the values, but Polars takes them from the path, so every file's path names all of them. If the
/// name of a folder is too long, all folders are left out, and Polars refuses the table. If a value had to be
/// escaped, Polars would not find the file's vector and would show deleted rows. A space in the file name makes
/// Polars refuse such a table as well, because it cannot find the file by that name.
pub(crate) fn path(partition_by: &[String], partition: &Partition, vectors: bool) -> String {
    let folder = |(column, value): (&String, &Option<String>)| {
        let value = value.as_deref().map_or_else(|| NO_VALUE.to_owned(), escaped);
        format!("{}={value}", escaped(column))
    };
    let folders: Vec<String> = partition_by.iter().zip(partition).map(folder).collect();
    let long = folders.iter().any(|folder| folder.len() > FOLDER_BYTES)
        || folders.iter().map(|folder| folder.len() + 1).sum::<usize>() > PATH_BYTES;
    // Polars would read this word as null, but the log has it as an ordinary value.
    let reserved = partition.iter().flatten().any(|value| value == NO_VALUE);
    let (mut parts, mut between) = (folders, '-');
    if vectors && parts.iter().any(|folder| folder.contains('%')) {
        between = ' ';
    }
    if long || reserved {
        parts.clear();
    }
    parts.push(format!("part{between}{}.parquet", runtime::random::uuid()));
    parts.join("/")
}

/// Hive's name for the partition of rows without a value.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";
/// File systems allow 255 bytes, and object stores append a suffix while they write.
const FOLDER_BYTES: usize = 200;
/// The limit for all folders together. Object stores allow keys of 1024 bytes, with prefix and file name.
const PATH_BYTES: usize = 500;

/// A name or value in the form of a folder name. It contains nothing that a URL would escape: Polars gets paths
/// as URLs from delta-rs, and asks the store for them without unescaping.
fn escaped(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let write = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray};

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

    #[test]
    fn a_path_says_nothing_of_values_that_it_cannot_say() {
        let by: Vec<String> = (0..8).map(|at| format!("column_{at}")).collect();
        let path = |values: Vec<Option<&str>>| {
            path(&by[..values.len()], &values.into_iter().map(|v| v.map(str::to_owned)).collect(), true)
        };
        assert!(path(vec![Some("a"), None]).contains('/'));
        assert!(!path(vec![Some("x".repeat(100).as_str()); 8]).contains('/'), "longer than a store's key");
        assert!(!path(vec![Some("a"), Some(NO_VALUE)]).contains('/'), "a value that reads as null");
    }

    #[test]
    fn what_would_be_read_as_another_value_is_refused_and_named() {
        let texts = Arc::new(StringArray::from(vec![Some("a"), Some(""), None, Some(" ")])) as ArrayRef;
        assert_eq!(unfit(&texts), [(1, EMPTY)]);
        let days =
            Arc::new(Date32Array::from(vec![Some(0), Some(i32::MAX), None, Some(i32::MIN)])) as ArrayRef;
        assert_eq!(unfit(&days), [(1, FAR), (3, FAR)]);
        let batch = RecordBatch::try_from_iter([("region", texts)]).expect("valid");
        let refused = partitions("gold.t", &["region".to_owned()], batch).expect_err("refused");
        assert!(refused.to_string().contains("`region`"), "{refused}");
    }
}
