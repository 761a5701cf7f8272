//! A table's messages, with small batches merged into few large ones.
//!
//! A batch costs nearly the same whether it has ten records or a thousand: a builder for each column at each
//! level, and a turn on the CPU threads. The client returns what one fetch had of each partition, which is
//! little if there are many. So records that arrived while the task was busy are read together. A task that
//! keeps up finds one batch at a time and never waits for another.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::shared::Message;

/// How many messages are looked at together.
const TOGETHER: usize = 256;

/// The router's messages to one table. It outlives the table's task, so messages are not lost when the table
/// is opened again.
pub(crate) struct Inbox {
    messages: UnboundedReceiver<Message>,
    /// The most records in one batch.
    most: usize,
    taken: Vec<Message>,
    ready: VecDeque<Message>,
}

impl Inbox {
    pub fn new(messages: UnboundedReceiver<Message>, most: usize) -> Self {
        Self { messages, most, taken: Vec::with_capacity(TOGETHER), ready: VecDeque::new() }
    }

    /// The next message; `None` once the router is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        if self.ready.is_empty() {
            self.messages.recv_many(&mut self.taken, TOGETHER).await;
            gather(self.taken.drain(..), self.most, &mut self.ready);
        }
        self.ready.pop_front()
    }

    /// True if all messages were taken.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.messages.is_empty()
    }
}

/// Merges consecutive records of a partition into one batch of at most `most` records. Only messages of
/// different partitions change order, and never across a message that concerns all partitions.
fn gather(messages: impl Iterator<Item = Message>, most: usize, into: &mut VecDeque<Message>) {
    let mut open: BTreeMap<i32, Message> = BTreeMap::new();
    for message in messages {
        match &message {
            Message::Records { records, .. } => {
                let partition = records.partition;
                if let Some(message) = join(open.get_mut(&partition), message, most) {
                    into.extend(open.insert(partition, message));
                }
            }
            Message::End { partition, .. } => {
                into.extend(open.remove(partition));
                into.push_back(message);
            }
            Message::Assigned(_) | Message::Revoked(_) | Message::Lost { .. } => {
                into.extend(std::mem::take(&mut open).into_values());
                into.push_back(message);
            }
        }
    }
    into.extend(open.into_values());
}

/// Appends `later` to `open`, or returns it if the two cannot be merged.
fn join(open: Option<&mut Message>, later: Message, most: usize) -> Option<Message> {
    match (open, later) {
        (
            Some(Message::Records { records, generation, permit }),
            Message::Records { records: later, generation: its, permit: more },
        ) if *generation == its
            && records.topic_id == later.topic_id
            && records.len() + later.len() <= most =>
        {
            records.append(&later);
            permit.join(more);
            None
        }
        (_, later) => Some(later),
    }
}

#[cfg(test)]
mod tests;
