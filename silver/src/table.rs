//! Columns of a silver table and its two siblings, and how far a table has read.
//!
//! The model's own columns are followed by those of the row's last event: `_epoch, _lsn, _tx_order,
//! _topic_id, _partition, _offset`, and by `_carried`, which is true if the row also depends on earlier
//! events. With a history, `__START_AT, __END_AT, valid_from, valid_to` come between the two.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use catalog::{Kind, Model};
use lake::{Lake, Table, TableSpec};
use model::{AppId, Micros, Positions, ProjectName, Sequence, TableName, Version, column};

use crate::error::{Error, OfTable as _, Result};

/// Sequence at which a version starts.
pub const START: &str = "__START_AT";
/// Sequence at which it ends; null while it is open.
pub const END: &str = "__END_AT";

/// Columns of the event that a row comes from.
pub fn seq_fields() -> Vec<Field> {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    vec![
        field(column::EPOCH, DataType::Int64),
        field(column::LSN, DataType::Int64),
        field(column::TX_ORDER, DataType::Int64),
        field(column::TOPIC_ID, DataType::Utf8),
        field(column::PARTITION, DataType::Int64),
        field(column::OFFSET, DataType::Int64),
    ]
}

/// `_tx_order` of a row that is ordered by offset: `_lsn` is then the highest LSN of the key's events so far,
/// which limits the repeats. A real order in a transaction is never negative.
const BY_OFFSET: i64 = -1;

/// Values of [`seq_fields`].
pub fn seq_columns<'a>(seqs: impl Iterator<Item = &'a Sequence> + Clone) -> Vec<ArrayRef> {
    let numbers = |part: fn(&Sequence) -> Option<i64>| {
        Arc::new(seqs.clone().map(part).collect::<Int64Array>()) as ArrayRef
    };
    vec![
        numbers(|s| s.epoch),
        numbers(|s| s.lsn),
        numbers(|s| if s.by_offset { Some(BY_OFFSET) } else { s.tx_order }),
        Arc::new(seqs.clone().map(|s| Some(&*s.topic_id)).collect::<StringArray>()),
        numbers(|s| Some(i64::from(s.partition))),
        numbers(|s| Some(s.offset)),
    ]
}

/// The events that rows come from, read from the columns of [`seq_fields`].
pub fn read_seqs(rows: &RecordBatch) -> Result<Vec<Sequence>, ArrowError> {
    let column = |name: &str| {
        let missing = || ArrowError::SchemaError(format!("there is no column `{name}`"));
        rows.column_by_name(name).ok_or_else(missing)
    };
    let number = |name: &str| {
        let numbers: Option<&Int64Array> = column(name)?.as_primitive_opt::<Int64Type>();
        numbers.cloned().ok_or_else(|| ArrowError::SchemaError(format!("`{name}` is no BIGINT")))
    };
    let (epoch, lsn, tx_order) = (number(column::EPOCH)?, number(column::LSN)?, number(column::TX_ORDER)?);
    let (partition, offset) = (number(column::PARTITION)?, number(column::OFFSET)?);
    let topics = column(column::TOPIC_ID)?.as_string_opt::<i32>().cloned();
    let topics: StringArray =
        topics.ok_or_else(|| ArrowError::SchemaError("`_topic_id` is no STRING".to_owned()))?;
    let part = |column: &Int64Array, row: usize| column.is_valid(row).then(|| column.value(row));
    let mut topic_id: Arc<str> = Arc::from("");
    let seq = |row: usize| -> Result<Sequence, ArrowError> {
        let topic = if topics.is_valid(row) { topics.value(row) } else { "" };
        if *topic_id != *topic {
            topic_id = Arc::from(topic);
        }
        Ok(Sequence {
            epoch: part(&epoch, row),
            lsn: part(&lsn, row),
            tx_order: part(&tx_order, row).filter(|order| *order != BY_OFFSET),
            by_offset: part(&tx_order, row) == Some(BY_OFFSET),
            offset: part(&offset, row).unwrap_or_default(),
            partition: partition_of(part(&partition, row))?,
            topic_id: Arc::clone(&topic_id),
        })
    };
    (0..rows.num_rows()).map(seq).collect()
}

/// A stored partition. A null, in rows of no topic, gives partition 0.
pub(crate) fn partition_of(stored: Option<i64>) -> Result<i32, ArrowError> {
    let stored = stored.unwrap_or_default();
    i32::try_from(stored)
        .map_err(|_| ArrowError::SchemaError(format!("`_partition` is {stored}, which no topic has")))
}

/// The type of a time: microseconds in UTC.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column of times.
pub fn time_column(times: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    Arc::new(times.map(|at| at.map(|at| at.0)).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Times of a column; null if the column is missing.
pub fn read_times(rows: &RecordBatch, name: &str) -> Vec<Option<Micros>> {
    let column = rows.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    match column {
        Some(column) => column.iter().map(|at| at.map(Micros)).collect(),
        None => vec![None; rows.num_rows()],
    }
}

/// Texts of a column; null if the column is missing.
pub fn read_texts(rows: &RecordBatch, name: &str) -> Vec<Option<Arc<str>>> {
    match rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()) {
        Some(column) => column.iter().map(|text| text.map(Arc::from)).collect(),
        None => vec![None; rows.num_rows()],
    }
}

/// Flags of a column; null is false.
pub fn read_flags(rows: &RecordBatch, name: &str) -> Vec<bool> {
    let column: Option<&BooleanArray> = rows.column_by_name(name).and_then(|c| c.as_boolean_opt());
    column.map_or_else(|| vec![false; rows.num_rows()], |c| c.iter().map(|flag| flag == Some(true)).collect())
}

/// All columns of a model's table.
pub fn table_schema(kind: Kind, own: &Schema) -> SchemaRef {
    let mut fields: Vec<Field> = own.fields().iter().map(|f| f.as_ref().clone()).collect();
    if kind == Kind::Scd2 {
        fields.extend([
            Field::new(START, DataType::Utf8, true),
            Field::new(END, DataType::Utf8, true),
            Field::new("valid_from", time_type(), true),
            Field::new("valid_to", time_type(), true),
        ]);
    }
    fields.extend(seq_fields());
    fields.push(Field::new(column::CARRIED, DataType::Boolean, true));
    Arc::new(Schema::new(fields))
}

/// The table of notes about deletes, truncates and key changes.
pub fn deleted_name(table: &TableName) -> TableName {
    table.sibling("deleted")
}
/// The table of quarantined rows.
pub fn quarantine_name(table: &TableName) -> TableName {
    table.sibling("quarantine")
}

/// Creates the table of a model, or opens an existing one. Its siblings are created with their first row.
pub async fn create(lake: &Lake, project: &ProjectName, model: &Model) -> Result<Table> {
    let taken = seq_fields().into_iter().map(|f| f.name().clone()).chain([column::CARRIED.to_owned()]);
    if let Some(name) = taken.into_iter().find(|name| model.schema.index_of(name).is_ok()) {
        let bronze = model.source.clone().unwrap_or_else(|| model.name.clone());
        let fault =
            format!("`{name}` is a column that silver adds by itself; leave it out or rename it").into();
        return Err(Error::Unfit { table: model.name.clone(), bronze, fault });
    }
    let spec = TableSpec {
        partition_by: model.partition_by.clone(),
        deletion_vectors: model.deletion_vectors,
        change_feed: model.change_feed,
        description: model.description.clone(),
        properties: model.properties(),
        positions: Positions::default().with(AppId::plan(), model.fingerprint),
        ..TableSpec::new(project.clone(), table_schema(model.kind, &model.schema))
    };
    lake.create(&model.name, spec).await.of(&model.name)
}

/// How far a silver table has read its bronze table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Version of the bronze table that was consumed. `None`: none yet.
    pub consumed: Option<Version>,
    /// Newest version of the bronze table. `None`: it does not exist.
    pub available: Option<Version>,
    /// Version of the silver table. `None`: it does not exist.
    pub version: Option<Version>,
}
impl Standing {
    /// True if there is nothing left to read.
    pub fn is_drained(&self) -> bool {
        self.consumed >= self.available
    }
}

/// Reads from the lake alone how far a table is.
pub async fn standing(lake: &Lake, model: &Model) -> Result<Standing> {
    let table = lake.table(&model.name).await.of(&model.name)?;
    let bronze = match &model.source {
        Some(source) => lake.table(source).await.of(&model.name)?,
        None => None,
    };
    let position = |table: &Table| table.positions().get(&AppId::table(bronze.as_ref()?.id()));
    let consumed = table.as_ref().and_then(position).and_then(Version::of_position);
    Ok(Standing {
        consumed,
        available: bronze.as_ref().map(Table::version),
        version: table.as_ref().map(Table::version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_no_topic_has_is_an_error_and_not_the_last_one() {
        assert_eq!(partition_of(Some(3)).expect("a partition"), 3);
        assert_eq!(partition_of(None).expect("of no topic"), 0);
        assert!(partition_of(Some(1 << 40)).is_err());
    }
}
