//! A seeded source database, Wide World Importers, and the change log that it writes to Kafka.
//!
//! | module | words |
//! | --- | --- |
//! | [`settings`] | `Settings`, `Pattern`, `Share`, `SchemaChange` |
//! | [`tables`], [`row`], [`field`] | tables, their columns, and the types of columns |
//! | [`schema`] | the Avro schemas of the tables |
//! | [`reference`], [`items`] | places, categories, products: the initial content of the database |
//! | [`world`], `lifecycle`, `billing`, `accounts`, `upkeep` | the retailer, and a day of its business |
//! | [`record`] | changes as Debezium would write them |
//! | [`oracle`] | what the tables must contain in the end, and the SQL that recomputes it |
//! | [`block`] | records in the order of the log: late events, duplicates, poison |
//! | [`generator`], [`discard`] | the log as a stream of blocks; the same without a destination |
//! | [`pace`] | when events are sent |
//! | `script`, [`database`] | the same changes as SQL, for a PostgreSQL |
//! | [`resume`], [`emit`], `sender`, `subjects` | what each partition has; a source that sends the rest |
//!
//! The log is a pure function of its settings: the same seed gives the same bytes. Its time is the retailer's
//! own, from 2013-01-01 on. It depends on no clock, no float and no hash map; random numbers come from
//! [`rng`]. This crate must never read anything but positions from its own output.

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
