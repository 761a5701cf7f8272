//! Turns rows of files into records of a topic.

use avro::Frame;
use avro::text::Literal;
use catalog::{Envelope, Topic, ValueFormat};
use model::TopicId;
use serde_json::Value as Json;
use source::Context;
use stream::Admin;
use stream::hash::partition_of;

use super::lines::{BadLine, FileRow};
use crate::Error;
use crate::shape::{RawRow as Given, Shape};

/// A schema and its registry id.
#[derive(Debug)]
struct Written {
    id: u32,
    shape: Shape,
}

/// The encoding of a topic's values.
#[derive(Debug)]
enum Value {
    /// Avro.
    Avro(Written),
    /// JSON: the line's own text, or fields converted to the declared types.
    Json(Option<Columns>),
    /// The unchanged line.
    Bytes,
}

/// Turns rows into records of the topic.
#[derive(Debug)]
pub(super) struct Form {
    pub topic: Topic,
    /// Id of the topic, which changes if the topic is created again.
    pub id: TopicId,
    partitions: i32,
    value: Value,
    key: Option<Written>,
}

/// An encoded record.
pub(super) struct Encoded {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub partition: Option<i32>,
}

impl Form {
    /// Registers the topic's schemas if necessary, and looks up its partitions.
    pub async fn try_new(context: &Context, topic: &Topic) -> Result<Self, Error> {
        let name = topic.name.clone();
        let bad = |why: &str| Error::BadTopic { topic: name.clone(), why: why.to_owned() };
        if topic.envelope != Envelope::None {
            return Err(bad("its values are changes of a database, not rows"));
        }
        let admin =
            Admin::try_new(&context.kafka).map_err(|source| Error::Stream { topic: name.clone(), source })?;
        let found = admin.describe(&topic.name).await;
        let found = found.map_err(|source| Error::Stream { topic: name.clone(), source })?;
        let missing =
            || Error::Stream { topic: name.clone(), source: stream::Error::NoTopic { topic: name.clone() } };
        let found = found.ok_or_else(missing)?;
        let value = match (topic.value, &topic.value_schema) {
            (ValueFormat::Avro, Some(schema)) => {
                Value::Avro(written(context, topic, &topic.value_subject(), schema).await?)
            }
            (ValueFormat::Avro, None) => return Err(bad("it declares no schema")),
            (ValueFormat::Json, schema) => {
                let declared = schema.as_deref().filter(|_| topic.declared);
                let shape = declared.map(|schema| Shape::try_new(schema, topic)).transpose();
                Value::Json(shape.map_err(|why| bad(&why))?.map(Columns::new))
            }
            (ValueFormat::Bytes, _) => Value::Bytes,
        };
        let key = match &topic.key_schema {
            Some(schema) => Some(written(context, topic, &topic.key_subject(), schema).await?),
            None => None,
        };
        Ok(Self { topic: topic.clone(), id: found.id, partitions: found.partitions, value, key })
    }

    pub fn encode(&self, raw: &[u8], row: &FileRow) -> Result<Encoded, BadLine> {
        let framed = |written: &Written, body: &[u8]| {
            let mut out = Vec::new();
            Frame { id: written.id, body }.encode(&mut out);
            out
        };
        let given = row.given();
        let value = match (&self.value, &row.json) {
            (Value::Avro(written), _) => framed(written, &written.shape.encode(given)?),
            // Keep the text, because printing a number again may change it.
            (Value::Json(_), Some(text)) => text.trim_matches([' ', '\t', '\r', '\n']).as_bytes().to_vec(),
            (Value::Json(columns), None) => match columns {
                Some(columns) => columns.json(row)?,
                None => serde_json::to_vec(&row.columns).map_err(|error| BadLine::Json(error.to_string()))?,
            },
            (Value::Bytes, _) => raw.to_vec(),
        };
        let key = match &self.key {
            Some(written) => Some(framed(written, &written.shape.encode_part(given)?)),
            None => None,
        };
        Ok(Encoded { key, value, partition: self.partition(row) })
    }

    /// The partition by the contract's `partition_by` columns; `None`: the partitioner chooses by the key.
    fn partition(&self, row: &FileRow) -> Option<i32> {
        let by = &self.topic.partition_by;
        if by.is_empty() || *by == self.topic.key {
            return None;
        }
        let texts = by.iter().map(|column| match row.columns.get(column) {
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        });
        Some(partition_of(texts.collect::<Vec<_>>().join("\0").as_bytes(), self.partitions))
    }
}

async fn written(context: &Context, topic: &Topic, subject: &str, schema: &str) -> Result<Written, Error> {
    let shape =
        Shape::try_new(schema, topic).map_err(|why| Error::BadTopic { topic: topic.name.clone(), why })?;
    let id = context.registry.register(subject, schema).await;
    let id = id.map_err(|source| Error::Registry { topic: topic.name.clone(), source })?;
    Ok(Written { id, shape })
}

/// The declared columns of a topic whose values are JSON.
#[derive(Debug)]
struct Columns {
    shape: Shape,
    /// Name, JSON type, and whether an empty field is null.
    literals: Vec<(String, Literal, bool)>,
}
impl Columns {
    fn new(shape: Shape) -> Self {
        let owned = |(name, literal, empty_is_null): (&str, _, _)| (name.to_owned(), literal, empty_is_null);
        Self { literals: shape.literals().map(owned).collect(), shape }
    }
    /// Fields converted to their types, with the original digits. A value that does not fit its type is a bad
    /// line, as on a topic of Avro; so is a value that JSON would represent differently.
    fn json(&self, row: &FileRow) -> Result<Vec<u8>, BadLine> {
        let meant = self.shape.encode(Given::Cells(&row.columns))?;
        let mut out = String::from("{");
        for (name, literal, empty_is_null) in &self.literals {
            let Some(Json::String(text)) = row.columns.get(name) else { continue };
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&Json::from(name.as_str()).to_string());
            out.push(':');
            match literal {
                _ if text.is_empty() && *empty_is_null => out.push_str("null"),
                Literal::Boolean => out.push_str(text),
                Literal::Number => match number(text) {
                    Some(number) => out.push_str(&number),
                    // Values such as NaN are written as text.
                    None => out.push_str(&Json::from(text.as_str()).to_string()),
                },
                Literal::Text => out.push_str(&Json::from(text.as_str()).to_string()),
            }
        }
        out.push('}');
        match self.shape.encode(Given::Json(&out)) {
            Ok(read) if read == meant => Ok(out.into_bytes()),
            _ => Err(BadLine::Json("a field has no form in JSON that is read as the same value".to_owned())),
        }
    }
}

/// A number in JSON's syntax: no plus, no leading zeros, digits on both sides of a point. `None`: the text is
/// not a number.
fn number(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let split = rest.find(['e', 'E']).unwrap_or(rest.len());
    let (mantissa, exponent) = rest.split_at(split);
    let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if behind.is_empty() { "" } else { "." };
    let number = format!("{sign}{whole}{point}{behind}{exponent}");
    let begins = mantissa.contains(|digit: char| digit.is_ascii_digit());
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&number).is_ok();
    (begins && is_json && !number.contains(char::is_whitespace)).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
        {"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null},
        {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}],"default":null},
        {"name":"paid","type":"boolean"},{"name":"share","type":["null","double"],"default":null}]}"#;

    fn columns() -> Columns {
        let shape = Shape::with(SCHEMA, avro::text::Encodings::TEXT).expect("a record");
        Columns::new(shape)
    }
    fn row(columns: &[(&str, &str)]) -> FileRow {
        let columns = columns.iter().map(|(name, text)| ((*name).to_owned(), Json::from(*text)));
        FileRow { columns: columns.collect::<Map<_, _>>(), json: None }
    }
    fn text(row: &FileRow) -> String {
        String::from_utf8(columns().json(row).expect("a row")).expect("JSON")
    }

    #[test]
    fn fields_of_csv_become_json_of_the_declared_types_digit_by_digit() {
        let exact = "12345678901234567.123456789";
        let given = [("id", "10"), ("note", "7"), ("amount", exact), ("paid", "true"), ("share", "")];
        let json = format!(r#"{{"id":10,"note":"7","amount":{exact},"paid":true,"share":null}}"#);
        assert_eq!(text(&row(&given)), json);
        let odd = [("id", "+007"), ("amount", "-.50"), ("paid", "false"), ("share", "NaN")];
        assert_eq!(text(&row(&odd)), r#"{"id":7,"amount":-0.50,"paid":false,"share":"NaN"}"#);
    }

    #[test]
    fn a_field_that_is_no_value_of_its_type_is_a_bad_line() {
        let bad = [
            row(&[("id", "ten"), ("paid", "true")]),
            row(&[("id", "1"), ("paid", "maybe")]),
            row(&[("id", "1"), ("paid", "true"), ("what", "1")]),
            row(&[("id", "1")]),
        ];
        for row in bad {
            assert!(columns().json(&row).is_err(), "{row:?}");
        }
    }

    #[test]
    fn a_number_is_written_as_json_has_it() {
        let written =
            ["0", "-1", "5.5", "1e3", "1E-7", "100000000000000000001", "+1", ".5", "5.", "007", "00"];
        let numbers = ["0", "-1", "5.5", "1e3", "1E-7", "100000000000000000001", "1", "0.5", "5", "7", "0"];
        for (text, json) in written.into_iter().zip(numbers) {
            assert_eq!(number(text).as_deref(), Some(json), "{text}");
        }
        for text in ["", ".", "+", "1 ", " 1", "NaN", "-", "1e", "0x1", "1,2", "e3", "1_0"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    proptest! {
        /// A row has the same values on a topic of JSON as on a topic of Avro, or it is refused.
        #[test]
        fn a_row_of_json_is_the_row_of_avro(
            id in "[+-]?[0-9]{1,20}", note in "\\PC{0,8}", amount in "[+-]?[0-9]{0,30}(\\.[0-9]{0,10})?(e[0-9])?",
            share in prop_oneof!["[+-]?[0-9.e]{1,8}", Just("inf".to_owned()), Just(String::new())],
        ) {
            let row = row(&[("id", &id), ("note", &note), ("amount", &amount), ("paid", "true"), ("share", &share)]);
            let shape = Shape::with(SCHEMA, avro::text::Encodings::TEXT).expect("a record");
            match (shape.encode(Given::Cells(&row.columns)), columns().json(&row)) {
                (Ok(avro), Ok(json)) => {
                    let json = String::from_utf8(json).expect("JSON");
                    prop_assert_eq!(shape.encode(Given::Json(&json)), Ok(avro));
                }
                (Err(_), Err(_)) => {}
                (avro, json) => prop_assert!(false, "{avro:?} and {json:?}"),
            }
        }
    }
}
