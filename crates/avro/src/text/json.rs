//! A JSON value as a datum, in one pass and without a tree between.
//!
//! The fields of an object may come in any order; Avro has them in the schema's. They are written as they
//! come, and put in order where they were not. What the schema does not have is read over, and told: the
//! caller keeps the bytes of such a value. Numbers are read from their digits, never through a double.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::refused::{Refused, Unfit, begin};
use super::scalar::{self, Given, unquoted, wanted};
use super::shape::{Encodings, Node, RecordShape, Shape};
use crate::wire::{bytes, long};

impl Shape {
    /// Appends a JSON value. Gives the path of the first field that the schema lacks, if there is one.
    /// Nothing is appended of a value that is refused.
    pub fn json(&self, value: &[u8], out: &mut Vec<u8>) -> Result<Option<String>, Refused> {
        let start = out.len();
        let written = write(&self.root, self.encodings, &[], value, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }
}

fn write(
    node: &Node,
    encodings: Encodings,
    path: &[&str],
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<String>, Refused> {
    let path = path.to_vec();
    let mut writer = Writer { encodings, out, spans: Vec::new(), path, unknown: None, refused: None };
    let mut json = serde_json::Deserializer::from_slice(value);
    let written = Seed { node, writer: &mut writer }.deserialize(&mut json).and_then(|()| json.end());
    match (writer.refused, written) {
        (Some(refused), _) => Err(refused),
        (None, Err(error)) => Err(Refused::Json(error.to_string())),
        (None, Ok(())) => Ok(writer.unknown),
    }
}

struct Writer<'a, 'o> {
    encodings: Encodings,
    out: &'o mut Vec<u8>,
    /// Place and bytes of each field that was written, of all records that are open.
    spans: Vec<(u32, Range<usize>)>,
    /// Names of the fields that are open.
    path: Vec<&'a str>,
    /// The first field that the schema lacks.
    unknown: Option<String>,
    /// Why the value is refused, where it is more than bad JSON.
    refused: Option<Refused>,
}
impl<'a> Writer<'a, '_> {
    fn refuse<E: Error>(&mut self, refused: Refused) -> E {
        let error = E::custom(&refused);
        self.refused.get_or_insert(refused);
        error
    }
    fn column(&self, name: Option<&str>) -> String {
        self.path.iter().copied().chain(name).collect::<Vec<_>>().join(".")
    }

    /// Puts the fields from `first` on in the schema's order, what is absent among them.
    fn arrange<E: Error>(&mut self, record: &'a RecordShape, first: usize, start: usize) -> Result<(), E> {
        let written = self.spans.get(first..).unwrap_or_default();
        if written.iter().map(|(place, _)| *place as usize).eq(0..record.fields.len()) {
            self.spans.truncate(first);
            return Ok(());
        }
        let mut from: Vec<Option<Range<usize>>> = vec![None; record.fields.len()];
        let mut twice = None;
        for (place, span) in self.spans.drain(first..) {
            let span = span.start.saturating_sub(start)..span.end.saturating_sub(start);
            if let Some(slot) = from.get_mut(place as usize)
                && slot.replace(span).is_some()
            {
                twice.get_or_insert(place);
            }
        }
        if let Some(field) = twice.and_then(|place| record.fields.get(place as usize)) {
            let column = self.column(Some(&field.name));
            return Err(self.refuse(Refused::Twice { column }));
        }
        let written = self.out.split_off(start);
        for (field, span) in record.fields.iter().zip(from) {
            match (span.and_then(|span| written.get(span)), &field.absent) {
                (Some(datum), _) => self.out.extend_from_slice(datum),
                (None, Some(absent)) => self.out.extend_from_slice(absent),
                (None, None) => {
                    let column = self.column(Some(&field.name));
                    return Err(self.refuse(Refused::Missing { column }));
                }
            }
        }
        Ok(())
    }
}

/// Writes one value of a type.
struct Seed<'w, 'a, 'o> {
    node: &'a Node,
    writer: &'w mut Writer<'a, 'o>,
}
impl Seed<'_, '_, '_> {
    fn fault<E: Error>(self, fault: Unfit, found: &str) -> E {
        let (column, found) = (self.writer.column(None), begin(found));
        self.writer.refuse(match fault {
            Unfit::Unlike => {
                Refused::Unlike { column, wanted: wanted(self.node, self.writer.encodings), found }
            }
            Unfit::Misfit(reason) => Refused::Misfit { column, reason, found },
        })
    }
    fn unlike<E: Error>(self, found: &str) -> E {
        self.fault(Unfit::Unlike, found)
    }

    /// A value whose digits or characters count: it is taken as it is written.
    fn raw<E: Error>(self, json: &str) -> Result<(), E> {
        let text;
        let given = match json.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Given::Number(json),
            Some(b'"') => match unquoted(json) {
                Some(unquoted) => {
                    text = unquoted;
                    Given::Text(&text)
                }
                None => return Err(E::custom("half of a surrogate pair")),
            },
            _ => return Err(self.unlike(json)),
        };
        match scalar::write(self.node, self.writer.encodings, given, self.writer.out) {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.fault(fault, given.shown())),
        }
    }

    /// The first branch that takes the value.
    fn branch<E: Error>(self, branches: &[Node], json: &str) -> Result<(), E> {
        let start = self.writer.out.len();
        let mut refused = None;
        for (at, node) in (0..).zip(branches) {
            long(at, self.writer.out);
            let written =
                write(node, self.writer.encodings, &self.writer.path, json.as_bytes(), self.writer.out);
            match written {
                Ok(unknown) => {
                    self.writer.unknown = self.writer.unknown.take().or(unknown);
                    return Ok(());
                }
                Err(why) if matches!(node, Node::Null) => drop(why),
                Err(why) => refused = Some(why),
            }
            self.writer.out.truncate(start);
        }
        Err(match refused {
            Some(refused) => self.writer.refuse(refused),
            None => self.unlike(json),
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.node {
            Node::Optional { .. } => json.deserialize_option(self),
            Node::Null | Node::Boolean | Node::Text | Node::List(_) | Node::Map(_) | Node::Record(_) => {
                json.deserialize_any(self)
            }
            Node::Union(branches) => {
                let raw = <&'de RawValue as serde::Deserialize>::deserialize(json)?;
                self.branch(branches, raw.get())
            }
            _ => {
                let raw = <&'de RawValue as serde::Deserialize>::deserialize(json)?;
                self.raw(raw.get())
            }
        }
    }
}

/// Finds the place of a field without a copy of its name; one that has no place gives its name.
struct RecordKey<'a> {
    record: &'a RecordShape,
    next: usize,
}
impl<'de> DeserializeSeed<'de> for RecordKey<'_> {
    type Value = Result<u32, String>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}
impl Visitor<'_> for RecordKey<'_> {
    type Value = Result<u32, String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.record.place(name, self.next).ok_or_else(|| name.to_owned()))
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(wanted(self.node, self.writer.encodings))
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        match self.node {
            Node::Optional { null, .. } => {
                long(*null, self.writer.out);
                Ok(())
            }
            _ => Err(self.unlike("null")),
        }
    }
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Node::Optional { some, inner, .. } = self.node else { return Err(self.unlike("a value")) };
        long(*some, self.writer.out);
        Seed { node: inner, writer: self.writer }.deserialize(json)
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if matches!(self.node, Node::Null) { Ok(()) } else { Err(self.unlike("null")) }
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.node, Node::Boolean) {
            return Err(self.unlike(if value { "true" } else { "false" }));
        }
        self.writer.out.push(value.into());
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        Err(self.unlike(&value.to_string()))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        Err(self.unlike(&value.to_string()))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Err(self.unlike(&value.to_string()))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if !matches!(self.node, Node::Text) {
            return Err(self.unlike(value));
        }
        bytes(value.as_bytes(), self.writer.out);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Node::List(node) = self.node else { return Err(self.unlike("an array")) };
        // How many there are is not known before the end: each is a block of its own.
        loop {
            let before = self.writer.out.len();
            long(1, self.writer.out);
            if items.next_element_seed(Seed { node, writer: self.writer })?.is_none() {
                self.writer.out.truncate(before);
                long(0, self.writer.out);
                return Ok(());
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match self.node {
            Node::Map(node) => {
                let mut seen = HashSet::new();
                while let Some(key) = entries.next_key::<String>()? {
                    long(1, self.writer.out);
                    bytes(key.as_bytes(), self.writer.out);
                    entries.next_value_seed(Seed { node, writer: self.writer })?;
                    if let Some(key) = seen.replace(key) {
                        let column = self.writer.column(Some(&key));
                        return Err(self.writer.refuse(Refused::Twice { column }));
                    }
                }
                long(0, self.writer.out);
                Ok(())
            }
            Node::Record(record) => {
                let (first, start) = (self.writer.spans.len(), self.writer.out.len());
                loop {
                    let next = self.writer.spans.len().saturating_sub(first);
                    let Some(place) = entries.next_key_seed(RecordKey { record, next })? else { break };
                    let place = match place {
                        Ok(place) => place,
                        Err(name) => {
                            if self.writer.unknown.is_none() {
                                self.writer.unknown = Some(self.writer.column(Some(&name)));
                            }
                            entries.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let Some(field) = record.fields.get(place as usize) else { continue };
                    self.writer.path.push(&field.name);
                    let before = self.writer.out.len();
                    entries.next_value_seed(Seed { node: &field.node, writer: self.writer })?;
                    let span = before..self.writer.out.len();
                    self.writer.spans.push((place, span));
                    self.writer.path.pop();
                }
                self.writer.arrange(record, first, start)
            }
            _ => Err(self.unlike("an object")),
        }
    }
}
