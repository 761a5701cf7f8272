//! The type that a table stores for each Avro type: the widest of its family.

use std::sync::Arc;

use apache_avro::Schema as Avro;
use apache_avro::schema::RecordField;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use crate::schema::{Error, Schema};

/// The one type of an instant in every table: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type a table stores for an Avro type.
pub(crate) fn stored_type(avro: &Schema, schema: &Avro, path: &str) -> Result<DataType, Error> {
    stored_below(avro, schema, path, &mut Vec::new())
}

pub(crate) fn stored_below(
    avro: &Schema,
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
            let field = |field: &RecordField| {
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
