//! Tests of the stage against an independent model, against PostgreSQL, and on a lake.

mod debezium;
mod oracle;
mod order;
mod postgres;
mod sequenced;
mod shelf;
mod stage;
pub mod support;
mod timed;
mod torn;
