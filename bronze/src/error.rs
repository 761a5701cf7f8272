//! What stops a table or all of bronze, and what the loop does about it. A bad record is none of
//! these: it is a row.

use model::{Reaction, TableName, TopicId, TopicName};
use stream::Cause;

/// A fault of bronze.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake.
    #[error("table `{table}`: the lake failed")]
    Lake {
        /// The table.
        table: TableName,
        /// What it said.
        source: lake::Error,
    },
    /// Kafka or the registry.
    #[error("topic `{topic}`: the broker failed")]
    Stream {
        /// The topic.
        topic: TopicName,
        /// What it said.
        source: stream::Error,
    },
    /// The registry.
    #[error("topic `{topic}`: the schema registry failed")]
    Registry {
        /// The topic.
        topic: TopicName,
        /// What it said.
        source: stream::registry::Error,
    },
    /// Nobody has registered a schema yet, and the contract names none.
    #[error("topic `{topic}` has no schema yet; declare one, or register it")]
    NoSchema {
        /// The topic.
        topic: TopicName,
    },
    /// JSON in an envelope, of which nothing says what its texts are.
    #[error(
        "records of topic `{topic}` carry no schema: set `value.converter.schemas.enable=true` at their \
         source, or declare the topic's `schema:`"
    )]
    NoSchemaPart {
        /// The topic.
        topic: TopicName,
    },
    /// Avro whose schemas nobody knows.
    #[error(
        "records of topic `{topic}` name schemas that the registry does not have: register them, or declare the \
         topic's `schema:`"
    )]
    NoKnownSchema {
        /// The topic.
        topic: TopicName,
    },
    /// The consumer as a whole.
    #[error("the consumer group failed")]
    Consumer {
        /// What it said.
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
    /// The topic's contract gives no columns.
    #[error("topic `{topic}` gives no table columns")]
    BadContract {
        /// The topic.
        topic: TopicName,
        /// Why.
        source: avro::Error,
    },
    /// The epoch that a table says cannot be read.
    #[error("table `{table}`: its property `{}` is `{found}`, which is no epoch", crate::open::EPOCH)]
    BadEpoch {
        /// The table.
        table: TableName,
        /// What it says.
        found: Box<str>,
        /// What is wrong with it.
        source: std::num::ParseIntError,
    },
    /// A commit ended without an answer, in this process.
    #[error("table `{table}`: the commit task broke off")]
    CommitTask {
        /// The table.
        table: TableName,
    },
    /// Records are gone, or may be.
    #[error(
        "table `{table}` halts: {loss}; check what was lost; `lakepulse accept-loss {topic}` and a new start go on without it"
    )]
    Loss {
        /// The table.
        table: TableName,
        /// Its topic.
        topic: TopicName,
        /// What is lost.
        loss: Loss,
    },
    /// A loss after which offsets would stand for other records.
    #[error(
        "table `{table}`: {loss}; that cannot be accepted, its offsets would stand for other records. \
         Bring the records back, or delete topic `{topic}`, make it anew by `lakepulse apply`, and accept that"
    )]
    NotAcceptable {
        /// The table.
        table: TableName,
        /// Its topic.
        topic: TopicName,
        /// What is lost.
        loss: Loss,
    },
    /// Another process committed while the loss was looked at.
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
        /// What the panic said.
        said: String,
    },
    /// The run is over and some tables stand still.
    #[error("halted: {}", tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Halted {
        /// Which.
        tables: Vec<TableName>,
    },
}
/// How often a table is opened after an error that will be the same again.
const TRIES: u32 = 5;

impl Error {
    /// How often the same is worth trying until it is clear that it fails in the same way each time.
    /// `None`: until somebody answers.
    pub fn patience(&self) -> Option<u32> {
        let counts = matches!(self, Self::CommitTask { .. }) || self.waits_for_records();
        counts.then_some(TRIES)
    }

    /// Whether a record that is still to come may put it right. While draining none comes.
    pub fn waits_for_records(&self) -> bool {
        matches!(self, Self::NoSchemaPart { .. } | Self::NoKnownSchema { .. })
    }

    /// What the loop does next.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Lake { source, .. } => source.reaction(),
            Self::Stream { source, .. } | Self::Consumer { source } => source.reaction(),
            Self::Registry { source, .. } => source.reaction(),
            // Whoever creates or registers it may be a moment behind us.
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
}

/// What is lost, or may be. Nothing of it is ever passed over in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The log starts behind the table's position: retention was faster than we were.
    #[error("records {from} to {to} of partition {partition} were deleted before they were read")]
    Retention {
        /// The partition.
        partition: i32,
        /// The table's position.
        from: i64,
        /// Where the log starts.
        to: i64,
    },
    /// The log ends before the table's position: the broker was set back.
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
        /// Id in the table's positions.
        before: String,
        /// The topic's id.
        now: String,
    },
}
impl Loss {
    /// What a table loses of a partition that it has read up to `from`, of the topic with this id.
    pub(crate) fn of(cause: &Cause, partition: i32, from: i64, topic: &TopicId) -> Self {
        match cause {
            Cause::LogStart(low) => Self::Retention { partition, from, to: low.0 },
            Cause::LogEnd(end) => Self::Truncated { partition, from, end: end.0 },
            Cause::Recreated(now) => Self::Recreated { before: topic.to_string(), now: now.to_string() },
        }
    }
}
