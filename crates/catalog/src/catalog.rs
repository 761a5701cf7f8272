//! Everything that a project declares, cross-checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use indexmap::IndexMap;
use model::{TableName, TopicName};

use crate::columns::bronze_schema_of;
use crate::{Kind, Model, Source, TestCase, Topic, TopicPattern};

/// Topics, sources and models of a project.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Topics that bronze reads, in the file's order.
    pub topics: IndexMap<TopicName, Topic>,
    /// Topics whose own entry sets the number of partitions. A default must not change the partitions of a
    /// foreign topic.
    pub sized: BTreeSet<TopicName>,
    /// Contracts for topics that match a pattern.
    pub patterns: Vec<TopicPattern>,
    /// Topics on which gold tables are published.
    pub published: IndexMap<TopicName, Published>,
    /// Sources by file name.
    pub sources: IndexMap<String, Source>,
    /// Models, upstream first.
    pub models: IndexMap<TableName, Model>,
    /// Cases of `<table>.test.yaml`.
    pub tests: Vec<TestCase>,
}

/// A topic that a gold table is published on: compacted, keyed, Avro.
#[derive(Debug, Clone)]
pub struct Published {
    /// Name in Kafka.
    pub name: TopicName,
    /// The gold table.
    pub table: TableName,
    /// Avro schema of its key as JSON.
    pub key_schema: Arc<str>,
    /// Avro schema of its value as JSON.
    pub value_schema: Arc<str>,
    /// Number of partitions at creation.
    pub partitions: i32,
    /// Number of replicas at creation.
    pub replication: i32,
    /// Compatibility level of its subjects.
    pub compatibility: String,
    /// Settings of the topic by Kafka's own names, `cleanup.policy` included.
    pub config: BTreeMap<String, String>,
}

impl Catalog {
    /// The topic that a bronze table stores.
    pub fn topic_of(&self, bronze: &TableName) -> Option<&Topic> {
        self.topics.values().find(|topic| topic.table == *bronze)
    }
    /// Contract of a topic: its own entry, else the first pattern that matches.
    pub fn contract(&self, topic: &TopicName) -> Option<Topic> {
        let pattern = || self.patterns.iter().find_map(|pattern| pattern.topic(topic));
        self.topics.get(topic).cloned().or_else(pattern)
    }
    /// Models that read `table`, directly or through others, upstream first.
    pub fn all_downstream(&self, table: &TableName) -> Vec<&Model> {
        let mut reached = vec![table];
        let mut found = Vec::new();
        for model in self.models.values() {
            if model.inputs.iter().any(|input| reached.contains(&input)) {
                reached.push(&model.name);
                found.push(model);
            }
        }
        found
    }
    /// Stored tables that a model reads, each once; views are replaced by their inputs.
    pub fn stored_inputs(&self, table: &TableName) -> Vec<TableName> {
        let mut stored = Vec::new();
        let mut open: Vec<&TableName> = self.inputs_of(table);
        while let Some(input) = open.pop() {
            match self.models.get(input) {
                Some(view) if view.kind == Kind::View => open.extend(self.inputs_of(&view.name)),
                _ if stored.contains(input) => {}
                _ => stored.push(input.clone()),
            }
        }
        stored
    }
    /// Stored tables that read `table`, directly or through views.
    pub fn followers(&self, table: &TableName) -> Vec<TableName> {
        let stored = self.models.values().filter(|model| model.kind != Kind::View);
        stored.map(|m| &m.name).filter(|name| self.stored_inputs(name).contains(table)).cloned().collect()
    }
    /// Views that a model reads, directly or through others, upstream first.
    pub fn views_of(&self, table: &TableName) -> Vec<&Model> {
        let mut open = self.inputs_of(table);
        let mut names: Vec<&TableName> = Vec::new();
        while let Some(input) = open.pop() {
            let is_view = self.models.get(input).is_some_and(|model| model.kind == Kind::View);
            if is_view && !names.contains(&input) {
                names.push(input);
                open.extend(self.inputs_of(input));
            }
        }
        self.models.values().filter(|model| names.contains(&&model.name)).collect()
    }
    /// Models that silver runs, upstream first.
    pub fn silver(&self) -> impl Iterator<Item = &Model> {
        self.models.values().filter(|model| model.kind.is_silver())
    }
    /// Models that gold runs, upstream first.
    pub fn gold(&self) -> impl Iterator<Item = &Model> {
        self.models.values().filter(|model| model.kind.is_gold())
    }
    /// Topics whose schema is still to be learned.
    pub fn unlearned(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values().filter(|topic| topic.is_unlearned())
    }
    /// Columns of a table as its readers see them. `None`: no such table, or not learned yet.
    pub fn schema_of(&self, table: &TableName) -> Option<SchemaRef> {
        if let Some(model) = self.models.get(table) {
            return (!model.unlearned).then(|| model.visible());
        }
        bronze_schema_of(self.topic_of(table)?).ok().flatten()
    }
    fn inputs_of(&self, table: &TableName) -> Vec<&TableName> {
        self.models.get(table).map(|model| model.inputs.iter().collect()).unwrap_or_default()
    }
}
