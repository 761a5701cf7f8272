//! Decides how a batch of events changes a table that keeps rows by key. No I/O.
//!
//! Each step is a type, and only that type leads to the next one:
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
//! [`Lookup::fold`] folds each key from the table's row. If the fold reports that this is not enough, the
//! key, and every key that it takes values from or passes them to, is folded again from all of its events,
//! which the caller reads from bronze. That result replaces the table's rows. Either way the table ends as
//! the fold of all events, whatever their order and batches.

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

/// The rows of the table and the notes that a step needs.
#[derive(Debug)]
pub enum Wanted {
    /// None.
    Nothing,
    /// Those with these keys.
    Keys(RecordBatch),
    /// All, because the batch truncates.
    Everything,
}
