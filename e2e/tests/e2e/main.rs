//! Through the binary: what the README promises. With the embedded broker, registry and lake, or, when
//! the environment says so, the same tests on real services (`e2e/real`).
//!
//! | modules | run on |
//! | --- | --- |
//! | `bad_input`, `change`, `crash`, `happy`, `other_project`, `share` | both |
//! | `catch`, `files`, `services`, `told`, `upkeep` | embedded: they reach for its files, its disk, its process |
//! | `debezium`, `doctor`, `observe`, `settings`, `traces` | embedded: not tried on others yet |
//! | `compose`, `postgres` | what they start themselves |
//! | `secure` | a stack with TLS and passwords (`e2e/secure`) |
//! | `interop` | servers of its own, Trino among them; Spark and Python (`cargo xtask interop`) |
//! | `contract`, `real` | real services: what the tests' model of a cluster has in common with them; their faults, and readers from outside |
//!
//! The simulator's summary is the oracle: what the tables must hold in the end is computed by the
//! source, never by the code under test.

#![allow(clippy::disallowed_methods, reason = "real services take real time")]

mod bad_input;
mod catch;
mod change;
mod compose;
mod contract;
mod crash;
mod database;
mod debezium;
mod doctor;
mod files;
mod happy;
mod harness;
mod interop;
mod observe;
mod other_project;
mod postgres;
mod real;
mod secure;
mod services;
mod settings;
mod share;
mod stack;
mod told;
mod traces;
mod upkeep;
