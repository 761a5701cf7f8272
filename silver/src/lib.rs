//! Bronze to silver: clean and current tables, each a fold of one bronze table's events.
//!
//! | module | subject |
//! | --- | --- |
//! | [`error`] | errors, and how the loop reacts |
//! | [`changes`] | rows of a bronze table as the rows of `changes(…)` |
//! | [`judge`] | applies a model's SQL and expectations to those rows: from rows to events with a verdict |
//! | [`event`] | `Event`, `Truncate`, `Verdict`, `Outcome` |
//! | [`fold`] | **the** fold: applies a key's events in sequence order |
//! | [`pool`], [`keys`] | rows by reference, and folded rows composed from several; keys by number |
//! | [`decide`] | current rows + notes + new events → what to write, or which keys to fold again |
//! | [`snapshots`] | what a whole snapshot removes where offsets order |
//! | [`append`] | the decision for a table that keeps every event |
//! | [`table`], [`memory`] | columns of the table and its siblings; notes of deletes, truncates and key changes |
//! | [`commit`] | the order of commits, and the state after a crash between two of them |
//! | [`refold`] | reads a key's events again from bronze |
//! | [`pipeline`], [`run`](mod@run) | one table's loop; which tables the process runs |
//! | `measures` | the time that a table's measures use |
//! | [`rebuild`] | recomputes a table from bronze: for `verify` to compare and `apply` to cut over to |
//! **Words.** An *event* is one bronze row that concerns a key. Its *sequence* orders it; no clock does. Its
//! *verdict* is the result of WHERE and expectations, and depends on the row alone. Its *outcome* is how it
//! was treated. A value is *carried* when the source left it out as unchanged and it was taken from an
//! earlier event. A key is *folded again* when its current state is not enough.
//!
//! **Never:** use Kafka or another stage, order by a clock, or let a result depend on the order or batches in
//! which events came.

pub mod append;
pub mod changes;
pub mod commit;
pub mod decide;
pub mod error;
pub mod event;
pub mod fold;
pub mod judge;
pub mod keys;
mod measures;
pub mod memory;
pub mod pipeline;
pub mod pool;
pub mod rebuild;
pub mod refold;
pub mod run;
pub mod snapshots;
pub mod table;
#[cfg(test)]
mod tests;

pub use catalog::SilverSettings as Settings;
pub use error::{Error, Result};
pub use rebuild::{Recomputed, rebuild, recompute};
pub use run::{Context, followed, run, tables};
pub use stage::{Outcome, Outcomes};
pub use table::{Standing, create, standing};
