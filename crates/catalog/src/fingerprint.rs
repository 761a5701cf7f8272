//! The hash of everything a model's rows depend on. A stage that finds another fingerprint halts until `apply`.
//!
//! The hash covers the SQL's tokens, the header keys that change rows or the table's layout, the columns of the
//! inputs that the SQL names, and the parts of a topic's contract that affect rows already in bronze. It does
//! not cover descriptions, rules that only warn, the publication topic, and columns that the SQL does not name:
//! a wider input is no reason to halt. It never covers a plan, because an upgrade of the engine must not halt a
//! table.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Field, SchemaRef};
use indexmap::IndexMap;
use model::{TableName, column};
use sha2::{Digest, Sha256};

use crate::{Envelope, Kind, Model, Otherwise, Source, Topic};

/// To be raised when the meaning of the hash changes.
const FORMAT: &str = "lakepulse fingerprint 1";

/// 63 bits, so that it fits the version of a Delta `txn`. `inputs` has the columns of each input as the model
/// sees them, and for a view its own fingerprint; `topic` is the one behind `changes(…)`.
pub fn fingerprint(model: &Model, inputs: &Inputs, topic: Option<&Topic>) -> i64 {
    let mut hash = of_model(model, inputs);
    if let Some(topic) = topic {
        contract(&mut hash, model, topic);
    }
    hash.finish()
}

/// The fingerprint from before contracts were part of it, if the rows are still the same. They are not if
/// offsets now order events that positions ordered before, or if the times of a history now follow its
/// sequence.
pub fn former(
    model: &Model,
    inputs: &Inputs,
    topic: &Topic,
    sources: &IndexMap<String, Source>,
) -> Option<i64> {
    let mut ours = sources.values().filter(|source| source.gives_commits());
    let by_commit = ours.any(|source| source.streams.values().any(|fed| *fed == topic.name));
    let ordered_otherwise = match topic.envelope {
        Envelope::None => model.kind == Kind::Scd2 && model.sequence_by.is_some(),
        Envelope::Debezium => !by_commit,
        Envelope::DebeziumFlat => true,
    };
    (!ordered_otherwise).then(|| of_model(model, inputs).finish())
}

/// Columns of each input as the model sees them, and for a view its own fingerprint.
pub type Inputs = BTreeMap<TableName, (SchemaRef, Option<i64>)>;

/// The parts of a contract that affect rows already in bronze. A new field does not compile until someone
/// decides whether an edit of it does.
fn contract(hash: &mut Hash, model: &Model, topic: &Topic) {
    let Topic {
        envelope,
        key,
        event_time,
        snapshots,
        placeholder,
        // Bronze stores it with each row, and silver reads it from there.
        epoch: _,
        // These change how bronze decodes future records. Existing rows stay as they were decoded, so
        // recomputing the table would give the same rows. The columns are covered as columns of the input.
        value: _,
        decimals: _,
        bytes: _,
        key_format: _,
        value_schema: _,
        declared: _,
        key_schema: _,
        // These matter to the writers of the topic, not to its readers.
        partition_by: _,
        partitions: _,
        replication: _,
        retention: _,
        compatibility: _,
        config: _,
        // No stage uses it.
        full_identity: _,
        name: _,
        table: _,
        description: _,
        location: _,
    } = topic;
    let envelope_name = match envelope {
        Envelope::None => "none",
        Envelope::Debezium => "debezium",
        Envelope::DebeziumFlat => "debezium_flat",
    };
    hash.text("envelope", envelope_name);
    hash.list("key", key);
    if model.kind == Kind::Scd2 || Named::of(&model.normalised).holds(column::TS) {
        hash.text("event_time", event_time.as_deref().unwrap_or_default());
    }
    if *envelope != Envelope::None {
        hash.text("snapshots", snapshots.as_str());
        hash.text("placeholder", placeholder.as_deref().unwrap_or_default());
    }
}

fn of_model(model: &Model, inputs: &Inputs) -> Hash {
    let mut hash = Hash(Sha256::new());
    hash.text("format", FORMAT);
    hash.text("kind", model.kind.as_str());
    hash.text("sql", &model.normalised);
    hash.list("keys", &model.keys);
    hash.list("partition_by", &model.partition_by);
    hash.text("deletion_vectors", if model.deletion_vectors { "on" } else { "off" });
    if model.kind == Kind::Table {
        hash.text("tick", &model.tick.as_millis().to_string());
    }
    hash.list("track_history", &sorted(&model.track_history));
    for (key, value) in [
        ("sequence_by", &model.sequence_by),
        ("deletes_when", &model.deletes_when),
        ("truncates_when", &model.truncates_when),
    ] {
        hash.text(key, value.as_deref().unwrap_or_default());
    }
    let shaping = |otherwise| matches!(otherwise, Otherwise::Drop | Otherwise::Quarantine);
    let rules: BTreeMap<&str, String> = model
        .expectations
        .iter()
        .filter(|rule| shaping(rule.otherwise))
        .map(|rule| (&*rule.name, format!("{} {}", rule.otherwise.as_str(), rule.predicate)))
        .collect();
    for (name, rule) in rules {
        hash.text(name, &rule);
    }
    let named = Named::of(&model.normalised);
    for (table, (schema, view)) in inputs {
        hash.text("input", &table.to_string());
        hash.text("view", &view.map(|view| view.to_string()).unwrap_or_default());
        let mut columns: Vec<&Field> = schema.fields().iter().map(AsRef::as_ref).collect();
        columns.sort_by_key(|column| column.name());
        for column in columns.into_iter().filter(|column| named.holds(column.name())) {
            hash.text(column.name(), &type_text(column.data_type()));
        }
    }
    hash
}

fn sorted(texts: &[String]) -> Vec<String> {
    texts.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// A type in our own notation: Arrow's may change with its version.
fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "int8".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::List(item) => format!("list<{}>", type_text(item.data_type())),
        DataType::Map(entry, _) => format!("map<{}>", type_text(entry.data_type())),
        DataType::Struct(fields) => {
            let inner =
                fields.iter().map(|field| format!("{}:{}", field.name(), type_text(field.data_type())));
            format!("struct<{}>", inner.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// The columns that a SQL text may refer to.
enum Named {
    All,
    These(BTreeSet<String>),
}
impl Named {
    /// `normalised` separates its tokens by single spaces.
    fn of(normalised: &str) -> Self {
        let tokens: Vec<&str> = normalised.split(' ').collect();
        let star =
            |pair: &[&str]| pair[1] == "*" && matches!(pair[0], "select" | "distinct" | "all" | "," | ".");
        if tokens.windows(2).any(star) || tokens.contains(&"natural") {
            return Self::All;
        }
        let words = normalised.split(|c: char| !c.is_alphanumeric() && c != '_');
        Self::These(words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect())
    }
    fn holds(&self, column: &str) -> bool {
        match self {
            Self::All => true,
            // A name with other characters is quoted. All its words are in the text, though other words may
            // match as well.
            Self::These(words) => column
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .all(|word| word.is_empty() || words.contains(&word.to_lowercase())),
        }
    }
}

/// The length precedes each text, so no two lists of texts give the same bytes.
struct Hash(Sha256);
impl Hash {
    fn text(&mut self, name: &str, text: &str) {
        for part in [name, text] {
            self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }
    fn list(&mut self, name: &str, texts: &[String]) {
        self.text(name, &texts.len().to_string());
        texts.iter().for_each(|text| self.text("", text));
    }
    fn finish(self) -> i64 {
        let mut first = [0u8; 8];
        first.copy_from_slice(&self.0.finalize()[..8]);
        i64::from_be_bytes(first) & i64::MAX
    }
}
