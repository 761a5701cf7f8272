//! What every source works with.

use std::sync::Arc;

use model::ProjectName;
use runtime::{Clock, Meters};
use stream::{Kafka, Registry};

/// What a source works with. Its own settings are the connector's.
#[derive(Clone)]
pub struct Context {
    /// The project: part of transactional ids and of the cursors topic's name.
    pub project: ProjectName,
    /// Where the topics are.
    pub kafka: Kafka,
    /// Where the schemas of the topics are registered.
    pub registry: Registry,
    /// Metrics and traces.
    pub meters: Meters,
    /// Says when something was read.
    pub clock: Arc<dyn Clock>,
    /// End once everything is published that the source held when it was opened.
    pub once: bool,
}
