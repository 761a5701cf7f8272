//! The embedded schema registry: the part of Confluent's REST API that clients and common tools use.
//!
//! Its state is a fold of the compacted topic `_schemas` of the embedded broker, in Confluent's own layout. It
//! is folded again at every start. A change is checked, written to the topic, applied, and only then answered,
//! one at a time. So a registry that is killed at any point has everything it answered, and at most one change
//! that it did not answer.

mod api;
mod compat;
mod error;
mod schemas;
mod subjects;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::store::Store;
use schemas::SchemaTopic;
use subjects::Subjects;

/// How long open requests may take when the registry stops.
const GRACE: Duration = Duration::from_secs(1);

/// State that the request handlers share.
type Shared = Arc<Mutex<RegistryState>>;

/// The state and the topic that stores it.
struct RegistryState {
    subjects: Subjects,
    topic: SchemaTopic,
}

/// A running registry.
pub(super) struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Folds the topic, and starts to answer on `listener`.
    pub(super) fn start(listener: TcpListener, store: &Store) -> Result<Self, Error> {
        let topic = SchemaTopic::open(store)?;
        let mut subjects = Subjects::default();
        for (key, value) in topic.records()? {
            subjects.apply(&key, value.as_ref()).map_err(|reason| Error::Schemas { reason })?;
        }
        let shared = Arc::new(Mutex::new(RegistryState { subjects, topic }));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = runtime::tasks::spawn("embedded registry", async move {
            let served = axum::serve(listener, api::router(shared)).with_graceful_shutdown(stopped);
            if let Err(error) = served.await {
                tracing::error!(%error, "the embedded registry stopped");
            }
        });
        Ok(Self { stop, task })
    }

    /// Stops answering.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if runtime::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
