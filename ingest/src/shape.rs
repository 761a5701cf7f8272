//! Converts rows of files to Avro of a topic's schema, exactly or not at all.
//!
//! [`avro::text`] defines how a value is parsed, also for JSON topics, so a line of JSON means the same in a
//! file and on a topic. An unknown column at any depth makes a bad row, as does a missing one without null or
//! default: what was dropped or invented silently would be found in no table.

use avro::text::{Encodings, Literal, Refused};
use avro::{Form, in_form};
use catalog::Topic;
use serde_json::{Map, Value as Json};

/// Why a row cannot become a record of its topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// A column that is not in the schema.
    #[error("column `{0}` is not in the topic's schema")]
    UnknownColumn(String),
    /// A column without a value, null or default.
    #[error("column `{0}` is missing")]
    MissingColumn(String),
    /// A column that occurs twice.
    #[error("column `{0}` is there twice")]
    Twice(String),
    /// A value of another type, or one that its type cannot hold.
    #[error("column `{column}`: `{value}` is no {kind}")]
    BadValue {
        /// The column.
        column: String,
        /// The value.
        value: String,
        /// What the column needs.
        kind: String,
    },
    /// Text that is not JSON.
    #[error("the row is no JSON: {0}")]
    Json(String),
}

impl From<Refused> for BadRow {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Json(why) => Self::Json(why),
            Refused::Missing { column } => Self::MissingColumn(column),
            Refused::Twice { column } => Self::Twice(column),
            Refused::Unlike { column, wanted, found } => {
                let kind = wanted.strip_prefix("a ").unwrap_or(wanted).to_owned();
                Self::BadValue { column, value: found, kind }
            }
            Refused::Misfit { column, reason, found } => {
                Self::BadValue { column, value: found, kind: format!("value of its type: {reason}") }
            }
        }
    }
}

/// The input for one row.
#[derive(Debug, Clone, Copy)]
pub enum RawRow<'a> {
    /// The text of a JSON object.
    Json(&'a str),
    /// Cells of CSV by column name, each a text.
    Cells(&'a Map<String, Json>),
}

/// A schema for writing rows.
#[derive(Debug)]
pub struct Shape {
    shape: avro::text::Shape,
}
impl Shape {
    /// Parses the JSON of an Avro record; `topic` defines how texts represent decimals and bytes.
    pub fn try_new(schema: &str, topic: &Topic) -> Result<Self, String> {
        Self::with(schema, Encodings { decimals: topic.decimals, bytes: topic.bytes })
    }
    /// Like [`Shape::try_new`], with the encodings only.
    pub fn with(schema: &str, encodings: Encodings) -> Result<Self, String> {
        let shape = avro::text::Shape::try_new(&in_form(schema, Form::Text), false, encodings);
        let shape = shape.map_err(|error| error.to_string())?;
        if !shape.is_record() {
            return Err("its schema is no record".to_owned());
        }
        Ok(Self { shape })
    }
    /// Its columns, the JSON type of a cell of each, and whether an empty cell is null.
    pub fn literals(&self) -> impl Iterator<Item = (&str, Literal, bool)> {
        self.shape.literals()
    }

    /// Encodes the row as Avro, without a frame. Refuses columns that the schema lacks.
    pub fn encode(&self, row: RawRow<'_>) -> Result<Vec<u8>, BadRow> {
        let (datum, unknown) = self.written(row)?;
        match unknown {
            Some(unknown) => Err(BadRow::UnknownColumn(unknown)),
            None => Ok(datum),
        }
    }
    /// Encodes only the columns of the schema, from a row that may have more. Used for keys.
    pub fn encode_part(&self, row: RawRow<'_>) -> Result<Vec<u8>, BadRow> {
        Ok(self.written(row)?.0)
    }

    /// The row as Avro, and the first of its columns that the schema lacks.
    fn written(&self, row: RawRow<'_>) -> Result<(Vec<u8>, Option<String>), BadRow> {
        let mut datum = Vec::new();
        let unknown = match row {
            RawRow::Json(text) => self.shape.json(text.as_bytes(), &mut datum)?,
            RawRow::Cells(cells) => {
                self.shape.cells(|name| cells.get(name).and_then(Json::as_str), &mut datum)?;
                let known = |name: &str| self.shape.columns().any(|column| column == name);
                cells.keys().find(|name| !known(name)).cloned()
            }
        };
        Ok((datum, unknown))
    }
}

#[cfg(test)]
mod tests;
