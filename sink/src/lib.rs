//! Publishes gold tables to other systems: writes the changes of each version, together with the table's
//! progress, in one step.
//!
//! | module | subject |
//! | --- | --- |
//! | `seam` | what a system must offer for tables to be published there |
//! | `publisher` | decides what is published next, and publishes it version by version |
//! | `net` | a version's difference as one change per key |
//! | `progress` | how far a table is published |
//! | `follow` | the loop that publishes new versions as they land |
//! | `error` | errors that stop a publisher, and how the loop reacts |
//! | [`kafka`] | the first sink: one topic per table |
//!
//! **A new sink** is a folder beside `kafka`: a [`Sink`] and its [`Writer`], a [`stage::Follower`] that runs
//! [`follow`](follow()) for the tables it is declared for, and a line in `ops/src/sinks.rs`. Its tests run
//! the contract in `tests/contract.rs`.
//!
//! **Words.** A *destination* is where one sink writes one table. A *publisher* brings one table to one
//! destination. A *change* is the new state of one key in a version: another row, or none.
//!
//! **Never:** use a stage, let the publisher or the loop know a sink's system, keep a position outside the
//! destination.

mod error;
mod follow;
pub mod kafka;
mod net;
mod progress;
mod publisher;
mod seam;
#[cfg(test)]
mod tests;

pub use error::{Error, Result, SystemError};
pub use follow::{Follow, follow};
pub use progress::Progress;
pub use publisher::{Next, Published, Publisher, next};
pub use seam::{Changes, Destination, KeyChange, Keys, Sink, Writer};
