//! What can go wrong while the log is sent.

use model::{Reaction, TopicName};

use crate::resume::Mismatch;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `sources/*.yaml` names a stream that is not a table.
    #[error("the simulated database has no table `{stream}`; its tables are {tables}")]
    NoTable {
        /// The given name.
        stream: String,
        /// The existing tables.
        tables: String,
    },
    /// A topic is missing.
    #[error("topic `{topic}` does not exist; `lakepulse apply` creates it")]
    NoTopic {
        /// Its name.
        topic: TopicName,
    },
    /// Kafka failed.
    #[error("cannot write the change log to kafka")]
    Stream(#[from] stream::Error),
    /// The registry failed.
    #[error("cannot register the schemas of `{subject}`")]
    Registry {
        /// The subject.
        subject: String,
        /// The registry's error.
        source: stream::registry::RegistryError,
    },
    /// A setting that spoils records, although changes go into a database.
    #[error(
        "`{setting}` spoils records on their way to Kafka: it has no meaning for a database; leave it out"
    )]
    NoSpoiling {
        /// The setting.
        setting: &'static str,
    },
    /// PostgreSQL failed.
    #[error("cannot apply the workload to the database")]
    Database(#[from] pgwire_replication::PgWireError),
    /// The database contains something that these settings did not generate.
    #[error("the database {why}: give the simulator an empty one, made by compose/postgres/*.sql")]
    OtherDatabase {
        /// How that shows.
        why: String,
    },
    /// Another program wrote to the end of a partition.
    #[error(
        "the last record of `{topic}` partition {partition}, offset {offset}, has no `lp.seq` header: \
         another program wrote it, so where to go on is unknown; give the simulator topics of its own"
    )]
    NotOurs {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: i32,
        /// Offset of the record.
        offset: i64,
    },
    /// The partition has a log that these settings do not generate.
    #[error(
        "record {number} of `{topic}` partition {partition} is not the one these settings make: go on with \
         the settings the log was begun with (seed, disorder, duplicates, poison, schema change, and no \
         fewer events), or begin in a new project"
    )]
    OtherLog {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: i32,
        /// Number of its last record.
        number: u64,
    },
    /// The run was stopped before it reached the ends of the topics.
    #[error(
        "stopped before the log had come to where the topics end: nothing was lost, and no summary is known"
    )]
    Behind,
}

impl From<Mismatch> for Error {
    fn from(Mismatch { topic, partition, number }: Mismatch) -> Self {
        Self::OtherLog { topic, partition, number }
    }
}

impl Error {
    /// How a loop reacts.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Stream(error) => error.reaction(),
            Self::Registry { source, .. } => source.reaction(),
            Self::Behind => Reaction::Reload,
            Self::Database(_) => Reaction::Retry,
            Self::NoTable { .. }
            | Self::NoTopic { .. }
            | Self::NotOurs { .. }
            | Self::OtherLog { .. }
            | Self::NoSpoiling { .. }
            | Self::OtherDatabase { .. } => Reaction::Halt,
        }
    }
}

impl From<Error> for source::Error {
    fn from(error: Error) -> Self {
        Self::new(error.reaction(), error)
    }
}
