//! Finds free ports, and takes ports back after a takeover.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use runtime::time::{Instant, sleep};
use tokio::net::TcpListener;
use xxhash_rust::xxh3::xxh3_64;

use super::Error;

/// Below the range from which the kernel gives ports to outgoing connections. Otherwise a client that keeps
/// reconnecting to a dead broker's port could be given that very port, and keep it.
const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;
const PAUSE: Duration = Duration::from_millis(50);

/// Listens on a free port. The search starts at a port derived from `dir`, so a project tends to keep its ports
/// even when its folder is new.
pub(super) async fn any(dir: &Path) -> Result<TcpListener, Error> {
    let start = xxh3_64(dir.as_os_str().as_encoded_bytes());
    let mut last = None;
    for step in 0..COUNT {
        let port = FIRST + (start.wrapping_add(step)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap_or(0)));
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into());
    Err(Error::Listen { address: "127.0.0.1".to_owned(), source })
}

/// Listens on `address`. Waits up to `patience` for the process that holds it.
pub(super) async fn this(address: &str, patience: Duration) -> Result<TcpListener, Error> {
    let deadline = Instant::now() + patience;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) if Instant::now() >= deadline => {
                return Err(Error::Listen { address: address.to_owned(), source });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
