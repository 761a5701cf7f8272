//! A seeded source database, Wide World Importers, and the change log it writes to Kafka.
//!
//! | module | words |
//! | --- | --- |
//! | [`settings`] | `Settings`, `Pattern`, `Share`, `SchemaChange` |
//! | [`tables`], [`row`], [`field`] | tables, their columns, and what a column can hold |
//! | [`schema`] | the Avro schemas that follow from them |
//! | [`reference`], [`items`] | places, categories, products: what the database starts with |
//! | [`world`], `lifecycle`, `billing`, `accounts`, `upkeep` | the retailer, and a day of its business |
//! | [`record`] | changes written down as Debezium would |
//! | [`oracle`] | what the tables must hold in the end, and the SQL that recomputes it |
//! | [`block`] | records in the order of the log: late events, duplicates, poison |
//! | [`generator`], [`discard`] | the log as a stream of blocks; into nowhere |
//! | [`pace`] | when events are sent |
//! | `script`, [`database`] | the same changes as SQL; into a PostgreSQL |
//! | [`resume`], [`emit`], `sender`, `subjects` | what each partition holds; the rest as a source |
//!
//! The log is a pure function of its settings: the same seed gives the same bytes. Time in it is the
//! retailer's own, from 2013-01-01 on. No clock, no float and no hash map has a part in it; what is
//! random comes from [`rng`]. This crate must never read its own output as anything but positions.

mod accounts;
mod billing;
pub mod block;
pub mod calendar;
pub mod database;
pub mod discard;
pub mod emit;
pub mod error;
pub mod field;
pub mod generator;
pub mod items;
mod lifecycle;
pub mod oracle;
pub mod pace;
pub mod record;
pub mod reference;
pub mod resume;
pub mod rng;
pub mod row;
pub mod schema;
mod script;
mod sender;
pub mod settings;
mod subjects;
pub mod tables;
mod upkeep;
pub mod wire;
pub mod world;

#[cfg(test)]
mod tests;

pub use discard::{Discarded, discard};
pub use emit::Simulator;
pub use error::Error;
pub use oracle::Summary;
pub use settings::{BadSetting, Pattern, SchemaChange, Settings, Share};
