//! The seam: what a registry has to do for [`super::Registry`].
//!
//! What is not there is refused in the words of Confluent's API: [`RegistryError::Refused`] with status 404 and code 40401 for
//! a subject, 40402 for a version, 40408 for a level that is not set. `testkit` has a model, and one suite of contracts
//! that the model and real registries both pass.

use async_trait::async_trait;

use super::{Compat, RegistryError};

/// A schema as a registry keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The schema's id, global in the registry.
    pub id: u32,
    /// The version within the subject that was asked for. `None` where it was asked for by its id.
    pub version: Option<u32>,
    /// Its text.
    pub schema: String,
    /// Schemas that it needs, by subject and version.
    pub references: Vec<(String, u32)>,
}

/// Answers of a registry. Each call asks once; nothing is remembered.
#[async_trait]
pub trait Api: Send + Sync {
    /// Its address, for people.
    fn url(&self) -> &str;
    /// Registers a schema; its id. The same schema again has the same id.
    ///
    /// # Errors
    /// [`RegistryError::Incompatible`] with an earlier version.
    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError>;
    /// The schema with this id.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSchema`]: there is none.
    async fn schema(&self, id: u32) -> Result<Stored, RegistryError>;
    /// One version of a subject. `None`: the newest.
    async fn version(&self, subject: &str, version: Option<u32>) -> Result<Stored, RegistryError>;
    /// Numbers of the versions of a subject, in order.
    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError>;
    /// Names of the subjects. Of very many, a registry may name some: Apicurio, a thousand.
    async fn subjects(&self) -> Result<Vec<String>, RegistryError>;
    /// Whether a schema could be registered.
    async fn compatible(&self, subject: &str, schema: &str) -> Result<Compat, RegistryError>;
    /// Sets a subject's level of compatibility, in capitals.
    async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError>;
    /// A subject's own level; that of all others where none is given.
    async fn compatibility(&self, subject: Option<&str>) -> Result<String, RegistryError>;
    /// `READWRITE`, `READONLY` and the like.
    async fn mode(&self) -> Result<String, RegistryError>;
}
