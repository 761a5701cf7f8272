//! Topics to bronze tables: everything that was on a topic, once, in order, good or bad.
//!
//! | module | subject |
//! | --- | --- |
//! | [`error`] | what stops a table |
//! | [`decode`] | payloads of one schema to columns of the table, by [`avro`] |
//! | [`conform`] | columns to the table's types, exactly or not at all |
//! | [`evolve`] | what a new version of a schema means for the table |
//! | [`json`] | values of JSON, by their own schema or the declared one |
//! | [`door`] | keys of the serialisers that Kafka's client has |
//! | [`batch`] | records of any schemas to rows |
//! | [`assemble`] | rows: coordinates, headers, error rows beside the decoded columns |
//! | [`decider`] | which records are new, when what waits becomes a commit |
//! | [`ledger`] | what a source of files sent twice |
//! | [`commit`] | lands rows and positions in one step |
//! | [`budget`] | how much waits in memory, and who waits at the broker |
//! | `lookup`, `patience` | schemas of the registry, and how long a partition waits for one |
//! | [`learn()`] | the columns of a topic whose contract names none |
//! | [`open`] | a topic's table, and whether the two belong together |
//! | [`mod@accept`] | going on after a loss |
//! | [`pipeline`] | the run: router, one task a table, drain |
//! | `router`, `inbox`, `stalls` | records to tables, without waiting for any; records that do not come |
//! | [`progress`] | how far each partition is |
//!
//! Words: a *record* is on a topic, a *row* in a table; a *payload* is a record's value or key as
//! bytes. A record that cannot be decoded becomes an *error row*. A *position* is the next offset of
//! a partition, kept in the table's own log; a *generation* is the time between two seeks.
//!
//! Never here: a position remembered anywhere but in the table; a record passed over in silence; a
//! decision by wall clock about what comes first.

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
pub use progress::Progress;
pub use shared::{Context, Input};
