//! One value that is no list, map or record, from JSON or from a cell.

use std::borrow::Cow;

use model::text::{self, BytesForm, DecimalForm, Unread};

use crate::refused::Reason;
use crate::shape::{Digits, Encodings, Node, Unit, UuidForm};

/// What a value is written as in a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    /// A number of JSON.
    Number(&'a str),
    /// A text of JSON.
    Text(&'a str),
    /// A cell of CSV, which is a text whatever it holds.
    Cell(&'a str),
}
impl<'a> Given<'a> {
    pub fn shown(self) -> &'a str {
        match self {
            Self::Number(shown) | Self::Text(shown) | Self::Cell(shown) => shown,
        }
    }
}

/// Why it is no datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Unlike,
    Misfit(Reason),
}

/// What a type takes, in words.
pub(crate) fn wanted(node: &Node, encodings: Encodings) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Boolean => "a boolean",
        Node::Int | Node::Long => "a whole number",
        Node::Float | Node::Double => "a number",
        Node::Text => "a text",
        Node::Symbols(_) => "a symbol of its enum",
        Node::Uuid(_) => "a UUID such as 01234567-89ab-cdef-0123-456789abcdef",
        Node::Bytes => match encodings.bytes {
            BytesForm::Base64 => "base64",
            BytesForm::Hex => "hexadecimal digits",
            BytesForm::Text => "a text",
        },
        Node::Fixed(_) => match encodings.bytes {
            BytesForm::Base64 => "base64 of its length",
            BytesForm::Hex => "hexadecimal digits of its length",
            BytesForm::Text => "a text of its length in bytes",
        },
        Node::Date => "a number of days, or a date such as 2026-01-31",
        Node::Time(_) => "a number, or a time such as 23:59:59.123456",
        Node::Instant(_) => "a number, or a time such as 2026-01-31T23:59:59.123456Z",
        Node::Decimal(_) => match encodings.decimals {
            DecimalForm::Text => "a number, or its digits as a text",
            DecimalForm::Base64 => "base64 of its unscaled digits, or a number",
        },
        Node::List(_) => "an array",
        Node::Map(_) | Node::Record(_) => "an object",
        Node::Optional { inner, .. } => wanted(inner, encodings),
        Node::Union(_) => "a value of its union",
    }
}

/// Appends a value to `out`.
pub(crate) fn write(
    node: &Node,
    encodings: Encodings,
    given: Given<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    use Given::{Cell, Number, Text};
    match (node, given) {
        (Node::Int, Number(digits) | Cell(digits)) => int(digits, Reason::Number, out)?,
        (Node::Long, Number(digits) | Cell(digits)) => long(integer(digits, Reason::Number)?, out),
        (Node::Float, given) => {
            let value = text::float(real(given)?).map_err(|unread| number(unread, Reason::Number))?;
            out.extend_from_slice(&value.to_le_bytes());
        }
        (Node::Double, given) => {
            let value = text::double(real(given)?).map_err(|unread| number(unread, Reason::Number))?;
            out.extend_from_slice(&value.to_le_bytes());
        }
        (Node::Boolean, Cell(word)) => {
            out.push(text::boolean(word).map_err(|_| Fault::Unlike)?.into());
        }
        (Node::Text, Text(given) | Cell(given)) => bytes(given.as_bytes(), out),
        (Node::Symbols(symbols), Text(given) | Cell(given)) => {
            let at = symbols.iter().position(|symbol| symbol == given).ok_or(Fault::Unlike)?;
            long(i64::try_from(at).map_err(|_| Fault::Unlike)?, out);
        }
        (Node::Uuid(form), Text(given) | Cell(given)) => {
            let raw = text::uuid(given).map_err(|_| Fault::Unlike)?;
            match form {
                UuidForm::Text => bytes(text::print_uuid(raw).as_bytes(), out),
                UuidForm::Bytes => bytes(&raw, out),
                UuidForm::Fixed => out.extend_from_slice(&raw),
            }
        }
        (Node::Bytes, Text(given) | Cell(given)) => {
            bytes(&text::bytes(given, encodings.bytes).map_err(|_| Fault::Unlike)?, out);
        }
        (Node::Fixed(size), Text(given) | Cell(given)) => {
            let raw = text::bytes(given, encodings.bytes).map_err(|_| Fault::Unlike)?;
            if raw.len() != *size {
                return Err(Fault::Unlike);
            }
            out.extend_from_slice(&raw);
        }
        (Node::Date, Number(digits)) => int(digits, Reason::Number, out)?,
        (Node::Date, Text(given) | Cell(given)) => {
            long(text::date(given).map_err(|unread| number(unread, Reason::Time))?.into(), out);
        }
        (Node::Time(Unit::Millis), Number(digits)) => int(digits, Reason::Number, out)?,
        (Node::Time(_) | Node::Instant(_), Number(digits)) => long(integer(digits, Reason::Number)?, out),
        (Node::Time(unit), Text(given) | Cell(given)) => {
            long(in_unit(text::time(given).map_err(time)?, *unit)?, out);
        }
        (Node::Instant(unit), Text(given) | Cell(given)) => {
            long(in_unit(text::instant(given).map_err(time)?, *unit)?, out);
        }
        (Node::Decimal(digits), given) => decimal(*digits, encodings.decimals, given, out)?,
        _ => return Err(Fault::Unlike),
    }
    Ok(())
}

/// The text of a number. In JSON, what is no number has a word for it and nothing else is a text.
fn real(given: Given<'_>) -> Result<&str, Fault> {
    match given {
        Given::Number(digits) | Given::Cell(digits) => Ok(digits),
        Given::Text(word) if text::double(word).is_ok_and(|value| !value.is_finite()) => Ok(word),
        Given::Text(_) => Err(Fault::Unlike),
    }
}

fn number(unread: Unread, reason: Reason) -> Fault {
    match unread {
        Unread::Form => Fault::Unlike,
        Unread::Range | Unread::Finer => Fault::Misfit(reason),
    }
}

fn time(unread: Unread) -> Fault {
    match unread {
        Unread::Form => Fault::Unlike,
        Unread::Range => Fault::Misfit(Reason::Time),
        Unread::Finer => Fault::Misfit(Reason::FinerTime),
    }
}

fn integer(digits: &str, reason: Reason) -> Result<i64, Fault> {
    text::integer(digits).map_err(|unread| number(unread, reason))
}

fn int(digits: &str, reason: Reason, out: &mut Vec<u8>) -> Result<(), Fault> {
    let value = i32::try_from(integer(digits, reason)?).map_err(|_| Fault::Misfit(reason))?;
    long(value.into(), out);
    Ok(())
}

fn in_unit(micros: i64, unit: Unit) -> Result<i64, Fault> {
    match unit {
        Unit::Micros => Ok(micros),
        Unit::Millis if micros % 1_000 != 0 => Err(Fault::Misfit(Reason::FinerTime)),
        Unit::Millis => Ok(micros / 1_000),
        Unit::Nanos => micros.checked_mul(1_000).ok_or(Fault::Misfit(Reason::Time)),
    }
}

fn decimal(digits: Digits, form: DecimalForm, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let misfit = Fault::Misfit(Reason::Decimal);
    let unscaled = match (given, form) {
        (Given::Text(base64), DecimalForm::Base64) => {
            let raw = text::bytes(base64, BytesForm::Base64).map_err(|_| Fault::Unlike)?;
            if raw.is_empty() {
                return Err(Fault::Unlike);
            }
            let wide = resized(&raw, 16).and_then(|raw| raw.try_into().ok());
            let value = i128::from_be_bytes(wide.ok_or(misfit)?);
            let most = 10_u128.checked_pow(digits.precision.min(38)).ok_or(misfit)?;
            if value.unsigned_abs() >= most {
                return Err(misfit);
            }
            value
        }
        (given, _) => text::decimal(given.shown(), digits.precision, digits.scale)
            .map_err(|unread| number(unread, Reason::Decimal))?,
    };
    let wide = unscaled.to_be_bytes();
    match digits.size {
        Some(size) => out.extend_from_slice(&resized(&wide, size).ok_or(misfit)?),
        None => bytes(shortest(&wide), out),
    }
    Ok(())
}

/// The fewest bytes that keep the value.
fn shortest(mut raw: &[u8]) -> &[u8] {
    while let [0x00, next @ ..] | [0xff, next @ ..] = raw
        && next.first().is_some_and(|first| (first ^ raw[0]) & 0x80 == 0)
    {
        raw = next;
    }
    raw
}

/// Big-endian two's complement in `size` bytes, if it fits.
pub(crate) fn resized(raw: &[u8], size: usize) -> Option<Vec<u8>> {
    let sign = if raw.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let (head, kept) = raw.split_at(raw.len().saturating_sub(size));
    let same_sign = kept.first().is_none_or(|byte| byte & 0x80 == sign & 0x80);
    if !head.iter().all(|&byte| byte == sign) || !same_sign || kept.is_empty() {
        return None;
    }
    let mut fixed = vec![sign; size.saturating_sub(kept.len())];
    fixed.extend_from_slice(kept);
    Some(fixed)
}

/// A zigzag varint.
pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes behind their length.
pub(crate) fn bytes(raw: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(raw.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(raw);
}

/// A text of JSON without its quotes. `None`: half of a surrogate pair, which no text holds.
pub(crate) fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}
