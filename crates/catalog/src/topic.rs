//! A topic that bronze reads, as declared in `topics.yaml`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::text::{BytesForm, DecimalForm};
use model::{TableName, TopicName};

use crate::{Location, columns};

/// A topic and the bronze table that stores it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Name in Kafka.
    pub name: TopicName,
    /// The table that stores it.
    pub table: TableName,
    /// What it is about.
    pub description: Option<String>,
    /// The encoding of values.
    pub value: ValueFormat,
    /// The envelope around the row.
    pub envelope: Envelope,
    /// The form of a decimal in a JSON string.
    pub decimals: DecimalForm,
    /// The form of bytes in JSON and files.
    pub bytes: BytesForm,
    /// The encoding of keys. `None`: Avro if the key has the registry's frame, else JSON.
    pub key_format: Option<KeyFormat>,
    /// Avro schema of the value as JSON. `None`: not learned yet, from the registry or from records.
    pub value_schema: Option<Arc<str>>,
    /// Whether the contract declares `value_schema`. If not, it was learned. JSON without type information is
    /// only read with a declared schema.
    pub declared: bool,
    /// Avro schema of the key as JSON: the declared one, else derived from `key` and the value's schema.
    /// `None`: learned from the registry, or the topic has no key.
    pub key_schema: Option<Arc<str>>,
    /// Key columns in the key's order. Empty: no key, or learned from the registry.
    pub key: Vec<String>,
    /// Columns that choose the partition. Not empty if there is a key.
    pub partition_by: Vec<String>,
    /// Dotted path of the event time in the value. `None`: Kafka's timestamp.
    pub event_time: Option<String>,
    /// Incarnation of the source database, for sources without an epoch header.
    pub epoch: Option<i64>,
    /// Whether updates carry the complete previous row.
    pub full_identity: bool,
    /// Whether snapshots of a foreign source are complete.
    pub snapshots: Snapshots,
    /// The connector's placeholder for a value that it does not have (`unavailable.value.placeholder`). `None`:
    /// Debezium's default.
    pub placeholder: Option<String>,
    /// Number of partitions at creation.
    pub partitions: i32,
    /// Number of replicas at creation.
    pub replication: i32,
    /// How long Kafka keeps a record. `None`: for ever.
    pub retention: Option<Duration>,
    /// Compatibility level of its subjects, in the registry's spelling (`BACKWARD_TRANSITIVE`).
    pub compatibility: String,
    /// Settings of the topic by Kafka's own names. `retention.ms` is included if it was declared.
    pub config: BTreeMap<String, String>,
    /// Where it is declared.
    pub location: Location,
}
impl Topic {
    /// Registry subject of the value: `<topic>-value`.
    pub fn value_subject(&self) -> String {
        format!("{}-value", self.name)
    }
    /// Registry subject of the key: `<topic>-key`.
    pub fn key_subject(&self) -> String {
        format!("{}-key", self.name)
    }
    /// The topic with these schemas of its records. They are checked, and the key columns and the key's schema
    /// are derived from each other if one is missing.
    pub fn learn(&self, value: &str, key: Option<&str>) -> Result<Self, avro::Error> {
        let mut topic = self.clone();
        topic.value_schema = Some(value.into());
        if let Some(key) = key.filter(|_| topic.key_schema.is_none()) {
            topic.key_schema = Some(key.into());
        }
        if let (true, Some(key)) = (topic.key.is_empty(), &topic.key_schema) {
            topic.key = columns::record_columns(key)?;
        }
        if topic.key_schema.is_none() && !topic.key.is_empty() {
            topic.key_schema = Some(columns::derived_key_schema(&topic, value)?.into());
        }
        if topic.partition_by.is_empty() {
            topic.partition_by = topic.key.clone();
        }
        columns::bronze_schema(&topic, value)?;
        Ok(topic)
    }
    /// How values and keys are read, as stored in [`READING`]: the parts of the contract that do not change
    /// columns, but change the values of future records.
    pub fn reading(&self) -> String {
        let value = match self.value {
            ValueFormat::Avro => "avro",
            ValueFormat::Json => "json",
            ValueFormat::Bytes => "bytes",
        };
        let decimals = match self.decimals {
            DecimalForm::Text => "text",
            DecimalForm::Base64 => "base64",
        };
        let bytes = match self.bytes {
            BytesForm::Base64 => "base64",
            BytesForm::Hex => "hex",
            BytesForm::Text => "text",
        };
        let mut reading = format!("value={value}");
        if self.value == ValueFormat::Json {
            reading.push_str(&format!(" decimals={decimals} bytes={bytes}"));
        }
        if let Some(format) = self.key_format {
            reading.push_str(&format!(" key_format={}", format.word()));
        }
        reading
    }
    /// Whether the columns of its bronze table are still to be learned: for Avro from the registry, for JSON in
    /// an envelope from the schema part of its records.
    pub fn is_unlearned(&self) -> bool {
        let learns = match self.value {
            ValueFormat::Avro => true,
            ValueFormat::Json => self.envelope != Envelope::None,
            ValueFormat::Bytes => false,
        };
        self.value_schema.is_none() && learns
    }
}

/// Property of a bronze table: the topic that it stores.
pub const KEEPS: &str = "lakepulse.topic";

/// Property of a bronze table: [`Topic::reading`] of the contract that applied to its newest rows.
pub const READING: &str = "lakepulse.reading";

/// The envelope around the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Envelope {
    /// Nothing: the value is the row.
    #[default]
    None,
    /// `before, after, source, op, ts_ms, transaction`.
    Debezium,
    /// The row, with `__op`, `__deleted`, `__lsn` and the like beside its columns.
    DebeziumFlat,
}

/// Whether a snapshot is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Snapshots {
    /// A snapshot may lack rows, so it deletes none.
    #[default]
    Partial,
    /// A snapshot has every row, so it deletes the rows that it lacks.
    Whole,
}
impl Snapshots {
    /// Its name in a contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::Whole => "whole",
        }
    }
}

/// The encoding of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// Avro in Confluent framing.
    #[default]
    Avro,
    /// JSON text. The columns come from the topic's schema or from the schema in each record; without schema
    /// and envelope there is one column `value`.
    Json,
    /// Opaque bytes.
    Bytes,
}

/// The encoding of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFormat {
    /// Avro in Confluent framing.
    Avro,
    /// JSON text.
    Json,
    /// One UTF-8 string.
    Text,
    /// One 8-byte integer, big endian.
    Long,
    /// One 4-byte integer, big endian.
    Int,
    /// One UUID as text.
    Uuid,
    /// Bytes.
    Bytes,
}
impl KeyFormat {
    /// Its name in `topics.yaml`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::Json => "json",
            Self::Text => "text",
            Self::Long => "long",
            Self::Int => "int",
            Self::Uuid => "uuid",
            Self::Bytes => "bytes",
        }
    }
    /// Parses a name.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Avro, Self::Json, Self::Text, Self::Long, Self::Int, Self::Uuid, Self::Bytes];
        all.into_iter().find(|format| format.word() == word)
    }
    /// Whether a key of this format is one value.
    pub const fn is_bare(self) -> bool {
        !matches!(self, Self::Avro | Self::Json)
    }
}

/// One contract for many topics: `shop.public.*`.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    /// The pattern: `*` matches any run of characters, dots included.
    pub pattern: String,
    /// The contract. Its `name` and `table` are placeholders: see [`TopicPattern::topic`].
    pub(crate) contract: Topic,
    pub(crate) glob: globset::GlobMatcher,
}
impl TopicPattern {
    /// The contract of `name`, if the pattern matches it and a table can have that name.
    pub fn topic(&self, name: &TopicName) -> Option<Topic> {
        if !self.glob.is_match(name.as_str()) {
            return None;
        }
        let table = default_table(name)?;
        Some(Topic { name: name.clone(), table, ..self.contract.clone() })
    }
    /// Whether `table` may store a topic that the pattern matches.
    pub fn may_fill(&self, table: &TableName) -> bool {
        let tail = self.pattern.split_once('.').map_or(&*self.pattern, |(_, tail)| tail);
        let legal = |c: char| match c {
            '*' => '*',
            c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
            _ => '_',
        };
        let tail: String = tail.chars().map(legal).collect();
        let glob = globset::Glob::new(&tail).map(|glob| glob.compile_matcher());
        table.schema() == "bronze" && glob.is_ok_and(|glob| glob.is_match(table.table()))
    }
}

/// `bronze.` and the topic's name without its first part, with dots as underscores.
pub(crate) fn default_table(topic: &TopicName) -> Option<TableName> {
    let name = topic.as_str();
    let tail = name.split_once('.').map_or(name, |(_, tail)| tail);
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let table: String = tail.chars().map(legal).collect();
    let table = if table.starts_with(|c: char| c.is_ascii_digit()) { format!("_{table}") } else { table };
    format!("bronze.{table}").parse().ok()
}
