//! Through the binary: what the README promises. With the embedded broker, registry and lake, or, when
//! the environment says so, the same tests on real services (`e2e/real`).
//!
//! | modules | run on |
//! | --- | --- |
//! | `bad_input`, `change`, `crash`, `happy`, `other_project`, `share` | both |
//! | `catch`, `services`, `upkeep` | embedded: they reach for its files, its disk, its process |
//! | `real` | real services: their faults, and readers from outside |
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
mod real;
mod services;
mod settings;
mod share;
mod traces;
mod stack;
mod upkeep;
