//! A model: one SQL file with its header.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use indexmap::IndexMap;
use model::{TableName, TopicName, column};

use crate::Location;

/// Columns that silver stores after a model's own columns and that no model sees.
pub const HIDDEN: &[&str] = &[
    column::EPOCH,
    column::LSN,
    column::TX_ORDER,
    column::TOPIC_ID,
    column::PARTITION,
    column::OFFSET,
    column::CARRIED,
];

/// The kind of a model, which decides the stage that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Silver: the newest row of each key.
    Scd1,
    /// Silver: every version of each key's row.
    Scd2,
    /// Silver: one row per event.
    Append,
    /// Gold: a stored table that is kept equal to the SQL.
    Table,
    /// A view, which is not stored.
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
    /// Its name in a header.
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
    /// Its kind.
    pub kind: Kind,
    /// What it is about.
    pub description: Option<String>,
    /// Key columns of the output. Empty only for `append` and `view`.
    pub keys: Vec<String>,
    /// The file's SQL without its header, a single SELECT.
    pub sql: String,
    /// The SQL in a normalised spelling, which the fingerprint hashes.
    pub normalised: String,
    /// Tables it reads, each once: in silver the bronze table, in gold silver and gold tables and views.
    pub inputs: Vec<TableName>,
    /// The bronze table in `changes(…)`.
    pub source: Option<TableName>,
    /// Rules on rows.
    pub expectations: Vec<Expectation>,
    /// Rules on the table after a commit.
    pub measures: Vec<Measure>,
    /// Topic on which a gold table is published.
    pub publish: Option<TopicName>,
    /// The interval that `as_of` is floored to.
    pub tick: Duration,
    /// Columns whose change starts a new version of an `scd2` row. Empty: all.
    pub track_history: Vec<String>,
    /// Partition columns of the table.
    pub partition_by: Vec<String>,
    /// Columns to sort by when the table is compacted.
    pub cluster_by: Vec<String>,
    /// Without vectors, every reader can read the table, but updates copy files.
    pub deletion_vectors: bool,
    /// Whether other engines may read the table's changes. Fixed at creation.
    pub change_feed: bool,
    /// The age of data above which an alarm is due.
    pub freshness: Option<Duration>,
    /// Column of `changes(…)` that orders a key's events, for topics without an envelope.
    pub sequence_by: Option<String>,
    /// Predicate over `changes(…)` that marks deletes, for topics without an envelope.
    pub deletes_when: Option<String>,
    /// Predicate over `changes(…)` that marks truncates, for topics without an envelope.
    pub truncates_when: Option<String>,
    /// Labels for selectors.
    pub tags: Vec<String>,
    /// The contact for this model.
    pub owner: Option<String>,
    /// Notes on columns.
    pub columns: IndexMap<String, ColumnNote>,
    /// Columns of the SELECT, all nullable. Empty while `unlearned`.
    pub schema: SchemaRef,
    /// Whether the schema of a topic behind it is still to be learned. Then its SQL is not checked, and it
    /// cannot run until the project is loaded with that schema.
    pub unlearned: bool,
    /// Hash of everything its rows depend on, 63 bits.
    pub fingerprint: i64,
    /// The fingerprint in the format before contracts were part of it. A table with this fingerprint goes on,
    /// and its next commit sets the newer one. `None`: the rows may differ.
    pub former: Option<i64>,
    /// Where it is declared.
    pub location: Location,
}
impl Model {
    /// Whether a table with this plan has the rows that the model would compute.
    pub fn is_plan(&self, plan: i64) -> bool {
        plan == self.fingerprint || Some(plan) == self.former
    }
    /// The header's facts as table properties under `lakepulse.`.
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
    /// Columns that a reading model sees: its own, and for `scd2` the four history columns.
    pub fn visible(&self) -> SchemaRef {
        if self.kind != Kind::Scd2 {
            return Arc::clone(&self.schema);
        }
        let fields = self.schema.fields().iter().cloned().chain(crate::columns::history_fields());
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// What happens if a rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Otherwise {
    /// Count it.
    #[default]
    Warn,
    /// Drop the row.
    Drop,
    /// Quarantine the row.
    Quarantine,
    /// Halt the table.
    Fail,
}
impl Otherwise {
    /// Its name in a header.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Drop => "drop",
            Self::Quarantine => "quarantine",
            Self::Fail => "fail",
        }
    }
}

/// A rule on rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its name in the header.
    pub name: String,
    /// SQL over the model's columns; true if the row is valid.
    pub predicate: String,
    /// What happens to an invalid row.
    pub otherwise: Otherwise,
}

/// A number about the table, taken after a commit, and its bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its name in the header.
    pub name: String,
    /// SQL aggregate over the model's columns.
    pub expr: String,
    /// SELECT of that number from the table under its own name. Rules with a second table (`relationships`)
    /// join it here.
    pub query: String,
    /// Other tables in `query`.
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

/// Notes on a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnNote {
    /// Its description.
    pub description: Option<String>,
    /// Whether it identifies a person.
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
    /// The value of `now()`.
    pub as_of: Option<String>,
    /// Rows the model must have.
    pub expect: Vec<serde_json::Value>,
    /// Where it is declared.
    pub location: Location,
}
