//! A project's files, checked: `lakepulse.yaml`, `topics.yaml`, `sources/*.yaml`, `models/**/*.sql`,
//! `schemas/**/*.avsc` and `models/**/*.test.yaml` become one [`Catalog`], or all of their faults at once.
//!
//! | module | subject |
//! | --- | --- |
//! | `fault` | mistakes in a project, their place, and advice |
//! | `project`, `topic`, `source`, `models`, `catalog`, `stages` | a loaded project |
//! | `setting` | texts that refer to secrets, looked up late |
//! | [`shape`] | the keys of every file: one table for both the reader and the JSON Schemas |
//! | [`columns`] | the columns of a topic's table, of `changes(…)` and of a model |
//! | `load` | reads the files, collects the faults |
//! | `fingerprint` | the hash of everything a model's rows depend on |
//! | [`plan`] | the steps that `apply` would take |
//! | [`json_schema`] | JSON Schemas of the files, for editors |
//!
//! Words: a *fault* is a mistake in what the user wrote; an error is not. A topic is *unlearned* while only the
//! registry knows its schema. Never here: a socket, a clock, a broker, a store. Loading reads files below the
//! project's folder and nothing else.

mod catalog;
pub mod columns;
mod fault;
mod fingerprint;
pub mod json_schema;
mod load;
mod models;
pub mod plan;
mod project;
mod setting;
pub mod shape;
mod source;
mod stages;
mod topic;

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
pub use stages::{BronzeSettings, GoldSettings, IngestSettings, SilverSettings, Stages};
pub use topic::{Envelope, KEEPS, KeyFormat, READING, Snapshots, Topic, TopicPattern, ValueFormat};
