//! Asks the registry for schemas in the background.
//!
//! Only a few requests run at once and the others queue, so a topic full of unknown ids does not flood the
//! registry. [`crate::patience`] decides whether to ask again and how long to wait.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use stream::{Registry, registry};

/// Which part of a record a schema belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    Value,
    Key,
}

/// A schema that records name.
pub(crate) type Asked = (Part, u32);

/// The registry's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Schema(Arc<str>),
    /// This replica has no schema of this id.
    Missing,
    /// It has a schema that cannot be used, such as one with a missing reference.
    Unusable(String),
    /// No answer.
    Silence,
}

type Answer = (Asked, Result<Arc<str>, registry::RegistryError>);

/// Requests that run or wait.
pub(crate) struct Lookups {
    registry: Registry,
    asked: HashSet<Asked>,
    queue: VecDeque<Asked>,
    running: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// True if the last request had no answer, so that this is logged only once.
    is_silent: bool,
}

/// The most requests at once.
const AT_ONCE: usize = 16;
/// The registry's ids are Java's `int`.
const GREATEST: u32 = i32::MAX as u32;

impl Lookups {
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            asked: HashSet::new(),
            queue: VecDeque::new(),
            running: FuturesUnordered::new(),
            is_silent: false,
        }
    }
    /// Asks for a schema, unless that request runs or waits already.
    pub fn ask(&mut self, asked: Asked) {
        if self.asked.insert(asked) {
            self.queue.push_back(asked);
            self.start();
        }
    }
    fn start(&mut self) {
        while self.running.len() < AT_ONCE
            && let Some(asked) = self.queue.pop_front()
        {
            let registry = self.registry.clone();
            self.running.push(Box::pin(async move {
                let id = asked.1;
                let answer = match id {
                    0..=GREATEST => registry.schema(id).await,
                    _ => Err(registry::RegistryError::UnknownSchema { id }),
                };
                (asked, answer)
            }));
        }
    }
    /// The next answer. Waits for ever if nothing was asked. Cancel safe.
    pub async fn next(&mut self) -> (Asked, Found) {
        let Some((asked, answer)) = self.running.next().await else {
            return std::future::pending().await;
        };
        self.asked.remove(&asked);
        self.start();
        let found = match answer {
            Ok(schema) => Found::Schema(schema),
            Err(registry::RegistryError::UnknownSchema { .. } | registry::RegistryError::Refused { .. }) => {
                Found::Missing
            }
            Err(error @ registry::RegistryError::Answer { .. }) => Found::Unusable(error.to_string()),
            Err(error) => {
                if !std::mem::replace(&mut self.is_silent, true) {
                    tracing::warn!(
                        schema_id = asked.1,
                        error = &error as &dyn std::error::Error,
                        "registry did not answer, is asked again until it does; partitions whose records need the schema wait"
                    );
                }
                return (asked, Found::Silence);
            }
        };
        if std::mem::take(&mut self.is_silent) {
            tracing::info!("the registry answers again");
        }
        (asked, found)
    }
}
