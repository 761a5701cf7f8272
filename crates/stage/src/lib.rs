//! The parts that bronze, silver and gold share.
//!
//! - [`Context`]: what every stage runs with;
//! - `tables`: runs the tables that this process owns, and reports at once when a task of one breaks off;
//! - `owners`: the tables that this process owns;
//! - `announce`: wakes the readers of a table when it has a new version;
//! - `commit`: one commit, repeated until its outcome is known;
//! - [`info`]: the metadata of a commit;
//! - [`measures`]: numbers about a table after a commit;
//! - [`halts`]: notes in the lake about tables that wait for a person.

mod announce;
mod commit;
mod context;
pub mod halts;
pub mod info;
pub mod measures;
mod owners;
mod tables;

pub use announce::Announce;
pub use commit::{commit, staged};
pub use context::Context;
pub use info::{CommitInfo, Outcome, Outcomes};
pub use owners::{Alone, Ownership};
pub use tables::{Control, Halted, Stage, Task, panic_message, run};
