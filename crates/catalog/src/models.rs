//! A model: one SQL file with its header.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use indexmap::IndexMap;
use model::{TableName, TopicName};

use crate::Location;

/// Columns that silver keeps behind a model's own and no model sees.
pub const HIDDEN: &[&str] =
    &["_epoch", "_lsn", "_tx_order", "_topic_id", "_partition", "_offset", "_carried"];

/// What becomes of a model's SQL, and so which stage runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Silver: the newest row of a key.
    Scd1,
    /// Silver: every version of a key's row.
    Scd2,
    /// Silver: every event a row.
    Append,
    /// Gold: stored, kept equal to the SQL.
    Table,
    /// Not stored.
    View,
}
impl Kind {
    /// Whether silver runs it.
    pub fn is_silver(self) -> bool {
        matches!(self, Self::Scd1 | Self::Scd2 | Self::Append)
    }
    /// Whether gold runs it.
    pub fn is_gold(self) -> bool {
        self == Self::Table
    }
    /// As written in a header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scd1 => "scd1",
            Self::Scd2 => "scd2",
            Self::Append => "append",
            Self::Table => "table",
            Self::View => "view",
        }
    }
}

/// One checked model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Folder and file name.
    pub name: TableName,
    /// Which stage runs it.
    pub kind: Kind,
    /// What it is about.
    pub description: Option<String>,
    /// Key columns of the output. Empty only for `append` and `view`.
    pub keys: Vec<String>,
    /// The file's SQL without its header, a single SELECT.
    pub sql: String,
    /// The SQL in one spelling: what the fingerprint hashes.
    pub normalised: String,
    /// Tables it reads, each once: for silver the bronze table, for gold silver and gold tables and views.
    pub inputs: Vec<TableName>,
    /// The bronze table under `changes(…)`.
    pub source: Option<TableName>,
    /// Rules on rows.
    pub expectations: Vec<Expectation>,
    /// Rules on the table after a commit.
    pub measures: Vec<Measure>,
    /// Topic on which a gold table is published.
    pub publish: Option<TopicName>,
    /// To what `as_of` is floored.
    pub tick: Duration,
    /// Columns whose change opens a version of an `scd2` row. Empty: all.
    pub track_history: Vec<String>,
    /// Partition columns of the table.
    pub partition_by: Vec<String>,
    /// Columns to sort by when the table is compacted.
    pub cluster_by: Vec<String>,
    /// Off buys readers that know none, at the price of copied files.
    pub deletion_vectors: bool,
    /// Whether other engines may read the table's changes. Fixed for the table's life.
    pub change_feed: bool,
    /// Older than this is worth an alarm.
    pub freshness: Option<Duration>,
    /// Column of `changes(…)` that orders a key's events, for topics without an envelope.
    pub sequence_by: Option<String>,
    /// Predicate over `changes(…)` that makes an event a delete, for topics without an envelope.
    pub deletes_when: Option<String>,
    /// Predicate over `changes(…)` that makes an event a truncate, for topics without an envelope.
    pub truncates_when: Option<String>,
    /// Labels to select by.
    pub tags: Vec<String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// What is said of columns.
    pub columns: IndexMap<String, ColumnNote>,
    /// Columns of the SELECT, all nullable. Empty while `unlearned`.
    pub schema: SchemaRef,
    /// Whether a topic it rests on has a schema that only the registry knows: nothing of its SQL is
    /// checked and it cannot run until the project is loaded with that schema.
    pub unlearned: bool,
    /// Hash of what its rows depend on, 63 bits.
    pub fingerprint: i64,
    /// The same as it was before contracts of topics were part of it. A table with it goes on, and its
    /// next commit has the newer one. `None`: its rows may be others by now.
    pub former: Option<i64>,
    /// Where it is declared.
    pub location: Location,
}
impl Model {
    /// Whether a table of this plan holds what the model's would.
    pub fn is_plan(&self, plan: i64) -> bool {
        plan == self.fingerprint || Some(plan) == self.former
    }
    /// What the table says of itself, as table properties under `lakepulse.`: only what the header says.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let mut said = BTreeMap::new();
        let mut say = |key: &str, value: String| drop(said.insert(format!("lakepulse.{key}"), value));
        if let Some(owner) = &self.owner {
            say("owner", owner.clone());
        }
        if !self.tags.is_empty() {
            say("tags", self.tags.join(","));
        }
        let pii: Vec<&str> = self.columns.iter().filter(|(_, note)| note.pii).map(|(c, _)| &**c).collect();
        if !pii.is_empty() {
            say("pii", pii.join(","));
        }
        said
    }
    /// Columns that a model reading this one sees: its own, and for `scd2` the four of its history.
    pub fn visible(&self) -> SchemaRef {
        if self.kind != Kind::Scd2 {
            return Arc::clone(&self.schema);
        }
        let fields = self.schema.fields().iter().cloned().chain(crate::columns::history_fields());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// What happens when a rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// Count it.
    #[default]
    Warn,
    /// Leave the row out.
    Drop,
    /// Put the row aside.
    Quarantine,
    /// Halt the table.
    Fail,
}
impl Otherwise {
    /// As written in a header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Drop => "drop",
            Self::Quarantine => "quarantine",
            Self::Fail => "fail",
        }
    }
}

/// What is valid of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its name in the header.
    pub name: String,
    /// SQL over the model's columns, true where the row is valid.
    pub predicate: String,
    /// What happens to a row for which it is not true.
    pub otherwise: Otherwise,
}

/// A number about the table after a commit, and its bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name in the header.
    pub name: String,
    /// SQL aggregate over the model's columns.
    pub expr: String,
    /// SELECT of that one number, the table under its own name. Checks that need a second table
    /// (`relationships`) join it here.
    pub query: String,
    /// Tables of `query` beside the model's own.
    pub inputs: Vec<TableName>,
    /// The columns of a relationship.
    pub related: Option<Related>,
    /// Least valid value.
    pub at_least: Option<f64>,
    /// Greatest valid value.
    pub at_most: Option<f64>,
    /// `Warn` or `Fail`.
    pub otherwise: Otherwise,
}

/// The two columns of a `relationships` rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The model with the rule.
    pub from: TableName,
    /// Its column.
    pub column: String,
    /// The column of the other table.
    pub field: String,
}

/// What is said of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnNote {
    /// What it holds.
    pub description: Option<String>,
    /// Whether it tells who a person is.
    pub pii: bool,
    /// Labels.
    pub tags: Vec<String>,
}

/// A named case of a `<table>.test.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// The model it tests.
    pub model: TableName,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: Option<String>,
    /// Rows or change events by input table.
    pub given: IndexMap<TableName, Vec<serde_json::Value>>,
    /// What `now()` means in it.
    pub as_of: Option<String>,
    /// Rows the model must have.
    pub expect: Vec<serde_json::Value>,
    /// Where it is declared.
    pub location: Location,
}
