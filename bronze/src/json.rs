//! JSON values, read by the schema that each value carries or by the one that its topic declares.
//!
//! Kafka Connect's JSON converter puts the schema beside every value: `{"schema": …, "payload": …}`, the same
//! long text each time. It is parsed once; after that, a value's first bytes identify it. Without a schema, a
//! text may be a name or the digits of a decimal, so such a value is read only by a schema that a person
//! declared.
//!
//! In both cases there is an Avro schema ([`avro::from_connect`]), and the value is decoded like any other:
//! its text is rewritten as a datum of that schema ([`avro::text::Shape`]), which finds exact errors without
//! affecting other values, and the batch is decoded at once ([`Decoder`]).
//!
//! Keys from Kafka's own serialisers, such as plain text or eight bytes, are read the same way: see [`Door`].

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::Fields;
use avro::text::{Encodings, Refused, Shape};
use avro::{BadSchema, Form, Frame, in_form};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::assemble::Values;
use crate::conform::Reason;
use crate::decode::{Decoder, Refusal};
use crate::door::Door;

/// A topic with more schemas than this has a producer that makes a new one for each value.
const MOST_PARTS: usize = 1_000;
/// Known beginnings of values. Values with others are parsed whole, which is correct but slow.
const MOST_HEADS: usize = 32;

/// Reads the values of one schema.
#[derive(Debug)]
pub struct Dialect {
    shape: Shape,
    door: Door,
    decoder: Decoder,
}
impl Dialect {
    /// The writer's schema, with the declared names of its fields.
    pub fn writer(&self) -> &str {
        self.decoder.writer()
    }
    /// Reads JSON values of an Avro schema. A `bare` value is the single field of that record.
    pub fn try_new(
        number: u32,
        schema: &Arc<str>,
        bare: bool,
        encodings: Encodings,
    ) -> Result<Self, BadSchema> {
        Self::through(Door::Json, number, schema, bare, encodings, None)
    }
    /// As [`Dialect::try_new`], for values in another encoding or read as a declared schema.
    pub fn through(
        door: Door,
        number: u32,
        schema: &Arc<str>,
        bare: bool,
        encodings: Encodings,
        declared: Option<&str>,
    ) -> Result<Self, BadSchema> {
        let decoder = Decoder::resolving(number, schema.clone(), declared)?;
        let shaped = |schema: &str| Shape::try_new(schema, bare, encodings);
        // A default that its field cannot hold is no reason to refuse values that have the field.
        let shape = match shaped(&in_form(schema, Form::Text)) {
            Err(BadSchema::Default { .. }) => shaped(&in_form(schema, Form::Wire)),
            shape => shape,
        };
        let shape = shape.map_err(|error| BadSchema::Shape(error.to_string()))?;
        Ok(Self { shape, door, decoder })
    }
}

/// The state of a schema.
#[derive(Debug)]
pub enum Known {
    /// Its values can be read.
    Ready(Box<Dialect>),
    /// They become error rows.
    Refused(Refusal),
}

/// The schemas of a topic's values, or of its keys.
#[derive(Debug, Default)]
pub struct SchemaParts {
    known: Vec<Known>,
    declared: Option<u32>,
    parts: HashMap<Box<str>, u32>,
    heads: Vec<(Box<[u8]>, u32)>,
}

/// A schema part that was not seen before.
#[derive(Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its text.
    pub part: String,
    /// The bytes of such a value up to its payload.
    head: Option<Vec<u8>>,
}

/// Where a value's schema is.
enum Whose<'a> {
    /// A known schema.
    Known(u32),
    /// In the value, and not known yet.
    Fresh { part: &'a str, head: Option<&'a [u8]> },
    /// In the topic's contract, if it has one.
    Contract,
}

/// A value with its schema, as only Connect writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl SchemaParts {
    /// The encoding of values of the topic's own schema.
    fn door(&self) -> Door {
        match self.declared.and_then(|number| self.known.get(number as usize)) {
            Some(Known::Ready(dialect)) => dialect.door,
            _ => Door::Json,
        }
    }
    /// The number of the next schema.
    pub fn next(&self) -> u32 {
        self.known.len() as u32
    }
    /// Sets the topic's own schema.
    pub fn declare(&mut self, known: Known) {
        self.declared = Some(self.next());
        self.known.push(known);
    }
    /// Adds a schema part.
    pub fn learn(&mut self, fresh: Fresh, known: Known) {
        let number = self.next();
        self.known.push(known);
        if let Some(head) = fresh.head.filter(|_| self.heads.len() < MOST_HEADS) {
            self.heads.push((head.into(), number));
        }
        self.parts.insert(fresh.part.into(), number);
    }

    /// The schema parts of these values that are not known yet, each once.
    pub fn fresh<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> Vec<Fresh> {
        let mut found: Vec<Fresh> = Vec::new();
        for value in values {
            if let (Whose::Fresh { part, head }, _) = self.split(value)
                && self.known.len() + found.len() < MOST_PARTS
                && !found.iter().any(|fresh| fresh.part == part)
            {
                found.push(Fresh { part: part.to_owned(), head: head.map(<[u8]>::to_vec) });
            }
        }
        found
    }

    /// Splits a value into its schema and its payload.
    fn split<'a>(&self, value: &'a [u8]) -> (Whose<'a>, &'a [u8]) {
        for (head, number) in &self.heads {
            if let Some(payload) = value.strip_prefix(&**head).and_then(|rest| rest.strip_suffix(b"}")) {
                return (Whose::Known(*number), payload);
            }
        }
        // The first bytes rule out nearly every value without a schema part.
        let text = value.trim_ascii_start();
        let object = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
        let begins = object.is_some_and(|o| o.starts_with(b"\"schema\"") || o.starts_with(b"\"payload\""));
        let connect = if begins { serde_json::from_slice::<Connect<'a>>(value).ok() } else { None };
        let Some(Connect { schema, payload }) = connect else { return (Whose::Contract, value) };
        // Without a payload no schema is needed.
        let Some(payload) = payload.map(|payload| payload.get().as_bytes()) else {
            return (Whose::Contract, &b"null"[..]);
        };
        let Some(part) = schema.map(RawValue::get) else { return (Whose::Contract, payload) };
        if let Some(number) = self.parts.get(part) {
            return (Whose::Known(*number), payload);
        }
        // The head identifies the value only if the payload comes last.
        let at = payload.as_ptr().addr() - value.as_ptr().addr();
        let head = value.get(..at).filter(|_| value.get(at + payload.len()..) == Some(&b"}"[..]));
        (Whose::Fresh { part, head }, payload)
    }

    /// Reads `len` values into `wanted` columns. `at` gives the value at a position; `None` has no row.
    pub fn decode<'a>(
        &mut self,
        len: usize,
        at: impl Fn(u32) -> Option<&'a [u8]>,
        wanted: &Fields,
    ) -> Values {
        let mut values = Values { schema_ids: vec![None; len], ..Values::default() };
        let mut arena = Vec::new();
        let mut spans: Vec<Range<usize>> = vec![0..0; len];
        let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
        for row in 0..len as u32 {
            let Some(value) = at(row) else { continue };
            match self.rewrite(value, &mut arena) {
                Ok(None) => {}
                Ok(Some(Rewritten { number, span, is_whole })) => {
                    if !is_whole {
                        values.partly.push(row);
                    }
                    spans[row as usize] = span;
                    match groups.iter_mut().find(|(group, _)| *group == number) {
                        Some((_, rows)) => rows.push(row),
                        None => groups.push((number, vec![row])),
                    }
                }
                Err(refusal) => values.refused.push((row, refusal)),
            }
        }
        for (number, rows) in groups {
            let Some(Known::Ready(dialect)) = self.known.get_mut(number as usize) else { continue };
            match dialect.decoder.decode(&rows, |row| &arena[spans[row as usize].clone()], wanted) {
                Ok(part) => {
                    let schema = dialect.decoder.schema();
                    values.writers.extend(part.rows.first().map(|first| (schema, *first)));
                    values.parts.push(part);
                }
                Err((column, error)) => {
                    let refusal = Refusal::SchemaPart { why: format!("column `{column}`: {error}") };
                    values.refused.extend(rows.iter().map(|&row| (row, refusal.clone())));
                }
            }
        }
        values
    }

    /// Appends a value to `arena` as a framed datum of its schema. `None` for JSON's `null`.
    fn rewrite(&self, value: &[u8], arena: &mut Vec<u8>) -> Result<Option<Rewritten>, Refusal> {
        let door = self.door();
        if value.is_empty() && door == Door::Json {
            return Err(Refusal::Empty);
        }
        let (whose, payload) = match door {
            Door::Json => self.split(value),
            _ => (Whose::Contract, value),
        };
        if door == Door::Json && payload.trim_ascii() == b"null" {
            return Ok(None);
        }
        let number = match whose {
            Whose::Known(number) => number,
            Whose::Fresh { .. } => {
                let why = format!("the topic has more than {MOST_PARTS} of them");
                return Err(Refusal::SchemaPart { why });
            }
            Whose::Contract => match self.declared {
                Some(number) => number,
                None => {
                    serde_json::from_slice::<serde::de::IgnoredAny>(payload)
                        .map_err(|e| Refusal::Json(e.to_string()))?;
                    return Err(Refusal::NoSchemaPart);
                }
            },
        };
        match &self.known[number as usize] {
            Known::Refused(refusal) => Err(refusal.clone()),
            Known::Ready(dialect) => {
                let start = arena.len();
                Frame::begin(dialect.decoder.id()).encode(arena);
                match dialect.door.write(&dialect.shape, payload, arena) {
                    Ok(is_whole) => Ok(Some(Rewritten { number, span: start..arena.len(), is_whole })),
                    Err(refused) => {
                        arena.truncate(start);
                        Err(refused.into())
                    }
                }
            }
        }
    }
}

/// The schema part of a value, if it has one.
pub fn schema_part(value: &[u8]) -> Option<&str> {
    match SchemaParts::default().split(value) {
        (Whose::Fresh { part, .. }, _) => Some(part),
        _ => None,
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Json(why) => Self::Json(why),
            Refused::Unlike { column, wanted, .. } => Self::Unlike { column, wanted },
            Refused::Misfit { column, reason, .. } => Self::Misfit { column, reason: reason.into() },
            Refused::Missing { column } => {
                Self::Unlike { column, wanted: "a value, which the schema requires," }
            }
            Refused::Twice { column } => Self::Unlike { column, wanted: "one value, not two," },
        }
    }
}

impl From<avro::text::Reason> for Reason {
    fn from(reason: avro::text::Reason) -> Self {
        match reason {
            avro::text::Reason::Decimal => Self::Decimal,
            avro::text::Reason::Number => Self::Number,
            avro::text::Reason::Time => Self::Time,
            avro::text::Reason::FinerTime => Self::FinerTime,
        }
    }
}

struct Rewritten {
    number: u32,
    span: Range<usize>,
    /// Whether the schema has all fields of the value.
    is_whole: bool,
}
