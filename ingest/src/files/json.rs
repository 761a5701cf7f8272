//! Parses one JSON object of a file strictly: if a name occurs twice, neither value can be trusted.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::BadLine;

/// Parses a text as an object.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, BadLine> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut twice = None;
    let read = Strict(&mut twice).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match (twice, read) {
        (Some(name), _) => Err(BadLine::Twice(name)),
        (None, Ok(Value::Object(row))) => Ok(row),
        (None, Ok(_)) => Err(BadLine::Json("it is another value".to_owned())),
        (None, Err(error)) => Err(BadLine::Json(error.to_string())),
    }
}

/// Parses a value, and records the first name that an object has twice.
struct Strict<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict(self.0))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut row = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict(self.0))?;
            if row.insert(name.clone(), value).is_some() {
                self.0.get_or_insert(name);
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_there_twice_is_refused_at_any_depth() {
        assert_eq!(object(r#"{"a":1,"a":1}"#), Err(BadLine::Twice("a".to_owned())));
        assert_eq!(object(r#"{"a":[{"b":1,"\u0062":2}]}"#), Err(BadLine::Twice("b".to_owned())));
        assert!(object(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn only_one_object_and_nothing_behind_it_is_a_row() {
        for text in ["[1]", "1", "{} {}", "{", "", "{\"a\":1,}", "{'a':1}", "{\"a\":NaN}"] {
            assert!(matches!(object(text), Err(BadLine::Json(_))), "{text}");
        }
        assert!(object(" {\"a\" : 1}\t").is_ok());
    }
}
