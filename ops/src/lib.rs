//! What a person does with a project, as functions: they return typed values and print nothing.
//!
//! | module | does |
//! | --- | --- |
//! | [`wiring`] | loads a project and opens what its target names |
//! | [`learn`] | finds columns that contracts leave out |
//! | [`select`] | which tables and stages a selection means |
//! | [`sources`], [`simulate`] | runs the sources: the one place that knows which connectors there are |
//! | [`stages`] | runs a stage |
//! | `sinks` | what follows the gold tables |
//! | [`plan`], [`apply`] | what is missing, and makes it |
//! | [`status`] | where every table stands |
//! | [`drain`] | waits until everything published has reached the end |
//! | [`query`] | SQL over the lake |
//! | [`maintain`] | upkeep of tables, now |
//! | [`loss`] | goes on without what a topic has lost |
//! | [`doctor`] | tries every service of the target |
//! | [`verify`] | proves from the data alone that nothing was lost, doubled or falsified |
//! | [`rules`] | Prometheus rules of a project |
//! | [`mask`] | takes secrets out of texts |
//!
//! The command line calls these and nothing else, and so does whatever else serves people.

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
pub use select::Stage;
pub use wiring::{Location, Sound, Wiring};
