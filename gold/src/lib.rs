//! Silver to gold: business tables kept equal to their SQL.
//!
//! | module | subject |
//! | --- | --- |
//! | [`settings`], [`error`] | what an operator may change; what can go wrong |
//! | [`table`] | a model as a query that is kept; its table |
//! | [`refresh`] | decides: pins, versions and the time → what to compute; what differs → what to commit |
//! | [`inputs`] | the versions of the inputs, and the rows between two of them |
//! | [`difference`] | rows at hand and rows as they should be → what to write |
//! | [`judge`] | what is expected of the rows of a commit |
//! | `halt`, `culprit` | when a table is not tried any more, and which row it fails for |
//! | [`commit`] | one commit with the pins, and what a crash around it leaves |
//! | [`pipeline`], [`run`](mod@run) | one table's loop; who owns which table |
//! | [`upkeep`] | who still needs which versions of a table |
//! | [`rebuild`](mod@rebuild) | everything recomputed: what `verify` compares with and `apply` cuts over to |
//!
//! **Words.** A *pin* is the version of an input that a table's rows were computed from. `as_of` is
//! the time that `now()` meant. A *refresh* moves the pins. A *fill* is the first refresh of a table.
//! The *difference* is what a refresh writes.
//!
//! **The contract:** at every version, a gold table equals its SQL over the pinned versions at its
//! `as_of`. A refresh moves rows and pins in one commit, so it holds whatever stops in between.
//!
//! **Never here:** another stage, a position remembered outside a table, where a table goes from here, a plan
//! that reads a clock.

pub mod commit;
mod culprit;
pub mod difference;
pub mod error;
mod halt;
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
