//! What `apply` would do: the difference between what a project declares and what exists.
//!
//! A pure function: someone else asks broker, registry and lake, and someone else does the steps. Doing
//! them and asking again gives no step. Nothing is ever destroyed: a table that no file declares any
//! more is not mentioned.
//!
//! Words: a *step* makes one topic, registry subject or table as declared; its *class* says what that
//! means for those who read it.

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

/// What there is, as far as the project's names reach.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Topics by name.
    pub topics: BTreeMap<TopicName, ExistingTopic>,
    /// Registry subjects by name.
    pub subjects: BTreeMap<String, ExistingSubject>,
    /// Tables by name.
    pub tables: BTreeMap<TableName, ExistingTable>,
    /// What topics hold that is not of the table that is to be published on them.
    pub strange: BTreeMap<TopicName, Strange>,
}

/// Records on a topic that another one published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strange {
    /// The table they are of, where that is known.
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
    /// Its own compatibility level. `None`: the registry's.
    pub compatibility: Option<String>,
}

/// A table of the lake.
#[derive(Debug, Clone)]
pub struct ExistingTable {
    /// All its columns, hidden ones too.
    pub schema: SchemaRef,
    /// Fingerprint in its positions.
    pub fingerprint: Option<i64>,
    /// Marker of the project that made it.
    pub project: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Rows, where known.
    pub rows: Option<u64>,
    /// Bytes, where known.
    pub bytes: Option<u64>,
}

/// What a step means, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It is not there yet.
    Create,
    /// What is said about it changes, no row does.
    Metadata,
    /// It gets more; who reads what there was finds it as it was.
    Additive,
    /// Same columns, computed otherwise: rows change.
    Rebuild,
    /// Columns go or change their type: who reads them breaks.
    Breaking,
    /// It held the rows of one, a topic those of a table or a table those of a topic, and gets those of another.
    Handover,
    /// It cannot be done to what exists; the step says what else.
    Incompatible,
}

/// What a step is about.
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

/// One thing that `apply` would do, or says it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// To what.
    pub object: Object,
    /// What it means.
    pub class: Class,
    /// Whether all rows are computed again into a shadow before the one cutover commit.
    pub rebuild: bool,
    /// What changes, a phrase each.
    pub changes: Vec<String>,
    /// What to do instead, where the class is `Incompatible`.
    pub instead: Option<String>,
    /// Who reads it, itself or through others, upstream first; and itself where it is rebuilt.
    pub downstream: Vec<Reached>,
}

/// A table or topic that a step reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The table or topic.
    pub object: Object,
    /// Its rows, where known.
    pub rows: Option<u64>,
    /// Its bytes, where known.
    pub bytes: Option<u64>,
}

/// Steps in the order in which they have to be done: topics, subjects, tables upstream first, topics that
/// change hands.
pub fn plan(project: &Project, existing: &Existing) -> Vec<Step> {
    let mut steps = topics::steps(project, existing);
    steps.extend(tables::steps(project, existing));
    steps.extend(existing.strange.iter().filter_map(|(topic, strange)| handover(project, topic, strange)));
    steps
}

/// A topic that is to be another table's than the one whose rows it holds.
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

/// Who reads `table`, and the topics they are published on.
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
