//! `topics.yaml`: contracts of topics, with the schemas they name.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use model::text::{BytesForm, DecimalForm};
use model::{TableName, TopicName};

use super::avsc::{self, Schemas};
use super::contracts::{Contracts, Defaults, PARTITIONS};
use super::files::Found;
use super::settings::topic_defaults;
use super::{Context, Learned, LearnedSchemas};
use crate::columns::{bronze_schema_of, record_columns, value_rows};
use crate::fault::{Fault, did_you_mean};
use crate::shape::files::TOPICS;
use crate::shape::object::Object;
use crate::topic::default_table;
use crate::{Envelope, KeyFormat, Location, Snapshots, Topic, TopicDefaults, TopicPattern, ValueFormat};

const FILE: &str = "topics.yaml";
const WEEK: Duration = Duration::from_secs(7 * 86_400);
pub(super) fn read(
    cx: &mut Context<'_>,
    found: &Found,
    target: &TopicDefaults,
    learned: &Learned,
) -> Contracts {
    let schemas = avsc::read(cx, found);
    let read = if found.topics { cx.object(Path::new(FILE), &TOPICS) } else { None };
    let vague = found.topics && read.as_ref().is_none_or(|root| root.is_faulty("topics"));
    let root = read.unwrap_or_else(|| Object::empty(&TOPICS));
    let contracts = Contracts {
        vague,
        defaults: root.object("defaults").map(Defaults::read).unwrap_or_default(),
        ..Contracts::default()
    };
    let mut reader = ContractReader { cx, target, schemas, learned, contracts };
    if let Some(topics) = root.object("topics") {
        for (name, line, object) in topics.objects() {
            if name.contains('*') {
                reader.pattern(name, line, object)
            } else {
                reader.topic(name, line, object)
            }
        }
        for name in topics.faulty.iter().filter_map(|name| name.parse::<TopicName>().ok()) {
            let table = default_table(&name);
            reader.contracts.broken.insert(name, table);
        }
    }
    reader.learn_patterns();
    reader.one_topic_a_table();
    reader.contracts
}

struct ContractReader<'a, 'c> {
    cx: &'a mut Context<'c>,
    target: &'a TopicDefaults,
    schemas: Schemas,
    learned: &'a Learned,
    contracts: Contracts,
}
impl ContractReader<'_, '_> {
    fn fault(&mut self, line: usize, message: impl Into<String>, help: impl Into<String>) {
        self.cx.faults.add_at(Path::new(FILE), line, message, help);
    }

    fn topic(&mut self, name: &str, line: usize, object: &Object) {
        let Ok(name) = name.parse::<TopicName>() else {
            let help = "a topic name is 1 to 249 letters, digits, `.`, `_`, `-`";
            return self.fault(line, format!("`{name}` is no topic name"), help);
        };
        let before = self.cx.faults.len();
        self.contracts.vague |= object.is_faulty("table");
        if name.as_str().starts_with("_lakepulse") {
            self.fault(line, format!("topic `{name}` is one of our own"), "give it another name");
        }
        let table = match object.text("table") {
            Some(table) => {
                self.contracts.tables_at.insert(name.clone(), object.line_of("table"));
                table.parse().ok()
            }
            None => default_table(&name),
        };
        match &table {
            Some(table) if table.table().contains("__") => {
                let message = format!("table `{table}` of topic `{name}` holds `__`");
                let help = "`__` is for tables kept beside another; name it with `table:`";
                self.fault(object.line_of("table").max(line), message, help);
            }
            Some(_) => {}
            None => {
                self.fault(line, format!("no table can be called after `{name}`"), "name it with `table:`")
            }
        }
        let topic = table.clone().and_then(|table| {
            let topic = self.contract(name.clone(), table, line, object);
            self.with_schemas(topic, line, object)
        });
        match topic {
            Some(topic) if self.cx.faults.len() == before => {
                if object.has("partitions") {
                    self.contracts.sized.insert(name.clone());
                }
                self.contracts.topics.insert(name, topic);
            }
            _ => drop(self.contracts.broken.insert(name, table)),
        }
    }

    fn pattern(&mut self, pattern: &str, line: usize, object: &Object) {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        let glob = globset::Glob::new(pattern).ok().filter(|_| pattern.chars().all(legal));
        let Some(glob) = glob else {
            let help = "a pattern is letters, digits, `.`, `_`, `-`, and `*` for any of them";
            return self.fault(line, format!("`{pattern}` is no pattern of topic names"), help);
        };
        if object.has("table") {
            let help = "drop `table`: each topic's own name gives its table";
            self.fault(object.line_of("table"), format!("`{pattern}` stands for many tables"), help);
        }
        let any = "any".parse::<TopicName>().expect("letters are a topic name");
        let table = "bronze.any".parse().expect("letters are a table name");
        let contract = self.contract(any, table, line, object);
        if let Some(contract) = self.with_schemas(contract, line, object) {
            let glob = glob.compile_matcher();
            self.contracts.patterns.push(TopicPattern { pattern: pattern.to_owned(), contract, glob });
        }
    }

    /// The contract from the keys alone, without its schemas.
    fn contract(&self, name: TopicName, table: TableName, line: usize, object: &Object) -> Topic {
        let defaults = &self.contracts.defaults;
        let envelope = match object.text("envelope").or(defaults.envelope.as_deref()) {
            Some("debezium") => Envelope::Debezium,
            Some("debezium_flat") => Envelope::DebeziumFlat,
            _ => Envelope::None,
        };
        let value = match object.text("value").or(defaults.value.as_deref()) {
            Some("json") => ValueFormat::Json,
            Some("bytes") => ValueFormat::Bytes,
            _ => ValueFormat::Avro,
        };
        // The defaults of Kafka Connect's JSON converter, which Debezium uses.
        let is_connect = envelope != Envelope::None;
        let decimals = match object.text("decimals").or(defaults.decimals.as_deref()) {
            Some("base64") => DecimalForm::Base64,
            None if is_connect => DecimalForm::Base64,
            _ => DecimalForm::Text,
        };
        let bytes = match object.text("bytes").or(defaults.bytes.as_deref()) {
            Some("base64") => BytesForm::Base64,
            Some("hex") => BytesForm::Hex,
            None if is_connect => BytesForm::Base64,
            _ => BytesForm::Text,
        };
        let key_format = object.text("key_format").or(defaults.key_format.as_deref());
        let key_format = key_format.and_then(KeyFormat::parse);
        let own = topic_defaults(object);
        let first = |own: Option<i32>, target: Option<i32>, default: Option<i32>| own.or(target).or(default);
        let retention = object.retention("retention").or(defaults.retention);
        let mut config = defaults.topic.config.clone();
        config.extend(self.target.config.clone());
        if let Some(keep) = retention {
            let keep = keep.map_or("-1".to_owned(), |keep| keep.as_millis().to_string());
            config.insert("retention.ms".to_owned(), keep);
        }
        config.extend(own.config);
        let compatibility = object.text("compatibility").or(defaults.compatibility.as_deref());
        let event_time = object.owned("event_time").or_else(|| match envelope {
            Envelope::Debezium => Some("source.ts_ms".to_owned()),
            Envelope::DebeziumFlat | Envelope::None => None,
        });
        let key = object.texts("key");
        let partition_by = object.texts("partition_by");
        Topic {
            partition_by: if partition_by.is_empty() { key.clone() } else { partition_by },
            name,
            table,
            description: object.owned("description"),
            value,
            envelope,
            decimals,
            bytes,
            key_format,
            value_schema: None,
            declared: false,
            key_schema: None,
            key,
            event_time,
            epoch: object.whole("epoch"),
            full_identity: object.text("replica_identity") == Some("full"),
            snapshots: match object.text("snapshots") {
                Some("whole") => Snapshots::Whole,
                _ => Snapshots::Partial,
            },
            placeholder: object.owned("placeholder"),
            partitions: first(own.partitions, self.target.partitions, defaults.topic.partitions)
                .unwrap_or(PARTITIONS),
            replication: first(own.replication, self.target.replication, defaults.topic.replication)
                .unwrap_or(1),
            // Kafka's default.
            retention: retention.unwrap_or(Some(WEEK)),
            compatibility: compatibility.unwrap_or("backward_transitive").to_uppercase(),
            config,
            location: Location::new(FILE, line),
        }
    }

    /// Adds the declared or learned schemas to a topic, and checks everything against them.
    fn with_schemas(&mut self, mut topic: Topic, line: usize, object: &Object) -> Option<Topic> {
        let value_at = object.text("schema").map(|path| (path, object.line_of("schema")));
        let key_at = object.text("key_schema").map(|path| (path, object.line_of("key_schema")));
        let mut named = |at: Option<(&str, usize)>| match at {
            Some((path, line)) => self.schemas.get(self.cx, path, Path::new(FILE), line).map(Some),
            None => Some(None),
        };
        let (value, key) = (named(value_at), named(key_at));
        let (value, key) = (value?, key?);
        if topic.value == ValueFormat::Bytes && (value.is_some() || topic.envelope != Envelope::None) {
            let help = "drop `schema` and `envelope`, or say how values are encoded with `value: avro`";
            self.fault(line, format!("values of `{}` are bytes and have no columns", topic.name), help);
            return None;
        }
        if !self.check_forms(&topic, line, object) {
            return None;
        }
        topic.declared = value.is_some();
        let Some(value) = value else {
            return match self.learned.get(&topic.name) {
                Some(learned) => self.with_learned(topic, key, learned, line, object),
                None => self.without_value(topic, key, line, object),
            };
        };
        let learned = match topic.learn(&value, key.as_deref()) {
            Ok(topic) => topic,
            Err(error) => {
                self.explain(&error, &topic, &value, line, object);
                return None;
            }
        };
        let faults = check_columns(&learned, &value, line, object);
        let is_sound = faults.is_empty();
        faults.into_iter().for_each(|(line, message, help)| self.fault(line, message, help));
        is_sound.then_some(learned)
    }

    /// Adds learned schemas to a topic. They are not part of the project: if they do not fit the contract, the
    /// topic stays unlearned, and nothing else changes.
    fn with_learned(
        &mut self,
        topic: Topic,
        key: Option<String>,
        learned: &LearnedSchemas,
        line: usize,
        object: &Object,
    ) -> Option<Topic> {
        let known = topic.learn(&learned.value, key.as_deref().or(learned.key.as_deref()));
        let known = known.map_err(|error| error.to_string()).and_then(|known| {
            match check_columns(&known, &learned.value, line, object).into_iter().next() {
                Some((_, message, _)) => Err(message),
                None => Ok(known),
            }
        });
        match known {
            Ok(known) => Some(known),
            Err(why) => {
                self.set_aside(&topic.name, line, &why);
                self.without_value(topic, key, line, object)
            }
        }
    }

    fn set_aside(&mut self, topic: &TopicName, line: usize, why: &str) {
        self.contracts.notices.push(Fault {
            file: FILE.into(),
            line,
            message: format!("what was learned of topic `{topic}` does not fit what is said of it: {why}"),
            help: "models on the topic wait; change its schema, or its entry".to_owned(),
        });
    }

    /// Checks that the declared encodings are possible for such a topic.
    fn check_forms(&mut self, topic: &Topic, line: usize, object: &Object) -> bool {
        let before = self.cx.faults.len();
        if let Some(format) = topic.key_format.filter(|format| format.is_bare()) {
            let line = object.line_of("key_format").max(object.line_of("key")).max(line);
            let (name, word) = (&topic.name, format.word());
            match topic.key.len() {
                1 => {}
                0 => {
                    let message = format!("keys of `{name}` are {word} and no column holds them");
                    self.fault(line, message, "name the column with `key: [column]`");
                }
                columns => {
                    let message = format!("a key of `{name}` is one {word} and not {columns} columns");
                    self.fault(line, message, "name one column in `key`, or encode keys as avro or json");
                }
            }
        }
        for key in ["decimals", "bytes"] {
            if object.has(key) && topic.value == ValueFormat::Bytes {
                let message = format!("values of `{}` are bytes: `{key}` says nothing of them", topic.name);
                self.fault(object.line_of(key), message, format!("drop `{key}`"));
            }
        }
        self.cx.faults.len() == before
    }

    /// A topic without a value schema; the key's schema may be known.
    fn without_value(
        &mut self,
        mut topic: Topic,
        key: Option<String>,
        line: usize,
        object: &Object,
    ) -> Option<Topic> {
        if let Some(key) = key {
            if topic.key.is_empty() {
                topic.key = record_columns(&key).unwrap_or_default();
            }
            topic.key_schema = Some(key.into());
        }
        if !topic.is_unlearned()
            && let Err(error) = bronze_schema_of(&topic)
        {
            self.explain(&error, &topic, "", line, object);
            return None;
        }
        Some(topic)
    }

    fn explain(&mut self, error: &avro::Error, topic: &Topic, value: &str, line: usize, object: &Object) {
        match error {
            avro::Error::NoKeyColumn { column } => {
                let known = columns(topic, value);
                let help = did_you_mean(column, known.iter().map(String::as_str));
                let message = format!("key column `{column}` of `{}` is not in its schema", topic.name);
                self.fault(object.line_of("key").max(line), message, help);
            }
            error => {
                let help = "change the schema file, or what the topic says of it";
                let message = format!("topic `{}` cannot become a table: {error}", topic.name);
                self.fault(object.line_of("schema").max(line), message, help);
            }
        }
    }

    /// Adds learned topics that only a pattern matches.
    fn learn_patterns(&mut self) {
        for (name, schemas) in self.learned {
            if self.contracts.topics.contains_key(name) || self.contracts.broken.contains_key(name) {
                continue;
            }
            let Some(topic) = self.contracts.patterns.iter().find_map(|pattern| pattern.topic(name)) else {
                continue;
            };
            // Topics are created on the broker without regard to each other's tables.
            let taken = self.contracts.topics.values().find(|other| other.table == topic.table);
            if let Some(other) = taken {
                let why = format!("topic `{}` has table `{}` already", other.name, topic.table);
                self.set_aside(name, topic.location.line, &why);
                continue;
            }
            if topic.table.table().contains("__") {
                let why = format!(
                    "its table would be `{}`, and `__` is for tables kept beside another",
                    topic.table
                );
                self.set_aside(name, topic.location.line, &why);
                continue;
            }
            match topic.learn(&schemas.value, schemas.key.as_deref()) {
                Ok(topic) => drop(self.contracts.topics.insert(name.clone(), topic)),
                Err(error) => self.set_aside(name, topic.location.line, &error.to_string()),
            }
        }
    }

    fn one_topic_a_table(&mut self) {
        let mut owners: BTreeMap<&TableName, &TopicName> = BTreeMap::new();
        let mut twice = Vec::new();
        for topic in self.contracts.topics.values() {
            if let Some(first) = owners.insert(&topic.table, &topic.name) {
                let line = self.contracts.tables_at.get(&topic.name).copied().unwrap_or(topic.location.line);
                let message = format!("topics `{first}` and `{}` share table `{}`", topic.name, topic.table);
                twice.push((line, message));
            }
        }
        for (line, message) in twice {
            self.fault(line, message, "give one of them another table with `table:`");
        }
    }
}

/// Columns in the contract that contradict the schema: line, fault and help.
fn check_columns(topic: &Topic, value: &str, line: usize, object: &Object) -> Vec<(usize, String, String)> {
    let mut faults = Vec::new();
    let known = columns(topic, value);
    for column in topic.partition_by.iter().filter(|c| !known.contains(c) && !topic.key.contains(c)) {
        let help = did_you_mean(column, known.iter().map(String::as_str));
        let message = format!("column `{column}` of `partition_by` is not in the schema");
        faults.push((object.line_of("partition_by").max(line), message, help));
    }
    if let (Some(path), Ok(schema)) = (&topic.event_time, avro::Schema::parse(value)) {
        use arrow::datatypes::DataType::{Date32, Int64, Timestamp};
        let line = object.line_of("event_time").max(line);
        match schema.type_at(path) {
            Some(Int64 | Date32 | Timestamp(..)) => {}
            Some(other) => {
                let help = "name a timestamp, a date, or milliseconds since 1970".to_owned();
                faults.push((line, format!("`event_time` `{path}` is of type {other}"), help));
            }
            None => {
                let top = record_columns(value).unwrap_or_default();
                let first = path.split('.').next().unwrap_or_default();
                let help = match top.iter().any(|column| column == first) {
                    true => format!("look for it in `{first}`"),
                    false => did_you_mean(path, top.iter().map(String::as_str)),
                };
                faults.push((line, format!("`event_time` `{path}` is not in the schema"), help));
            }
        }
    }
    faults
}

/// Names of the row's columns.
fn columns(topic: &Topic, value: &str) -> Vec<String> {
    let Ok(schema) = avro::Schema::parse(value) else { return Vec::new() };
    let rows = value_rows(topic, &schema);
    rows.map(|record| record.names().map(str::to_owned).collect()).unwrap_or_default()
}
