//! Client of a schema registry that speaks Confluent's REST API.
//!
//! Bronze asks for a schema by the id in a record, gold and the sources register theirs. What is
//! kept: a schema by its id, for ever, because an id never comes to mean another schema. What is
//! never kept: anything that went wrong. A registry that is down, busy or behind says nothing about
//! a record, so the same question is asked again; only its own 404 is an answer
//! ([`Error::UnknownSchema`]), and that too may change, so the caller decides when to ask again.
//!
//! A schema with references is resolved here, once: callers get one text that needs no other.
//!
//! Schemas and subjects are asked for through `schema_registry_converter` (`converter`), its plain calls
//! alone: its own cache keeps failures as well. What it has no call for goes over HTTP (`http`):
//! levels of compatibility, the registry's mode, and the reasons why a schema is incompatible.

mod connect;
mod converter;
mod error;
mod http;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::Secret;
use parking_lot::RwLock;
use reqwest::Method;
use schema_registry_converter::schema_registry_common::RegisteredSchema;
use serde::Deserialize;
use serde_json::json;

use converter::Converter;
pub use error::Error;
use http::Http;

/// Where the registry is and who asks.
#[derive(Debug, Clone, Default)]
pub struct RegistrySettings {
    /// `http://host:port`, with any path the API lies under.
    pub url: String,
    /// User name of basic authentication.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// File of certificates to trust besides those of the system.
    pub ca: Option<PathBuf>,
    /// Files of the client's own certificate and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The schema's id, global in the registry.
    pub id: u32,
    /// The version within the subject, from 1.
    pub version: u32,
    /// The schema, references resolved.
    pub schema: Arc<str>,
}

/// Whether a schema could be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compat {
    /// It could, or the subject is new.
    Compatible,
    /// It could not, and why; at least one reason.
    Incompatible(Vec<String>),
}

impl Compat {
    /// Whether it could be registered.
    pub fn is_compatible(&self) -> bool {
        matches!(self, Self::Compatible)
    }
}

/// The client. Cheap to clone; clones share what they learned.
#[derive(Clone)]
pub struct Registry {
    converter: Arc<Converter>,
    http: Arc<Http>,
    schemas: Arc<RwLock<HashMap<u32, Arc<str>>>>,
}

impl Registry {
    /// A client of the registry at `settings.url`. Connects to nothing; a bad address is reported
    /// by the first question.
    pub fn new(settings: RegistrySettings) -> Self {
        Self {
            converter: Arc::new(Converter::new(settings.clone())),
            http: Arc::new(Http::new(settings)),
            schemas: Arc::default(),
        }
    }

    /// The address asked.
    pub fn url(&self) -> &str {
        &self.http.settings().url
    }

    /// Registers `schema` under `subject`; its id. The same schema again gives the same id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, Error> {
        match self.converter.register(subject, schema).await {
            Err(Error::Refused { status: 409, message: reason, .. }) => {
                Err(Error::Incompatible { subject: subject.to_owned(), reason })
            }
            answer => answer,
        }
    }

    /// The schema with this id, references resolved. Asked once, then remembered.
    pub async fn schema(&self, id: u32) -> Result<Arc<str>, Error> {
        if let Some(known) = self.schemas.read().get(&id) {
            return Ok(Arc::clone(known));
        }
        let raw = match self.converter.schema(id).await {
            Err(Error::Refused { status: 404, code: 40402 | 40403 | 404, .. }) => {
                return Err(Error::UnknownSchema { id });
            }
            answer => answer?,
        };
        let schema = self.resolved(raw).await.map_err(|error| match error {
            // Of a schema that is there, but leads to one that is not.
            Error::Refused { what, message, .. } => Error::Answer {
                what: format!("schema {id}"),
                reason: format!("it refers to `{what}`: {message}"),
            },
            error => error,
        })?;
        self.schemas.write().insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// The newest version of `subject`; nothing if there is no such subject.
    pub async fn latest(&self, subject: &str) -> Result<Option<Registered>, Error> {
        self.version(subject, None).await
    }

    /// All versions of `subject`, oldest first; none if there is no such subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<Registered>, Error> {
        let Some(numbers) = found(self.converter.versions(subject).await)? else {
            return Ok(Vec::new());
        };
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            // A version deleted since it was listed is simply gone.
            versions.extend(self.version(subject, Some(number)).await?);
        }
        Ok(versions)
    }

    /// Whether `schema` could be registered under `subject` now.
    pub async fn compatible(&self, subject: &str, schema: &str) -> Result<Compat, Error> {
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
        }
        let path = ["compatibility", "subjects", subject, "versions"];
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        let answer =
            self.http.send::<Verdict>(Method::POST, &path, &[("verbose", "true")], Some(&body)).await;
        Ok(match found(answer)? {
            Some(Verdict { is_compatible: false, messages }) if messages.is_empty() => {
                Compat::Incompatible(vec!["the registry gave no reason".to_owned()])
            }
            Some(Verdict { is_compatible: false, messages }) => Compat::Incompatible(messages),
            _ => Compat::Compatible,
        })
    }

    /// Sets the compatibility level of `subject`: `BACKWARD_TRANSITIVE` and the like, in any case.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let body = json!({ "compatibility": level.to_uppercase() });
        self.http
            .send::<serde_json::Value>(Method::PUT, &["config", subject], &[], Some(&body))
            .await
            .map(drop)
    }

    /// The compatibility level set for `subject`; nothing if it follows the registry's own.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, Error> {
        self.level(&["config", subject]).await
    }

    /// The level of subjects that have none of their own; nothing if the registry does not say.
    pub async fn default_compatibility(&self) -> Result<Option<String>, Error> {
        self.level(&["config"]).await
    }

    async fn level(&self, path: &[&str]) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Level {
            #[serde(rename = "compatibilityLevel")]
            level: String,
        }
        let answer = self.http.send::<Level>(Method::GET, path, &[], None).await;
        Ok(found(answer)?.map(|answer| answer.level))
    }

    /// `READWRITE`, `READONLY` and the like; nothing if the registry has no such thing.
    pub async fn mode(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Mode {
            mode: String,
        }
        Ok(found(self.http.send::<Mode>(Method::GET, &["mode"], &[], None).await)?.map(|answer| answer.mode))
    }

    /// All subjects.
    pub async fn subjects(&self) -> Result<Vec<String>, Error> {
        self.converter.subjects().await
    }

    /// One version of `subject`. `None`: the newest.
    async fn version(&self, subject: &str, version: Option<u32>) -> Result<Option<Registered>, Error> {
        let Some(raw) = found(self.converter.version(subject, version).await)? else {
            return Ok(None);
        };
        let id = raw.id;
        let Some(version) = raw.version else {
            let what = format!("subjects/{subject}/versions");
            return Err(Error::Answer { what, reason: "`version` is missing".to_owned() });
        };
        Ok(Some(Registered { id, version, schema: self.resolved(raw).await? }))
    }

    /// The text of `raw` with every schema it references, at any depth, put in its place.
    async fn resolved(&self, raw: RegisteredSchema) -> Result<Arc<str>, Error> {
        let mut pending = raw.references;
        if pending.is_empty() {
            return Ok(raw.schema.into());
        }
        let mut seen = HashMap::new();
        while let Some(reference) = pending.pop() {
            let (subject, version) = (reference.subject, reference.version);
            if seen.contains_key(&(subject.clone(), version)) {
                continue;
            }
            let part = self.converter.version(&subject, Some(version)).await?;
            pending.extend(part.references);
            seen.insert((subject, version), part.schema);
        }
        let parts: Vec<String> = seen.into_values().collect();
        resolve::inline(&raw.schema, &parts).map(Into::into)
    }
}

/// Turns "no such subject or version" into nothing.
fn found<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(Error::Refused { status: 404, code: 40401 | 40402 | 40408 | 404, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
