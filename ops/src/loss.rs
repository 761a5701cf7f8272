//! Accepts the records that a topic has lost, on a person's request, and records that request.

pub use bronze::Accepted;
use model::TopicName;
use runtime::Failure as _;

use crate::wiring::Wiring;
use crate::{Error, Result};

/// Accepts the losses of the topic. `None`: there are none.
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
