//! The parts that bronze, silver and gold share.
//!
//! - [`Context`]: what every stage runs with;
//! - `tables`: runs the tables that this process owns, and reports at once when a task of one breaks off;
//! - `owners`: the tables that this process owns;
//! - `announce`: wakes the readers of a table when it has a new version;
//! - `follower`: what runs beside the tables that this process owns, and takes their rows elsewhere;
//! - `commit`: one commit, repeated until its outcome is known;
//! - [`info`]: the metadata of a commit;
//! - [`measures`]: numbers about a table after a commit;
//! - [`halts`]: notes in the lake about tables that wait for a person;
//! - `columns`: rows in the columns that the reader expects.

mod announce;
mod columns;
mod commit;
mod context;
mod follower;
pub mod halts;
pub mod info;
pub mod measures;
mod owners;
mod tables;

pub use announce::Announce;
pub use columns::columns_of;
pub use commit::{commit, staged};
pub use context::Context;
pub use follower::{Follower, Followers, Wakers};
pub use info::{CommitInfo, Outcome, Outcomes};
pub use owners::{Alone, OwnersError, Ownership};
pub use tables::{Control, Halted, Stage, Task, panic_message, run};
