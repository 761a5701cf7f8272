//! Reads topics once, up to where they end now: a compacted topic folded by key, the last record of
//! each partition, or everything in given spans.
//!
//! Read committed, up to the ends as they were when the call began, open transactions of others
//! included: behind one of those may lie a committed record of ours, so the call waits for it to end.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Offset, TopicName};
use runtime::time::Instant;

use crate::{Admin, Cause, Consumer, ConsumerEvent, Error, Kafka, Limits, Records, Result};

/// How long reading may stand still: longer than any transaction may stay open.
const PATIENCE: Duration = Duration::from_secs(120);
/// How far before its end a partition is first looked at for its last record.
const STEP: i64 = 64;

/// The last record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, those with a null value as empty.
    pub headers: Vec<(String, Vec<u8>)>,
}
impl TailRecord {
    fn of(records: &Records, i: usize) -> Self {
        Self {
            offset: records.offset(i),
            key: records.key(i).map(<[u8]>::to_vec),
            value: records.value(i).map(<[u8]>::to_vec),
            headers: records
                .headers(i)
                .map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_vec()))
                .collect(),
        }
    }
    /// Value of the last header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }
}

/// The newest value of every key of the topic; keys whose newest is a tombstone are absent, records
/// without a key are passed over.
pub async fn latest(kafka: &Kafka, topic: &TopicName) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let ends = Admin::try_new(kafka)?.watermarks(topic).await?;
    let mut folded = BTreeMap::new();
    read(kafka, topic, &ends, |records| {
        for i in 0..records.len() {
            let Some(key) = records.key(i) else { continue };
            match records.value(i) {
                Some(value) => drop(folded.insert(key.to_vec(), value.to_vec())),
                None => drop(folded.remove(key)),
            }
        }
    })
    .await?;
    Ok(folded)
}

/// The last committed record of each partition that has one.
pub async fn tail(kafka: &Kafka, topic: &TopicName) -> Result<BTreeMap<i32, TailRecord>> {
    let ends = Admin::try_new(kafka)?.watermarks(topic).await?;
    let mut found = BTreeMap::new();
    let mut step = STEP;
    loop {
        // The end may be markers and aborted records only: look further back until there is one.
        let missing: BTreeMap<i32, (Offset, Offset)> = ends
            .iter()
            .filter(|(partition, _)| !found.contains_key(*partition))
            .map(|(partition, (low, high))| (*partition, (Offset((high.0 - step).max(low.0)), *high)))
            .collect();
        read(kafka, topic, &missing, |records| {
            if let Some(last) = records.len().checked_sub(1) {
                found.insert(records.partition, TailRecord::of(&records, last));
            }
        })
        .await?;
        let done = |(partition, (from, _)): (&i32, &(Offset, Offset))| {
            found.contains_key(partition) || *from == ends[partition].0
        };
        if missing.iter().all(done) {
            return Ok(found);
        }
        step = step.saturating_mul(16);
    }
}

/// Reads the committed records of `[from, to)` of each partition, those of a partition in order.
pub async fn read(
    kafka: &Kafka,
    topic: &TopicName,
    spans: &BTreeMap<i32, (Offset, Offset)>,
    mut each: impl FnMut(Records),
) -> Result<()> {
    let mut open: BTreeMap<i32, Offset> = spans
        .iter()
        .filter(|(_, (from, to))| from < to)
        .map(|(partition, (_, to))| (*partition, *to))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let from = open.keys().map(|partition| (topic.clone(), *partition, spans[partition].0)).collect();
    let mut consumer = Consumer::assign(kafka, from, Limits::default())?;
    let mut deadline = Instant::now() + PATIENCE;
    let outcome = loop {
        if open.is_empty() {
            break Ok(());
        }
        let event = match runtime::time::timeout_at(deadline, consumer.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => break Err(Error::Broken { reason: "the consumer ended".to_owned() }),
            Err(_) => break Err(Error::TimedOut { action: "deliver a topic to its end", waited: PATIENCE }),
        };
        match event {
            ConsumerEvent::Records(mut records) => {
                deadline = Instant::now() + PATIENCE;
                let Some(to) = open.get(&records.partition).copied() else { continue };
                let behind = records.offsets.partition_point(|offset| *offset < to.0);
                drop(records.split_off(behind));
                let (partition, next) = (records.partition, records.next());
                each(records);
                if behind == 0 || next >= Some(to) {
                    open.remove(&partition);
                }
            }
            ConsumerEvent::End(_, partition, end) => {
                if open.get(&partition).is_some_and(|to| end >= *to) {
                    open.remove(&partition);
                }
            }
            // The log's start moved up while we began: what is left of it is all there is.
            ConsumerEvent::Lost(loss) => match loss.cause {
                Cause::LogStart(low) => consumer.seek(topic, loss.partition, low),
                Cause::LogEnd(_) | Cause::Recreated(_) => {
                    break Err(Error::Topic {
                        topic: topic.clone(),
                        action: "read",
                        reason: loss.to_string(),
                    });
                }
            },
            ConsumerEvent::Error(error) if error.reaction() == model::Reaction::Retry => {
                tracing::debug!(%error, %topic, "read goes on");
            }
            ConsumerEvent::Error(error) => break Err(error),
            ConsumerEvent::Assigned(_) | ConsumerEvent::Revoked(_) => {}
        }
    };
    consumer.stop().await;
    outcome
}

#[cfg(test)]
mod tests;
