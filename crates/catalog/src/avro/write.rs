//! Avro schemas that we make: of a gold topic from its columns, of a key from the value that holds it.

use std::sync::Arc;

use apache_avro::Schema as Avro;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde_json::{Value, json};

use super::schema::{AvroSchema, Error, value_rows};
use super::stored::timestamp_type;
use crate::Topic;

/// Avro schema of a record `namespace.name` as JSON: of all columns of `schema`, or only of `keys` and
/// in their order where there are any. Every field may be null, so that a column more is compatible.
pub fn avro_from_arrow(
    name: &str,
    namespace: &str,
    schema: &Schema,
    keys: &[String],
) -> Result<String, Error> {
    let columns: Vec<&Field> = if keys.is_empty() {
        schema.fields().iter().map(AsRef::as_ref).collect()
    } else {
        let find = |key: &String| {
            schema.field_with_name(key).map_err(|_| Error::NoKeyColumn { column: key.clone() })
        };
        keys.iter().map(find).collect::<Result<_, _>>()?
    };
    let mut names = Names::from([name.to_owned()]);
    let fields = columns.into_iter().map(|field| avro_field(field, name, &mut names));
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let record = json!({ "type": "record", "name": name, "namespace": namespace, "fields": fields });
    Ok(record.to_string())
}

/// Names of records that a schema has so far. The path of a record makes most of them different; where
/// `a_b` and the `b` of `a` meet, a number does.
type Names = std::collections::BTreeSet<String>;

fn own_name(path: &str, names: &mut Names) -> String {
    let mut name = path.to_owned();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{path}__{number}");
        number += 1;
    }
    name
}

fn avro_field(field: &Field, within: &str, names: &mut Names) -> Result<Value, Error> {
    let name = field.name();
    if !is_name(name) {
        return Err(Error::BadName { column: name.clone() });
    }
    let data_type = avro_type(field.data_type(), &format!("{within}_{name}"), name, names)?;
    Ok(json!({ "name": name, "type": ["null", data_type], "default": null }))
}

fn avro_type(data_type: &DataType, record: &str, path: &str, names: &mut Names) -> Result<Value, Error> {
    Ok(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            json!("int")
        }
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => json!("long"),
        DataType::Float16 | DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!("string"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            json!("bytes")
        }
        DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
        DataType::Timestamp(..) => json!({ "type": "long", "logicalType": "timestamp-micros" }),
        DataType::Decimal128(precision, scale) => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        DataType::Dictionary(_, values) => avro_type(values, record, path, names)?,
        DataType::List(item) | DataType::LargeList(item) => {
            let items = avro_type(item.data_type(), &format!("{record}_item"), path, names)?;
            json!({ "type": "array", "items": ["null", items] })
        }
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                if !matches!(fields[0].data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                {
                    let keys = fields[0].data_type().to_string();
                    return Err(Error::MapKeys { path: path.to_owned(), keys });
                }
                let values = avro_type(fields[1].data_type(), &format!("{record}_value"), path, names)?;
                json!({ "type": "map", "values": ["null", values] })
            }
            _ => return Err(unsupported(data_type, path)),
        },
        DataType::Struct(fields) => {
            let record = own_name(record, names);
            let fields =
                fields.iter().map(|f| avro_field(f, &record, names)).collect::<Result<Vec<_>, _>>()?;
            json!({ "type": "record", "name": record, "fields": fields })
        }
        other => return Err(unsupported(other, path)),
    })
}

fn unsupported(data_type: &DataType, path: &str) -> Error {
    Error::Unsupported { path: path.to_owned(), what: format!("of type {data_type}") }
}

/// The columns of a SELECT as a table stores them: one text type, one timestamp type, no unsigned
/// integer, everything nullable. A stage casts what it computed to this.
pub(crate) fn storable(schema: &Schema) -> Result<SchemaRef, Error> {
    let field = |f: &Arc<Field>| Ok(Field::new(f.name(), storable_type(f.data_type(), f.name())?, true));
    let fields = schema.fields().iter().map(field).collect::<Result<Fields, Error>>()?;
    let mut seen = std::collections::HashSet::new();
    for field in &fields {
        if !seen.insert(field.name().to_lowercase()) {
            return Err(Error::Twice { column: field.name().clone() });
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn storable_type(data_type: &DataType, path: &str) -> Result<DataType, Error> {
    let element = |item: &Field| {
        let item = storable_type(item.data_type(), &format!("{path}[]"))?;
        Ok(DataType::List(Arc::new(Field::new("element", item, true))))
    };
    Ok(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32 => data_type.clone(),
        DataType::Decimal128(_, scale) if *scale >= 0 => data_type.clone(),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Timestamp(..) | DataType::Date64 => timestamp_type(),
        DataType::Dictionary(_, values) => storable_type(values, path)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => element(item)?,
        DataType::Struct(fields) => {
            let inner = |f: &Arc<Field>| {
                let path = format!("{path}.{}", f.name());
                Ok(Field::new(f.name(), storable_type(f.data_type(), &path)?, true))
            };
            DataType::Struct(fields.iter().map(inner).collect::<Result<Fields, Error>>()?)
        }
        DataType::Map(entry, _) => match entry.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let entry = Fields::from(vec![
                    Field::new("key", storable_type(fields[0].data_type(), path)?, false),
                    Field::new("value", storable_type(fields[1].data_type(), path)?, true),
                ]);
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
            }
            _ => return Err(unsupported(data_type, path)),
        },
        other => return Err(unsupported(other, path)),
    })
}

/// Schema of the record's key where only the value's is declared: the key columns as the value types
/// them, without `null`.
pub(crate) fn derived_key_schema(topic: &Topic, value_schema: &str) -> Result<String, Error> {
    let value = AvroSchema::parse(value_schema)?;
    let rows = value_rows(topic, &value)?;
    let field = |column: &String| {
        let missing = || Error::NoKeyColumn { column: column.clone() };
        let field = rows.fields.iter().find(|field| field.name == *column).ok_or_else(missing)?;
        let unsupported =
            || Error::Unsupported { path: column.clone(), what: "no plain type, so it is no key".to_owned() };
        let (schema, _) = value.non_null(&field.schema).ok_or_else(unsupported)?;
        if matches!(schema, Avro::Record(_) | Avro::Array(_) | Avro::Map(_) | Avro::Null) {
            return Err(unsupported());
        }
        let schema = serde_json::to_value(schema).map_err(|_| unsupported())?;
        Ok(json!({ "name": column, "type": schema }))
    };
    let fields = topic.key.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let namespace = legal_namespace(topic.name.as_str());
    let key = json!({ "type": "record", "name": "Key", "namespace": namespace, "fields": fields });
    Ok(key.to_string())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `text` as an Avro name: what is not allowed becomes `_`.
fn legal_name(text: &str) -> String {
    let legal: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&legal) { legal } else { format!("_{legal}") }
}

/// A topic's name as an Avro namespace.
pub(crate) fn legal_namespace(topic: &str) -> String {
    topic.split('.').filter(|part| !part.is_empty()).map(legal_name).collect::<Vec<_>>().join(".")
}
