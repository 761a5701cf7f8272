//! A registry that speaks Confluent's REST API.

use async_trait::async_trait;
use reqwest::Method;
use schema_registry_converter::schema_registry_common::RegisteredSchema;
use serde::Deserialize;
use serde_json::json;

use super::api::{Api, Stored};
use super::converter::Converter;
use super::http::Http;
use super::{Compat, RegistryError, RegistrySettings};

/// Its two clients.
pub(super) struct Confluent {
    converter: Converter,
    http: Http,
}

impl Confluent {
    pub(super) fn new(settings: RegistrySettings) -> Self {
        Self { converter: Converter::new(settings.clone()), http: Http::new(settings) }
    }
}

fn stored(raw: RegisteredSchema) -> Stored {
    let references = raw.references.into_iter().map(|reference| (reference.subject, reference.version));
    Stored { id: raw.id, version: raw.version, schema: raw.schema, references: references.collect() }
}

#[async_trait]
impl Api for Confluent {
    fn url(&self) -> &str {
        &self.http.settings().url
    }

    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        match self.converter.register(subject, schema).await {
            Err(RegistryError::Refused { status: 409, message: reason, .. }) => {
                Err(RegistryError::Incompatible { subject: subject.to_owned(), reason })
            }
            answer => answer,
        }
    }

    async fn schema(&self, id: u32) -> Result<Stored, RegistryError> {
        match self.converter.schema(id).await {
            Err(RegistryError::Refused { status: 404, code: 40402 | 40403 | 404, .. }) => {
                Err(RegistryError::UnknownSchema { id })
            }
            answer => answer.map(stored),
        }
    }

    async fn version(&self, subject: &str, version: Option<u32>) -> Result<Stored, RegistryError> {
        self.converter.version(subject, version).await.map(stored)
    }

    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        self.converter.versions(subject).await
    }

    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.converter.subjects().await
    }

    async fn compatible(&self, subject: &str, schema: &str) -> Result<Compat, RegistryError> {
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
        }
        let path = ["compatibility", "subjects", subject, "versions"];
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        let answer =
            self.http.send::<Verdict>(Method::POST, &path, &[("verbose", "true")], Some(&body)).await?;
        Ok(match answer {
            Verdict { is_compatible: false, messages } if messages.is_empty() => {
                Compat::Incompatible(vec!["the registry gave no reason".to_owned()])
            }
            Verdict { is_compatible: false, messages } => Compat::Incompatible(messages),
            Verdict { is_compatible: true, .. } => Compat::Compatible,
        })
    }

    async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        let (path, body) = (["config", subject], json!({ "compatibility": level }));
        self.http.send::<serde_json::Value>(Method::PUT, &path, &[], Some(&body)).await.map(drop)
    }

    async fn compatibility(&self, subject: Option<&str>) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Level {
            #[serde(rename = "compatibilityLevel")]
            level: String,
        }
        let path: Vec<&str> = std::iter::once("config").chain(subject).collect();
        self.http.send::<Level>(Method::GET, &path, &[], None).await.map(|answer| answer.level)
    }

    async fn mode(&self) -> Result<String, RegistryError> {
        #[derive(Deserialize)]
        struct Mode {
            mode: String,
        }
        self.http.send::<Mode>(Method::GET, &["mode"], &[], None).await.map(|answer| answer.mode)
    }
}
