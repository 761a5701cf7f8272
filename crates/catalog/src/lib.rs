//! A project's files, checked: `lakepulse.yaml`, `topics.yaml`, `sources/*.yaml`, `models/**/*.sql`,
//! `schemas/**/*.avsc` and `models/**/*.test.yaml` become one [`Catalog`], or all of their faults at once.
//!
//! | module | subject |
//! | --- | --- |
//! | [`fault`] | what is wrong, where, and what to do |
//! | [`project`], [`topic`], [`source`], [`models`], [`catalog`](mod@catalog) | what a loaded project is |
//! | [`setting`] | texts that refer to secrets, looked up late |
//! | [`shape`] | the keys of every file: the one table that the reader and the JSON Schemas share |
//! | [`columns`] | the columns of a topic's table, of `changes(…)` and of a model |
//! | [`load`](mod@load) | reads the files, collects the faults |
//! | [`fingerprint`] | the hash of what a model's rows depend on |
//! | [`plan`] | what `apply` would do, given what exists |
//! | [`json_schema`] | JSON Schemas of the files, for editors |
//!
//! Words: a *fault* is in what the user wrote, an error is not. A topic is *unlearned* while only the
//! registry knows its schema. Never here: a socket, a clock, a broker, a store. Loading reads files
//! below the project's folder and nothing else.

pub mod catalog;
pub mod columns;
pub mod fault;
pub mod fingerprint;
pub mod json_schema;
pub mod load;
pub mod models;
pub mod plan;
pub mod project;
pub mod setting;
pub mod shape;
pub mod source;
pub mod stages;
pub mod topic;

pub use catalog::{Catalog, Published};
pub use fault::{Fault, Location};
pub use load::{Learned, LearnedSchemas, load, load_sound, load_with};
pub use models::{ColumnNote, Expectation, Kind, Measure, Model, Otherwise, Related, TestCase};
pub use project::{
    ClockKind, CommitLimits, KafkaTarget, LakeTarget, Project, RegistryTarget, Target, TopicDefaults,
};
pub use setting::{Nature, Setting, SettingError};
pub use source::{
    Connection, Csv, Encoding, FileFormat, FileIdentity, FilePattern, Files, Pattern, Postgres, Source,
    WwiSim,
};
pub use stages::Stages;
pub use topic::{Envelope, KEEPS, KeyFormat, READING, Snapshots, Topic, TopicPattern, ValueFormat};
