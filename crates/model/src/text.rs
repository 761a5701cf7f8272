//! The one strict reader of values that are written as text, and their one canonical print.
//!
//! Files, JSON topics, keys that are text and defaults of schemas all read by these functions, so that a
//! text means the same wherever it comes in. A text is the value exactly, or it is refused: nothing is
//! trimmed, completed or rounded (a double is the one exception, below).
//!
//! | value | forms |
//! | --- | --- |
//! | integer | sign, digits, and what is a whole number with a point or an exponent: `42`, `-007`, `1.0`, `1e3` |
//! | decimal | the same, exact at the scale of its type: `1.50`, `.5`, `15e-1`; never through a double |
//! | double | the same, as the nearest double; a whole number only if a double holds it; `NaN`, `Infinity`, `-Infinity`, `inf`, `-inf` |
//! | float | the same, if the float prints these digits: none is rounded away |
//! | boolean | `true`, `false` |
//! | date | `2026-01-31`, or `2026-01-31Z` as Debezium writes it; years 0001 to 9999 |
//! | time | `23:59:59`, a fraction of up to six digits that are not zero, or the same and `Z` |
//! | instant | date, `T` or one space, time, then nothing (UTC), `Z`, `+01:00` or `+01` |
//! | uuid | 8-4-4-4-12 hexadecimal digits |
//! | bytes | [`BytesForm`]: base64 with its padding, hexadecimal digits, or the text's own bytes |
//!
//! Infinite instants and years beyond 9999 are [`Unread::Range`]: they have a meaning that no table holds.

#![deny(clippy::arithmetic_side_effects)]

mod bytes;
mod number;
mod print;
#[cfg(test)]
mod tests;
mod time;

pub use bytes::{BytesForm, DecimalForm, bytes, print_bytes, uuid};
pub use number::{boolean, decimal, double, float, integer};
pub use print::{
    print_date, print_decimal, print_double, print_float, print_instant, print_time, print_uuid,
};
pub use time::{date, instant, is_leap, time};

/// Why a text is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unread {
    /// Not written as such a value is.
    #[error("it is not written as one")]
    Form,
    /// Such a value, but beyond what its type holds.
    #[error("it is beyond what its type holds")]
    Range,
    /// Such a value, with more digits than its type keeps.
    #[error("it has more digits than its type keeps")]
    Finer,
}
