//! What can go wrong with a cluster, and what a loop does next.

use std::time::Duration;

use model::{Reaction, Secret, TopicName};
use rdkafka::error::KafkaError;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong between us and the brokers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The client library refuses the settings.
    #[error("kafka settings are refused: {reason}; see `kafka.config` of the target")]
    Settings {
        /// What the library says.
        reason: String,
    },
    /// No broker answers. The client goes on trying by itself.
    #[error(
        "cannot reach kafka to {action}: {reason}; check that it runs, and `kafka.bootstrap` of the target"
    )]
    Unreachable {
        /// What was tried.
        action: &'static str,
        /// What the library says.
        reason: String,
    },
    /// No secure connection. The client goes on trying by itself.
    #[error(
        "no secure connection to kafka to {action}: {reason}; check `kafka.security` of the target: `protocol`, and `ca` where the authority is your own"
    )]
    Insecure {
        /// What was tried.
        action: &'static str,
        /// What the library says.
        reason: String,
    },
    /// The brokers know us and say no.
    #[error("kafka does not allow us to {action}: {reason}; check credentials and ACLs")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// What the broker says.
        reason: String,
    },
    /// The topic does not exist.
    #[error("topic `{topic}` does not exist; `apply` creates declared topics")]
    NoTopic {
        /// Its name.
        topic: TopicName,
    },
    /// The brokers give topics no ids, so a recreated topic could not be told from the old one.
    #[error("the brokers give topic `{topic}` no id; Kafka 2.8 or later is needed")]
    NoTopicId {
        /// Its name.
        topic: TopicName,
    },
    /// The broker refused something about one topic.
    #[error("cannot {action} topic `{topic}`: {reason}")]
    Topic {
        /// Its name.
        topic: TopicName,
        /// What was tried.
        action: &'static str,
        /// What the broker says.
        reason: String,
    },
    /// A partition cannot be read at an offset: a failed checksum, an unknown codec, a record larger
    /// than the client takes. Nothing is skipped: the partition is tried again from that offset.
    #[error("cannot read partition {partition} of topic `{topic}` from offset {offset}: {reason}")]
    Unreadable {
        /// Which topic.
        topic: TopicName,
        /// Which partition.
        partition: i32,
        /// Where it stands; -2 is the start of the log.
        offset: i64,
        /// What the library says.
        reason: String,
    },
    /// Something did not end in time. Whether it happened is unknown, and it is safe to ask again.
    #[error("kafka did not {action} within {waited:?}")]
    TimedOut {
        /// What was waited for.
        action: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// The producer's queue stayed full. The record was not taken.
    #[error("the producer's queue stayed full for {waited:?}: brokers take records too slowly")]
    QueueFull {
        /// For how long.
        waited: Duration,
    },
    /// The record can never be sent. It was not taken.
    #[error("topic `{topic}` takes no record of {bytes} bytes: {reason}")]
    Unsendable {
        /// Where it was to go.
        topic: TopicName,
        /// Key and value.
        bytes: usize,
        /// What the library says.
        reason: String,
    },
    /// Records that were taken did not arrive. Which of them did is unknown.
    #[error("{failed} records were not delivered, the first to topic `{topic}`: {reason}")]
    NotDelivered {
        /// How many.
        failed: u64,
        /// Topic of the first.
        topic: String,
        /// Its reason.
        reason: String,
    },
    /// The outcome of a step of a transaction is unknown. This producer must not be used again:
    /// make a new one, read where the output stands, go on from there.
    #[error("outcome of `{action}` is unknown: {reason}; a new producer is needed")]
    Indefinite {
        /// Which step.
        action: &'static str,
        /// What the library says.
        reason: String,
    },
    /// Another producer has taken our transactional id, or our transaction was open for too long.
    /// [`runtime::Reclaims`] says whether to take it back.
    #[error(
        "another producer has taken transactional id `{id}`, or its transaction was open for too long; run one project of this name"
    )]
    Fenced {
        /// The id.
        id: String,
    },
    /// The client gave up for good. A new one is needed.
    #[error("the kafka client gave up: {reason}")]
    Broken {
        /// What the library says.
        reason: String,
    },
    /// The machine gives us no thread.
    #[error("cannot start a thread for kafka: {reason}")]
    NoThread {
        /// What the system says.
        reason: String,
    },
}

impl Error {
    /// What a loop does next.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Unreachable { .. }
            | Self::Insecure { .. }
            | Self::Topic { .. }
            | Self::Unreadable { .. }
            | Self::TimedOut { .. }
            | Self::QueueFull { .. }
            | Self::NoThread { .. } => Reaction::Retry,
            Self::NotDelivered { .. } | Self::Indefinite { .. } | Self::Broken { .. } => Reaction::Reload,
            Self::Settings { .. }
            | Self::Denied { .. }
            | Self::NoTopic { .. }
            | Self::NoTopicId { .. }
            | Self::Unsendable { .. }
            | Self::Fenced { .. } => Reaction::Halt,
        }
    }

    /// From what the library says of the settings it was given. Their values are left out.
    pub(crate) fn settings(error: &KafkaError) -> Self {
        Self::Settings { reason: refusal(error) }
    }

    /// From a code of the client library or the protocol, for an action on no particular topic.
    pub(crate) fn of(action: &'static str, failure: &Failure) -> Self {
        let reason = failure.to_string();
        if failure.is_denied() {
            Self::Denied { action, reason }
        } else if failure.code == code::SSL {
            Self::Insecure { action, reason }
        } else if failure.code == code::FATAL {
            Self::Broken { reason }
        } else {
            Self::Unreachable { action, reason }
        }
    }
}

/// What is wrong with a client's settings, without the value that is.
pub(crate) fn refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, says, name, value) => {
            format!("{} (`{name}`)", Secret::new(value.as_str()).hide_in(says))
        }
        error => error.to_string(),
    }
}

/// Codes of librdkafka (negative) and of the Kafka protocol that we tell apart. Plain numbers: a
/// broker may send one that no list of ours has.
pub(crate) mod code {
    pub const FATAL: i32 = -150;
    pub const AUTO_OFFSET_RESET: i32 = -140;
    pub const AUTHENTICATION: i32 = -169;
    pub const ASSIGN_PARTITIONS: i32 = -175;
    pub const SSL: i32 = -181;
    pub const PARTITION_EOF: i32 = -191;
    pub const RESOLVE: i32 = -193;
    pub const TRANSPORT: i32 = -195;
    pub const TIMED_OUT: i32 = -185;
    pub const UNKNOWN_TOPIC: i32 = -188;
    pub const OFFSET_OUT_OF_RANGE: i32 = 1;
    pub const UNKNOWN_TOPIC_OR_PART: i32 = 3;
    pub const LEADER_NOT_AVAILABLE: i32 = 5;
    pub const NOT_LEADER: i32 = 6;
    pub const OFFSET_NOT_AVAILABLE: i32 = 78;
    pub const TOPIC_AUTHORIZATION: i32 = 29;
    pub const GROUP_AUTHORIZATION: i32 = 30;
    pub const CLUSTER_AUTHORIZATION: i32 = 31;
    pub const SASL_AUTHENTICATION: i32 = 58;
}

/// A code and its text, as the client library reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: i32,
    pub text: String,
}

impl Failure {
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code,
            code::AUTHENTICATION
                | code::TOPIC_AUTHORIZATION
                | code::GROUP_AUTHORIZATION
                | code::CLUSTER_AUTHORIZATION
                | code::SASL_AUTHENTICATION
        )
    }
    /// Whether a partition is only between two leaders, as it is just after it was created.
    pub fn is_leaderless(&self) -> bool {
        matches!(self.code, code::LEADER_NOT_AVAILABLE | code::NOT_LEADER | code::OFFSET_NOT_AVAILABLE)
            || self.is_unknown_topic()
    }
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self.code, code::UNKNOWN_TOPIC | code::UNKNOWN_TOPIC_OR_PART)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (code {})", self.text, self.code)
    }
}
