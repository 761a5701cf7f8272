//! The contracts in `topics.yaml`, and the names of topics whose contracts have faults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;
use model::{TableName, TopicName};

use super::Context;
use super::settings::topic_defaults;
use crate::shape::object::Object;
use crate::{Fault, KeyFormat, Source, Topic, TopicDefaults, TopicPattern};

/// The default number of partitions.
pub(super) const PARTITIONS: i32 = 6;

/// The contracts in `topics.yaml`.
#[derive(Default)]
pub(super) struct Contracts {
    pub topics: IndexMap<TopicName, Topic>,
    /// Topics whose own entry sets the number of partitions.
    pub sized: BTreeSet<TopicName>,
    pub patterns: Vec<TopicPattern>,
    pub defaults: Defaults,
    /// Topics whose entry names a table, with the line.
    pub tables_at: BTreeMap<TopicName, usize>,
    /// Topics with faults, and their tables. Their names are known, so references to them give no further
    /// faults.
    pub broken: BTreeMap<TopicName, Option<TableName>>,
    /// Whether a topic has faults and even its name or table is unknown. Then no name is reported as unknown.
    pub vague: bool,
    /// Learned schemas that fit no topic.
    pub notices: Vec<Fault>,
}
impl Contracts {
    /// Whether the topic is declared, even with faults or only by a pattern.
    pub fn knows(&self, topic: &TopicName) -> bool {
        self.vague
            || self.topics.contains_key(topic)
            || self.broken.contains_key(topic)
            || self.patterns.iter().any(|pattern| pattern.topic(topic).is_some())
    }
    /// Our own sources write Avro keys, so a contract of their topics with another key format is wrong.
    pub fn check_keys(&self, cx: &mut Context<'_>, sources: &IndexMap<String, Source>) {
        for (source, stream) in sources.values().flat_map(|s| s.streams.values().map(move |t| (s, t))) {
            let Some(topic) = self.topics.get(stream) else { continue };
            if let Some(format) = topic.key_format.filter(|format| *format != KeyFormat::Avro) {
                let (word, source) = (format.word(), &source.name);
                let message =
                    format!("`{stream}` says that its keys are {word}, and source `{source}` writes Avro");
                let help = "drop `key_format`, or feed another topic";
                cx.faults.add_at(Path::new(&topic.location.file), topic.location.line, message, help);
            }
        }
    }
    /// Contract of a topic: its own entry, else the first pattern that matches.
    pub fn contract(&self, topic: &TopicName) -> Option<Topic> {
        let pattern = || self.patterns.iter().find_map(|pattern| pattern.topic(topic));
        self.topics.get(topic).cloned().or_else(pattern)
    }
    /// Names of all declared topics, with and without faults.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().chain(self.broken.keys()).map(TopicName::as_str)
    }
    /// The topic that a bronze table stores.
    pub fn topic_of(&self, table: &TableName) -> Option<&Topic> {
        self.topics.values().find(|topic| topic.table == *table)
    }
    /// Whether a table belongs to a topic with faults.
    pub fn is_broken(&self, table: &TableName) -> bool {
        (self.vague && self.topic_of(table).is_none())
            || self.broken.values().any(|broken| broken.as_ref() == Some(table))
    }
    /// Whether a topic that a pattern matches may be stored in this table.
    pub fn may_become(&self, table: &TableName) -> bool {
        self.patterns.iter().any(|pattern| pattern.may_fill(table))
    }
}

/// The defaults for every topic.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub topic: TopicDefaults,
    pub compatibility: Option<String>,
    pub envelope: Option<String>,
    pub value: Option<String>,
    pub decimals: Option<String>,
    pub bytes: Option<String>,
    pub key_format: Option<String>,
    pub retention: Option<Option<Duration>>,
}
impl Defaults {
    pub fn read(object: &Object) -> Self {
        Self {
            topic: topic_defaults(object),
            compatibility: object.owned("compatibility"),
            envelope: object.owned("envelope"),
            value: object.owned("value"),
            decimals: object.owned("decimals"),
            bytes: object.owned("bytes"),
            key_format: object.owned("key_format"),
            retention: object.retention("retention"),
        }
    }
}
