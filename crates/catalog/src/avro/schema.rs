//! A parsed Avro schema whose references are followed by name.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;
use arrow::datatypes::{DataType, Field, Fields};

use super::connect::{Form, in_form};
use super::stored::stored_type;
use crate::{Envelope, Topic};

/// A schema that cannot become columns. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is JSON but no Avro schema, or no JSON.
    #[error("not an Avro schema")]
    NotAvro {
        /// What the parser says.
        source: Box<apache_avro::Error>,
    },
    /// A schema part that Connect would not write, or a type of it that no table stores.
    #[error("`{path}` is no schema of Kafka Connect that a table can store: {what}")]
    NotConnect {
        /// Dotted path of the field.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A schema that is to become columns has to be a record.
    #[error("the schema is no record, so it has no columns")]
    NotARecord,
    /// A type that a table cannot store.
    #[error("`{path}` is {what}, which a table cannot store")]
    Unsupported {
        /// Dotted path of the field.
        path: String,
        /// Its type.
        what: String,
    },
    /// A map that Avro has no word for.
    #[error("`{path}` is a map with keys of type {keys}, and Avro knows texts only as keys")]
    MapKeys {
        /// Dotted path of the field.
        path: String,
        /// Type of its keys.
        keys: String,
    },
    /// A record that holds itself.
    #[error("`{path}` holds `{name}`, which it is part of: a table cannot store it")]
    Recursive {
        /// Dotted path of the field.
        path: String,
        /// The record.
        name: String,
    },
    /// Delta does not tell upper from lower case, and the columns of bronze come beside those of a value.
    #[error("column `{column}` is there twice, counting upper and lower case as one")]
    Twice {
        /// The column.
        column: String,
    },
    /// A record is not the envelope that the topic declares.
    #[error(
        "the envelope lacks `{field}`: declare `envelope: none` or give the schema of the whole envelope"
    )]
    NoEnvelope {
        /// The field.
        field: &'static str,
    },
    /// A column of the key is in neither the key's schema nor the value's.
    #[error("key column `{column}` is not in the schema")]
    NoKeyColumn {
        /// The column.
        column: String,
    },
    /// A column name that Avro does not allow.
    #[error("column `{column}` is no Avro name: give it an alias of letters, digits and `_`")]
    BadName {
        /// The column.
        column: String,
    },
}
impl Error {
    /// What a loop does after it: nothing but another schema helps.
    pub fn reaction(&self) -> model::Reaction {
        model::Reaction::Halt
    }
}

/// A schema and the named types in it.
pub(crate) struct AvroSchema {
    pub root: Schema,
    named: HashMap<String, Schema>,
}
impl AvroSchema {
    pub fn parse(json: &str) -> Result<Self, Error> {
        let json = in_form(json, Form::Stored);
        let root = Schema::parse_str(&json).map_err(|source| Error::NotAvro { source: Box::new(source) })?;
        let mut named = HashMap::new();
        name_types(&root, &mut named);
        Ok(Self { root, named })
    }
    /// The type itself where `schema` is the name of one.
    pub fn follow<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        match schema {
            Schema::Ref { name } => self.named.get(&name.fullname(None)).unwrap_or(schema),
            other => other,
        }
    }
    /// The type without `null`, and whether `null` was there. `None`: a union of several types.
    pub fn non_null<'a>(&'a self, schema: &'a Schema) -> Option<(&'a Schema, bool)> {
        let Schema::Union(union) = self.follow(schema) else {
            return Some((self.follow(schema), false));
        };
        let mut types = union.variants().iter().filter(|variant| **variant != Schema::Null);
        match (types.next(), types.next()) {
            (Some(only), None) => Some((self.follow(only), union.is_nullable())),
            _ => None,
        }
    }
    pub fn root_record(&self) -> Result<&RecordSchema, Error> {
        match self.non_null(&self.root) {
            Some((Schema::Record(record), _)) => Ok(record),
            _ => Err(Error::NotARecord),
        }
    }
    /// The record at a field of `record`, through `null`.
    pub fn record_field<'a>(&'a self, record: &'a RecordSchema, name: &str) -> Option<&'a RecordSchema> {
        let field = record.fields.iter().find(|field| field.name == name)?;
        match self.non_null(&field.schema)? {
            (Schema::Record(inner), _) => Some(inner),
            _ => None,
        }
    }
}

fn name_types(schema: &Schema, named: &mut HashMap<String, Schema>) {
    match schema {
        Schema::Record(record) => {
            named.insert(record.name.fullname(None), schema.clone());
            record.fields.iter().for_each(|field| name_types(&field.schema, named));
        }
        Schema::Enum(inner) => drop(named.insert(inner.name.fullname(None), schema.clone())),
        Schema::Fixed(inner) => drop(named.insert(inner.name.fullname(None), schema.clone())),
        Schema::Array(array) => name_types(&array.items, named),
        Schema::Map(map) => name_types(&map.types, named),
        Schema::Union(union) => union.variants().iter().for_each(|variant| name_types(variant, named)),
        Schema::Decimal(decimal) => {
            if let apache_avro::schema::InnerDecimalSchema::Fixed(fixed) = &decimal.inner {
                named.insert(fixed.name.fullname(None), schema.clone());
            }
        }
        _ => {}
    }
}

/// The record of a value that holds the row's columns: `after` of an envelope, else the value itself.
pub(crate) fn value_rows<'a>(topic: &Topic, value: &'a AvroSchema) -> Result<&'a RecordSchema, Error> {
    let root = value.root_record()?;
    if topic.envelope != Envelope::Debezium {
        return Ok(root);
    }
    for field in ["before", "op", "source"] {
        if !root.fields.iter().any(|f| f.name == field) {
            return Err(Error::NoEnvelope { field });
        }
    }
    value.record_field(root, "after").ok_or(Error::NoEnvelope { field: "after" })
}

/// Name and stored type of each key column, in the key's order: from the key's schema where there is
/// one, else from the columns of the value.
pub(crate) fn key_columns(topic: &Topic, value: Option<&AvroSchema>) -> Result<Fields, Error> {
    let nullable = |name: &str, data_type| Field::new(name, data_type, true);
    if let Some(key_schema) = &topic.key_schema {
        let key = AvroSchema::parse(key_schema)?;
        let Some((Schema::Record(record), _)) = key.non_null(&key.root) else {
            // A bare key, such as a string, is the one declared column.
            let [column] = topic.key.as_slice() else { return Err(Error::NotARecord) };
            return Ok([nullable(column, stored_type(&key, &key.root, column)?)].into_iter().collect());
        };
        let named = |column: &String| {
            let field = record.fields.iter().find(|field| field.name == *column);
            let field = field.ok_or_else(|| Error::NoKeyColumn { column: column.clone() })?;
            Ok(nullable(column, stored_type(&key, &field.schema, column)?))
        };
        return topic.key.iter().map(named).collect();
    }
    let Some(value) = value else { return Ok(Fields::empty()) };
    let rows = value_rows(topic, value)?;
    let named = |column: &String| {
        let field = rows.fields.iter().find(|field| field.name == *column);
        let field = field.ok_or_else(|| Error::NoKeyColumn { column: column.clone() })?;
        Ok(nullable(column, stored_type(value, &field.schema, column)?))
    };
    topic.key.iter().map(named).collect()
}

/// Names of a record's fields; none for a schema that is no record.
pub(crate) fn record_columns(json: &str) -> Result<Vec<String>, Error> {
    let schema = AvroSchema::parse(json)?;
    Ok(match schema.root_record() {
        Ok(record) => record.fields.iter().map(|field| field.name.clone()).collect(),
        Err(_) => Vec::new(),
    })
}

/// Stored type at a dotted path of a value, such as `source.ts_ms`.
pub(crate) fn type_at(value: &AvroSchema, path: &str) -> Option<DataType> {
    let mut record = value.root_record().ok()?;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            let field = record.fields.iter().find(|field| field.name == part)?;
            return stored_type(value, &field.schema, path).ok();
        }
        record = value.record_field(record, part)?;
    }
    None
}
