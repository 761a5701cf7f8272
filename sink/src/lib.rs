//! Gold tables to other systems: what a version of a table changes is written there, and with it, in the
//! same step, how far the table is.
//!
//! | module | subject |
//! | --- | --- |
//! | `seam` | what a system offers so that tables can be published there |
//! | `publisher` | decides what is published next, and publishes it version by version |
//! | `net` | what a version did to its rows, as one change a key |
//! | `progress` | how far a table is published |
//! | `follow` | the loop that publishes new versions as they land |
//! | `error` | what stops a publisher, and what to do about it |
//! | [`kafka`] | the first sink: a topic a table |
//!
//! **A new sink** is a folder beside `kafka`: a [`Sink`] and its [`Writer`], a [`stage::Follower`] that runs
//! [`follow`](follow()) for the tables it is declared for, and a line in `ops/src/sinks.rs`. Its tests run the
//! contract in `tests/contract.rs`.
//!
//! **Words.** A *destination* is where one sink writes one table. A *publisher* brings one table to one
//! destination. A *change* is what a version made of one key: it has another row, or none.
//!
//! **Never here:** a stage, another sink's system in the publisher or the loop, a position that is
//! remembered outside the destination.

mod error;
mod follow;
pub mod kafka;
mod net;
mod progress;
mod publisher;
mod seam;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use follow::{Follow, follow};
pub use progress::Progress;
pub use publisher::{Next, Published, Publisher, next};
pub use seam::{Change, Changes, Destination, Keys, Sink, Writer};
