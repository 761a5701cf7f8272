//! A table's messages, with few large batches made of many small ones.
//!
//! A batch costs nearly the same to read whether it holds ten records or a thousand: a builder for each column
//! of each level, a turn on the CPU threads. The client hands over what one call brought of each partition,
//! which is little where there are many. So what has come while the task did something else is read together.
//! A task that keeps up finds one batch at a time, and waits for no second.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::shared::Message;

/// Messages looked at together.
const TOGETHER: usize = 256;

/// What the router has handed over to one table. It outlives the table's task: what is in it is not lost when
/// the table is opened again.
pub(crate) struct Inbox {
    messages: UnboundedReceiver<Message>,
    /// The most records of one batch.
    most: usize,
    taken: Vec<Message>,
    ready: VecDeque<Message>,
}

impl Inbox {
    pub fn new(messages: UnboundedReceiver<Message>, most: usize) -> Self {
        Self { messages, most, taken: Vec::with_capacity(TOGETHER), ready: VecDeque::new() }
    }

    /// The next message; `None` when the router is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Message> {
        if self.ready.is_empty() {
            self.messages.recv_many(&mut self.taken, TOGETHER).await;
            gather(self.taken.drain(..), self.most, &mut self.ready);
        }
        self.ready.pop_front()
    }

    /// Whether all that was handed over has been taken.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.messages.is_empty()
    }
}

/// Records of a partition that follow each other become one batch, unless it would hold more than `most`. The
/// order changes between partitions only, and never around what concerns all of them.
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

/// Appends `later` to `open`. Gives it back where the two are not one batch.
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
