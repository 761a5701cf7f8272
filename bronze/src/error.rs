//! What stops a table or all of bronze, and how the loop reacts. A bad record is not an error: it is a row.

use model::{Reaction, TableName, TopicId, TopicName};
use runtime::{Failure, TRIES};
use stream::Cause;

/// An error of bronze.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake failed.
    #[error("table `{table}`: the lake failed")]
    Lake {
        /// The table.
        table: TableName,
        /// The cause.
        source: lake::Error,
    },
    /// Kafka failed.
    #[error("topic `{topic}`: the broker failed")]
    Stream {
        /// The topic.
        topic: TopicName,
        /// The cause.
        source: stream::Error,
    },
    /// The registry failed.
    #[error("topic `{topic}`: the schema registry failed")]
    Registry {
        /// The topic.
        topic: TopicName,
        /// The cause.
        source: stream::registry::RegistryError,
    },
    /// The registry has no schema yet, and the contract declares none.
    #[error("topic `{topic}` has no schema yet; declare one, or register it")]
    NoSchema {
        /// The topic.
        topic: TopicName,
    },
    /// JSON in an envelope without the types of its texts.
    #[error(
        "records of topic `{topic}` carry no schema: set `value.converter.schemas.enable=true` at their \
         source, or declare the topic's `schema:`"
    )]
    NoSchemaPart {
        /// The topic.
        topic: TopicName,
    },
    /// Avro whose schemas the registry does not have.
    #[error(
        "records of topic `{topic}` name schemas that the registry does not have: register them, or declare the \
         topic's `schema:`"
    )]
    NoKnownSchema {
        /// The topic.
        topic: TopicName,
    },
    /// The consumer failed.
    #[error("the consumer group failed")]
    Consumer {
        /// The cause.
        source: stream::Error,
    },
    /// The topic is not on the broker.
    #[error("topic `{topic}` does not exist; run `lakepulse apply` or create it")]
    NoTopic {
        /// The topic.
        topic: TopicName,
    },
    /// The table is not in the lake, and bronze may not create it.
    #[error("table `{table}` does not exist; run `lakepulse apply`")]
    NoTable {
        /// The table.
        table: TableName,
    },
    /// The topic's contract does not give columns.
    #[error("topic `{topic}` gives no table columns")]
    BadContract {
        /// The topic.
        topic: TopicName,
        /// Why.
        source: avro::Error,
    },
    /// The table's epoch cannot be read.
    #[error("table `{table}`: its property `{}` is `{found}`, which is no epoch", crate::open::EPOCH)]
    BadEpoch {
        /// The table.
        table: TableName,
        /// The property's text.
        found: Box<str>,
        /// Why it is not a number.
        source: std::num::ParseIntError,
    },
    /// The task of a commit panicked, so its outcome is unknown.
    #[error("table `{table}`: the commit task broke off")]
    CommitTask {
        /// The table.
        table: TableName,
    },
    /// Records are lost, or may be.
    #[error(
        "table `{table}` halts: {loss}; check what was lost; `lakepulse accept-loss {topic}` and a new start go on without it"
    )]
    Loss {
        /// The table.
        table: TableName,
        /// Its topic.
        topic: TopicName,
        /// The loss.
        loss: Loss,
    },
    /// A loss that cannot be accepted, because offsets would then refer to other records.
    #[error(
        "table `{table}`: {loss}; that cannot be accepted, its offsets would stand for other records. \
         Bring the records back, or delete topic `{topic}`, make it anew by `lakepulse apply`, and accept that"
    )]
    NotAcceptable {
        /// The table.
        table: TableName,
        /// Its topic.
        topic: TopicName,
        /// The loss.
        loss: Loss,
    },
    /// Another process committed while the loss was examined.
    #[error("table `{table}` has moved on meanwhile, nothing was changed; try again")]
    Moved {
        /// The table.
        table: TableName,
    },
    /// The task of a table panicked.
    #[error("the task of table `{table}` broke off, which is a fault of lakepulse: {said}")]
    BrokeOff {
        /// The table.
        table: TableName,
        /// The panic's message.
        said: String,
    },
    /// The run has ended and some tables are halted.
    #[error("halted: {}", tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Halted {
        /// These.
        tables: Vec<TableName>,
    },
}
impl Failure for Error {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Lake { source, .. } => source.reaction(),
            Self::Stream { source, .. } | Self::Consumer { source } => source.reaction(),
            Self::Registry { source, .. } => source.reaction(),
            // The process that creates or registers it may be a moment behind.
            Self::NoTopic { .. }
            | Self::NoSchema { .. }
            | Self::NoSchemaPart { .. }
            | Self::NoKnownSchema { .. } => Reaction::Retry,
            Self::CommitTask { .. } | Self::Moved { .. } => Reaction::Reload,
            Self::NoTable { .. }
            | Self::BadContract { .. }
            | Self::BadEpoch { .. }
            | Self::Loss { .. }
            | Self::NotAcceptable { .. }
            | Self::BrokeOff { .. }
            | Self::Halted { .. } => Reaction::Halt,
        }
    }

    fn patience(&self) -> Option<u32> {
        let counts = matches!(self, Self::CommitTask { .. }) || self.waits_for_records();
        counts.then_some(TRIES)
    }
}

impl Error {
    /// True if a later record may fix it. While draining, no record comes.
    pub fn waits_for_records(&self) -> bool {
        matches!(self, Self::NoSchemaPart { .. } | Self::NoKnownSchema { .. })
    }
}

/// Records that are lost, or may be. A loss always halts, until a person accepts it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The log starts behind the table's position: retention deleted records that were not read.
    #[error("records {from} to {to} of partition {partition} were deleted before they were read")]
    Retention {
        /// The partition.
        partition: i32,
        /// The table's position.
        from: i64,
        /// Where the log starts.
        to: i64,
    },
    /// The log ends before the table's position: the broker lost records.
    #[error(
        "partition {partition} ends at {end}, before the table's position {from}: the broker lost records"
    )]
    Truncated {
        /// The partition.
        partition: i32,
        /// The table's position.
        from: i64,
        /// Where the log ends.
        end: i64,
    },
    /// The topic was deleted and created again.
    #[error("the topic was created anew: its id is `{now}`, the table was read from `{before}`")]
    Recreated {
        /// The id in the table's positions.
        before: String,
        /// The topic's id.
        now: String,
    },
}
impl Loss {
    /// The loss of a partition that the table has read up to `from`. `topic` is the id it was read under.
    pub(crate) fn of(cause: &Cause, partition: i32, from: i64, topic: &TopicId) -> Self {
        match cause {
            Cause::LogStart(low) => Self::Retention { partition, from, to: low.0 },
            Cause::LogEnd(end) => Self::Truncated { partition, from, end: end.0 },
            Cause::Recreated(now) => Self::Recreated { before: topic.to_string(), now: now.to_string() },
        }
    }
}
