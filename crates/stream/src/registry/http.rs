//! One question to the registry over HTTP, for what `schema_registry_converter` has no call.

use std::sync::OnceLock;

use model::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{RegistryError, RegistrySettings, connect};

/// Where to ask and as whom.
pub(super) struct Http {
    settings: RegistrySettings,
    /// Made at the first question; files of certificates are read then.
    client: OnceLock<Result<Client, String>>,
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
        Self { settings, client: OnceLock::new() }
    }

    pub(super) fn settings(&self) -> &RegistrySettings {
        &self.settings
    }

    /// Sends one request; the body of a 2xx, read as `T`. Path segments are escaped here.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&serde_json::Value>,
    ) -> Result<T, RegistryError> {
        let what = || format!("{method} /{}", path.join("/"));
        let address = |reason| RegistryError::Address { url: self.settings.url.clone(), reason };
        let unreachable = |error: reqwest::Error| RegistryError::Unreachable {
            url: self.settings.url.clone(),
            source: Box::new(error.without_url()),
        };
        let mut url = connect::base(&self.settings).map_err(address)?;
        url.path_segments_mut().map_err(|()| address("it has no host".to_owned()))?.extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let client = self.client.get_or_init(|| {
            connect::client(&self.settings, |builder| builder.build().map_err(|error| error.to_string()))
        });
        let mut request = client
            .as_ref()
            .map_err(|reason| address(reason.clone()))?
            .request(method.clone(), url)
            .header(ACCEPT, connect::CONTENT_TYPE)
            .header(CONTENT_TYPE, connect::CONTENT_TYPE);
        if let Some(user) = &self.settings.user {
            request = request.basic_auth(user, self.settings.password.as_ref().map(Secret::reveal));
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| RegistryError::Answer { what: what(), reason: error.to_string() });
        }
        let Refusal { error_code, message } = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            Refusal { error_code: 0, message: text }
        });
        Err(RegistryError::refused(&self.settings.url, what(), status.as_u16(), error_code, message))
    }
}
