//! Text to datums of an Avro schema: JSON values and cells of CSV, by one set of rules.
//!
//! | module | words |
//! | --- | --- |
//! | `shape` | [`Shape`]: what a text must look like, compiled from a schema |
//! | `compile` | from a parsed schema to a shape |
//! | `json` | a JSON value as a datum, in one pass |
//! | `cells` | the cells of one CSV record as a datum |
//! | `types` | [`Type`]: one type of a shape, for values that come in no such text |
//! | `scalar` | one value that is no list, map or record |
//! | `default` | a default, as Avro's specification writes it |
//!
//! A JSON topic and a file that feeds a topic read a value by the same function, so that one line of JSON
//! means one thing wherever it comes in. What a type takes:
//!
//! | type | JSON | cell |
//! | --- | --- | --- |
//! | int, long | a number that is whole: `42`, `1.0`, `1e3`; no text | the same |
//! | float, double | a number; the texts `NaN`, `Infinity`, `-Infinity`, `inf`, `-inf` | the same |
//! | decimal | a number; a text as the contract says: digits, or base64 of the unscaled number | digits |
//! | boolean | `true`, `false`; no text | `true`, `false` |
//! | date | days since 1970, or `2026-01-31` | `2026-01-31` |
//! | time | its unit since midnight, or `23:59:59.5` | `23:59:59.5` |
//! | timestamp | its unit since 1970, or `2026-01-31T12:00:00.5Z`; UTC where no zone is given | the text |
//! | bytes, fixed | a text as the contract says: its own bytes, base64 or hexadecimal digits | the same |
//! | uuid | its hyphenated form | the same |
//! | enum | one of its symbols | the same |
//! | null | `null` | empty, where null is allowed and text is not |
//!
//! A field that is missing has the default of the schema, else null where that is allowed. A name that is
//! there twice is refused. Never here: a registry frame, a topic, a table.

#![deny(clippy::arithmetic_side_effects)]

mod cells;
mod compile;
mod default;
mod json;
mod refused;
mod scalar;
mod shape;
#[cfg(test)]
mod tests;
mod types;

pub use refused::{Reason, Refused, Unfit};
pub use shape::{Encodings, Literal, Shape, Unit};
pub use types::{Field, Kind, Type};
