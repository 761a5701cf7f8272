//! A source: where records come from, and the topics its streams go to.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use model::TopicName;

use crate::{Location, Setting};

/// One file of `sources/`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the file without its ending.
    pub name: String,
    /// Which connector pulls it: `wwi-sim`, `files`, …
    pub connector: String,
    /// What it is about.
    pub description: Option<String>,
    /// `settings:` as written.
    pub settings: serde_json::Value,
    /// `settings:` of the connectors this version runs.
    pub connection: Connection,
    /// Stream to topic, in the file's order. What a stream is, the connector says.
    pub streams: IndexMap<String, TopicName>,
    /// Where it is declared.
    pub location: Location,
}

impl Source {
    /// Whether its records carry the position of their commit and say so: a database that LakePulse reads
    /// itself.
    pub fn gives_commits(&self) -> bool {
        matches!(self.connection, Connection::WwiSim(_) | Connection::Postgres(_))
    }
}

/// Settings of a connector.
#[derive(Debug, Clone, PartialEq)]
pub enum Connection {
    /// The simulated source database.
    WwiSim(WwiSim),
    /// A watched folder.
    Files(Files),
    /// A PostgreSQL database.
    Postgres(Postgres),
    /// A connector this version knows by name only.
    Other,
}

/// How the simulated source database behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct WwiSim {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Stop after this many events. `None`: never.
    pub events: Option<u64>,
    /// Events a second. `None`: as fast as they are taken.
    pub rate: Option<f64>,
    /// How they are spread over time.
    pub pattern: Pattern,
    /// Share of records sent late, 0 to 1.
    pub disorder: f64,
    /// Share of records sent twice, 0 to 1.
    pub duplicates: f64,
    /// Share of records that cannot be decoded, 0 to 1.
    pub poison: f64,
    /// Change the schema at this event. `None`: never.
    pub schema_change_at: Option<u64>,
}
impl Default for WwiSim {
    fn default() -> Self {
        Self {
            seed: 7,
            events: None,
            rate: Some(500.0),
            pattern: Pattern::Trickle,
            disorder: 0.0,
            duplicates: 0.0,
            poison: 0.0,
            schema_change_at: None,
        }
    }
}

/// How events are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Evenly.
    #[default]
    Trickle,
    /// As fast as they are taken.
    Bulk,
    /// In heaps with pauses between.
    Burst,
}

/// A PostgreSQL database whose changes are published. Its streams are tables, `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`.
    pub url: Setting,
    /// Name of the replication slot. `None`: from the project's name and the source's.
    pub slot: Option<String>,
    /// Name of the publication.
    pub publication: String,
    /// How often the slot moves on while no table changes.
    pub heartbeat: Duration,
}

/// A folder whose files are published, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The watched folder, below the project's unless absolute.
    pub dir: PathBuf,
    /// What the files hold. `None`: their ending says.
    pub format: Option<FileFormat>,
    /// Bad lines go here, with file and line number.
    pub dead_letter: TopicName,
    /// How often the folder is looked at.
    pub poll: Duration,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma separated values with a header line.
    Csv,
    /// One JSON object a line.
    JsonLines,
}
