//! Parquet files: rows written to files that no commit names yet, and rows read from files without those that a
//! deletion vector hides.

pub(crate) mod conform;
pub mod digest;
mod encode;
pub mod partition;
pub(crate) mod read;
pub(crate) mod stage;
mod stats;
pub(crate) mod vectors;
