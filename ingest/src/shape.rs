//! Rows of text or JSON to Avro of a topic's schema, exactly or not at all.
//!
//! A column that the schema lacks makes a bad row, as does a missing one without null or default: what
//! is dropped or made up in silence would be found in no table. Text is read as the type says, so that
//! CSV and JSON share one set of rules:
//!
//! | type | JSON | text |
//! | --- | --- | --- |
//! | int, long | a whole number | the same in digits |
//! | float, double | a number | the same, `NaN`, `inf`, `-inf` |
//! | decimal | a number of up to 15 digits | any number of digits, up to the scale |
//! | boolean | `true` | `true` or `false` |
//! | date | days since 1970 | `2026-01-31` |
//! | timestamp | its unit since 1970 | `2026-01-31T12:00:00.5Z`, without a zone in UTC |
//! | bytes | none | base64 is not guessed: the text's own bytes |
//! | null | `null` | empty, where null is allowed and text is not |

pub(crate) mod scalar;

use apache_avro::Schema;
use apache_avro::schema::{RecordSchema, UnionSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Map, Value as Json};

/// Why a row is no record of its topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// A column that the schema does not have.
    #[error("column `{0}` is not in the topic's schema")]
    UnknownColumn(String),
    /// A column without a value, null or default.
    #[error("column `{0}` is missing")]
    MissingColumn(String),
    /// A value of another type.
    #[error("column `{column}`: `{value}` is no {kind}")]
    BadValue {
        /// The column.
        column: String,
        /// What stands there.
        value: String,
        /// What should.
        kind: String,
    },
    /// What the encoder refuses.
    #[error("the row cannot be encoded: {0}")]
    Encoding(String),
}

/// A schema that rows are written with.
#[derive(Debug, Clone)]
pub struct Shape {
    schema: Schema,
}
impl Shape {
    /// Parses the JSON of an Avro record.
    pub fn try_new(schema: &str) -> Result<Self, String> {
        let schema = Schema::parse_str(schema).map_err(|error| error.to_string())?;
        match &schema {
            Schema::Record(_) => Ok(Self { schema }),
            _ => Err("its schema is no record".to_owned()),
        }
    }
    fn record(&self) -> &RecordSchema {
        match &self.schema {
            Schema::Record(record) => record,
            _ => unreachable!("`try_new` makes records only"),
        }
    }

    /// The row as Avro, without a frame. Columns beyond the schema's are refused.
    pub fn encode(&self, row: &Map<String, Json>) -> Result<Vec<u8>, BadRow> {
        let known = |name: &String| self.record().fields.iter().any(|field| field.name == *name);
        if let Some(unknown) = row.keys().find(|name| !known(name)) {
            return Err(BadRow::UnknownColumn(unknown.clone()));
        }
        self.encode_part(row)
    }
    /// The columns of the schema out of a row that may have more: its key.
    pub fn encode_part(&self, row: &Map<String, Json>) -> Result<Vec<u8>, BadRow> {
        let value = record(self.record(), row, "")?;
        let refused = |error: apache_avro::Error| BadRow::Encoding(error.to_string());
        let writer = GenericDatumWriter::builder(&self.schema).build().map_err(refused)?;
        writer.write_value_to_vec(value).map_err(refused)
    }
}

/// A default as a schema's text has it.
pub(crate) fn default(schema: &Schema, json: &Json) -> Result<Value, BadRow> {
    value(schema, json, "default")
}

fn record(schema: &RecordSchema, row: &Map<String, Json>, path: &str) -> Result<Value, BadRow> {
    let mut fields = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let column = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        let given = row.get(&field.name);
        let json = match (given, &field.default) {
            (Some(json), _) => json,
            (None, Some(default)) => default,
            (None, None) if is_nullable(&field.schema) => &Json::Null,
            (None, None) => return Err(BadRow::MissingColumn(column)),
        };
        fields.push((field.name.clone(), value(&field.schema, json, &column)?));
    }
    Ok(Value::Record(fields))
}

fn is_nullable(schema: &Schema) -> bool {
    matches!(schema, Schema::Union(union) if union.is_nullable()) || *schema == Schema::Null
}

fn value(schema: &Schema, json: &Json, column: &str) -> Result<Value, BadRow> {
    let bad = |kind: &str| {
        let value = match json {
            Json::String(text) => text.chars().take(80).collect(),
            other => other.to_string().chars().take(80).collect(),
        };
        BadRow::BadValue { column: column.to_owned(), value, kind: kind.to_owned() }
    };
    match (schema, json) {
        (Schema::Union(union), json) => self::union(union, json, column),
        (Schema::Null, Json::Null) => Ok(Value::Null),
        (Schema::Record(inner), Json::Object(row)) => record(inner, row, column),
        (Schema::Array(array), Json::Array(items)) => {
            let items = items.iter().map(|item| value(&array.items, item, column));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        (Schema::Map(map), Json::Object(entries)) => {
            let entries =
                entries.iter().map(|(key, json)| Ok((key.clone(), value(&map.types, json, column)?)));
            Ok(Value::Map(entries.collect::<Result<_, BadRow>>()?))
        }
        (schema, json) => scalar::value(schema, json).map_err(|kind| bad(&kind)),
    }
}

/// The first branch that takes the value; null for empty text only where no branch takes text.
fn union(union: &UnionSchema, json: &Json, column: &str) -> Result<Value, BadRow> {
    let branches = union.variants();
    let null = branches.iter().position(|branch| *branch == Schema::Null);
    let is_text = |branch: &Schema| matches!(branch, Schema::String);
    let empty = matches!(json, Json::String(text) if text.is_empty());
    if let Some(null) = null
        && (json.is_null() || empty && !branches.iter().any(is_text))
    {
        return Ok(Value::Union(null as u32, Box::new(Value::Null)));
    }
    let mut refused = None;
    for (at, branch) in branches.iter().enumerate().filter(|(_, branch)| **branch != Schema::Null) {
        match value(branch, json, column) {
            Ok(value) => return Ok(Value::Union(at as u32, Box::new(value))),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| BadRow::MissingColumn(column.to_owned())))
}

#[cfg(test)]
mod tests;
