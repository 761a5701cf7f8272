//! The Kafka port: everything LakePulse knows about topics, brokers and the schema registry.
//!
//! | module | words |
//! | --- | --- |
//! | [`settings`] | `Kafka`: how to reach a cluster; what no operator may change |
//! | [`cluster`] | the seam: what a cluster has to do, for Kafka and for a model of it |
//! | [`admin`] | topics: create, describe, watermarks, configuration, delete |
//! | [`consumer`] | `Consumer`: batches of records in offset order, `LostPosition` instead of a silent reset |
//! | [`records`] | `Records`: one batch of one partition, in one arena |
//! | [`producer`] | `Producer`: idempotent or transactional; deliveries counted, not awaited |
//! | [`latest`] | a compacted topic folded by key; the last record of each partition; spans of a topic |
//! | [`commits`] | announcements of new table versions, and who owns which table |
//! | [`internal`] | our own topics |
//! | [`hash`] | Kafka's murmur2: which partition a key goes to |
//! | [`registry`] | schema registry client |
//! | [`trial`] | what a cluster really does, tried on a topic made for that |
//!
//! The rules kept here: a consumer group says who has a partition and never where to read from; the
//! position comes from [`consumer::Start`]. A position the log does not hold is a
//! [`consumer::LostPosition`], whatever the broker says. A producer after an error whose outcome is unknown
//! is replaced, never used again.
//!
//! `rdkafka`'s types stop at this crate, and `ffi` is the one module of the workspace with unsafe code.

pub mod admin;
mod aside;
pub mod cluster;
pub mod commits;
pub mod consumer;
pub mod error;
mod ffi;
pub mod hash;
pub mod internal;
pub mod latest;
mod logs;
pub mod producer;
pub mod records;
pub mod registry;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod trial;

pub use admin::{Admin, TopicInfo, TopicSpec};
pub use commits::{Announcer, OwnerEvent, Owners};
pub use consumer::{Cause, Consumer, ConsumerEvent, Limits, LostPosition, Start};
pub use error::{Error, Result};
pub use latest::{TailRecord, latest, read, tail};
pub use logs::hosts;
pub use producer::{Outgoing, Producer};
pub use records::{Record, Records};
pub use registry::{Registry, RegistrySettings};
pub use settings::{Kafka, KafkaSettings};
