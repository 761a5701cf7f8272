//! How the rows of files become records of a topic.

use avro::Frame;
use avro::text::Literal;
use catalog::{Envelope, Topic, ValueFormat};
use model::TopicId;
use serde_json::Value as Json;
use source::Context;
use stream::Admin;
use stream::hash::partition_of;

use super::lines::{BadLine, Row};
use crate::Error;
use crate::shape::{Row as Given, Shape};

/// A schema and its registry id.
#[derive(Debug)]
struct Written {
    id: u32,
    shape: Shape,
}

/// What a value is made of.
#[derive(Debug)]
enum Value {
    /// Avro.
    Avro(Written),
    /// JSON: the line's own text, or fields as the declared types have them.
    Json(Option<Columns>),
    /// The line as it is.
    Bytes,
}

/// How rows become records of the topic.
#[derive(Debug)]
pub(super) struct Form {
    pub topic: Topic,
    /// Which of the topics of that name it is.
    pub id: TopicId,
    partitions: i32,
    value: Value,
    key: Option<Written>,
}

/// A record to be.
pub(super) struct Encoded {
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub partition: Option<i32>,
}

impl Form {
    /// Registers the topic's schemas, if they are not, and finds its partitions.
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

    pub fn encode(&self, raw: &[u8], row: &Row) -> Result<Encoded, BadLine> {
        let framed = |written: &Written, body: &[u8]| {
            let mut out = Vec::new();
            Frame { id: written.id, body }.encode(&mut out);
            out
        };
        let given = row.given();
        let value = match (&self.value, &row.json) {
            (Value::Avro(written), _) => framed(written, &written.shape.encode(given)?),
            // Whoever prints a number again may print another.
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

    /// By other columns than the key's, where the contract says so; else Kafka's own choice.
    fn partition(&self, row: &Row) -> Option<i32> {
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
    /// Name, form in JSON, and whether an empty field is null.
    literals: Vec<(String, Literal, bool)>,
}
impl Columns {
    fn new(shape: Shape) -> Self {
        let owned = |(name, literal, empty_is_null): (&str, _, _)| (name.to_owned(), literal, empty_is_null);
        Self { literals: shape.literals().map(owned).collect(), shape }
    }
    /// Fields as the types have them, digits as they stand. What is no value of its type is a bad line, by
    /// the rules that the same fields have on a topic of Avro; so is what JSON would be read otherwise of.
    fn json(&self, row: &Row) -> Result<Vec<u8>, BadLine> {
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
                    // What is no number has a word.
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

/// A number as JSON writes it: no plus, no zero before other digits, digits on both sides of a point.
/// `None`: it is no number.
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
    fn row(columns: &[(&str, &str)]) -> Row {
        let columns = columns.iter().map(|(name, text)| ((*name).to_owned(), Json::from(*text)));
        Row { columns: columns.collect::<Map<_, _>>(), json: None }
    }
    fn text(row: &Row) -> String {
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
        /// What the row says on a topic of Avro, its JSON says on a topic of JSON, or it is refused.
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
