//! The sinks of a project, which follow its gold tables.

use std::sync::Arc;

use sink::kafka::Topics;
use stage::{Follower, Followers};

use crate::wiring::Wiring;

/// All followers of the project's gold tables.
pub(crate) fn of(wiring: &Wiring) -> Followers {
    let topics: Arc<dyn Follower> = Arc::new(Topics {
        project: wiring.project.clone(),
        lake: wiring.lake.clone(),
        kafka: wiring.kafka.clone(),
        registry: wiring.registry.clone(),
        clock: wiring.clock.clone(),
        meters: wiring.meters.clone(),
        create: wiring.creates(),
    });
    Followers::of([topics])
}
