//! Reads topics into bronze tables: every record once, in order, good or bad.
//!
//! | module | subject |
//! | --- | --- |
//! | [`error`] | errors that stop a table |
//! | [`decode`] | payloads of one schema to columns of the table, with [`avro`] |
//! | [`conform`] | columns to the table's types, exactly or not at all |
//! | [`evolve`] | how a new version of a schema changes the table |
//! | [`json`] | JSON values, read by their own schema or the declared one |
//! | [`door`] | encodings of keys by the serialisers of Kafka's client |
//! | [`absent`] | defaults of columns for rows whose writers did not know them |
//! | [`batch`] | records of any schemas to rows |
//! | [`assemble`] | rows: coordinates, headers and error rows beside the decoded columns |
//! | [`decider`] | which records are new, and when waiting rows are committed |
//! | [`ledger`] | records that a file source sent twice |
//! | [`commit`] | lands rows and positions in one step |
//! | [`budget`] | limits the bytes in memory, and which partitions are read |
//! | `lookup`, `patience` | schemas from the registry, and how long a partition waits for one |
//! | [`learn()`] | the columns of a topic whose contract declares none |
//! | [`open`] | opens a topic's table and checks that the two belong together |
//! | [`mod@accept`] | accepts a loss |
//! | [`pipeline`] | the run: the router and a task for each table |
//! | `router`, `inbox`, `stalls` | records to tables, without waiting for any; records that do not come |
//! | [`progress`] | how far each partition is |
//!
//! Words: a *record* is on a topic, a *row* in a table; a *payload* is a record's value or key as bytes. A
//! record that cannot be decoded becomes an *error row*. A *position* is the next offset of a partition, kept
//! in the table's log; a *generation* is the time between two seeks of a partition.
//!
//! Never: keep a position anywhere but in the table; skip a record silently; order records by a clock.

pub mod absent;
mod accept;
pub mod assemble;
pub mod batch;
pub mod budget;
pub mod commit;
pub mod conform;
pub mod decider;
pub mod decode;
pub mod door;
#[cfg(test)]
mod drain;
pub mod error;
pub mod evolve;
mod inbox;
pub mod json;
mod learn;
pub mod ledger;
mod lookup;
pub mod open;
mod patience;
pub mod pipeline;
pub mod progress;
mod router;
mod said;
mod shared;
mod stalls;
mod start;
mod table;
#[cfg(test)]
mod testing;

pub use accept::{Accepted, accept};
pub use catalog::BronzeSettings as Settings;
pub use error::{Error, Loss};
pub use learn::learn;
pub use open::create_table;
pub use pipeline::run;
pub use progress::PartitionProgress;
pub use shared::{Context, Input};
