//! Parquet files: writing rows to files that no commit refers to yet, and reading the rows that no deletion
//! vector hides.

pub(crate) mod conform;
pub mod digest;
mod encode;
pub mod partition;
pub(crate) mod read;
pub(crate) mod stage;
mod stats;
pub(crate) mod vectors;
