//! Fills in columns that rows lack because their writers did not know them, with the defaults that
//! [`lake::defaults`] stores for the bronze table.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::AHashMap;
use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, Scalar, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and, is_null};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use model::column;

use super::columns::is_meta;

/// Defaults of columns, for rows that lack them.
#[derive(Debug, Clone, Default)]
pub struct Absent(Vec<Column>);

#[derive(Debug, Clone)]
struct Column {
    path: Vec<String>,
    value: String,
    /// By topic and partition, the first offset whose row has the column; missing if no row has it.
    from: HashMap<(String, i64), i64>,
}

impl Column {
    /// The first offset of a partition whose row has the column.
    fn first(&self, topic: &str, partition: i64) -> i64 {
        self.from.get(&(topic.to_owned(), partition)).copied().unwrap_or(i64::MAX)
    }
}

impl Absent {
    /// Parses the property of a bronze table.
    pub fn of(property: Option<&str>) -> Result<Self, String> {
        let known = lake::defaults::parse(property).map_err(|e| e.to_string())?;
        let columns = known.into_iter().map(|(path, default)| {
            let from = default.from.iter().map(|(app, position)| Ok((partition_of(app)?, *position)));
            Ok::<_, String>(Column {
                path: path.split('.').map(str::to_owned).collect(),
                value: default.value,
                from: from.collect::<Result<_, String>>()?,
            })
        });
        Ok(Self(columns.collect::<Result<_, _>>()?))
    }

    /// Fills in defaults. Skips rows without a value, error rows and redriven rows.
    pub fn fill(&self, bronze: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.0.is_empty() {
            return Ok(bronze.clone());
        }
        let number = |name: &str| bronze.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let topics = bronze.column_by_name(column::TOPIC_ID).and_then(|c| c.as_string_opt::<i32>());
        let (Some(topics), Some(partitions), Some(offsets)) =
            (topics, number(column::PARTITION), number(column::OFFSET))
        else {
            return Ok(bronze.clone());
        };
        let fields = bronze.schema();
        let column = |name: &str| bronze.column_by_name(name);
        let (error, redrive, schema_id) =
            (column(column::ERROR), column(column::REDRIVE), column(column::SCHEMA_ID));
        let valid = |column: Option<&ArrayRef>, row: usize| column.is_some_and(|c| c.is_valid(row));
        let own = fields.fields().iter().zip(bronze.columns()).filter(|(field, _)| !is_meta(field.name()));
        let own: Vec<&ArrayRef> = own.map(|(_, column)| column).collect();
        let has_value = |row: usize| valid(schema_id, row) || own.iter().any(|column| column.is_valid(row));
        let mut columns = bronze.columns().to_vec();
        // Most batches lie far behind the first rows of every column, and skip the loop over rows.
        let mut lowest: AHashMap<(&str, i64), i64> = AHashMap::new();
        for row in 0..bronze.num_rows() {
            let lowest = lowest.entry((topics.value(row), partitions.value(row))).or_insert(i64::MAX);
            *lowest = offsets.value(row).min(*lowest);
        }
        let reaches = |column: &&Column| {
            lowest.iter().any(|((topic, partition), lowest)| *lowest < column.first(topic, *partition))
        };
        for column in self.0.iter().filter(reaches) {
            let Ok(at) = fields.index_of(&column.path[0]) else { continue };
            let mut last: Option<(&str, i64, i64)> = None;
            let lacks = (0..bronze.num_rows()).map(|row| {
                let (topic, partition) = (topics.value(row), partitions.value(row));
                let from = match last {
                    Some((of, number, from)) if (of, number) == (topic, partition) => from,
                    _ => {
                        let from = column.first(topic, partition);
                        last = Some((topic, partition, from));
                        from
                    }
                };
                offsets.value(row) < from && !valid(error, row) && !valid(redrive, row) && has_value(row)
            });
            let lacks: BooleanArray = lacks.map(Some).collect();
            if lacks.true_count() > 0 {
                columns[at] = put(&columns[at], &column.path[1..], &column.value, &lacks)?;
            }
        }
        RecordBatch::try_new(fields, columns)
    }
}

/// Topic and partition of an app id. An unreadable id is an error: otherwise all rows of that partition would
/// count as lacking the column.
fn partition_of(app: &str) -> Result<(String, i64), String> {
    let parts = || {
        let (topic, partition) = app.strip_prefix("lp/")?.rsplit_once('/')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    };
    parts().ok_or_else(|| format!("`{app}` is no partition of a topic"))
}

/// The column with the value in the null places of those rows.
fn put(
    column: &ArrayRef,
    path: &[String],
    value: &str,
    lacks: &BooleanArray,
) -> Result<ArrayRef, ArrowError> {
    let Some((name, path)) = path.split_first() else {
        let Some(one) = lake::defaults::one(value, column.data_type()) else { return Ok(column.clone()) };
        return zip(&and(lacks, &is_null(column)?)?, &Scalar::new(one), column);
    };
    let record = column.as_struct();
    let Some((at, _)) = record.fields().find(name) else { return Ok(column.clone()) };
    let there: BooleanArray = match record.nulls() {
        Some(nulls) => and(lacks, &BooleanArray::new(nulls.inner().clone(), None))?,
        None => lacks.clone(),
    };
    let mut columns = record.columns().to_vec();
    columns[at] = put(&columns[at], path, value, &there)?;
    let nulls: Option<NullBuffer> = record.nulls().cloned();
    Ok(Arc::new(StructArray::try_new(record.fields().clone(), columns, nulls)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_row_of_no_known_partition_is_an_error_and_not_a_column_that_no_row_has() {
        let property = |app: &str| format!(r#"{{"price":{{"value":"7","from":{{"{app}":12}}}}}}"#);
        let absent = Absent::of(Some(&property("lp/topic/3"))).expect("a partition");
        assert_eq!(absent.0[0].first("topic", 3), 12);
        for app in ["lp/topic", "lp/topic/three", "kafka/topic/3", ""] {
            let error = Absent::of(Some(&property(app))).expect_err("no partition");
            assert!(error.contains("no partition of a topic"), "{error}");
        }
    }
}
