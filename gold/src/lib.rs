//! Silver to gold: business tables that equal their SQL.
//!
//! | module | subject |
//! | --- | --- |
//! | [`error`] | errors, and how the loop reacts |
//! | [`table`] | a model as a maintained query; its table |
//! | [`refresh`] | decides: pins, versions and the time → what to compute; what differs → what to commit |
//! | [`inputs`] | the versions of the inputs, and the changes between two of them |
//! | [`difference`] | current rows and expected rows → what to write |
//! | [`judge`] | expectations on the rows of a commit |
//! | `culprit` | which row a query fails for |
//! | [`commit`] | one commit with the pins, and the state after a crash around it |
//! | [`pipeline`], [`run`](mod@run) | one table's loop; which tables the process runs |
//! | [`upkeep`] | who still needs which versions of a table |
//! | [`rebuild`](mod@rebuild) | recomputes a table: for `verify` to compare and `apply` to cut over to |
//!
//! **Words.** A *pin* is the version of an input that a table's rows were computed from. `as_of` is the time
//! that `now()` meant. A *refresh* moves the pins. A *fill* is the first refresh of a table. The *difference*
//! is what a refresh writes.
//!
//! **The contract:** at every version, a gold table equals its SQL over the pinned versions at its `as_of`. A
//! refresh moves rows and pins in one commit, so a crash cannot break the contract.
//!
//! **Never:** use another stage, keep a position outside a table, know where a table is published, read a
//! clock in a plan.

pub mod commit;
mod culprit;
pub mod difference;
pub mod error;
pub mod inputs;
pub mod judge;
pub mod pipeline;
pub mod rebuild;
pub mod refresh;
pub mod run;
pub mod table;
#[cfg(test)]
mod tests;
pub mod upkeep;

pub use catalog::GoldSettings as Settings;
pub use error::{Error, Result};
pub use rebuild::{Rebuilt, rebuild, recompute};
pub use run::{Context, run, tables};
pub use table::{create, method};
pub use upkeep::followers;
