//! What the three stages have in common.
//!
//! - [`Context`]: what every stage runs with;
//! - [`tables`]: runs the tables that this process owns, and reports at once which of them broke off;
//! - [`owners`]: which tables those are;
//! - [`announce`]: wakes whoever reads a table when it has a new version;
//! - [`follower`]: what runs beside the tables that this process owns, and takes their rows elsewhere;
//! - [`commit`]: one commit, given again until its outcome is known;
//! - [`info`]: what a commit says of itself;
//! - [`measures`]: numbers about a table after a commit;
//! - [`halts`]: what is noted of a table that waits for a person;
//! - [`columns`]: rows in the columns that somebody else expects.

pub mod announce;
pub mod columns;
pub mod commit;
mod context;
pub mod follower;
pub mod halts;
pub mod info;
pub mod measures;
pub mod owners;
pub mod tables;

pub use announce::Announce;
pub use columns::columns_of;
pub use commit::{commit, staged};
pub use context::Context;
pub use follower::{Failure, Follower, Followers, Landed};
pub use info::{CommitInfo, Outcome, Outcomes};
pub use owners::{Alone, OwnersError, Ownership};
pub use tables::{Control, Halted, Stage, Task, run};
