//! A faulty network between a client and a server that do not know of it.
//!
//! It forwards bytes as they arrive. A change of the [`Fault`] affects open and new connections. It can also
//! lose answers to HTTP requests: the request arrives completely and takes effect, and the connection breaks
//! before the client gets the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use runtime::tasks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The fault of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    #[default]
    None,
    /// Everything arrives this much later.
    Delay(Duration),
    /// Connections open and stay open, but no bytes arrive.
    Stall,
    /// All connections break, new ones too.
    Cut,
    /// Of the requests that begin with `begins`, one in `every` is answered by a broken connection.
    LoseAnswers {
        /// For example `PUT /`.
        begins: &'static str,
        /// 1 means all of them.
        every: usize,
    },
}

/// A proxy. Dropping it ends it and its connections.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Fault>,
    counts: Arc<Counts>,
    /// Ends all tasks of the proxy when it is dropped.
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicUsize,
    lost: AtomicUsize,
    cut: AtomicUsize,
}

impl Proxy {
    /// Listens on `port`, 0 for a free one, for the server at `target`, which need not be running yet.
    pub fn start(port: u16, target: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", port)))
            .with_context(|| format!("port {port} is taken"))?;
        let address = listener.local_addr()?;
        let (faults, switch) = watch::channel(Fault::None);
        let counts = Arc::<Counts>::default();
        let target = target.to_owned();
        runtime.block_on(async {
            drop(tasks::spawn("proxy", accept(listener, target, switch, counts.clone())));
        });
        Ok(Self { address, faults, counts, _runtime: runtime })
    }
    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Sets the current fault.
    pub fn switch(&self, fault: Fault) {
        self.faults.send_replace(fault);
    }
    /// The number of lost answers.
    pub fn lost(&self) -> usize {
        self.counts.lost.load(Ordering::Relaxed)
    }
    /// The number of connections that were cut or refused.
    pub fn cut(&self) -> usize {
        self.counts.cut.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, target: String, switch: watch::Receiver<Fault>, counts: Arc<Counts>) {
    while let Ok((client, _)) = listener.accept().await {
        if *switch.borrow() == Fault::Cut {
            counts.cut.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let (target, switch, counts) = (target.clone(), switch.clone(), counts.clone());
        // It ends with the proxy's runtime.
        drop(tasks::spawn("proxy-connection", async move {
            if let Ok(server) = TcpStream::connect(&target).await {
                connection(client, server, switch, counts).await;
            }
        }));
    }
}

/// Forwards in both directions until one end closes or the network is cut; then closes both ends.
async fn connection(
    mut client: TcpStream,
    mut server: TcpStream,
    mut switch: watch::Receiver<Fault>,
    counts: Arc<Counts>,
) {
    // True while the pending answer is to be lost.
    let losing = Arc::new(AtomicBool::new(false));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let way =
        |request| Way { switch: switch.clone(), counts: counts.clone(), losing: losing.clone(), request };
    let (there, back) = (way(true), way(false));
    tokio::select! {
        () = there.pass(from_client, to_server) => {}
        () = back.pass(from_server, to_client) => {}
        _ = switch.wait_for(|fault| *fault == Fault::Cut) => {
            counts.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One direction of a connection.
struct Way {
    switch: watch::Receiver<Fault>,
    counts: Arc<Counts>,
    losing: Arc<AtomicBool>,
    /// True if it goes to the server.
    request: bool,
}
impl Way {
    async fn pass(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let Ok(bytes @ 1..) = from.read(&mut buffer).await else { return };
            if self.switch.wait_for(|fault| *fault != Fault::Stall).await.is_err() {
                return;
            }
            let fault = self.switch.borrow().clone();
            match fault {
                Fault::Delay(time) => runtime::time::sleep(time).await,
                // A client without pipelining waits for its answer, so a request begins at the start of a read.
                Fault::LoseAnswers { begins, every }
                    if self.request && buffer[..bytes].starts_with(begins.as_bytes()) =>
                {
                    let number = self.counts.requests.fetch_add(1, Ordering::Relaxed);
                    self.losing.store(number.is_multiple_of(every), Ordering::Relaxed);
                }
                _ => {}
            }
            if !self.request && self.losing.load(Ordering::Relaxed) {
                self.counts.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if to.write_all(&buffer[..bytes]).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// A server that answers each request of 16 bytes with its first four, and tells what arrived.
    fn server() -> (SocketAddr, Receiver<[u8; 16]>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (arrived, requests) = channel();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let arrived = arrived.clone();
                std::thread::spawn(move || {
                    let mut request = [0; 16];
                    while client.read_exact(&mut request).is_ok() {
                        let _gone = arrived.send(request);
                        if client.write_all(&request[..4]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (address, requests)
    }

    /// The answer; `None` when the connection broke or nothing came within the time.
    fn ask(client: &mut TcpStream, request: &[u8; 16], within: Duration) -> Option<[u8; 4]> {
        client.set_read_timeout(Some(within)).expect("set");
        client.write_all(request).ok()?;
        let mut answer = [0; 4];
        client.read_exact(&mut answer).ok()?;
        Some(answer)
    }

    const LONG: Duration = Duration::from_secs(20);
    const PUT: &[u8; 16] = b"PUT /lake/x HTTP";
    const GET: &[u8; 16] = b"GET /lake/x HTTP";

    #[test]
    fn requests_and_answers_pass() {
        let (target, requests) = server();
        let proxy = Proxy::start(0, &target.to_string()).expect("started");
        let mut client = TcpStream::connect(proxy.address()).expect("connected");
        assert_eq!(ask(&mut client, PUT, LONG), Some(*b"PUT "));
        assert_eq!(ask(&mut client, GET, LONG), Some(*b"GET "));
        assert_eq!(requests.try_iter().count(), 2);
    }

    #[test]
    fn a_cut_ends_open_connections_and_lets_none_in_until_it_is_mended() {
        let (target, _requests) = server();
        let proxy = Proxy::start(0, &target.to_string()).expect("started");
        let mut open = TcpStream::connect(proxy.address()).expect("connected");
        assert!(ask(&mut open, PUT, LONG).is_some());
        proxy.switch(Fault::Cut);
        assert_eq!(ask(&mut open, PUT, LONG), None);
        let mut fresh = TcpStream::connect(proxy.address()).expect("accepted, then closed");
        assert_eq!(ask(&mut fresh, PUT, LONG), None);
        assert!(proxy.cut() >= 2);
        proxy.switch(Fault::None);
        let mut mended = TcpStream::connect(proxy.address()).expect("connected");
        assert!(ask(&mut mended, PUT, LONG).is_some());
    }

    #[test]
    fn a_stall_holds_what_was_sent_and_lets_it_go_when_it_ends() {
        let (target, requests) = server();
        let proxy = Proxy::start(0, &target.to_string()).expect("started");
        let mut client = TcpStream::connect(proxy.address()).expect("connected");
        assert!(ask(&mut client, GET, LONG).is_some());
        proxy.switch(Fault::Stall);
        assert_eq!(ask(&mut client, PUT, Duration::from_millis(200)), None);
        assert_eq!(requests.try_iter().count(), 1);
        proxy.switch(Fault::None);
        assert_eq!(requests.recv_timeout(LONG).as_ref(), Ok(PUT));
    }

    #[test]
    fn a_delay_is_as_long_as_asked() {
        let (target, _requests) = server();
        let proxy = Proxy::start(0, &target.to_string()).expect("started");
        proxy.switch(Fault::Delay(Duration::from_millis(150)));
        let begun = runtime::time::Instant::now();
        let mut client = TcpStream::connect(proxy.address()).expect("connected");
        assert!(ask(&mut client, GET, LONG).is_some());
        assert!(begun.elapsed() >= Duration::from_millis(300), "once there, once back");
    }

    #[test]
    fn a_lost_answer_belongs_to_a_request_that_arrived() {
        let (target, requests) = server();
        let proxy = Proxy::start(0, &target.to_string()).expect("started");
        proxy.switch(Fault::LoseAnswers { begins: "PUT /", every: 2 });
        let client = || TcpStream::connect(proxy.address()).expect("connected");
        assert_eq!(ask(&mut client(), GET, LONG), Some(*b"GET "));
        assert_eq!(ask(&mut client(), PUT, LONG), None, "the first of two");
        assert_eq!(ask(&mut client(), PUT, LONG), Some(*b"PUT "));
        assert_eq!(ask(&mut client(), PUT, LONG), None);
        assert_eq!(proxy.lost(), 2);
        assert_eq!(requests.try_iter().count(), 4, "all of them arrived");
    }
}
