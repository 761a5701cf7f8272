//! A model of a schema registry, in memory.
//!
//! Ids are global and given in order, a schema that is known keeps its own, and a subject takes a schema if its level of
//! compatibility allows it. [`crate::contract::registry`] holds it to what real registries do.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use stream::Registry;
use stream::registry::api::{Api, Stored};
use stream::registry::{Compat, RegistryError};

use crate::fate::{Fate, Moment, Step, Verdict};

/// The level of a subject that has none of its own.
const LEVEL: &str = "BACKWARD";
/// Its address, for people.
const URL: &str = "memory:registry";

/// A registry. Clones are the same one.
#[derive(Clone)]
pub struct Schemas {
    state: Arc<Mutex<State>>,
    fate: Arc<dyn Fate>,
}

#[derive(Default)]
struct State {
    /// By id, from 1.
    schemas: Vec<String>,
    subjects: BTreeMap<String, Subject>,
}

#[derive(Default)]
struct Subject {
    /// Ids, by version from 1.
    versions: Vec<u32>,
    level: Option<String>,
}

impl Schemas {
    /// An empty one that answers every question.
    pub fn new() -> Self {
        Self { state: Arc::default(), fate: Arc::new(()) }
    }

    /// The same schemas for a process whose questions end as `fate` says.
    #[must_use]
    pub fn with(&self, fate: Arc<dyn Fate>) -> Self {
        Self { state: Arc::clone(&self.state), fate }
    }

    /// The handle that product code takes.
    pub fn registry(&self) -> Registry {
        Registry::over(Arc::new(self.clone()))
    }

    async fn ask<T: Send>(
        &self,
        step: Step,
        of: &str,
        what: impl FnOnce(&mut State) -> Result<T, RegistryError> + Send,
    ) -> Result<T, RegistryError> {
        self.pass(step, Moment::Before, of).await?;
        let answer = what(&mut self.state.lock());
        self.pass(step, Moment::After, of).await?;
        answer
    }

    async fn pass(&self, step: Step, moment: Moment, of: &str) -> Result<(), RegistryError> {
        match self.fate.at(step, moment, of) {
            Verdict::Go => Ok(()),
            Verdict::Fail => Err(RegistryError::Unreachable {
                url: URL.to_owned(),
                source: "the test lets it fail".into(),
            }),
            Verdict::Die => std::future::pending().await,
        }
    }
}

impl Default for Schemas {
    fn default() -> Self {
        Self::new()
    }
}

fn refused(status: u16, code: u32, what: &str, message: impl Into<String>) -> RegistryError {
    RegistryError::Refused { what: what.to_owned(), status, code, message: message.into() }
}

fn parsed(text: &str) -> Result<Schema, RegistryError> {
    Schema::parse_str(text).map_err(|error| refused(422, 42201, "a schema", error.to_string()))
}

impl State {
    fn subject(&self, name: &str) -> Result<&Subject, RegistryError> {
        let found = self.subjects.get(name).filter(|subject| !subject.versions.is_empty());
        found.ok_or_else(|| refused(404, 40401, name, "there is no such subject"))
    }

    fn text(&self, id: u32) -> Option<&String> {
        self.schemas.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Why a subject does not take a schema; nothing if it does.
    fn conflict(&self, name: &str, schema: &str) -> Result<Vec<String>, RegistryError> {
        let new = parsed(schema)?;
        let Some(subject) = self.subjects.get(name) else { return Ok(Vec::new()) };
        let level = subject.level.as_deref().unwrap_or(LEVEL);
        let (direction, transitive) =
            level.strip_suffix("_TRANSITIVE").map_or((level, false), |direction| (direction, true));
        let compared = if transitive { subject.versions.len() } else { 1 };
        let mut reasons = Vec::new();
        for (at, id) in subject.versions.iter().enumerate().rev().take(compared) {
            let old = parsed(self.text(*id).expect("a version has a schema"))?;
            let mut reads = |writer: &Schema, reader: &Schema| {
                if let Err(error) = SchemaCompatibility::can_read(writer, reader) {
                    reasons.push(format!("version {}: {error}", at + 1));
                }
            };
            if matches!(direction, "BACKWARD" | "FULL") {
                reads(&old, &new);
            }
            if matches!(direction, "FORWARD" | "FULL") {
                reads(&new, &old);
            }
        }
        Ok(reasons)
    }

    fn register(&mut self, name: &str, schema: &str) -> Result<u32, RegistryError> {
        let meant = |text: &str| serde_json::from_str::<Value>(text).ok();
        let known = self.schemas.iter().position(|known| meant(known) == meant(schema));
        let id = |index: usize| u32::try_from(index + 1).expect("a model has few schemas");
        if let Some(known) = known.map(id)
            && self.subjects.get(name).is_some_and(|subject| subject.versions.contains(&known))
        {
            return Ok(known);
        }
        let reasons = self.conflict(name, schema)?;
        if !reasons.is_empty() {
            return Err(RegistryError::Incompatible { subject: name.to_owned(), reason: reasons.join("; ") });
        }
        let id = known.map_or_else(
            || {
                self.schemas.push(schema.to_owned());
                id(self.schemas.len() - 1)
            },
            id,
        );
        self.subjects.entry(name.to_owned()).or_default().versions.push(id);
        Ok(id)
    }
}

#[async_trait]
impl Api for Schemas {
    fn url(&self) -> &str {
        URL
    }
    async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.ask(Step::Register, subject, |state| state.register(subject, schema)).await
    }
    async fn schema(&self, id: u32) -> Result<Stored, RegistryError> {
        self.ask(Step::Lookup, "", |state| {
            let schema = state.text(id).ok_or(RegistryError::UnknownSchema { id })?.clone();
            Ok(Stored { id, version: None, schema, references: Vec::new() })
        })
        .await
    }
    async fn version(&self, subject: &str, version: Option<u32>) -> Result<Stored, RegistryError> {
        self.ask(Step::Lookup, subject, |state| {
            let versions = &state.subject(subject)?.versions;
            let newest = u32::try_from(versions.len()).expect("a model has few versions");
            let version = version.unwrap_or(newest);
            let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
            let Some(&id) = index.and_then(|index| versions.get(index)) else {
                return Err(refused(404, 40402, subject, "there is no such version"));
            };
            let schema = state.text(id).expect("a version has a schema").clone();
            Ok(Stored { id, version: Some(version), schema, references: Vec::new() })
        })
        .await
    }
    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        self.ask(Step::Lookup, subject, |state| {
            Ok((1..).zip(&state.subject(subject)?.versions).map(|(n, _)| n).collect())
        })
        .await
    }
    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let is_there =
            |(name, subject): (&String, &Subject)| (!subject.versions.is_empty()).then(|| name.clone());
        self.ask(Step::Lookup, "", |state| Ok(state.subjects.iter().filter_map(is_there).collect())).await
    }
    async fn compatible(&self, subject: &str, schema: &str) -> Result<Compat, RegistryError> {
        self.ask(Step::Lookup, subject, |state| {
            let reasons = state.conflict(subject, schema)?;
            Ok(if reasons.is_empty() { Compat::Compatible } else { Compat::Incompatible(reasons) })
        })
        .await
    }
    async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        self.ask(Step::Register, subject, |state| {
            state.subjects.entry(subject.to_owned()).or_default().level = Some(level.to_owned());
            Ok(())
        })
        .await
    }
    async fn compatibility(&self, subject: Option<&str>) -> Result<String, RegistryError> {
        self.ask(Step::Lookup, subject.unwrap_or_default(), |state| {
            let Some(name) = subject else { return Ok(LEVEL.to_owned()) };
            let own = state.subjects.get(name).and_then(|subject| subject.level.clone());
            own.ok_or_else(|| refused(404, 40408, name, "it has no level of its own"))
        })
        .await
    }
    async fn mode(&self) -> Result<String, RegistryError> {
        self.ask(Step::Lookup, "", |_| Ok("READWRITE".to_owned())).await
    }
}
