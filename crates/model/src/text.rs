//! The only parser of values written as text, which is strict, and their canonical form.
//!
//! Files, JSON topics, text keys and schema defaults are all parsed by these functions, so a text means the
//! same wherever it comes from. A text is exactly the value, or it is refused: nothing is trimmed, completed or
//! rounded. Doubles are the one exception, below.
//!
//! | value | forms |
//! | --- | --- |
//! | integer | sign and digits; a point or an exponent if the number is whole: `42`, `-007`, `1.0`, `1e3` |
//! | decimal | the same, exact at the scale of its type: `1.50`, `.5`, `15e-1`; never through a double |
//! | double | the same, as the nearest double; a whole number only if a double represents it; `NaN`, `Infinity`, `-Infinity`, `inf`, `-inf` |
//! | float | the same, if the float prints with these digits, so that none is lost to rounding |
//! | boolean | `true`, `false` |
//! | date | `2026-01-31`, or `2026-01-31Z` as Debezium writes it; years 0001 to 9999 |
//! | time | `23:59:59`, with a fraction whose digits after the sixth are zero; a `Z` may follow |
//! | instant | date, `T` or one space, time, then nothing (UTC), `Z`, `+01:00` or `+01` |
//! | uuid | 8-4-4-4-12 hexadecimal digits |
//! | bytes | [`BytesForm`]: base64 with its padding, hexadecimal digits, or the text's own bytes |
//!
//! Infinite instants and years beyond 9999 are [`Unread::Range`]: no table can hold them.

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

/// Why a text cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unread {
    /// Not the form of such a value.
    #[error("it is not written as one")]
    Form,
    /// The right form, but out of the type's range.
    #[error("it is beyond what its type holds")]
    Range,
    /// The right form, but with more digits than the type keeps.
    #[error("it has more digits than its type keeps")]
    Finer,
}
