//! Avro schemas: to the columns a bronze table stores, to the rows `changes(…)` yields, from the columns
//! of a gold table, and what the change of one means.
//!
//! One value on its way:
//!
//! | where | `{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}` | `{"type":"int"}` |
//! | --- | --- | --- |
//! | on the topic | two's-complement bytes | zigzag varint |
//! | bronze ([`bronze_schema`]) | DECIMAL(38, 2) | BIGINT |
//! | `changes(…)` ([`changes_schema`]) | DECIMAL(38, 2) | BIGINT |
//! | gold topic ([`avro_from_arrow`]) | as the model's column: decimal bytes | `["null", "long"]` |
//!
//! Bronze stores the widest type of each family, so that a promotion on the topic needs no rewrite.

mod changes;
mod compat;
mod connect;
mod schema;
mod stored;
#[cfg(test)]
mod tests;
mod write;

pub use changes::{changes_schema, history_fields};
pub use compat::{Compat, compatibility, is_ahead, is_brought, is_read_as};
pub use connect::{Form, avro_from_connect, in_form};
pub use schema::Error;
pub use stored::{bronze_schema, bronze_schema_of, meta_names, timestamp_type};
pub use write::avro_from_arrow;

pub(crate) use schema::{AvroSchema, record_columns, type_at, value_rows};
pub(crate) use write::{derived_key_schema, legal_namespace, storable};
