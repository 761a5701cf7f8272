//! The Delta port: the only crate that names the Delta library.
//!
//! Five rooms. Each may use only the rooms above it in this list:
//!
//! | room | in it |
//! | --- | --- |
//! | `store` | where a lake is ([`LakeSettings`]), the object store below it, and the meaning of the store's answers |
//! | `log` | a table's log: entries, the state at one version, Delta's types, [`defaults`], checkpoints |
//! | `files` | rows to parquet files and back: staging, statistics, [`partition`] values, deletion vectors, [`digest`]s |
//! | `table` | a [`Lake`] and its tables: the commit protocol ([`Commit`]), replacing rows by key, the [`Change`]s of versions, a table for DataFusion, [`Halt`]s, and the race that tests a store ([`probe`]) |
//! | `upkeep` | merges small files ([`Compaction`]), deletes files and entries that nothing needs ([`Vacuum`], [`maintain`](mod@maintain)) |
//!
//! `error` has the failures, and the reaction to each.
//!
//! **Words.** A *file* is a parquet file of rows. It is *staged* once it is in the store, and it has *landed*
//! once a commit refers to it. A *vector* marks the deleted rows of a file. A *position* is the version of a
//! Delta `txn` action, the only record of how far a table has read an input.
//!
//! **Never here**: Kafka, SQL text, the catalogue, a retry that hides whether a commit landed.

mod error;
mod files;
mod log;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

pub use files::{digest, partition};
pub use log::defaults;
pub use table::probe;
pub use upkeep::maintain;

pub use defaults::{DEFAULTS, Defaults};
pub use error::{BoxError, Error, Result};
pub use files::stage::StagedFile;
pub use log::LogEntry;
pub use maintain::{Elsewhere, Followers, Maintained, Upkeep, maintain};
pub use store::settings::LakeSettings;
pub use table::changes::{Change, ChangedVersion, KeptLog};
pub use table::commit::{Commit, DESCRIPTION, Expect, Keys, Landing, Remove};
pub use table::halts::Halt;
pub use table::lake::{Lake, TableSpec};
pub use table::{Table, Within};
pub use upkeep::compact::Compaction;
pub use upkeep::vacuum::{Vacuum, VacuumReport};
