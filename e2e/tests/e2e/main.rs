//! Through the binary, with the embedded broker, registry and lake: what the README promises.
//!
//! The simulator's summary is the oracle: what the tables must hold in the end is computed by the
//! source, never by the code under test.

mod bad_input;
mod catch;
mod change;
mod compose;
mod crash;
mod doctor;
mod files;
mod debezium;
mod happy;
mod harness;
mod observe;
mod other_project;
mod secure;
mod database;
mod happy;
mod harness;
mod other_project;
mod postgres;
mod services;
mod settings;
mod share;
mod traces;
mod upkeep;
