//! The Delta port: the only crate that names the Delta library.
//!
//! | module | subject |
//! | --- | --- |
//! | [`settings`] | where a lake is |
//! | [`lake`] | a lake: connect, list, open and create tables |
//! | [`table`] | one open snapshot of a table: schema, positions, time travel, rows |
//! | [`commit`] | the commit protocol: a compare-and-set of positions |
//! | `upsert` | replacing rows by key, with deletion vectors or by rewriting files |
//! | `finder` | where the rows of a set of keys are |
//! | [`changes`] | what each version added and removed |
//! | [`compact`], [`vacuum`], [`checkpoint`] | upkeep: small files, unneeded files, the log |
//! | [`maintain`](mod@maintain) | the upkeep that deletes, and who still needs what |
//! | [`defaults`] | what stands for a column in rows that were written before it |
//! | [`digest`] | hashes of rows that anyone can recompute |
//! | [`halts`] | which tables wait for a person, and why |
//! | `provider` | a snapshot as a DataFusion table |
//! | `store`, [`probe`] | the object store below, and the race that shows whether it can be trusted |
//! | `log`, `snapshot`, `positions`, `file` | the log, and what is true at one version of it |
//! | `schema`, `conform` | Arrow types and Delta types; rows of one schema as rows of another |
//! | [`stage`], `encode`, `stats` | rows to parquet files that no commit names yet |
//! | [`partition`] | values of partition columns: which a table cannot hold, and how the log writes the others |
//! | `read`, `vectors` | parquet files to rows, without those that a deletion vector hides |
//! | [`error`] | what can go wrong, and what to do next |
//!
//! **Words.** A *file* is a parquet file of rows. It is *staged* once it is in the store and *landed*
//! once a commit names it. A *vector* marks the rows of a file that are deleted. A *position* is the
//! version of a Delta `txn` action, and the only memory of how far a table has read an input.
//!
//! **Never here**: Kafka, SQL text, the catalogue, a retry that hides whether a commit landed.

pub mod changes;
pub mod checkpoint;
pub mod commit;
pub mod compact;
mod conform;
pub mod defaults;
pub mod digest;
mod encode;
pub mod error;
mod file;
mod finder;
pub mod halts;
pub mod lake;
mod log;
pub mod maintain;
pub mod partition;
mod positions;
pub mod probe;
mod provider;
mod read;
mod schema;
pub mod settings;
mod snapshot;
pub mod stage;
mod stats;
mod store;
pub mod table;
#[cfg(test)]
mod tests;
mod upsert;
pub mod vacuum;
mod vectors;

pub use changes::{Change, ChangedVersion};
pub use commit::{Commit, DESCRIPTION, Expect, Keys, Landing, Remove};
pub use compact::Compaction;
pub use defaults::{DEFAULTS, Defaults};
pub use error::{Error, Result};
pub use halts::Halt;
pub use lake::{Lake, TableSpec};
pub use log::LogEntry;
pub use maintain::{Elsewhere, Followers, Maintained, Upkeep, maintain};
pub use settings::LakeSettings;
pub use stage::StagedFile;
pub use table::{Table, Within};
pub use vacuum::{Vacuum, VacuumReport};
