//! The stage against an independent model of it, against PostgreSQL, and on a lake.

mod debezium;
mod oracle;
mod order;
mod postgres;
mod sequenced;
mod shelf;
mod stage;
pub mod support;
mod torn;
