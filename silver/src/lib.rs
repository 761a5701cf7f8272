//! Bronze to silver: clean and current tables, each a fold of one bronze table's events.
//!
//! | module | subject |
//! | --- | --- |
//! | [`settings`], [`error`] | what an operator may change; what can go wrong |
//! | [`changes`] | rows of a bronze table as the rows of `changes(…)` |
//! | [`judge`] | a model's SQL and expectations on those rows: from rows to events with a verdict |
//! | [`event`] | `Event`, `Truncate`, `Verdict`, `Outcome` |
//! | [`fold`] | **the** fold: what a key's events, in sequence order, make of it |
//! | [`pool`], [`keys`] | rows by reference, and how a folded row is put together from several; keys by number |
//! | [`decide`] | rows at hand + what is remembered + new events → what to write, or which keys to fold again |
//! | [`snapshots`] | what a whole snapshot removes where offsets order |
//! | [`append`] | the same for a table that keeps every event |
//! | [`table`], [`memory`] | columns of the table and of its siblings; deletes, truncates and key changes remembered |
//! | [`commit`] | the order of commits, and what a crash between two of them leaves |
//! | [`refold`] | a key's events, read again from bronze |
//! | [`pipeline`], [`run`](mod@run) | one table's loop; who owns which table |
//! | `measures` | the time that measures of a table see |
//! | [`rebuild`] | a table recomputed from bronze: what `verify` compares with and `apply` cuts over to |
//!
//! **Words.** An *event* is one bronze row that says something of a key. Its *sequence* orders it; no
//! clock does. Its *verdict* is what WHERE and expectations say, a function of the row alone. Its
//! *outcome* is what became of it. A value is *carried* when the source said "unchanged" and it was
//! taken from an earlier event. A key is *folded again* when the row at hand does not tell enough.
//!
//! **Never here:** Kafka, another stage, a clock in any ordering, a result that depends on the order or
//! the batches in which events came.

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
