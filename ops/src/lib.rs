//! What a person does with a project, as functions that return typed values and print nothing.
//!
//! | module | does |
//! | --- | --- |
//! | [`wiring`] | loads a project and connects to what its target names |
//! | [`learn`] | finds columns that contracts leave out |
//! | [`select`] | finds the tables and stages of a selection |
//! | [`sources`], [`simulate`] | runs the sources; knows every kind of connector |
//! | [`stages`] | runs a stage |
//! | `sinks` | lists what follows the gold tables |
//! | [`plan`], [`apply`] | finds what is missing, and creates it |
//! | [`status`] | shows the state of every table |
//! | [`drain`] | waits until everything published has reached the end |
//! | [`query`] | runs SQL over the lake |
//! | [`maintain`] | runs the upkeep of tables now |
//! | [`loss`] | accepts the records that a topic has lost |
//! | [`doctor`] | checks every service of the target |
//! | [`verify`] | proves from the data alone that nothing was lost, doubled or falsified |
//! | [`rules`] | writes Prometheus rules of a project |
//! | [`mask`] | removes secrets from texts |
//!
//! User interfaces such as the command line call these functions and nothing below them.

pub mod apply;
pub mod doctor;
pub mod drain;
mod error;
mod host;
pub mod learn;
pub mod loss;
pub mod maintain;
pub mod mask;
pub mod plan;
pub mod query;
pub mod reach;
pub mod rules;
pub mod select;
pub mod simulate;
#[cfg(test)]
mod simulated;
mod sinks;
pub mod sources;
pub mod stages;
pub mod status;
pub mod verify;
pub mod wiring;

pub use error::{Error, Result};
pub use host::Host;
pub use select::StageKind;
pub use wiring::{Location, Sound, Wiring};
