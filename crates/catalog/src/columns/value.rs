//! Where the columns of a topic's rows and keys are in its schemas.

use arrow::datatypes::{Field, Fields};
use avro::{Error, RecordFields, Schema, key_schema, legal_namespace};

use crate::{Envelope, Topic};

/// The record of a value that holds the row's columns: `after` of an envelope, else the value itself.
pub(crate) fn value_rows<'a>(topic: &Topic, value: &'a Schema) -> Result<RecordFields<'a>, Error> {
    let root = value.record()?;
    if topic.envelope != Envelope::Debezium {
        return Ok(root);
    }
    for field in ["before", "op", "source"] {
        if !root.has(field) {
            return Err(Error::NoEnvelope { field });
        }
    }
    root.record("after").ok_or(Error::NoEnvelope { field: "after" })
}

/// Name and stored type of each key column, in the key's order: from the key's schema where there is
/// one, else from the columns of the value.
pub(super) fn key_columns(topic: &Topic, value: Option<&Schema>) -> Result<Fields, Error> {
    if let Some(key_schema) = &topic.key_schema {
        let key = Schema::parse(key_schema)?;
        let Ok(record) = key.record() else {
            // A bare key, such as a string, is the one declared column.
            let [column] = topic.key.as_slice() else { return Err(Error::NotARecord) };
            return Ok([Field::new(column, key.stored(column)?, true)].into_iter().collect());
        };
        return named(record, &topic.key);
    }
    let Some(value) = value else { return Ok(Fields::empty()) };
    named(value_rows(topic, value)?, &topic.key)
}

fn named(record: RecordFields<'_>, columns: &[String]) -> Result<Fields, Error> {
    let column = |column: &String| {
        let stored = record.stored(column).ok_or_else(|| Error::NoKeyColumn { column: column.clone() })?;
        Ok(Field::new(column, stored?, true))
    };
    columns.iter().map(column).collect()
}

/// Names of a record's fields; none for a schema that is no record.
pub(crate) fn record_columns(json: &str) -> Result<Vec<String>, Error> {
    let schema = Schema::parse(json)?;
    Ok(schema.record().map(|record| record.names().map(str::to_owned).collect()).unwrap_or_default())
}

/// Schema of the record's key where only the value's is declared.
pub(crate) fn derived_key_schema(topic: &Topic, value_schema: &str) -> Result<String, Error> {
    let value = Schema::parse(value_schema)?;
    key_schema(&legal_namespace(topic.name.as_str()), value_rows(topic, &value)?, &topic.key)
}
