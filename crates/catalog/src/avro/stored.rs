//! The columns of a bronze table: those of the value, then those that say where the record was.

use std::sync::Arc;

use apache_avro::Schema as Avro;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

use super::schema::{AvroSchema, Error, key_columns, value_rows};
use crate::{Topic, ValueFormat};

/// The one type of an instant in every table: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Names of the columns that bronze adds behind a value's own. `_keys` only where the topic has a key.
pub fn meta_names() -> Vec<String> {
    meta_fields(Fields::empty()).iter().map(|field| field.name().clone()).collect()
}

/// Columns of the bronze table that keeps `topic`, given the Avro schema of its values: the value's top
/// level fields, then `_keys` (where the topic has a key) and the coordinates. Everything is nullable.
pub fn bronze_schema(topic: &Topic, value_schema: &str) -> Result<SchemaRef, Error> {
    let value = AvroSchema::parse(value_schema)?;
    value_rows(topic, &value)?;
    let record = value.root_record()?;
    let column = |field: &apache_avro::schema::RecordField| {
        let mut open = vec![record.name.fullname(None)];
        Ok(Field::new(&field.name, stored_below(&value, &field.schema, &field.name, &mut open)?, true))
    };
    let columns = record.fields.iter().map(column).collect::<Result<Vec<_>, Error>>()?;
    with_meta(columns, key_columns(topic, Some(&value))?)
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
        fields.push(Field::new("_keys", DataType::Struct(keys), true));
    }
    let rest = [
        ("_key", DataType::Binary),
        ("_topic_id", DataType::Utf8),
        ("_partition", DataType::Int64),
        ("_offset", DataType::Int64),
        ("_timestamp", timestamp_type()),
        ("_headers", headers),
        ("_schema_id", DataType::Int64),
        ("_epoch", DataType::Int64),
        ("_redrive", DataType::Utf8),
        ("_ingested_at", timestamp_type()),
        ("_error", DataType::Utf8),
        ("_raw", DataType::Binary),
        ("_ingested_date", DataType::Date32),
    ];
    fields.extend(rest.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)));
    fields.into()
}

/// The type a table stores for an Avro type.
pub(super) fn stored_type(avro: &AvroSchema, schema: &Avro, path: &str) -> Result<DataType, Error> {
    stored_below(avro, schema, path, &mut Vec::new())
}

fn stored_below(
    avro: &AvroSchema,
    schema: &Avro,
    path: &str,
    open: &mut Vec<String>,
) -> Result<DataType, Error> {
    let unsupported = |what: &str| Error::Unsupported { path: path.to_owned(), what: what.to_owned() };
    let (schema, _) = avro.non_null(schema).ok_or_else(|| unsupported("a union of several types"))?;
    Ok(match schema {
        Avro::Boolean => DataType::Boolean,
        Avro::Int | Avro::Long | Avro::TimeMillis | Avro::TimeMicros => DataType::Int64,
        Avro::Float | Avro::Double => DataType::Float64,
        Avro::String | Avro::Enum(_) | Avro::Uuid(_) => DataType::Utf8,
        Avro::Bytes | Avro::Fixed(_) | Avro::BigDecimal => DataType::Binary,
        Avro::Date => DataType::Date32,
        Avro::TimestampMillis
        | Avro::TimestampMicros
        | Avro::TimestampNanos
        | Avro::LocalTimestampMillis
        | Avro::LocalTimestampMicros
        | Avro::LocalTimestampNanos => timestamp_type(),
        Avro::Decimal(decimal) => match i8::try_from(decimal.scale) {
            Ok(scale) if decimal.precision <= 38 => DataType::Decimal128(38, scale),
            _ => return Err(unsupported("a decimal of more than 38 digits")),
        },
        Avro::Array(array) => {
            let items = stored_below(avro, &array.items, &format!("{path}[]"), open)?;
            DataType::List(Arc::new(Field::new("element", items, true)))
        }
        Avro::Map(map) => {
            let values = stored_below(avro, &map.types, &format!("{path}{{}}"), open)?;
            let entry = Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", values, true),
            ]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
        }
        Avro::Record(record) => {
            let name = record.name.fullname(None);
            if open.contains(&name) {
                return Err(Error::Recursive { path: path.to_owned(), name });
            }
            if record.fields.is_empty() {
                return Err(unsupported("a record without fields"));
            }
            open.push(name);
            let field = |field: &apache_avro::schema::RecordField| {
                let path = format!("{path}.{}", field.name);
                Ok(Field::new(&field.name, stored_below(avro, &field.schema, &path, open)?, true))
            };
            let fields = record.fields.iter().map(field).collect::<Result<Fields, Error>>()?;
            open.pop();
            DataType::Struct(fields)
        }
        Avro::Null => return Err(unsupported("always null")),
        Avro::Duration(_) => return Err(unsupported("a duration of months, days and milliseconds")),
        Avro::Union(_) => return Err(unsupported("a union in a union")),
        Avro::Ref { name } => {
            return Err(unsupported(&format!("the unknown type `{}`", name.fullname(None))));
        }
    })
}
