//! Sources to topics: everything read is published once, and a source's progress is itself a record.
//!
//! | module | subject |
//! | --- | --- |
//! | [`error`] | what stops a source |
//! | [`files`] | CSV and JSON in a watched folder, each line once |
//! | [`postgres`] | a PostgreSQL database: its rows once, then every change |
//! | [`shape`] | rows of text or JSON to Avro of a topic's schema |
//!
//! Each folder is a connector: it implements [`source::Connector`], and [`source::run()`] runs it. A
//! connector also needs one arm of the `match` in `ops/src/sources.rs` and its `settings:` in `catalog`.
//!
//! Words: a *cursor* is how far a source was read; it is a record on the project's cursors topic, in the same
//! Kafka transaction as what was read. A *bad line* cannot become a record of its topic: it goes to a
//! dead-letter topic with the reason, and the source goes on.
//!
//! Never here: another producer of records; a cursor anywhere but on that topic; a line dropped in silence.

pub mod error;
pub mod files;
pub mod postgres;
pub mod shape;

pub use catalog::IngestSettings as Settings;
pub use error::Error;
pub use files::Files;
pub use postgres::Postgres;
