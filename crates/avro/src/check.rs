//! Says whether a payload is exactly one datum of an Avro schema, before any decoder sees it.
//!
//! The vectorised decoder appends field by field and cannot take a row back: a truncated, padded
//! or ill-formed payload would leave half a row in its columns and shift all rows behind it. So
//! each payload is walked first, by a program compiled from the schema's JSON: varints, lengths,
//! union and enum indexes, booleans, UTF-8, UUIDs, decimals that fit 128 bits, and that nothing is
//! left over. The walk allocates nothing and its depth is bounded by the program's.
//!
//! It should accept no payload that the decoder refuses: `tests.rs` holds it against `apache-avro`, and a batch that is
//! refused all the same is halved until the record is found.

#![deny(clippy::arithmetic_side_effects)]

mod compile;
mod program;

pub use program::Checker;

use crate::wire::unzigzag;

/// Why a payload is no datum of its schema. Closed and small: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Mismatch {
    /// The payload ends inside the datum.
    #[error("the record ends inside a value")]
    Truncated,
    /// The datum ends before the payload.
    #[error("bytes follow the end of the record")]
    Trailing,
    /// A varint of more than 64 (an int: 32) bits.
    #[error("a number is longer than its type")]
    Varint,
    /// A negative length, or more items than bytes could hold.
    #[error("a length or an item count is impossible")]
    Length,
    /// A union branch that the schema does not have.
    #[error("a union branch does not exist")]
    Branch,
    /// An enum symbol that the schema does not have.
    #[error("an enum symbol does not exist")]
    Symbol,
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// Text that is not UTF-8.
    #[error("a text is not valid UTF-8")]
    Utf8,
    /// Text that should be a UUID.
    #[error("a text is no UUID")]
    Uuid,
    /// A decimal of more than 128 bits.
    #[error("a decimal is wider than 38 digits")]
    Decimal,
}
impl Mismatch {
    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Trailing => "trailing_bytes",
            Self::Varint => "bad_varint",
            Self::Length => "bad_length",
            Self::Branch => "bad_union_branch",
            Self::Symbol => "bad_enum_symbol",
            Self::Boolean => "bad_boolean",
            Self::Utf8 => "invalid_utf8",
            Self::Uuid => "bad_uuid",
            Self::Decimal => "decimal_out_of_range",
        }
    }
}

/// What is left of a payload.
struct Rest<'a> {
    bytes: &'a [u8],
    /// How many more items that take no bytes it may claim to hold.
    empty_items: u64,
}
impl<'a> Rest<'a> {
    fn byte(&mut self) -> Result<u8, Mismatch> {
        let (&first, rest) = self.bytes.split_first().ok_or(Mismatch::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }
    fn take(&mut self, n: usize) -> Result<&'a [u8], Mismatch> {
        let (taken, rest) = self.bytes.split_at_checked(n).ok_or(Mismatch::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }
    /// The raw varint, before zigzag.
    fn varint(&mut self) -> Result<u64, Mismatch> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        // The tenth byte has room for one bit.
        match self.byte()? {
            last @ 0..=1 => Ok(value | u64::from(last) << 63),
            _ => Err(Mismatch::Varint),
        }
    }
    fn int(&mut self) -> Result<i32, Mismatch> {
        let raw = u32::try_from(self.varint()?).map_err(|_| Mismatch::Varint)?;
        Ok(unzigzag(raw.into()) as i32)
    }
    fn long(&mut self) -> Result<i64, Mismatch> {
        Ok(unzigzag(self.varint()?))
    }
    /// A length-prefixed run of bytes.
    fn bytes(&mut self) -> Result<&'a [u8], Mismatch> {
        let len = usize::try_from(self.long()?).map_err(|_| Mismatch::Length)?;
        self.take(len)
    }
}

/// Whether big-endian two's complement `raw` fits 128 bits without changing its value.
fn fits_i128(raw: &[u8]) -> bool {
    let Some(extra) = raw.len().checked_sub(16) else { return true };
    let (head, kept) = raw.split_at(extra);
    let negative = kept[0] & 0x80 != 0;
    head.iter().all(|&byte| byte == if negative { 0xff } else { 0 })
}

/// Whether `text` is a UUID in one of the forms the decoder reads: plain or hyphenated.
fn is_uuid(text: &[u8]) -> bool {
    match text.len() {
        32 => text.iter().all(u8::is_ascii_hexdigit),
        36 => text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
