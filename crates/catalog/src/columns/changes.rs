//! What `changes(bronze.x)` yields: one row an event.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use avro::{Error, timestamp_type};
use model::column;

use super::stored::meta_names;
use crate::{Envelope, Topic};

/// Columns of `changes(…)` over a bronze table: those of `after` (of the value, without an envelope),
/// key columns that only the record's key has, then `_op, _epoch, _lsn, _tx_order, _offset, _ts,
/// _unchanged`. Everything is nullable.
pub fn changes_schema(topic: &Topic, bronze: &Schema) -> Result<SchemaRef, Error> {
    // A column that came while the table was there stands behind those that bronze adds.
    let added = meta_names();
    let is_own = |field: &&FieldRef| field.name() != column::KEYS && !added.contains(field.name());
    let value: Vec<FieldRef> = bronze.fields().iter().filter(is_own).cloned().collect();
    let mut fields: Vec<FieldRef> = match topic.envelope {
        Envelope::None => value,
        Envelope::DebeziumFlat => value.iter().filter(|f| !f.name().starts_with("__")).cloned().collect(),
        Envelope::Debezium => {
            let after = value.iter().find(|field| field.name() == "after").map(|field| field.data_type());
            let Some(DataType::Struct(columns)) = after else {
                return Err(Error::NoEnvelope { field: "after" });
            };
            columns.to_vec()
        }
    };
    if let Ok(keys) = bronze.field_with_name(column::KEYS)
        && let DataType::Struct(keys) = keys.data_type()
    {
        let missing = keys.iter().filter(|key| !fields.iter().any(|f| f.name() == key.name()));
        let missing: Vec<FieldRef> = missing.cloned().collect();
        fields.extend(missing);
    }
    let unchanged = DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)));
    let rest = [
        (column::OP, DataType::Utf8),
        (column::EPOCH, DataType::Int64),
        (column::LSN, DataType::Int64),
        (column::TX_ORDER, DataType::Int64),
        (column::OFFSET, DataType::Int64),
        (column::TS, timestamp_type()),
        (column::UNCHANGED, unchanged),
    ];
    for (name, data_type) in rest {
        if fields.iter().any(|field| field.name().eq_ignore_ascii_case(name)) {
            return Err(Error::Twice { column: name.to_owned() });
        }
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The columns that `scd2` adds to a model's own and that other models see: from and until which
/// sequence a version held, and when that was.
pub fn history_fields() -> [FieldRef; 4] {
    [
        Arc::new(Field::new("__START_AT", DataType::Utf8, true)),
        Arc::new(Field::new("__END_AT", DataType::Utf8, true)),
        Arc::new(Field::new("valid_from", timestamp_type(), true)),
        Arc::new(Field::new("valid_to", timestamp_type(), true)),
    ]
}
