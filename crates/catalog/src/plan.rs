//! What `apply` would do: the difference between a project's declarations and what exists.
//!
//! A pure function: the caller asks broker, registry and lake, and executes the steps. After that, the plan has
//! no steps. Nothing is ever destroyed: a table that no file declares is not mentioned.
//!
//! Words: a *step* makes one topic, registry subject or table as declared. Its *class* says what that means for
//! readers.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use model::{TableName, TopicName};
use serde::Serialize;

use crate::Project;

mod columns;
mod tables;
#[cfg(test)]
mod tests;
mod topics;

/// What exists, for the names of the project.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Topics by name.
    pub topics: BTreeMap<TopicName, ExistingTopic>,
    /// Registry subjects by name.
    pub subjects: BTreeMap<String, ExistingSubject>,
    /// Tables by name.
    pub tables: BTreeMap<TableName, ExistingTable>,
    /// Records on topics that do not belong to the table to be published there.
    pub strange: BTreeMap<TopicName, Strange>,
}

/// Records on a topic that another table published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// The table they belong to, if known.
    pub of: Option<TableName>,
    /// How many keys.
    pub keys: usize,
}

/// A topic of the broker.
#[derive(Debug, Clone, Default)]
pub struct ExistingTopic {
    /// Number of partitions.
    pub partitions: i32,
    /// Its settings by Kafka's own names.
    pub config: BTreeMap<String, String>,
}

/// A subject of the registry.
#[derive(Debug, Clone)]
pub struct ExistingSubject {
    /// The latest schema as JSON.
    pub schema: String,
    /// Its own compatibility level. `None`: the registry's default.
    pub compatibility: Option<String>,
}

/// A table of the lake.
#[derive(Debug, Clone)]
pub struct ExistingTable {
    /// All its columns, hidden ones too.
    pub schema: SchemaRef,
    /// Fingerprint in its positions.
    pub fingerprint: Option<i64>,
    /// The project that owns it.
    pub project: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Rows, if known.
    pub rows: Option<u64>,
    /// Bytes, if known.
    pub bytes: Option<u64>,
}

/// The effect of a step, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It does not exist yet.
    Create,
    /// Only metadata changes, no rows.
    Metadata,
    /// It gains something; existing readers are not affected.
    Additive,
    /// The same columns with other values: rows change.
    Rebuild,
    /// Columns are removed or change their type, which breaks readers.
    Breaking,
    /// The topic passes from one table to another, or the table from one topic to another.
    Handover,
    /// It cannot be done to what exists; the step has an alternative.
    Incompatible,
}

/// The object of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A Kafka topic.
    Topic(TopicName),
    /// A registry subject.
    Subject(String),
    /// A table of the lake.
    Table(TableName),
}

/// One action of `apply`, or one that is impossible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The object.
    pub object: Object,
    /// The effect.
    pub class: Class,
    /// Whether all rows are recomputed into a shadow before the single cutover commit.
    pub rebuild: bool,
    /// The changes, a phrase each.
    pub changes: Vec<String>,
    /// The alternative, if the class is `Incompatible`.
    pub instead: Option<String>,
    /// The readers, direct and indirect, upstream first. Includes the table itself if it is rebuilt.
    pub downstream: Vec<Reached>,
}

/// A table or topic that a step affects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The table or topic.
    pub object: Object,
    /// Its rows, if known.
    pub rows: Option<u64>,
    /// Its bytes, if known.
    pub bytes: Option<u64>,
}

/// The steps in the order of execution: topics, subjects, tables upstream first, then handovers of topics.
pub fn plan(project: &Project, existing: &Existing) -> Vec<Step> {
    let mut steps = topics::steps(project, existing);
    steps.extend(tables::steps(project, existing));
    steps.extend(existing.strange.iter().filter_map(|(topic, strange)| handover(project, topic, strange)));
    steps
}

/// A topic that passes to another table than the one whose rows it holds.
fn handover(project: &Project, topic: &TopicName, strange: &Strange) -> Option<Step> {
    let table = &project.catalog.published.get(topic)?.table;
    let of = strange.of.as_ref().map_or_else(|| "something else".to_owned(), |of| format!("`{of}`"));
    let keys = strange.keys;
    let changes = vec![
        format!("it holds {keys} keys of {of} and becomes the topic of `{table}`"),
        format!("keys that `{table}` lacks are deleted, and all of its rows are published"),
    ];
    let object = Object::Topic(topic.clone());
    Some(Step {
        object,
        class: Class::Handover,
        rebuild: false,
        changes,
        instead: None,
        downstream: Vec::new(),
    })
}

/// The readers of `table`, and the topics they are published on.
fn reached(project: &Project, existing: &Existing, table: &TableName, itself: bool) -> Vec<Reached> {
    let own = project.catalog.models.get(table).filter(|_| itself);
    let downstream = project.catalog.all_downstream(table);
    let mut reached = Vec::new();
    for model in own.into_iter().chain(downstream) {
        let there = existing.tables.get(&model.name);
        let object = Object::Table(model.name.clone());
        let (rows, bytes) = (there.and_then(|t| t.rows), there.and_then(|t| t.bytes));
        reached.push(Reached { object, rows, bytes });
        if let Some(topic) = &model.publish {
            reached.push(Reached { object: Object::Topic(topic.clone()), rows, bytes: None });
        }
    }
    reached
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Subject(name) => write!(f, "subject `{name}`"),
            Self::Table(name) => write!(f, "table `{name}`"),
        }
    }
}
impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Metadata => "metadata",
            Self::Additive => "additive",
            Self::Rebuild => "rebuild",
            Self::Breaking => "breaking",
            Self::Handover => "handover",
            Self::Incompatible => "incompatible",
        })
    }
}
/// One line: "breaking table `gold.x`, rebuilt: `a` is gone".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class, self.object)?;
        if self.rebuild {
            f.write_str(", rebuilt")?;
        }
        if !self.changes.is_empty() {
            write!(f, ": {}", self.changes.join(", "))?;
        }
        match &self.instead {
            Some(instead) => write!(f, "; {instead}"),
            None => Ok(()),
        }
    }
}
