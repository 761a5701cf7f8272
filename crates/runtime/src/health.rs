//! `/health`, `/health/ready`, `/health/live` and `/metrics` of a process.
//!
//! Live: the process answers. Ready: every component is up and no pipeline halted. Health: the components one
//! by one, with every halted pipeline and its reason. A halted pipeline leaves the process live but not ready:
//! a restart would not repair it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Meters;

/// State of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status", content = "reason")]
pub enum Status {
    /// Not ready yet.
    Starting,
    /// Works.
    Up,
    /// Does not work, and keeps trying.
    Down(String),
    /// Waits for a person.
    Halted(String),
}

/// The latest status of every component of a process. Clones share it.
#[derive(Clone, Default)]
pub struct HealthRegistry(Arc<Mutex<BTreeMap<String, Status>>>);
impl HealthRegistry {
    /// Sets the status of a component.
    pub fn set(&self, component: impl Into<String>, status: Status) {
        self.0.lock().insert(component.into(), status);
    }
    /// All components.
    pub fn all(&self) -> BTreeMap<String, Status> {
        self.0.lock().clone()
    }
}

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics and health on `{address}`")]
pub struct CannotListen {
    /// Address asked for.
    pub address: SocketAddr,
    /// The system's error.
    pub source: std::io::Error,
}

/// A bound server.
pub struct Health {
    listener: TcpListener,
    router: Router,
}
impl Health {
    /// Binds. Port 0 takes a free port: see [`Health::address`].
    pub async fn bind(
        address: SocketAddr,
        meters: Meters,
        registry: HealthRegistry,
    ) -> Result<Self, CannotListen> {
        let listener = TcpListener::bind(address).await.map_err(|source| CannotListen { address, source })?;
        let router = Router::new()
            .route("/health", get(health))
            .route("/health/ready", get(ready))
            .route("/health/live", get(|| async { "live\n" }))
            .with_state(Shown { registry, meters: meters.clone() })
            .route("/metrics", get(move || metrics(meters.clone())));
        Ok(Self { listener, router })
    }
    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// What the endpoints read.
#[derive(Clone)]
struct Shown {
    registry: HealthRegistry,
    meters: Meters,
}
impl Shown {
    /// The components and the halted pipelines.
    fn all(&self) -> BTreeMap<String, Status> {
        let mut all = self.registry.all();
        for pipeline in self.meters.pipelines() {
            if let Some(reason) = pipeline.halted() {
                all.insert(format!("{} {}", pipeline.stage(), pipeline.table()), Status::Halted(reason));
            }
        }
        all
    }
}

fn is_ready(all: &BTreeMap<String, Status>) -> bool {
    all.values().all(|status| *status == Status::Up)
}

async fn health(State(shown): State<Shown>) -> Response {
    let all = shown.all();
    let ready = is_ready(&all);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(serde_json::json!({ "ready": ready, "components": all }))).into_response()
}

async fn ready(State(shown): State<Shown>) -> Response {
    if is_ready(&shown.all()) {
        return (StatusCode::OK, "ready\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}

async fn metrics(meters: Meters) -> Response {
    ([("content-type", "text/plain; version=0.0.4")], meters.text()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn a_halted_component_is_live_but_not_ready() {
        let (registry, stop) = (HealthRegistry::default(), CancellationToken::new());
        let health = Health::bind("127.0.0.1:0".parse().expect("address"), Meters::new(), registry.clone())
            .await
            .expect("free port");
        let address = health.address().expect("bound");
        let server = crate::tasks::spawn("health", health.serve(stop.clone()));
        registry.set("bronze", Status::Up);
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200"));
        registry.set("silver.orders", Status::Halted("another plan".into()));
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 503"));
        assert!(get(address, "/health/live").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/health").await.contains("another plan"));
        assert!(get(address, "/metrics").await.contains("lakepulse_build_info"));
        stop.cancel();
        server.await.expect("joined").expect("served");
    }

    #[tokio::test]
    async fn a_pipeline_that_halted_is_named_until_it_goes_on() {
        let (registry, meters, stop) = (HealthRegistry::default(), Meters::new(), CancellationToken::new());
        let health = Health::bind("127.0.0.1:0".parse().expect("address"), meters.clone(), registry.clone());
        let health = health.await.expect("free port");
        let address = health.address().expect("bound");
        let server = crate::tasks::spawn("health", health.serve(stop.clone()));
        registry.set("gold", Status::Up);
        let meter = meters.stage("gold", "gold.ratio");
        meter.halt("divide by zero".to_owned());
        let told = get(address, "/health").await;
        assert!(told.contains("gold gold.ratio") && told.contains("divide by zero"), "{told}");
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 503"));
        meter.state(crate::State::Running);
        assert!(get(address, "/health/ready").await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        server.await.expect("joined").expect("served");
    }
}
