//! One question to the registry over HTTP, and what its status means.

use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use model::Secret;
use object_store::HeaderValue;
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use reqwest::tls::{Certificate, Identity};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{Error, RegistrySettings};

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Long enough for a registry that is electing a leader, short enough for a stage's own patience.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One pool of connections for all clients of the process that have no certificates of their own.
static PLAIN: LazyLock<Result<HttpClient, String>> = LazyLock::new(|| connect(&RegistrySettings::default()));

/// Where to ask and as whom.
pub(super) struct Http {
    settings: RegistrySettings,
    authorization: Option<HeaderValue>,
    /// Made at the first question; files of certificates are read then.
    own: OnceLock<Result<HttpClient, String>>,
}

fn connect(settings: &RegistrySettings) -> Result<HttpClient, String> {
    let read = |key: &str, path: &Path| {
        let help = format!("`registry.{key}` is a file in PEM");
        std::fs::read(path).map_err(|error| format!("cannot read `{}`: {error}; {help}", path.display()))
    };
    let mut client = reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT);
    if let Some(path) = &settings.ca {
        let pem = read("ca", path)?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())?;
        if authorities.is_empty() {
            return Err(format!("there is no certificate in `{}`", path.display()));
        }
        for authority in authorities {
            client = client.add_root_certificate(authority);
        }
    }
    if let Some((certificate, key)) = &settings.identity {
        let mut pem = read("certificate", certificate)?;
        pem.push(b'\n');
        pem.extend(read("key", key)?);
        let identity = Identity::from_pem(&pem).map_err(|_| {
            format!(
                "`{}` and `{}` are no certificate and private key; the key must not be encrypted",
                certificate.display(),
                key.display()
            )
        })?;
        client = client.identity(identity);
    }
    client.build().map(HttpClient::new).map_err(|error| error.to_string())
}

/// What Confluent's registry says when it refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    error_code: u32,
    #[serde(default)]
    message: String,
}

impl Http {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        let authorization = settings.user.as_ref().map(|user| {
            let password = settings.password.as_ref().map_or("", Secret::reveal);
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            let mut value =
                HeaderValue::from_str(&format!("Basic {pair}")).expect("base64 is legal in a header");
            // Whoever logs the request leaves it out.
            value.set_sensitive(true);
            value
        });
        Self { settings, authorization, own: OnceLock::new() }
    }

    fn client(&self) -> &Result<HttpClient, String> {
        if self.settings.ca.is_none() && self.settings.identity.is_none() {
            return &PLAIN;
        }
        self.own.get_or_init(|| connect(&self.settings))
    }

    pub(super) fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// Sends one request; the body of a 2xx, read as `T`. Path segments are escaped here.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<T, Error> {
        let what = || format!("{method} /{}", path.join("/"));
        let request = self.request(method, path, query, body)?;
        let client = self.client().as_ref().map_err(|reason| self.address(reason.clone()))?;
        let response = client.execute(request).await.map_err(|error| self.unreachable(error))?;
        let status = response.status().as_u16();
        let bytes = response.into_body().bytes().await.map_err(|error| self.unreachable(error))?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&bytes)
                .map_err(|error| Error::Answer { what: what(), reason: error.to_string() });
        }
        let refusal = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            Refusal { error_code: 0, message: text }
        });
        Err(match status {
            401 | 403 => Error::Denied { url: self.settings.url.clone(), status, message: refusal.message },
            408 | 429 | 500..=599 => {
                Error::Busy { url: self.settings.url.clone(), status, message: refusal.message }
            }
            _ => Error::Refused { what: what(), status, code: refusal.error_code, message: refusal.message },
        })
    }

    fn request(
        &self,
        method: &str,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<HttpRequest, Error> {
        let mut url = Url::parse(&self.settings.url).map_err(|error| self.address(error.to_string()))?;
        url.path_segments_mut()
            .map_err(|()| self.address("it has no host".to_owned()))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let body = body.map_or_else(HttpRequestBody::empty, |body| body.to_string().into());
        let mut request = HttpRequest::new(body);
        *request.method_mut() = method.parse().map_err(|_| self.address(format!("bad method {method}")))?;
        *request.uri_mut() = url.as_str().parse().map_err(|error| self.address(format!("{error}")))?;
        let headers = request.headers_mut();
        headers.insert("accept", HeaderValue::from_static(CONTENT_TYPE));
        headers.insert("content-type", HeaderValue::from_static(CONTENT_TYPE));
        if let Some(authorization) = &self.authorization {
            headers.insert("authorization", authorization.clone());
        }
        Ok(request)
    }

    fn address(&self, reason: String) -> Error {
        Error::Address { url: self.settings.url.clone(), reason }
    }

    fn unreachable(&self, error: object_store::client::HttpError) -> Error {
        Error::Unreachable { url: self.settings.url.clone(), source: Box::new(error) }
    }
}
