//! Subjects, versions, ids and levels: the fold of the topic, and the rules for additions. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use apache_avro::Schema;

use super::compat::Level;
use super::error::ApiError;
use super::schemas::{Reference, SchemaKey, SchemaValue, SchemaVersion};

/// Two schemas are the same if this is equal: the normalised JSON and the references.
type Sameness = (String, Vec<Reference>);

/// A schema as a client sends it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub schema: Arc<str>,
    pub references: Vec<Reference>,
}

/// The fold of the topic.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    /// All versions, including deleted ones unless they were deleted for good.
    versions: BTreeMap<String, BTreeMap<u32, SchemaVersion>>,
    ids: BTreeMap<u32, Candidate>,
    same: HashMap<Sameness, u32>,
    levels: BTreeMap<String, Level>,
    level: Level,
    last_id: u32,
    /// The highest version a subject ever had, even if it was deleted for good.
    last_version: BTreeMap<String, u32>,
}

/// The outcome of a registration.
#[derive(Debug)]
pub(super) enum Registering {
    /// The subject has the schema already, under this id.
    Known(u32),
    /// A new version, to be written.
    New(SchemaVersion),
}

impl Subjects {
    /// Folds one record.
    pub(super) fn apply(&mut self, key: &SchemaKey, value: Option<&SchemaValue>) -> Result<(), String> {
        match (key, value) {
            (SchemaKey::Schema { .. }, Some(SchemaValue::Schema(version))) => {
                let candidate =
                    Candidate { schema: Arc::clone(&version.schema), references: version.references.clone() };
                self.same
                    .entry(sameness(&candidate).map_err(|error| error.to_string())?)
                    .or_insert(version.id);
                self.ids.entry(version.id).or_insert(candidate);
                self.last_id = self.last_id.max(version.id);
                let last = self.last_version.entry(version.subject.clone()).or_default();
                *last = (*last).max(version.version);
                let versions = self.versions.entry(version.subject.clone()).or_default();
                versions.insert(version.version, version.clone());
            }
            (SchemaKey::Schema { subject, version, .. }, None) => {
                if let Some(versions) = self.versions.get_mut(subject) {
                    versions.remove(version);
                    if versions.is_empty() {
                        self.versions.remove(subject);
                    }
                }
            }
            (SchemaKey::DeleteSubject { .. }, Some(SchemaValue::DeleteSubject { subject, version })) => {
                for gone in self.versions.get_mut(subject).into_iter().flat_map(|v| v.range_mut(..=version)) {
                    gone.1.deleted = true;
                }
            }
            (SchemaKey::Config { subject, .. }, Some(SchemaValue::Config { compatibility_level })) => {
                let level = Level::parse(compatibility_level)
                    .ok_or_else(|| format!("`{compatibility_level}` is no compatibility level"))?;
                match subject {
                    Some(subject) => drop(self.levels.insert(subject.clone(), level)),
                    None => self.level = level,
                }
            }
            (SchemaKey::Config { subject: Some(subject), .. }, None) => drop(self.levels.remove(subject)),
            (SchemaKey::Config { subject: None, .. }, None) => self.level = Level::default(),
            (SchemaKey::DeleteSubject { .. }, None) | (SchemaKey::Noop, _) => {}
            (key, Some(value)) => return Err(format!("{value:?} under {key:?}")),
        }
        Ok(())
    }

    /// Names of the subjects that have at least one version.
    pub(super) fn names(&self) -> Vec<&str> {
        let alive =
            |versions: &BTreeMap<u32, SchemaVersion>| versions.values().any(|version| !version.deleted);
        self.versions.iter().filter(|(_, versions)| alive(versions)).map(|(name, _)| name.as_str()).collect()
    }

    /// Versions of a subject, oldest first.
    pub(super) fn versions(&self, subject: &str) -> Result<Vec<&SchemaVersion>, ApiError> {
        let versions = self.versions.get(subject).into_iter().flat_map(BTreeMap::values);
        let versions: Vec<&SchemaVersion> = versions.filter(|version| !version.deleted).collect();
        if versions.is_empty() { Err(ApiError::NoSubject(subject.to_owned())) } else { Ok(versions) }
    }

    /// A version by its number, or `latest` (also written -1).
    pub(super) fn version(&self, subject: &str, which: &str) -> Result<&SchemaVersion, ApiError> {
        let number = match which {
            "latest" | "-1" => None,
            _ => match which.parse::<u32>() {
                Ok(number) if (1..=i32::MAX as u32).contains(&number) => Some(number),
                _ => return Err(ApiError::BadVersion(which.to_owned())),
            },
        };
        let versions = self.versions(subject)?;
        let version = match number {
            None => versions.last(),
            Some(number) => versions.iter().find(|version| version.version == number),
        };
        version.copied().ok_or_else(|| ApiError::NoVersion(which.to_owned()))
    }

    /// A schema by its id, even if its subjects are deleted: records still use it.
    pub(super) fn schema(&self, id: u32) -> Option<&Candidate> {
        self.ids.get(&id)
    }

    /// The versions under which an id is registered.
    pub(super) fn places(&self, id: u32) -> Vec<&SchemaVersion> {
        let versions = self.versions.values().flat_map(BTreeMap::values);
        versions.filter(|version| version.id == id && !version.deleted).collect()
    }

    /// The version of `subject` with this schema.
    pub(super) fn lookup(&self, subject: &str, candidate: &Candidate) -> Result<&SchemaVersion, ApiError> {
        let versions = self.versions(subject)?;
        let same = sameness(candidate)?;
        let id = self.same.get(&same);
        let found = versions.into_iter().rev().find(|version| Some(&version.id) == id);
        found.ok_or_else(|| ApiError::NoSchema(String::new()))
    }

    /// Decides what a registration does.
    pub(super) fn register(&self, subject: &str, candidate: &Candidate) -> Result<Registering, ApiError> {
        self.parse(candidate)?;
        match self.lookup(subject, candidate) {
            Ok(version) => return Ok(Registering::Known(version.id)),
            Err(ApiError::NoSubject(_) | ApiError::NoSchema(_)) => {}
            Err(error) => return Err(error),
        }
        let versions = self.versions(subject).unwrap_or_default();
        let reasons = self.reasons(subject, candidate, &versions)?;
        if !reasons.is_empty() {
            return Err(ApiError::Incompatible { subject: subject.to_owned(), reasons });
        }
        let known = self.same.get(&sameness(candidate)?).copied();
        Ok(Registering::New(SchemaVersion {
            subject: subject.to_owned(),
            version: self.last_version.get(subject).copied().unwrap_or(0) + 1,
            id: known.unwrap_or(self.last_id + 1),
            schema: Arc::clone(&candidate.schema),
            references: candidate.references.clone(),
            deleted: false,
        }))
    }

    /// The reasons why `candidate` may not follow `versions` at the level of `subject`; empty if it may.
    pub(super) fn reasons(
        &self,
        subject: &str,
        candidate: &Candidate,
        versions: &[&SchemaVersion],
    ) -> Result<Vec<String>, ApiError> {
        let new = self.parse(candidate)?;
        let mut old = Vec::with_capacity(versions.len());
        for version in versions {
            let schema =
                Candidate { schema: Arc::clone(&version.schema), references: version.references.clone() };
            old.push((version.version, self.parse(&schema)?));
        }
        Ok(self.level(Some(subject)).check(&new, &old))
    }

    /// The level of a subject, else the global one.
    pub(super) fn level(&self, subject: Option<&str>) -> Level {
        subject.and_then(|subject| self.own_level(subject)).unwrap_or(self.level)
    }

    /// The level set on the subject itself.
    pub(super) fn own_level(&self, subject: &str) -> Option<Level> {
        self.levels.get(subject).copied()
    }

    /// Whether all versions of a subject are deleted, but not for good.
    pub(super) fn is_deleted(&self, subject: &str) -> bool {
        self.versions.get(subject).is_some_and(|versions| versions.values().all(|version| version.deleted))
    }

    /// Numbers of all versions of a subject, including deleted ones.
    pub(super) fn all_numbers(&self, subject: &str) -> Vec<u32> {
        self.versions.get(subject).into_iter().flat_map(BTreeMap::keys).copied().collect()
    }

    fn parse(&self, candidate: &Candidate) -> Result<Schema, ApiError> {
        let mut parts: BTreeMap<(&str, u32), &SchemaVersion> = BTreeMap::new();
        let mut pending: Vec<&Reference> = candidate.references.iter().collect();
        while let Some(reference) = pending.pop() {
            let place = (reference.subject.as_str(), reference.version);
            if parts.contains_key(&place) {
                continue;
            }
            let found = self.versions.get(place.0).and_then(|versions| versions.get(&place.1));
            let found = found.filter(|version| !version.deleted).ok_or_else(|| {
                let Reference { name, subject, version } = reference;
                ApiError::BadSchema(format!(
                    "`{name}` refers to version {version} of `{subject}`, which is not there"
                ))
            })?;
            parts.insert(place, found);
            pending.extend(&found.references);
        }
        let bad = |error: apache_avro::Error| ApiError::BadSchema(error.to_string());
        if parts.is_empty() {
            return Schema::parse_str(&candidate.schema).map_err(bad);
        }
        let texts: Vec<&str> = parts.into_values().map(|part| &*part.schema).collect();
        let (mut schema, parts) = Schema::parse_str_with_list(&candidate.schema, texts).map_err(bad)?;
        schema.denormalize(&parts).map_err(bad)?;
        Ok(schema)
    }
}

fn sameness(candidate: &Candidate) -> Result<Sameness, ApiError> {
    let json: serde_json::Value = serde_json::from_str(&candidate.schema)
        .map_err(|error| ApiError::BadSchema(format!("it is no JSON: {error}")))?;
    let mut references = candidate.references.clone();
    references.sort();
    Ok((json.to_string(), references))
}
