//! One value that is no list, map or record, from JSON or from a cell.

use std::borrow::Cow;

use model::text::{self, BytesForm, DecimalForm, Unread};

use super::refused::{Reason, Unfit};
use super::shape::{Digits, Encodings, Node, Unit, UuidForm};
use crate::wire;

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
        Node::Foreign(what) => what,
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
) -> Result<(), Unfit> {
    use Given::{Cell, Number, Text};
    match (node, given) {
        (Node::Int, Number(digits) | Cell(digits)) => int(digits, Reason::Number, out)?,
        (Node::Long, Number(digits) | Cell(digits)) => wire::long(integer(digits, Reason::Number)?, out),
        (Node::Float, given) => {
            let value = text::float(real(given)?).map_err(|unread| number(unread, Reason::Number))?;
            out.extend_from_slice(&value.to_le_bytes());
        }
        (Node::Double, given) => {
            let value = text::double(real(given)?).map_err(|unread| number(unread, Reason::Number))?;
            out.extend_from_slice(&value.to_le_bytes());
        }
        (Node::Boolean, Cell(word)) => {
            out.push(text::boolean(word).map_err(|_| Unfit::Unlike)?.into());
        }
        (Node::Text, Text(given) | Cell(given)) => wire::bytes(given.as_bytes(), out),
        (Node::Symbols(symbols), Text(given) | Cell(given)) => {
            let at = symbols.iter().position(|symbol| symbol == given).ok_or(Unfit::Unlike)?;
            wire::long(i64::try_from(at).map_err(|_| Unfit::Unlike)?, out);
        }
        (Node::Uuid(form), Text(given) | Cell(given)) => {
            let raw = text::uuid(given).map_err(|_| Unfit::Unlike)?;
            match form {
                UuidForm::Text => wire::bytes(text::print_uuid(raw).as_bytes(), out),
                UuidForm::Bytes => wire::bytes(&raw, out),
                UuidForm::Fixed => out.extend_from_slice(&raw),
            }
        }
        (Node::Bytes, Text(given) | Cell(given)) => {
            wire::bytes(&text::bytes(given, encodings.bytes).map_err(|_| Unfit::Unlike)?, out);
        }
        (Node::Fixed(size), Text(given) | Cell(given)) => {
            let raw = text::bytes(given, encodings.bytes).map_err(|_| Unfit::Unlike)?;
            if raw.len() != *size {
                return Err(Unfit::Unlike);
            }
            out.extend_from_slice(&raw);
        }
        (Node::Date, Number(digits)) => int(digits, Reason::Number, out)?,
        (Node::Date, Text(given) | Cell(given)) => {
            wire::long(text::date(given).map_err(|unread| number(unread, Reason::Time))?.into(), out);
        }
        (Node::Time(Unit::Millis), Number(digits)) => int(digits, Reason::Number, out)?,
        (Node::Time(_) | Node::Instant(_), Number(digits)) => {
            wire::long(integer(digits, Reason::Number)?, out)
        }
        (Node::Time(unit), Text(given) | Cell(given)) => {
            wire::long(in_unit(text::time(given).map_err(time)?, *unit)?, out);
        }
        (Node::Instant(unit), Text(given) | Cell(given)) => {
            wire::long(in_unit(text::instant(given).map_err(time)?, *unit)?, out);
        }
        (Node::Decimal(digits), given) => decimal(*digits, encodings.decimals, given, out)?,
        _ => return Err(Unfit::Unlike),
    }
    Ok(())
}

/// The text of a number. In JSON, what is no number has a word for it and nothing else is a text.
fn real(given: Given<'_>) -> Result<&str, Unfit> {
    match given {
        Given::Number(digits) | Given::Cell(digits) => Ok(digits),
        Given::Text(word) if text::double(word).is_ok_and(|value| !value.is_finite()) => Ok(word),
        Given::Text(_) => Err(Unfit::Unlike),
    }
}

fn number(unread: Unread, reason: Reason) -> Unfit {
    match unread {
        Unread::Form => Unfit::Unlike,
        Unread::Range | Unread::Finer => Unfit::Misfit(reason),
    }
}

fn time(unread: Unread) -> Unfit {
    match unread {
        Unread::Form => Unfit::Unlike,
        Unread::Range => Unfit::Misfit(Reason::Time),
        Unread::Finer => Unfit::Misfit(Reason::FinerTime),
    }
}

fn integer(digits: &str, reason: Reason) -> Result<i64, Unfit> {
    text::integer(digits).map_err(|unread| number(unread, reason))
}

fn int(digits: &str, reason: Reason, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let value = i32::try_from(integer(digits, reason)?).map_err(|_| Unfit::Misfit(reason))?;
    wire::long(value.into(), out);
    Ok(())
}

fn in_unit(micros: i64, unit: Unit) -> Result<i64, Unfit> {
    match unit {
        Unit::Micros => Ok(micros),
        Unit::Millis if micros % 1_000 != 0 => Err(Unfit::Misfit(Reason::FinerTime)),
        Unit::Millis => Ok(micros / 1_000),
        Unit::Nanos => micros.checked_mul(1_000).ok_or(Unfit::Misfit(Reason::Time)),
    }
}

fn decimal(digits: Digits, form: DecimalForm, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let misfit = Unfit::Misfit(Reason::Decimal);
    let unscaled = match (given, form) {
        (Given::Text(base64), DecimalForm::Base64) => {
            let raw = text::bytes(base64, BytesForm::Base64).map_err(|_| Unfit::Unlike)?;
            if raw.is_empty() {
                return Err(Unfit::Unlike);
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
    match digits.size {
        Some(size) => out.extend_from_slice(&resized(&unscaled.to_be_bytes(), size).ok_or(misfit)?),
        None => wire::decimal(unscaled, out),
    }
    Ok(())
}

/// Big-endian two's complement in `size` bytes, if it fits.
fn resized(raw: &[u8], size: usize) -> Option<Vec<u8>> {
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

/// A text of JSON without its quotes. `None`: half of a surrogate pair, which no text holds.
pub(crate) fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}
