//! Kafka topics as sinks: a compacted topic per gold table, with keyed records and tombstones for deletes.
//!
//! | module | subject |
//! | --- | --- |
//! | `topics` | which tables are published on topics, and the task of each |
//! | `writer` | the sink: records of a version, in a Kafka transaction |
//! | `producer` | the single producer of a table: transactions, with the progress in them |
//! | `progress` | progress as a record of the project's progress topic |
//! | `encode` | rows to Avro with the registry's frame |
//! | `prepare` | creates the topic and registers its schemas |
//! | `error` | errors of Kafka and the registry, as the loop needs them |
//! | `claim` | gives a topic with other contents to a table |
//!
//! **Stored, so it must never change:** the transactional id, the headers `lp.table_id`, `lp.version` and
//! `lp.last`, keys and values (the key's bytes are positions), the progress record.
//!
//! A broker fences by transactional id: opening a producer aborts the open transaction of an earlier one and
//! shuts it out. If a broker shows records of transactions that were never committed, progress is still
//! right, because it is sent only after everything before it was acknowledged.

mod claim;
mod encode;
mod error;
mod prepare;
mod producer;
mod progress;
#[cfg(test)]
mod tests;
mod topics;
mod writer;

pub use claim::claim;
pub use progress::{all_progress, progress};
pub use topics::Topics;
