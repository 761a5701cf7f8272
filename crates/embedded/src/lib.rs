//! Broker and schema registry inside the process, for one machine, without installation.
//!
//! The first process of a project hosts both services; the other processes are its guests. Each holds a
//! [`Host`]. The host holds the lock of the project's folder. When it dies, a guest takes the lock, opens the
//! same files and listens on the same ports, so clients only have to reconnect. Records are in the files before
//! they are acknowledged ([`store`]), so acknowledged records survive the death of the host at any moment.
//!
//! A start takes the lock, opens the files, binds the ports, writes `broker.json`, and then answers, in this
//! order. A guest waits until both services answer. The guarantees are those of Kafka with one replica on one
//! disk: a power cut may lose the last seconds. Use a real cluster if that is not enough.

mod broker;
mod fetch;
mod lock;
mod ports;
mod registry;
mod routes;
mod store;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::Reaction;
use runtime::time::{Instant, sleep};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use broker::Broker;
use lock::{Addresses, Lock};
use store::Store;

/// How long a guest waits for the host's answer, and a host for its ports.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a first process waits for the remembered ports before it takes others.
const PORT_PATIENCE: Duration = Duration::from_secs(5);
/// How often a guest checks whether the host has died.
const WATCH: Duration = Duration::from_millis(100);
const LOCALHOST: &str = "127.0.0.1";

/// Whether this process runs the services or uses those of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Broker and registry run here.
    Host,
    /// Another process of the same project runs them.
    Guest,
}

/// Failures of the embedded services.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be used.
    #[error("cannot use `{path}`")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on `{address}`; remove `broker.json` to take another port")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Another process holds the lock and does not answer.
    #[error("the process that hosts the broker of `{dir}` does not answer; if it hangs, end it")]
    Silent {
        /// The project's data folder.
        dir: PathBuf,
    },
    /// The broker's routes cannot be built.
    #[error("the embedded broker cannot start: {reason}")]
    Routes {
        /// The library's message.
        reason: String,
    },
    /// The schemas on the broker's disk cannot be read.
    #[error("the embedded registry cannot read topic `_schemas`: {reason}")]
    Schemas {
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What a loop does after this error.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Silent { .. } => Reaction::Retry,
            Self::Folder { .. } | Self::Listen { .. } | Self::Routes { .. } | Self::Schemas { .. } => {
                Reaction::Halt
            }
        }
    }
}

/// This process's access to the embedded services.
pub struct Host {
    /// Address of the broker, `host:port`. It stays the same when another process takes over.
    pub bootstrap: String,
    /// URL of the registry.
    pub registry_url: String,
    hosting: Arc<AtomicBool>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Host {
    /// Hosts the services of the project with its data in `dir`, or connects to the process that hosts them.
    /// Returns once both services answer.
    pub async fn join(dir: &Path) -> Result<Self, Error> {
        let usable = std::fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
        let dir = usable.map_err(|source| Error::Folder { path: dir.to_owned(), source })?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Lock::take(&dir)? {
                let services = Services::first(&dir, lock).await?;
                return Ok(Self::new(dir, services.addresses.clone(), Some(services)));
            }
            if let Some(addresses) = Addresses::read(&dir)?
                && answers(&addresses).await
            {
                return Ok(Self::new(dir, addresses, None));
            }
            if Instant::now() > deadline {
                return Err(Error::Silent { dir });
            }
            sleep(WATCH).await;
        }
    }

    /// Whether this process hosts the services now. A guest becomes host when the host dies.
    pub fn role(&self) -> Role {
        if self.hosting.load(Ordering::Acquire) { Role::Host } else { Role::Guest }
    }

    /// Releases the services. A host closes them, and a guest, if there is one, takes over.
    pub async fn stop(mut self) {
        if self.hosting.load(Ordering::Acquire) {
            stream::hosts(false);
        }
        self.stop.cancel();
        // A panic of the task was reported where it happened; nothing is left to stop.
        let _ = (&mut self.task).await;
    }

    fn new(dir: PathBuf, addresses: Addresses, services: Option<Services>) -> Self {
        let hosting = Arc::new(AtomicBool::new(services.is_some()));
        stream::hosts(true);
        let stop = CancellationToken::new();
        let Addresses { bootstrap, registry } = addresses.clone();
        let task = keep(dir, addresses, services, Arc::clone(&hosting), stop.clone());
        let task = runtime::tasks::spawn("embedded services", task);
        Self { bootstrap, registry_url: registry, hosting, stop, task }
    }
}

/// Dropping does not wait until the ports are free; [`Host::stop`] does.
impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until the host dies, then hosts, until `stop`.
async fn keep(
    dir: PathBuf,
    addresses: Addresses,
    mut services: Option<Services>,
    hosting: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    while services.is_none() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(WATCH) => {}
        }
        let takeover = async {
            match Lock::take(&dir)? {
                Some(lock) => Services::at(&dir, lock, &addresses, PATIENCE).await.map(Some),
                None => Ok(None),
            }
        };
        services = tokio::select! {
            () = stop.cancelled() => return,
            taken = takeover => taken.unwrap_or_else(|error| {
                tracing::error!(%error, dir = %dir.display(), "cannot take over the embedded services");
                None
            }),
        };
        if services.is_some() {
            hosting.store(true, Ordering::Release);
            tracing::info!(bootstrap = addresses.bootstrap, "took over the embedded services");
        }
    }
    stop.cancelled().await;
    if let Some(services) = services {
        services.stop().await;
    }
}

/// A broker and a registry that run in this process.
struct Services {
    addresses: Addresses,
    broker: Broker,
    registry: registry::Server,
    /// Dropped last, so the next holder of the lock finds everything closed.
    _lock: Lock,
}

impl Services {
    /// Hosts at the remembered addresses if they are free, else at new ones.
    async fn first(dir: &Path, lock: Lock) -> Result<Self, Error> {
        if let Some(addresses) = Addresses::read(dir)? {
            match listen(&addresses, PORT_PATIENCE).await {
                Ok(listeners) => return Self::start(dir, lock, addresses, listeners).await,
                Err(error) => tracing::warn!(%error, "the ports used before are taken, using others"),
            }
        }
        let listeners = (ports::any(dir).await?, ports::any(dir).await?);
        let port = |listener: &TcpListener| {
            let address = listener.local_addr().map(|address| address.port());
            address.map_err(|source| Error::Listen { address: LOCALHOST.to_owned(), source })
        };
        let addresses = Addresses {
            bootstrap: format!("{LOCALHOST}:{}", port(&listeners.0)?),
            registry: format!("http://{LOCALHOST}:{}", port(&listeners.1)?),
        };
        addresses.write(dir)?;
        Self::start(dir, lock, addresses, listeners).await
    }

    /// Hosts at `addresses` and nowhere else.
    async fn at(dir: &Path, lock: Lock, addresses: &Addresses, patience: Duration) -> Result<Self, Error> {
        let listeners = listen(addresses, patience).await?;
        Self::start(dir, lock, addresses.clone(), listeners).await
    }

    async fn start(
        dir: &Path,
        lock: Lock,
        addresses: Addresses,
        (kafka, rest): (TcpListener, TcpListener),
    ) -> Result<Self, Error> {
        let folder = dir.join("broker");
        let port =
            kafka.local_addr().map_err(|source| Error::Listen { address: LOCALHOST.to_owned(), source })?;
        // Opening reads every file of the broker, so it must not block an async thread.
        let opened = runtime::cpu::run({
            let folder = folder.clone();
            move || Store::open(&folder, LOCALHOST, port.port())
        });
        let store = opened.await.map_err(|source| Error::Folder { path: folder, source })?;
        let registry = registry::Server::start(rest, &store)?;
        let broker = Broker::start(kafka, store)?;
        Ok(Self { addresses, broker, registry, _lock: lock })
    }

    async fn stop(self) {
        self.registry.stop().await;
        self.broker.stop().await;
    }
}

async fn listen(addresses: &Addresses, patience: Duration) -> Result<(TcpListener, TcpListener), Error> {
    let kafka = ports::this(&addresses.bootstrap, patience).await?;
    let rest = ports::this(host_and_port(&addresses.registry), patience).await?;
    Ok((kafka, rest))
}

/// Whether both services accept connections. A connection made while the host still opens its files waits in
/// the socket's queue.
async fn answers(addresses: &Addresses) -> bool {
    for address in [addresses.bootstrap.as_str(), host_and_port(&addresses.registry)] {
        if TcpStream::connect(address).await.is_err() {
            return false;
        }
    }
    true
}

fn host_and_port(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}
