//! What all sources have in common: the trait they implement, and the one loop that runs them.
//!
//! | module | subject |
//! | --- | --- |
//! | [`connector`] | `Connector`, `Reader`, `Step`: what a source is to the loop |
//! | [`mod@run`] | the loop: opens a source, publishes what it reads, tries again, halts |
//! | [`publisher`] | a Kafka transaction: records, dead letters, and the cursor behind them |
//! | [`batch`] | records and dead letters that a source hands over |
//! | [`context`], [`error`] | what a source works with; what stops it |
//!
//! A connector decides what to read and in which order; this crate decides when it reaches a topic. So no
//! connector can write its cursor before the records that the cursor is about, keep a position anywhere else,
//! or go on with a producer whose last answer is unknown.
//!
//! The crate is apart from `stage`, which is about tables: a source knows no lake, and the arrows hold it to that.
//!
//! Never here: what any one source reads, or what its cursor says.

pub mod batch;
pub mod connector;
pub mod context;
pub mod error;
pub mod publisher;
pub mod run;

pub use batch::{DeadLetter, Outbox, Sent, SourceBatch};
pub use connector::{About, Connector, CursorRecord, OnStop, Opened, Reader, Step, Wait};
pub use context::Context;
pub use error::Error;
pub use publisher::{CursorRecords, Publisher};
pub use run::run;
