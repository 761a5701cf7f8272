//! Writes a JSON text as a datum of an Avro schema, in one pass and without a tree between.
//!
//! The fields of an object may come in any order; Avro has them in the schema's. They are written as they
//! come, and put in order where they were not. What the schema does not have is read over, and told: the
//! caller keeps the bytes of such a value. What the value lacks is null where it may be.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::shape::{Record, Shape, Unit};
use crate::conform::{Reason, text};
use crate::decode::Refusal;

/// Appends `value` to `out`. Says whether every field of it was in the schema.
pub fn value(shape: &Shape, value: &[u8], out: &mut Vec<u8>) -> Result<bool, Refusal> {
    let mut writer = Writer { out, spans: Vec::new(), path: Vec::new(), is_whole: true, refusal: None };
    let mut json = serde_json::Deserializer::from_slice(value);
    let written = Seed { shape, writer: &mut writer }.deserialize(&mut json).and_then(|()| json.end());
    match (writer.refusal, written) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(error)) => Err(Refusal::Json(error.to_string())),
        (None, Ok(())) => Ok(writer.is_whole),
    }
}

struct Writer<'a, 'o> {
    out: &'o mut Vec<u8>,
    /// Place and bytes of each field that was written, of all records that are open.
    spans: Vec<(u32, Range<usize>)>,
    /// Names of the fields that are open.
    path: Vec<&'a str>,
    is_whole: bool,
    /// Why the value is refused, where it is more than bad JSON.
    refusal: Option<Refusal>,
}
impl Writer<'_, '_> {
    fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.long(bytes.len() as i64);
        self.out.extend_from_slice(bytes);
    }
    fn unlike<E: Error>(&mut self, wanted: &'static str) -> E {
        let column = self.path.join(".");
        self.refusal.get_or_insert(Refusal::Unlike { column, wanted });
        E::custom(wanted)
    }
    fn misfit<E: Error>(&mut self, reason: Reason) -> E {
        let column = self.path.join(".");
        self.refusal.get_or_insert(Refusal::Misfit { column, reason });
        E::custom(reason)
    }

    /// Puts the fields from `first` on in the schema's order, nulls where one is missing.
    fn arrange<E: Error>(&mut self, record: &Record, first: usize, start: usize) -> Result<(), E> {
        let in_order =
            self.spans[first..].iter().map(|(place, _)| *place as usize).eq(0..record.fields.len());
        if in_order {
            self.spans.truncate(first);
            return Ok(());
        }
        let mut from: Vec<Option<Range<usize>>> = vec![None; record.fields.len()];
        for (place, span) in self.spans.drain(first..) {
            // Of a name that is there twice the last counts, as with every JSON reader.
            from[place as usize] = Some(span.start - start..span.end - start);
        }
        let written = self.out.split_off(start);
        for ((name, shape), span) in record.fields.iter().zip(from) {
            match (span, shape) {
                (Some(span), _) => self.out.extend_from_slice(&written[span]),
                (None, Shape::Optional { null, .. }) => self.long(*null),
                (None, Shape::Null) => {}
                (None, _) => {
                    let column = self.path.iter().copied().chain([name.as_str()]).collect::<Vec<_>>();
                    self.refusal.get_or_insert(Refusal::Unlike {
                        column: column.join("."),
                        wanted: "a value, which the schema requires,",
                    });
                    return Err(E::custom("a field is missing"));
                }
            }
        }
        Ok(())
    }
}

/// Writes one value of a shape.
struct Seed<'w, 'a, 'o> {
    shape: &'a Shape,
    writer: &'w mut Writer<'a, 'o>,
}
impl Seed<'_, '_, '_> {
    fn wanted(&self) -> &'static str {
        match self.shape {
            Shape::Null => "null",
            Shape::Boolean => "a boolean",
            Shape::Int | Shape::Long => "a whole number",
            Shape::Float | Shape::Double => "a number",
            Shape::Text => "a text",
            Shape::Symbols(_) => "a symbol of its enum",
            Shape::Bytes => "base64",
            Shape::Fixed(_) => "base64 of its length",
            Shape::Date => "a number of days, or a date such as 2026-01-31",
            Shape::Instant(_) => "a number, or a time such as 2026-01-31T23:59:59.123456Z",
            Shape::Decimal { .. } => "base64 of its unscaled digits, or a number",
            Shape::List(_) => "an array",
            Shape::Map(_) | Shape::Record(_) => "an object",
            Shape::Optional { .. } => "a value or null",
        }
    }
    fn unlike<E: Error>(self) -> E {
        let wanted = self.wanted();
        self.writer.unlike(wanted)
    }
    fn whole<E: Error>(self, value: i128) -> Result<(), E> {
        let misfit = |writer: &mut Writer<'_, '_>| Err(writer.misfit(Reason::Number));
        match self.shape {
            Shape::Int | Shape::Date => match i32::try_from(value) {
                Ok(value) => self.writer.long(value.into()),
                Err(_) => return misfit(self.writer),
            },
            Shape::Long | Shape::Instant(_) => match i64::try_from(value) {
                Ok(value) => self.writer.long(value),
                Err(_) => return misfit(self.writer),
            },
            _ => return Err(self.unlike()),
        }
        Ok(())
    }
    fn double<E: Error>(self, json: &str) -> Result<(), E> {
        let value = match json {
            // As Java writes what JSON has no number for.
            "\"NaN\"" => f64::NAN,
            "\"Infinity\"" => f64::INFINITY,
            "\"-Infinity\"" => f64::NEG_INFINITY,
            json => match json.parse::<f64>().ok().filter(|value| value.is_finite()) {
                Some(value) => value,
                None => return Err(self.unlike()),
            },
        };
        match self.shape {
            Shape::Float => self.writer.out.extend_from_slice(&(value as f32).to_le_bytes()),
            _ => self.writer.out.extend_from_slice(&value.to_le_bytes()),
        }
        Ok(())
    }
    fn instant<E: Error>(self, unit: Unit, value: &str) -> Result<(), E> {
        let micros = match text::instant(value) {
            Some(Ok(micros)) => micros,
            Some(Err(reason)) => return Err(self.writer.misfit(reason)),
            None => return Err(self.unlike()),
        };
        let value = match unit {
            Unit::Micros => Ok(micros),
            Unit::Millis if micros % 1_000 != 0 => Err(Reason::FinerTime),
            Unit::Millis => Ok(micros / 1_000),
            Unit::Nanos => micros.checked_mul(1_000).ok_or(Reason::Time),
        };
        match value {
            Ok(value) => self.writer.long(value),
            Err(reason) => return Err(self.writer.misfit(reason)),
        }
        Ok(())
    }
    fn decimal<E: Error>(self, scale: u32, size: Option<usize>, json: &str) -> Result<(), E> {
        let unscaled = if json.starts_with('"') {
            let base64 = serde_json::from_str::<String>(json).ok();
            match base64.and_then(|text| STANDARD.decode(text).ok()).filter(|raw| !raw.is_empty()) {
                Some(raw) => raw,
                None => return Err(self.unlike()),
            }
        } else {
            match text::unscaled(json, scale) {
                Some(Ok(unscaled)) => unscaled.to_be_bytes().to_vec(),
                Some(Err(reason)) => return Err(self.writer.misfit(reason)),
                None => return Err(self.unlike()),
            }
        };
        match size {
            None => self.writer.bytes(&unscaled),
            Some(size) => match resized(&unscaled, size) {
                Some(fixed) => self.writer.out.extend_from_slice(&fixed),
                None => return Err(self.writer.misfit(Reason::Decimal)),
            },
        }
        Ok(())
    }
}

/// Big-endian two's complement in `size` bytes, if it fits.
fn resized(raw: &[u8], size: usize) -> Option<Vec<u8>> {
    let sign = if raw.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let extra = raw.len().saturating_sub(size);
    let (head, kept) = raw.split_at(extra);
    let same_sign = kept.first().is_none_or(|byte| byte & 0x80 == sign & 0x80);
    if !head.iter().all(|&byte| byte == sign) || !same_sign {
        return None;
    }
    let mut fixed = vec![sign; size - kept.len()];
    fixed.extend_from_slice(kept);
    Some(fixed)
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.shape {
            Shape::Optional { .. } => json.deserialize_option(self),
            // A decimal is no double, and a double that the parser reads in passing may be off by a bit.
            Shape::Decimal { scale, size } => {
                let raw = <&'de RawValue as serde::Deserialize>::deserialize(json)?;
                self.decimal(*scale, *size, raw.get())
            }
            Shape::Float | Shape::Double => {
                let raw = <&'de RawValue as serde::Deserialize>::deserialize(json)?;
                self.double(raw.get())
            }
            _ => json.deserialize_any(self),
        }
    }
}

/// Finds the place of a field without a copy of its name.
struct Key<'a> {
    record: &'a Record,
    next: usize,
}
impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<u32>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<u32>, D::Error> {
        json.deserialize_str(self)
    }
}
impl Visitor<'_> for Key<'_> {
    type Value = Option<u32>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Option<u32>, E> {
        Ok(self.record.place(name, self.next))
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted())
    }
    fn visit_none<E: Error>(self) -> Result<(), E> {
        match self.shape {
            Shape::Optional { null, .. } => self.writer.long(*null),
            _ => return Err(self.unlike()),
        }
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Shape::Optional { some, inner, .. } = self.shape else { return Err(self.unlike()) };
        self.writer.long(*some);
        Seed { shape: inner, writer: self.writer }.deserialize(json)
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if matches!(self.shape, Shape::Null) { Ok(()) } else { Err(self.unlike()) }
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.shape, Shape::Boolean) {
            return Err(self.unlike());
        }
        self.writer.out.push(value.into());
        Ok(())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.shape {
            // Some writers know no other number than 1.0.
            Shape::Int | Shape::Long if value.fract() == 0.0 && value.abs() < 1e15 => {
                self.whole(value as i128)
            }
            Shape::Int | Shape::Long => Err(self.writer.misfit(Reason::Number)),
            _ => Err(self.unlike()),
        }
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        match self.shape {
            Shape::Text => self.writer.bytes(value.as_bytes()),
            Shape::Symbols(symbols) => match symbols.iter().position(|symbol| symbol == value) {
                Some(at) => self.writer.long(at as i64),
                None => return Err(self.unlike()),
            },
            Shape::Bytes => match STANDARD.decode(value) {
                Ok(raw) => self.writer.bytes(&raw),
                Err(_) => return Err(self.unlike()),
            },
            Shape::Fixed(size) => match STANDARD.decode(value).ok().filter(|raw| raw.len() == *size) {
                Some(raw) => self.writer.out.extend_from_slice(&raw),
                None => return Err(self.unlike()),
            },
            Shape::Date => match text::day(value) {
                Some(day) => self.writer.long(day.into()),
                None => return Err(self.unlike()),
            },
            Shape::Instant(unit) => return self.instant(*unit, value),
            _ => return Err(self.unlike()),
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Shape::List(shape) = self.shape else { return Err(self.unlike()) };
        // How many there are is not known before the end: each is a block of its own.
        loop {
            let before = self.writer.out.len();
            self.writer.long(1);
            if items.next_element_seed(Seed { shape, writer: self.writer })?.is_none() {
                self.writer.out.truncate(before);
                self.writer.long(0);
                return Ok(());
            }
        }
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        match self.shape {
            Shape::Map(shape) => {
                while let Some(key) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
                    self.writer.long(1);
                    self.writer.bytes(key.as_bytes());
                    entries.next_value_seed(Seed { shape, writer: self.writer })?;
                }
                self.writer.long(0);
                Ok(())
            }
            Shape::Record(record) => {
                let (first, start) = (self.writer.spans.len(), self.writer.out.len());
                loop {
                    let next = self.writer.spans.len() - first;
                    let Some(place) = entries.next_key_seed(Key { record, next })? else { break };
                    let Some(place) = place else {
                        self.writer.is_whole = false;
                        entries.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let (name, shape) = &record.fields[place as usize];
                    self.writer.path.push(name);
                    let before = self.writer.out.len();
                    entries.next_value_seed(Seed { shape, writer: self.writer })?;
                    let span = before..self.writer.out.len();
                    self.writer.spans.push((place, span));
                    self.writer.path.pop();
                }
                self.writer.arrange(record, first, start)
            }
            _ => Err(self.unlike()),
        }
    }
}
