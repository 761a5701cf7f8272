//! Asks the registry for schemas, beside everything else, until there is an answer that counts.
//!
//! A registry that cannot be reached, or is busy, says nothing: it is asked again for as long as it
//! takes. That a schema does not exist counts once it was said for a while, as the replica asked may
//! be behind. Meanwhile only the partition that needs the schema waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use model::ClockMs;
use runtime::Clock;
use stream::{Registry, registry};

/// Whose schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Value,
    Key,
}

/// What the registry knows of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Schema(Arc<str>),
    /// It has said so for long enough.
    Nothing,
}

struct Answer {
    part: Part,
    id: u32,
    /// Since when the registry says that there is nothing.
    missing: Option<ClockMs>,
    result: Result<Arc<str>, registry::Error>,
}

/// Questions that are under way.
pub(crate) struct Lookups {
    registry: Registry,
    clock: Arc<dyn Clock>,
    patience: Duration,
    asked: HashSet<(Part, u32)>,
    running: FuturesUnordered<BoxFuture<'static, Answer>>,
}

/// Between two questions about the same schema.
const PAUSE: Duration = Duration::from_millis(500);

impl Lookups {
    pub fn new(registry: Registry, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self { registry, clock, patience, asked: HashSet::new(), running: FuturesUnordered::new() }
    }
    /// Asks for a schema, unless that was done.
    pub fn ask(&mut self, part: Part, id: u32) {
        if self.asked.insert((part, id)) {
            self.start(part, id, None, Duration::ZERO);
        }
    }
    fn start(&self, part: Part, id: u32, missing: Option<ClockMs>, after: Duration) {
        let registry = self.registry.clone();
        self.running.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            Answer { part, id, missing, result: registry.schema(id).await }
        }));
    }
    /// The next schema that is known, or known not to exist. Waits for ever when none was asked for.
    /// Cancel safe.
    pub async fn next(&mut self) -> (Part, u32, Found) {
        loop {
            let Some(Answer { part, id, missing, result }) = self.running.next().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let found = match result {
                Ok(schema) => Found::Schema(schema),
                Err(registry::Error::UnknownSchema { .. }) => {
                    let now = self.clock.now();
                    let since = missing.unwrap_or(now);
                    let waited = now.0.saturating_sub(since.0);
                    if u128::try_from(waited).unwrap_or(0) < self.patience.as_millis() {
                        self.start(part, id, Some(since), PAUSE);
                        continue;
                    }
                    Found::Nothing
                }
                Err(error) => {
                    tracing::warn!(
                        schema_id = id,
                        error = &error as &dyn std::error::Error,
                        "registry did not answer, will be asked again"
                    );
                    self.start(part, id, missing, PAUSE * 2);
                    continue;
                }
            };
            self.asked.remove(&(part, id));
            return (part, id, found);
        }
    }
}
