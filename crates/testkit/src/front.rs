//! A proxy for an HTTP service without protection of its own: TLS, client certificates, name and password.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use base64::Engine as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificates::Issued;

/// The conditions for access.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The proxy's own certificate. `None`: plain HTTP.
    pub identity: Option<Issued>,
    /// Clients must have a certificate of this authority.
    pub clients_of: Option<std::path::PathBuf>,
    /// Clients must send this name and password.
    pub basic: Option<(String, String)>,
}

/// A running proxy. It serves on a thread of its own until the process ends.
pub struct Front {
    address: SocketAddr,
    secure: bool,
}
impl Front {
    /// Starts the proxy for `backend`, an `http://host:port`.
    pub fn open(backend: &str, guard: Guard) -> Result<Self> {
        let acceptor =
            guard.identity.as_ref().map(|own| acceptor(own, guard.clients_of.as_deref())).transpose()?;
        let secure = acceptor.is_some();
        let state = Arc::new(Door {
            backend: backend.trim_end_matches('/').to_owned(),
            expected: guard.basic.map(|(user, password)| {
                let pair = format!("{user}:{password}");
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }),
            client: reqwest::Client::builder().no_proxy().build()?,
        });
        let app = Router::new().fallback(forward).with_state(state);
        let address = serve(move |listener| async move {
            match acceptor {
                Some(acceptor) => axum::serve(Tls { listener, acceptor }, app).await,
                None => axum::serve(listener, app).await,
            }
        })?;
        Ok(Self { address, secure })
    }

    /// The proxy's URL.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", if self.secure { "https" } else { "http" }, self.address.port())
    }
}

/// Runs a server on a free port, with a thread and runtime of its own. Returns its address.
pub(crate) fn serve<F>(run: impl FnOnce(TcpListener) -> F + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = io::Result<()>>,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("test-server".to_owned()).spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("inside of the runtime");
            run(listener).await
        })
    })?;
    Ok(address)
}

fn acceptor(own: &Issued, clients_of: Option<&Path>) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match clients_of {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(authority)? {
                roots.add(certificate?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::pem_file_iter(&own.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&own.key)?;
    let config = builder.with_single_cert(chain, key).context("certificate and key belong together")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}
impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            // The handshake reports a refusal to the client; the next client may come.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }
    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

struct Door {
    backend: String,
    expected: Option<String>,
    client: reqwest::Client,
}

async fn forward(State(door): State<Arc<Door>>, request: Request) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if door.expected.is_some() && given != door.expected.as_deref() {
        return (StatusCode::UNAUTHORIZED, r#"{"error_code":401,"message":"who are you"}"#).into_response();
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(body) = to_bytes(body, 64 << 20).await else { return StatusCode::BAD_REQUEST.into_response() };
    let mut onwards = door.client.request(parts.method, format!("{}{path}", door.backend)).body(body);
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        onwards = onwards.header(header::CONTENT_TYPE, kind);
    }
    let answer = async {
        let answer = onwards.send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
    };
    match answer.await {
        Ok((status, bytes)) => (status, Body::from(bytes)).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
