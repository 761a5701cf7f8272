//! A topic that bronze reads, as its contract in `topics.yaml` says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::text::{BytesForm, DecimalForm};
use model::{TableName, TopicName};

use crate::{Location, columns};

/// One topic and the bronze table that keeps it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Name in Kafka.
    pub name: TopicName,
    /// The table that keeps it.
    pub table: TableName,
    /// What it is about.
    pub description: Option<String>,
    /// How a value is encoded.
    pub value: ValueFormat,
    /// What a value wraps around the row.
    pub envelope: Envelope,
    /// What a text is where JSON should hold a decimal.
    pub decimals: DecimalForm,
    /// How JSON and files hold bytes.
    pub bytes: BytesForm,
    /// How a key is encoded. `None`: in Avro where the registry's frame says so, else as JSON.
    pub key_format: Option<KeyFormat>,
    /// Avro schema of the value as JSON. `None`: learned from the registry, or from the records.
    pub value_schema: Option<Arc<str>>,
    /// Whether `value_schema` is what its contract says, and not what was found out. Only a declared one
    /// is believed of JSON that says nothing of its types.
    pub declared: bool,
    /// Avro schema of the key as JSON: the declared one, else derived from `key` and the value's
    /// schema. `None`: learned from the registry, or the topic has no key.
    pub key_schema: Option<Arc<str>>,
    /// Key columns in the key's order. Empty: no key, or learned from the registry.
    pub key: Vec<String>,
    /// Columns that choose the partition. Never empty where `key` is not.
    pub partition_by: Vec<String>,
    /// Dotted path of the event time in the value. `None`: Kafka's timestamp.
    pub event_time: Option<String>,
    /// Incarnation of the source database, for sources that do not say it in a header.
    pub epoch: Option<i64>,
    /// Whether updates carry the whole row before them.
    pub full_identity: bool,
    /// What the snapshots of a source that is not ours bring.
    pub snapshots: Snapshots,
    /// What its connector writes for a value that it does not have (`unavailable.value.placeholder`).
    /// `None`: Debezium's default.
    pub placeholder: Option<String>,
    /// Number of partitions it is created with.
    pub partitions: i32,
    /// Number of copies it is created with.
    pub replication: i32,
    /// How long Kafka keeps a record. `None`: for ever.
    pub retention: Option<Duration>,
    /// Compatibility level of its subjects, in the registry's own spelling (`BACKWARD_TRANSITIVE`).
    pub compatibility: String,
    /// Settings of the topic by Kafka's own names, `retention.ms` among them where someone declared it.
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
    /// The topic with the schemas of its records: checked, key columns and the key's schema filled in
    /// where only the other is known.
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
    /// How the values and keys of its records are read, as [`READING`] has it: what of the contract says nothing of
    /// columns, and yet gives records to come other values than it gave those before.
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
    /// Whether the columns of its bronze table can only be learned: of Avro from the registry, of JSON in
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

/// Property of a bronze table: the topic that it keeps.
pub const KEEPS: &str = "lakepulse.topic";

/// Property of a bronze table: [`Topic::reading`] of the contract that its newest rows were read by.
pub const READING: &str = "lakepulse.reading";

/// What a value wraps around the row.
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

/// What a snapshot brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Snapshots {
    /// Some rows, perhaps all: it removes none.
    #[default]
    Partial,
    /// Every row there is: a row that it does not bring is gone.
    Whole,
}
impl Snapshots {
    /// As written in a contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::Whole => "whole",
        }
    }
}

/// How a value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueFormat {
    /// Avro in Confluent framing.
    #[default]
    Avro,
    /// JSON text: columns by the topic's schema or by the one each record carries; without schema and
    /// envelope the one column `value`.
    Json,
    /// Bytes that mean nothing to us.
    Bytes,
}

/// How a key is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyFormat {
    /// Avro in Confluent framing.
    Avro,
    /// JSON text.
    Json,
    /// One text in UTF-8.
    Text,
    /// One number of eight bytes, the greatest first.
    Long,
    /// One number of four bytes, the greatest first.
    Int,
    /// One UUID as text.
    Uuid,
    /// Bytes.
    Bytes,
}
impl KeyFormat {
    /// Its word in `topics.yaml`.
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
    /// The format of a word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Avro, Self::Json, Self::Text, Self::Long, Self::Int, Self::Uuid, Self::Bytes];
        all.into_iter().find(|format| format.word() == word)
    }
    /// Whether a key of this format is one value.
    pub const fn is_bare(self) -> bool {
        !matches!(self, Self::Avro | Self::Json)
    }
}

/// Many topics under one contract: `shop.public.*`.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    /// The pattern: `*` stands for any run of letters, dots included.
    pub pattern: String,
    /// The contract. Its `name` and `table` are those of no topic: see [`TopicPattern::topic`].
    pub(crate) contract: Topic,
    pub(crate) glob: globset::GlobMatcher,
}
impl TopicPattern {
    /// The contract of `name`, where the pattern matches it and a table can carry its name.
    pub fn topic(&self, name: &TopicName) -> Option<Topic> {
        if !self.glob.is_match(name.as_str()) {
            return None;
        }
        let table = default_table(name)?;
        Some(Topic { name: name.clone(), table, ..self.contract.clone() })
    }
    /// Whether `table` may be that of a topic the pattern matches.
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

/// `bronze.` and the topic's name without its first part, dots to underscores.
pub(crate) fn default_table(topic: &TopicName) -> Option<TableName> {
    let name = topic.as_str();
    let tail = name.split_once('.').map_or(name, |(_, tail)| tail);
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let table: String = tail.chars().map(legal).collect();
    let table = if table.starts_with(|c: char| c.is_ascii_digit()) { format!("_{table}") } else { table };
    format!("bronze.{table}").parse().ok()
}
