//! What the three stages have in common.
//!
//! - [`Context`]: what every stage runs with;
//! - [`tables`]: runs the tables that this process owns, and reports at once which of them broke off;
//! - [`owners`]: which tables those are;
//! - [`announce`]: wakes whoever reads a table when it has a new version;
//! - [`commit`]: one commit, given again until its outcome is known;
//! - [`info`]: what a commit says of itself;
//! - [`measures`]: numbers about a table after a commit;
//! - [`halts`]: what is noted of a table that waits for a person.

pub mod announce;
pub mod commit;
mod context;
pub mod halts;
pub mod info;
pub mod measures;
pub mod owners;
pub mod tables;

pub use announce::Announce;
pub use commit::{commit, staged};
pub use context::Context;
pub use info::{CommitInfo, Outcome, Outcomes};
pub use owners::{Alone, Ownership};
pub use tables::{Control, Halted, Stage, Task, run};
