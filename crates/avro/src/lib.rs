//! Avro: schemas, and the bytes that they describe. No other crate walks a schema.
//!
//! | module | subject |
//! | --- | --- |
//! | `frame` | [`Frame`]: a datum behind the registry's magic byte and schema id |
//! | [`wire`] | the primitive encodings: zigzag varints, lengths, the digits of a decimal |
//! | `schema` | [`Schema`]: a parsed schema whose names are followed; [`RecordFields`]: the fields of one record |
//! | `columns` | the type that a table stores for each Avro type |
//! | `connect` | the schemas and the type names of Kafka Connect |
//! | `compat` | what the change of a schema means for a table and for readers |
//! | `write` | schemas made from columns, and a key's schema from the value that holds it |
//! | `grow` | a schema brought up to columns that a database has now |
//! | `check` | [`Checker`]: whether bytes are exactly one datum |
//! | `decoder` | [`Decoder`]: framed datums to columns, all at once |
//! | `resolve` | one schema read as another: names, defaults, symbols |
//! | `defaults` | the defaults of a schema as columns, and back |
//! | [`text`] | [`text::Shape`]: JSON values and cells of CSV to datums, by one set of rules |
//!
//! One value on its way:
//!
//! | where | `{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}` | `{"type":"int"}` |
//! | --- | --- | --- |
//! | on the topic | two's-complement bytes | zigzag varint |
//! | bronze ([`RecordFields::columns`]) | DECIMAL(38, 2) | BIGINT |
//! | gold topic ([`from_arrow`]) | as the model's column: decimal bytes | `["null", "long"]` |
//!
//! Bronze stores the widest type of each family, so that a promotion on the topic needs no rewrite.
//!
//! Words: a *datum* is one encoded value, without a frame; a *payload* is a record's value or key as bytes; a
//! *shape* is a schema compiled for writing, a *checker* one compiled for reading.
//!
//! Never here: a topic, a table, a registry; a value that is rounded, guessed or dropped. The library's own types
//! stop at this crate: who needs to know what a field is asks a [`RecordFields`], a [`text::Shape`] or a [`text::Type`].

mod check;
mod columns;
mod compat;
mod connect;
mod decoder;
mod defaults;
mod frame;
mod grow;
mod names;
mod resolve;
mod schema;
pub mod text;
pub mod wire;
mod write;

pub use check::{Checker, Mismatch};
pub use columns::timestamp_type;
pub use compat::{Compat, compatibility, is_ahead, is_brought, is_read_as};
pub use connect::{Form, from_connect, in_form};
pub use decoder::Decoder;
pub use defaults::{declare, defaults};
pub use frame::{Frame, FrameError};
pub use grow::{Column, grow_key, grow_rows, nullable_field};
pub use names::record_name;
pub use resolve::{Fill, repeat};
pub use schema::{BadSchema, Error, RecordFields, Schema};
pub use write::{as_record, from_arrow, key_schema, legal_namespace};
