//! Decides what a batch of events does to a table that keeps rows by key. No I/O.
//!
//! Each step is a type, and the next one comes from it alone:
//!
//! ```text
//! Collected ── take bronze rows
//!     │ close
//! Lookup ───── says which rows of the table it wants
//!     │ fold them
//! Settled ──── Decided: the decision
//!     │ NeedsHistory
//! Refold ───── says which rows of the table it wants besides
//!     │ hold them
//! Recall ───── take every bronze row up to the end of the batch
//!     │ decide
//! Decision
//! ```
//!
//! [`Lookup::fold`] folds each key from the row at hand. Where the fold says that this is not
//! enough, the key, and every key whose values it passes on or takes, is folded again from all of its
//! events, which the caller reads from bronze; the result replaces what the table holds. Either way the
//! table ends as the fold of all events, whatever their order and the batches they came in.

use arrow::array::RecordBatch;

mod collect;
mod current;
mod history;
mod links;
mod place;
mod refold;
pub mod result;
mod settle;

pub use collect::{Collected, Tally};
pub use history::{Folded, fold_all, replaced};
pub use refold::{Recall, Refold};
pub use result::Decision;
pub use settle::{Lookup, Settled};

/// Which rows of the table and of its notes a step needs.
#[derive(Debug)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Those of these keys.
    Keys(RecordBatch),
    /// All: the batch truncates.
    Everything,
}
