//! What can go wrong while the log is sent.

use model::{Reaction, TopicName};

use crate::resume::Mismatch;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `sources/*.yaml` names a stream that is no table.
    #[error("the simulated database has no table `{stream}`; its tables are {tables}")]
    NoTable {
        /// What was named.
        stream: String,
        /// What there is.
        tables: String,
    },
    /// A topic is missing.
    #[error("topic `{topic}` does not exist; `lakepulse apply` creates it")]
    NoTopic {
        /// Its name.
        topic: TopicName,
    },
    /// Kafka did not do as asked.
    #[error("cannot write the change log to kafka")]
    Stream(#[from] stream::Error),
    /// The registry did not do as asked.
    #[error("cannot register the schemas of `{subject}`")]
    Registry {
        /// Whose schema it was.
        subject: String,
        /// Why.
        source: stream::registry::Error,
    },
    /// A setting that shapes the log's records, where changes go into a database.
    #[error(
        "`{setting}` spoils records on their way to Kafka: it has no meaning for a database; leave it out"
    )]
    NoSpoiling {
        /// Which.
        setting: &'static str,
    },
    /// PostgreSQL did not do as asked.
    #[error("cannot apply the workload to the database")]
    Database(#[from] pgwire_replication::PgWireError),
    /// The database holds what these settings did not make.
    #[error("the database {why}: give the simulator an empty one, made by compose/postgres/*.sql")]
    OtherDatabase {
        /// How that shows.
        why: String,
    },
    /// Someone else wrote to the end of a partition.
    #[error(
        "the last record of `{topic}` partition {partition}, offset {offset}, has no `lp.seq` header: \
         another program wrote it, so where to go on is unknown; give the simulator topics of its own"
    )]
    NotOurs {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: i32,
        /// The record.
        offset: i64,
    },
    /// The partition holds a log that these settings do not make.
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
    /// The run was stopped while it was still passing over what the topics hold.
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
    /// What a loop does next.
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
