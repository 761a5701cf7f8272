//! The columns of tables: of a bronze table from its topic and schemas, of `changes(…)`, of a model.
//!
//! Which type a table stores for an Avro type is [`avro`]'s; here is what the topic says: where its rows are in
//! its values, what its key is, which columns bronze and `changes(…)` add.

mod changes;
mod storable;
mod stored;
#[cfg(test)]
mod tests;
mod value;

pub use changes::{changes_schema, history_fields};
pub use stored::{bronze_schema, bronze_schema_of, meta_names};

pub(crate) use storable::storable;
pub(crate) use value::{derived_key_schema, record_columns, value_rows};
