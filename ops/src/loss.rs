//! Goes on without what a topic has lost, and records that a person said so.

pub use bronze::Accepted;
use model::TopicName;

use crate::wiring::Wiring;
use crate::{Error, Result};

/// Accepts what is lost of the topic. `None`: nothing is.
pub async fn accept(wiring: &Wiring, name: &TopicName) -> Result<Option<Accepted>> {
    let Some(topic) = wiring.project.catalog.topics.get(name) else {
        return Err(Error::Usage(format!(
            "topic `{name}` is not declared; `lakepulse status` lists what is"
        )));
    };
    let (lake, kafka, project) = (&wiring.lake, &wiring.kafka, &wiring.project);
    let accepted = bronze::accept(lake, kafka, project, topic, wiring.ids.ulid()).await;
    accepted.map_err(|error| Error::of(error.reaction(), error))
}
