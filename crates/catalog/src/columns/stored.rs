//! The columns of a bronze table: those of the value, then those that say where the record was.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use avro::{Error, Schema as Avro, timestamp_type};
use model::column;

use super::value::{key_columns, value_rows};
use crate::{Topic, ValueFormat};

/// Names of the columns that bronze adds behind a value's own. `_keys` only where the topic has a key.
pub fn meta_names() -> Vec<String> {
    meta_fields(Fields::empty()).iter().map(|field| field.name().clone()).collect()
}

/// Columns of the bronze table that keeps `topic`, given the Avro schema of its values: the value's top
/// level fields, then `_keys` (where the topic has a key) and the coordinates. Everything is nullable.
pub fn bronze_schema(topic: &Topic, value_schema: &str) -> Result<SchemaRef, Error> {
    let value = Avro::parse(value_schema)?;
    value_rows(topic, &value)?;
    with_meta(value.record()?.columns()?, key_columns(topic, Some(&value))?)
}

/// As [`bronze_schema`] from what the topic itself knows: JSON without schema and envelope is one text
/// column `value`, bytes are one binary column `value`. `None`: only the registry knows, or the records.
pub fn bronze_schema_of(topic: &Topic) -> Result<Option<SchemaRef>, Error> {
    let bare = |data_type| with_meta(vec![Field::new("value", data_type, true)], key_columns(topic, None)?);
    match (&topic.value_schema, topic.value) {
        (Some(schema), _) => bronze_schema(topic, schema).map(Some),
        _ if topic.is_unlearned() => Ok(None),
        (None, ValueFormat::Bytes) => bare(DataType::Binary).map(Some),
        (None, _) => bare(DataType::Utf8).map(Some),
    }
}

fn with_meta(columns: Vec<Field>, keys: Fields) -> Result<SchemaRef, Error> {
    let mut fields: Vec<Arc<Field>> = columns.into_iter().map(Arc::new).collect();
    fields.extend(meta_fields(keys).iter().cloned());
    each_once(&fields, "")?;
    Ok(Arc::new(Schema::new(fields)))
}

/// Delta does not tell upper from lower case, at no level.
fn each_once(fields: &[Arc<Field>], path: &str) -> Result<(), Error> {
    let mut seen = std::collections::HashSet::new();
    for field in fields {
        let path = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
        if !seen.insert(field.name().to_lowercase()) {
            return Err(Error::Twice { column: path });
        }
        match field.data_type() {
            DataType::Struct(fields) => each_once(fields, &path)?,
            DataType::List(item) => each_once(std::slice::from_ref(item), &path)?,
            DataType::Map(entry, _) => each_once(std::slice::from_ref(entry), &path)?,
            _ => {}
        }
    }
    Ok(())
}

fn meta_fields(keys: Fields) -> Fields {
    let header = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ]);
    let headers = DataType::List(Arc::new(Field::new("element", DataType::Struct(header), true)));
    let mut fields = Vec::new();
    if !keys.is_empty() {
        fields.push(Field::new(column::KEYS, DataType::Struct(keys), true));
    }
    let rest = [
        (column::KEY, DataType::Binary),
        (column::TOPIC_ID, DataType::Utf8),
        (column::PARTITION, DataType::Int64),
        (column::OFFSET, DataType::Int64),
        (column::TIMESTAMP, timestamp_type()),
        (column::HEADERS, headers),
        (column::SCHEMA_ID, DataType::Int64),
        (column::EPOCH, DataType::Int64),
        (column::REDRIVE, DataType::Utf8),
        (column::INGESTED_AT, timestamp_type()),
        (column::ERROR, DataType::Utf8),
        (column::RAW, DataType::Binary),
        (column::INGESTED_DATE, DataType::Date32),
    ];
    fields.extend(rest.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)));
    fields.into()
}
