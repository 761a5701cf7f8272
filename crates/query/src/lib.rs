//! SQL of a project: parses, plans, judges and runs it on DataFusion.
//!
//! Words: a text is *parsed*, a parsed text is *planned* over declared inputs, a plan is *judged*
//! ([`plan::row_wise`], [`plan::function_of_pins`]) and *maintained* ([`affected`]).
//!
//! - [`session`]: creates all sessions, and defines the types a table can store;
//! - `engine`: our rules and functions that replace wrong ones of the engine;
//! - [`sql`]: one SELECT, its tables, its `changes()`, its clock;
//! - [`plan`]: from a text and declared inputs to a plan, and what a plan may not do;
//! - [`expectations`]: predicates over batches;
//! - [`projection`]: row-wise models compiled for batches of changes;
//! - [`affected`]: updates the result of a query when its inputs change;
//! - [`rehearsal`]: plans, optimises and runs a query over empty tables, before there are rows;
//! - [`select`]: ad-hoc queries with time travel.
//!
//! This crate knows no table format, no catalog and no stage, and reads no clock.

pub mod affected;
mod engine;
pub mod error;
pub mod expectations;
mod functions;
pub mod plan;
pub mod projection;
pub mod rehearsal;
pub mod select;
pub mod session;
pub mod sql;

#[cfg(test)]
mod differential;

pub use error::{Error, SqlFault};
pub use session::session;
