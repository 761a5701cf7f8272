//! Types of columns, with their Avro encoding and their canonical text for checksums.
//!
//! Every type implements [`Field`] once. Schemas, records and checksums all use it, so a schema cannot differ
//! from the bytes.

use std::sync::Arc;

use crate::wire;

/// Avro type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `bytes`, decimal with 18 digits and this scale.
    Decimal(u8),
    /// `int`, days since 1970-01-01.
    Date,
    /// `long`, microseconds since 1970-01-01 UTC.
    Instant,
    /// `boolean`.
    Bool,
    /// `string`.
    Text,
}

/// A value of a column.
pub trait Field {
    /// Its type.
    const KIND: Kind;
    /// Whether it may be null.
    const NULLABLE: bool = false;
    /// Appends the Avro encoding.
    fn avro(&self, out: &mut Vec<u8>);
    /// Appends the canonical text: the result of `CAST(column AS VARCHAR)`, or microseconds for an instant.
    fn text(&self, out: &mut Vec<u8>);
    /// Appends a SQL literal for PostgreSQL.
    fn sql(&self, out: &mut Vec<u8>) {
        self.text(out);
    }
}

/// Cents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub i64);
/// Thousandths: rates in percent, weights in kilograms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milli(pub i64);
/// Days since 1970-01-01.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub i32);
/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub i64);

/// Text of a column. Cloning it never copies the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Text in the program.
    Static(&'static str),
    /// Text that is created once and shared by several rows.
    Shared(Arc<str>),
    /// A number, printed only when it is encoded.
    Digits(u32),
}
impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Static(text)
    }
}
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Shared(text.into())
    }
}

impl Field for i32 {
    const KIND: Kind = Kind::Int;
    fn avro(&self, out: &mut Vec<u8>) {
        wire::long(i64::from(*self), out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        wire::digits(i64::from(*self), out);
    }
}
impl Field for i64 {
    const KIND: Kind = Kind::Long;
    fn avro(&self, out: &mut Vec<u8>) {
        wire::long(*self, out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        wire::digits(*self, out);
    }
}
impl Field for Money {
    const KIND: Kind = Kind::Decimal(2);
    fn avro(&self, out: &mut Vec<u8>) {
        wire::decimal(self.0.into(), out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        wire::fixed_point(self.0, 2, out);
    }
}
impl Field for Milli {
    const KIND: Kind = Kind::Decimal(3);
    fn avro(&self, out: &mut Vec<u8>) {
        wire::decimal(self.0.into(), out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        wire::fixed_point(self.0, 3, out);
    }
}
impl Field for Date {
    const KIND: Kind = Kind::Date;
    fn avro(&self, out: &mut Vec<u8>) {
        wire::long(i64::from(self.0), out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        let (year, month, day) = crate::calendar::civil(*self);
        wire::digits(i64::from(year), out);
        for part in [month, day] {
            out.extend_from_slice(&[b'-', b'0' + part / 10, b'0' + part % 10]);
        }
    }
    fn sql(&self, out: &mut Vec<u8>) {
        out.push(b'\'');
        self.text(out);
        out.push(b'\'');
    }
}
impl Field for Instant {
    const KIND: Kind = Kind::Instant;
    fn avro(&self, out: &mut Vec<u8>) {
        wire::long(self.0, out);
    }
    fn text(&self, out: &mut Vec<u8>) {
        wire::digits(self.0, out);
    }
    fn sql(&self, out: &mut Vec<u8>) {
        self.literal(out);
    }
}
impl Instant {
    /// The instant as `'2013-01-01 09:30:00.000000+00'`.
    fn literal(self, out: &mut Vec<u8>) {
        const DAY: i64 = 86_400_000_000;
        out.push(b'\'');
        // The day of any 64-bit instant fits 32 bits.
        Date(self.0.div_euclid(DAY) as i32).text(out);
        let micros = self.0.rem_euclid(DAY);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        out.extend_from_slice(
            format!(" {hours:02}:{minutes:02}:{:02}.{rest:06}+00'", seconds % 60).as_bytes(),
        );
    }
}
impl Field for bool {
    const KIND: Kind = Kind::Bool;
    fn avro(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}
impl Field for Text {
    const KIND: Kind = Kind::Text;
    fn avro(&self, out: &mut Vec<u8>) {
        match self {
            Self::Static(text) => wire::text(text, out),
            Self::Shared(text) => wire::text(text, out),
            Self::Digits(n) => {
                let mut digits = wire::Digits::default();
                wire::text(digits.of(i64::from(*n)), out);
            }
        }
    }
    fn text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Static(text) => out.extend_from_slice(text.as_bytes()),
            Self::Shared(text) => out.extend_from_slice(text.as_bytes()),
            Self::Digits(n) => wire::digits(i64::from(*n), out),
        }
    }
    fn sql(&self, out: &mut Vec<u8>) {
        match self {
            Self::Static(text) => quoted(text, out),
            Self::Shared(text) => quoted(text, out),
            Self::Digits(n) => quoted(&n.to_string(), out),
        }
    }
}
/// A text in quotes, with quotes in it doubled.
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'\'');
    out.extend_from_slice(text.replace('\'', "''").as_bytes());
    out.push(b'\'');
}
impl<F: Field> Field for Option<F> {
    const KIND: Kind = F::KIND;
    const NULLABLE: bool = true;
    fn avro(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(wire::NULL),
            Some(value) => {
                out.push(wire::PRESENT);
                value.avro(out);
            }
        }
    }
    fn text(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(b'~'),
            Some(value) => value.text(out),
        }
    }
    fn sql(&self, out: &mut Vec<u8>) {
        match self {
            None => out.extend_from_slice(b"NULL"),
            Some(value) => value.sql(out),
        }
    }
}
