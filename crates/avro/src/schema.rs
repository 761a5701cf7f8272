//! A parsed Avro schema whose references are followed by name.

use std::collections::HashMap;

use apache_avro::Schema as Avro;
use apache_avro::schema::{InnerDecimalSchema, RecordField, RecordSchema, UuidSchema};
use arrow::datatypes::{DataType, Field};

use crate::columns::{stored_below, stored_type};
use crate::connect::{Form, in_form};

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

/// A schema whose values cannot be read, or written from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    /// Not JSON.
    #[error("the schema is not JSON: {0}")]
    Json(String),
    /// JSON, but no Avro schema.
    #[error("the schema is not Avro: {0}")]
    Avro(String),
    /// Avro, but of a shape a table cannot hold.
    #[error("the schema cannot be a table: {0}")]
    Shape(String),
    /// Avro, but of a type that text has no form for.
    #[error("`{path}` is {what}, which text has no form for")]
    NoForm {
        /// Dotted path.
        path: String,
        /// Its type.
        what: &'static str,
    },
    /// A default that is no value of its field.
    #[error("the default of `{path}` is no value of its type")]
    Default {
        /// Dotted path.
        path: String,
    },
}

/// A schema and the named types in it.
#[derive(Debug)]
pub struct Schema {
    pub(crate) root: Avro,
    named: HashMap<String, Avro>,
}
impl Schema {
    /// Parses a schema for what a table stores of it: see [`Form::Stored`].
    pub fn parse(json: &str) -> Result<Self, Error> {
        let json = in_form(json, Form::Stored);
        let root = Avro::parse_str(&json).map_err(|source| Error::NotAvro { source: Box::new(source) })?;
        let mut named = HashMap::new();
        name_types(&root, &mut named);
        Ok(Self { root, named })
    }
    /// Its record, through null.
    pub fn record(&self) -> Result<RecordFields<'_>, Error> {
        match self.non_null(&self.root) {
            Some((Avro::Record(record), _)) => Ok(RecordFields { schema: self, record }),
            _ => Err(Error::NotARecord),
        }
    }
    /// The type that a table stores for the whole of it, called `path` in errors.
    pub fn stored(&self, path: &str) -> Result<DataType, Error> {
        stored_type(self, &self.root, path)
    }
    /// Stored type at a dotted path of a value, such as `source.ts_ms`.
    pub fn type_at(&self, path: &str) -> Option<DataType> {
        let mut record = self.record().ok()?;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return stored_type(self, &record.field(part)?.schema, path).ok();
            }
            record = record.record(part)?;
        }
        None
    }

    /// The type itself where `schema` is the name of one.
    pub(crate) fn follow<'a>(&'a self, schema: &'a Avro) -> &'a Avro {
        match schema {
            Avro::Ref { name } => self.named.get(&name.fullname(None)).unwrap_or(schema),
            other => other,
        }
    }
    /// The type without `null`, and whether `null` was there. `None`: a union of several types.
    pub(crate) fn non_null<'a>(&'a self, schema: &'a Avro) -> Option<(&'a Avro, bool)> {
        let Avro::Union(union) = self.follow(schema) else {
            return Some((self.follow(schema), false));
        };
        let mut types = union.variants().iter().filter(|variant| **variant != Avro::Null);
        match (types.next(), types.next()) {
            (Some(only), None) => Some((self.follow(only), union.is_nullable())),
            _ => None,
        }
    }
}

/// The fields of a record in a schema.
#[derive(Debug, Clone, Copy)]
pub struct RecordFields<'a> {
    pub(crate) schema: &'a Schema,
    record: &'a RecordSchema,
}
impl<'a> RecordFields<'a> {
    /// Names of its fields, in their order.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.record.fields.iter().map(|field| field.name.as_str())
    }
    /// Whether it has a field of that name.
    pub fn has(self, name: &str) -> bool {
        self.field(name).is_some()
    }
    /// The record at a field, through null.
    pub fn record(self, name: &str) -> Option<Self> {
        match self.schema.non_null(&self.field(name)?.schema)? {
            (Avro::Record(record), _) => Some(Self { schema: self.schema, record }),
            _ => None,
        }
    }
    /// The type that a table stores for a field. `None`: there is no such field.
    pub fn stored(self, name: &str) -> Option<Result<DataType, Error>> {
        Some(stored_type(self.schema, &self.field(name)?.schema, name))
    }
    /// The columns that a table stores for its fields. Everything is nullable.
    pub fn columns(self) -> Result<Vec<Field>, Error> {
        let column = |field: &RecordField| {
            let mut open = vec![self.record.name.fullname(None)];
            Ok(Field::new(
                &field.name,
                stored_below(self.schema, &field.schema, &field.name, &mut open)?,
                true,
            ))
        };
        self.record.fields.iter().map(column).collect()
    }

    pub(crate) fn field(self, name: &str) -> Option<&'a RecordField> {
        self.record.fields.iter().find(|field| field.name == name)
    }
}

/// Keeps each type that has a name.
pub(crate) fn name_types(schema: &Avro, named: &mut HashMap<String, Avro>) {
    match schema {
        Avro::Record(record) => {
            named.insert(record.name.fullname(None), schema.clone());
            record.fields.iter().for_each(|field| name_types(&field.schema, named));
        }
        Avro::Enum(inner) => drop(named.insert(inner.name.fullname(None), schema.clone())),
        Avro::Fixed(inner) | Avro::Duration(inner) | Avro::Uuid(UuidSchema::Fixed(inner)) => {
            named.insert(inner.name.fullname(None), schema.clone());
        }
        Avro::Array(array) => name_types(&array.items, named),
        Avro::Map(map) => name_types(&map.types, named),
        Avro::Union(union) => union.variants().iter().for_each(|variant| name_types(variant, named)),
        Avro::Decimal(decimal) => {
            if let InnerDecimalSchema::Fixed(fixed) = &decimal.inner {
                named.insert(fixed.name.fullname(None), schema.clone());
            }
        }
        _ => {}
    }
}
