//! Client of a schema registry.
//!
//! Bronze asks for a schema by the id in a record, gold and the sources register theirs. What is
//! kept: a schema by its id, for ever, because an id never comes to mean another schema. What is
//! never kept: anything that went wrong. A registry that is down, busy or behind says nothing about
//! a record, so the same question is asked again; only its own 404 is an answer
//! ([`RegistryError::UnknownSchema`]), and that too may change, so the caller decides when to ask again.
//!
//! A schema with references is resolved here, once: callers get one text that needs no other.
//!
//! What a registry has to do is [`api`]; `confluent` does it for one that speaks Confluent's REST API, and `testkit`
//! has a model. Schemas and subjects are asked for through `schema_registry_converter` (`converter`), its plain calls
//! alone: its own cache keeps failures as well. What it has no call for goes over HTTP (`http`):
//! levels of compatibility, the registry's mode, and the reasons why a schema is incompatible.

pub mod api;
mod confluent;
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

use api::{Api, Stored};
use confluent::Confluent;
pub use error::RegistryError;

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
    api: Arc<dyn Api>,
    schemas: Arc<RwLock<HashMap<u32, Arc<str>>>>,
}

impl Registry {
    /// A client of the registry at `settings.url`. Connects to nothing; a bad address is reported
    /// by the first question.
    pub fn new(settings: RegistrySettings) -> Self {
        Self::over(Arc::new(Confluent::new(settings)))
    }

    /// A client of a registry that is not reached by settings.
    pub fn over(api: Arc<dyn Api>) -> Self {
        Self { api, schemas: Arc::default() }
    }

    /// The address asked.
    pub fn url(&self) -> &str {
        self.api.url()
    }

    /// Registers `schema` under `subject`; its id. The same schema again gives the same id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.api.register(subject, schema).await
    }

    /// The schema with this id, references resolved. Asked once, then remembered.
    pub async fn schema(&self, id: u32) -> Result<Arc<str>, RegistryError> {
        if let Some(known) = self.schemas.read().get(&id) {
            return Ok(Arc::clone(known));
        }
        let schema = self.resolved(self.api.schema(id).await?).await.map_err(|error| match error {
            // Of a schema that is there, but leads to one that is not.
            RegistryError::Refused { what, message, .. } => RegistryError::Answer {
                what: format!("schema {id}"),
                reason: format!("it refers to `{what}`: {message}"),
            },
            error => error,
        })?;
        self.schemas.write().insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// The newest version of `subject`; nothing if there is no such subject.
    pub async fn latest(&self, subject: &str) -> Result<Option<Registered>, RegistryError> {
        self.version(subject, None).await
    }

    /// All versions of `subject`, oldest first; none if there is no such subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<Registered>, RegistryError> {
        let Some(numbers) = found(self.api.versions(subject).await)? else {
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
    pub async fn compatible(&self, subject: &str, schema: &str) -> Result<Compat, RegistryError> {
        Ok(found(self.api.compatible(subject, schema).await)?.unwrap_or(Compat::Compatible))
    }

    /// Sets the compatibility level of `subject`: `BACKWARD_TRANSITIVE` and the like, in any case.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        self.api.set_compatibility(subject, &level.to_uppercase()).await
    }

    /// The compatibility level set for `subject`; nothing if it follows the registry's own.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        found(self.api.compatibility(Some(subject)).await)
    }

    /// The level of subjects that have none of their own; nothing if the registry does not say.
    pub async fn default_compatibility(&self) -> Result<Option<String>, RegistryError> {
        found(self.api.compatibility(None).await)
    }

    /// `READWRITE`, `READONLY` and the like; nothing if the registry has no such thing.
    pub async fn mode(&self) -> Result<Option<String>, RegistryError> {
        found(self.api.mode().await)
    }

    /// The subjects. Of very many, a registry may name some: Apicurio, a thousand.
    pub async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.api.subjects().await
    }

    /// One version of `subject`. `None`: the newest.
    async fn version(
        &self,
        subject: &str,
        version: Option<u32>,
    ) -> Result<Option<Registered>, RegistryError> {
        let Some(stored) = found(self.api.version(subject, version).await)? else {
            return Ok(None);
        };
        let id = stored.id;
        let Some(version) = stored.version else {
            let what = format!("subjects/{subject}/versions");
            return Err(RegistryError::Answer { what, reason: "`version` is missing".to_owned() });
        };
        Ok(Some(Registered { id, version, schema: self.resolved(stored).await? }))
    }

    /// The text of `stored` with every schema it references, at any depth, put in its place.
    async fn resolved(&self, stored: Stored) -> Result<Arc<str>, RegistryError> {
        let mut pending = stored.references;
        if pending.is_empty() {
            return Ok(stored.schema.into());
        }
        let mut seen = HashMap::new();
        while let Some((subject, version)) = pending.pop() {
            if seen.contains_key(&(subject.clone(), version)) {
                continue;
            }
            let part = self.api.version(&subject, Some(version)).await?;
            pending.extend(part.references);
            seen.insert((subject, version), part.schema);
        }
        let parts: Vec<String> = seen.into_values().collect();
        resolve::inline(&stored.schema, &parts).map(Into::into)
    }
}

/// Turns "no such subject or version" into nothing.
fn found<T>(answer: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match answer {
        Err(RegistryError::Refused { status: 404, code: 40401 | 40402 | 40408 | 404, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}
