//! What the tasks of a run share, and the messages between the router and the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Offset, TopicName};
use stream::{Admin, Kafka, LostPosition, Records, Registry};

use crate::budget::Permit;
use crate::start::Starts;
use crate::{PartitionProgress, Settings};

/// The context of this stage.
pub type Context = stage::Context<Settings>;

/// Where records come from, and how far each partition is.
#[derive(Clone)]
pub struct Input {
    /// The topics.
    pub kafka: Kafka,
    /// Their schemas.
    pub registry: Registry,
    /// Reports how far each partition is.
    pub progress: PartitionProgress,
}

/// One partition of a topic.
pub(crate) type TopicPartition = (TopicName, i32);

/// Shared by all tasks of a run.
pub(crate) struct Shared {
    pub context: Context,
    pub input: Input,
    pub starts: Arc<Starts>,
    /// Asked for topic ids. `None` without a broker.
    pub admin: Option<Admin>,
    generations: AtomicU64,
}
impl Shared {
    pub fn new(context: Context, input: Input, starts: Arc<Starts>, admin: Option<Admin>) -> Self {
        Self { context, input, starts, admin, generations: AtomicU64::new(1) }
    }
    /// A generation that no partition has had yet.
    pub fn generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }
}

/// From the router to a table's task.
#[derive(Debug)]
pub(crate) enum Message {
    /// Partitions with their generations.
    Assigned(Vec<(i32, u64)>),
    Revoked(Vec<i32>),
    Records {
        records: Records,
        generation: u64,
        permit: Permit,
    },
    /// All records before this offset were sent.
    End {
        partition: i32,
        offset: Offset,
        generation: u64,
    },
    Lost {
        loss: LostPosition,
        generation: u64,
    },
}

/// From a table's task, or the lag task, to the router.
#[derive(Debug)]
pub(crate) enum Command {
    /// Reads from `offset` if the partition has the `expected` generation, and sets the new one.
    Seek { topic: TopicName, partition: i32, offset: Offset, expected: u64, generation: u64 },
    /// The ends of a topic's logs at the broker: records up to there should arrive.
    Ends { topic: TopicName, ends: Vec<(i32, Offset)> },
    /// Publishes how far the table is.
    ShowLag { topic: TopicName, partition: i32, offset: Offset },
    /// Stops reading a topic whose table halts.
    Halt(TopicName),
}
