//! What a run works with, and what its consumer and its tables tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Offset, TopicName};
use stream::{Admin, Kafka, Loss, Records, Registry};

use crate::budget::Permit;
use crate::start::Starts;
use crate::{Progress, Settings};

/// What the stage runs with.
pub type Context = stage::Context<Settings>;

/// Where its records come from, and how far they are.
#[derive(Clone)]
pub struct Input {
    /// The topics.
    pub kafka: Kafka,
    /// Their schemas.
    pub registry: Registry,
    /// Shows how far the partitions are to whoever waits until they are drained.
    pub progress: Progress,
}

/// What the tasks of a run share.
pub(crate) struct Shared {
    pub context: Context,
    pub input: Input,
    pub starts: Arc<Starts>,
    /// Asked whether a topic is still the one that was read. `None` where no broker is.
    pub admin: Option<Admin>,
    generations: AtomicU64,
}
impl Shared {
    pub fn new(context: Context, input: Input, starts: Arc<Starts>, admin: Option<Admin>) -> Self {
        Self { context, input, starts, admin, generations: AtomicU64::new(1) }
    }
    /// A generation that no partition has had.
    pub fn generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }
}

/// To a table's task.
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
    /// All records before this offset were handed over.
    End {
        partition: i32,
        offset: Offset,
        generation: u64,
    },
    Lost {
        loss: Loss,
        generation: u64,
    },
}

/// From a table's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Reads from `offset`, if the partition still has the `expected` generation; then it has the new.
    Seek { topic: TopicName, partition: i32, offset: Offset, expected: u64, generation: u64 },
    /// Where the logs of a topic end, as the broker says: what is there should come.
    Ends { topic: TopicName, ends: Vec<(i32, Offset)> },
    /// Shows how far the table is.
    ShowLag { topic: TopicName, partition: i32, offset: Offset },
    /// Reads no more of the topic: its table halts.
    Halt(TopicName),
}
