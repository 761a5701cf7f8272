//! Topics: a compacted one a gold table, keyed records, tombstones for deletes.
//!
//! | module | subject |
//! | --- | --- |
//! | `topics` | which tables are published on topics, and the task of each |
//! | `writer` | the sink: records of a version, in a Kafka transaction |
//! | `producer` | the one producer of a table: transactions, and progress in them |
//! | `progress` | progress as a record of the project's progress topic |
//! | `encode` | rows to Avro, in Confluent framing |
//! | `prepare` | the topic exists, its schemas are registered |
//! | `claim` | a topic that held something else becomes a table's |
//!
//! **Stored, and never changed:** the transactional id, the headers `lp.table_id`, `lp.version` and `lp.last`, keys
//! and values (the key's bytes are positions), the progress record.
//!
//! A broker fences by transactional id: opening a producer ends what an earlier one left open, and shuts it out. Where
//! a broker shows records of transactions that were never committed, progress is still right, because it is sent
//! once everything before it was acknowledged.

mod claim;
mod encode;
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
