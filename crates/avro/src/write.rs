//! Avro schemas that we make: from columns, of a key from the value that holds it, of a bare key.

use std::sync::Arc;

use apache_avro::Schema as Avro;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};

use crate::schema::{Error, RecordFields};

/// Avro schema of a record `namespace.name` as JSON: of all columns of `schema`, or only of `keys` and
/// in their order where there are any. Every field may be null, so that a column more is compatible.
pub fn from_arrow(name: &str, namespace: &str, schema: &Schema, keys: &[String]) -> Result<String, Error> {
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

/// Schema of a record's key: these columns as the value types them, without `null`.
pub fn key_schema(namespace: &str, value: RecordFields<'_>, columns: &[String]) -> Result<String, Error> {
    let field = |column: &String| {
        let missing = || Error::NoKeyColumn { column: column.clone() };
        let field = value.field(column).ok_or_else(missing)?;
        let unsupported =
            || Error::Unsupported { path: column.clone(), what: "no plain type, so it is no key".to_owned() };
        let (schema, _) = value.schema.non_null(&field.schema).ok_or_else(unsupported)?;
        if matches!(schema, Avro::Record(_) | Avro::Array(_) | Avro::Map(_) | Avro::Null) {
            return Err(unsupported());
        }
        let schema = serde_json::to_value(schema).map_err(|_| unsupported())?;
        Ok(json!({ "name": column, "type": schema }))
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let key = json!({ "type": "record", "name": "Key", "namespace": namespace, "fields": fields });
    Ok(key.to_string())
}

/// A bare key, such as a string, as the one field of a record: its bytes are the same.
pub fn as_record(json: &Arc<str>, column: &str) -> Arc<str> {
    let schema: Result<Value, _> = serde_json::from_str(json);
    match schema {
        Ok(schema) if schema.get("type").and_then(|kind| kind.as_str()) != Some("record") => {
            let field = json!({ "name": column, "type": schema });
            json!({ "type": "record", "name": "lakepulse_bare_key", "fields": [field] }).to_string().into()
        }
        // What is no JSON the decoder refuses.
        _ => json.clone(),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A dotted text as an Avro namespace: what is not allowed in a name becomes `_`.
pub fn legal_namespace(text: &str) -> String {
    text.split('.').filter(|part| !part.is_empty()).map(legal_name).collect::<Vec<_>>().join(".")
}

fn legal_name(text: &str) -> String {
    let legal: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&legal) { legal } else { format!("_{legal}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checker;

    #[test]
    fn a_bare_key_is_read_as_a_record_of_one() {
        let schema: Arc<str> = as_record(&Arc::from(r#""string""#), "sku");
        let checker = Checker::try_new(&schema).expect("a record");
        assert_eq!(checker.check(&[2, b'x']), Ok(()));
        let record: Arc<str> = Arc::from(r#"{"type":"record","name":"K","fields":[]}"#);
        assert_eq!(as_record(&record, "sku"), record);
    }
}
