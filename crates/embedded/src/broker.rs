//! The embedded Kafka broker: accepts connections and answers them from the store.
//!
//! It never writes to the log of the host process, because tansu reports every broken connection as an error.
//! Stopping closes the connections. An answer in flight is lost with its connection, as with any broker that
//! stops, and the client asks again.

use std::time::Duration;

use rama::{Context, Layer as _, Service as _};
use tansu_broker::Error as TansuError;
use tansu_service::{BytesFrameLayer, FrameRouteService, TcpBytesLayer, TcpContext, TcpContextLayer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::Error;
use super::routes::routes;
use super::store::{CLUSTER, Store};

/// Pause between two rounds of [`Store::maintain`]. A power cut may lose about as much.
const MAINTENANCE: Duration = Duration::from_secs(2);

/// A running broker.
pub(super) struct Broker {
    stop: CancellationToken,
    task: JoinHandle<()>,
    maintenance: JoinHandle<()>,
}

impl Broker {
    /// Starts to answer the connections of `listener` from `store`.
    pub(super) fn start(listener: TcpListener, store: Store) -> Result<Self, Error> {
        let routes = routes(&store).map_err(|error| Error::Routes { reason: format!("{error:?}") })?;
        let stop = CancellationToken::new();
        let maintenance = runtime::tasks::spawn("embedded broker maintenance", maintain(store, stop.clone()));
        let task = runtime::tasks::spawn("embedded broker", serve(listener, routes, stop.clone()));
        Ok(Self { stop, task, maintenance })
    }

    /// Closes all connections, and returns once they are closed and everything is on disk.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // A panic of a task was reported where it happened; nothing is left to stop.
        let _ = self.task.await;
        let _ = self.maintenance.await;
    }
}

async fn serve(listener: TcpListener, routes: FrameRouteService<(), TansuError>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(&mut connections, stream, routes.clone()),
                // Out of file descriptors: connected clients go on and will free some.
                Err(error) => {
                    tracing::warn!(%error, "the embedded broker cannot accept a connection");
                    runtime::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

/// Maintains the store periodically. At the end it only syncs.
async fn maintain(store: Store, stop: CancellationToken) {
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = runtime::time::sleep(MAINTENANCE) => false,
        };
        let store = store.clone();
        let work = move || if stopping { store.sync() } else { store.maintain() };
        if let Err(error) = runtime::cpu::run(work).await {
            tracing::warn!(%error, "maintenance of the embedded broker failed");
        }
        if stopping {
            return;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a connection is owned and joined by the set")]
fn connect(connections: &mut JoinSet<()>, stream: TcpStream, routes: FrameRouteService<(), TansuError>) {
    // Without it, small answers wait for the client's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = (
        TcpContextLayer::new(TcpContext::default().cluster_id(Some(CLUSTER.to_owned()))),
        TcpBytesLayer::default(),
        BytesFrameLayer::default().with_sasl_config(None),
    )
        .into_layer(routes);
    let connection = async move {
        // It returns an error whenever a client disconnects.
        let _ = service.serve(Context::default(), stream).await;
    };
    connections.spawn(connection.with_subscriber(NoSubscriber::default()));
}
