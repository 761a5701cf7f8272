//! The columns of a SELECT as a table stores them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use avro::{Error, timestamp_type};

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

fn unsupported(data_type: &DataType, path: &str) -> Error {
    Error::Unsupported { path: path.to_owned(), what: format!("of type {data_type}") }
}
