//! From messages to batches.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use runtime::time::Instant;

use model::{Offset, TopicId, TopicName};

use super::{PAUSE, Worker};
use crate::consumer::part::{FetchState, Next, Parts};
use crate::consumer::shared::Queued;
use crate::consumer::{ConsumerEvent, Limits};
use crate::error::{Failure, code};
use crate::ffi::Message;
use crate::{Error, Records};

impl Worker {
    /// Takes messages once and sends what they are.
    pub(super) fn take(&mut self, wait: Duration) {
        let mut fill = Fill {
            parts: &mut self.parts,
            ids: &self.ids,
            limits: self.limits,
            open: HashMap::new(),
            out: Vec::new(),
            failed: Vec::new(),
            stopped: Vec::new(),
        };
        let batch = self.client.take(wait);
        if batch.len() == 0 {
            return;
        }
        for message in batch.iter() {
            fill.message(message);
        }
        fill.close_all();
        let Fill { out, failed, stopped, .. } = fill;
        drop(batch);
        for queued in out {
            self.shared.put(queued.bytes);
            self.send(queued);
        }
        self.stop_fetching(&stopped);
        for error in failed {
            self.fail(error);
        }
    }
}

/// Sorts the messages of one call by partition.
struct Fill<'w> {
    parts: &'w mut Parts,
    ids: &'w BTreeMap<TopicName, TopicId>,
    limits: Limits,
    /// Batches not yet full, by index of the partition.
    open: HashMap<usize, Records>,
    out: Vec<Queued>,
    failed: Vec<Error>,
    stopped: Vec<(TopicName, i32)>,
}

impl Fill<'_> {
    fn message(&mut self, message: Message<'_>) {
        let index = self.parts.find(message.source(), || message.topic().map(str::to_owned));
        match (message.code(), index) {
            (0, Some(index)) => self.record(index, message),
            (0, None) => {} // of a partition given back
            (code::PARTITION_EOF, Some(index)) => self.end(index, Offset(message.offset())),
            (code, Some(index)) => self.error(index, &Failure { code, text: message.text() }),
            (code, None) => {
                let failure = Failure { code, text: message.text() };
                self.failed.push(general(message.topic(), &failure));
            }
        }
    }

    fn record(&mut self, index: usize, message: Message<'_>) {
        let part = self.parts.at(index);
        // Behind an error in the same call: fetched again from where the error was.
        if part.state != FetchState::Fetching {
            return;
        }
        let offset = message.offset();
        let batch = self.open.entry(index).or_insert_with(|| {
            let id = self.ids[&part.topic].clone();
            Records::new(part.topic.clone(), id, part.partition).with_room(part.room.0, part.room.1)
        });
        batch.push_with(offset, message.timestamp(), message.key(), message.value(), |sink| {
            message.headers(sink)
        });
        part.next = Next::At(Offset(offset).next());
        if batch.len() >= self.limits.max_records || batch.bytes() >= self.limits.max_bytes {
            self.close(index);
        }
    }

    fn end(&mut self, index: usize, end: Offset) {
        self.close(index);
        let part = self.parts.at(index);
        if part.state == FetchState::Fetching {
            // Transaction markers at the end are no records: the position is behind them.
            part.next = Next::At(end);
            let event = ConsumerEvent::End(part.topic.clone(), part.partition, end);
            let generation = Some((part.generation, part.track.clone()));
            self.out.push(Queued { event, bytes: 0, generation });
        }
    }

    /// The library skips what it cannot read and goes on behind it. We do not: the partition is taken
    /// from it, and placed again where it stood, if the log still holds that.
    fn error(&mut self, index: usize, failure: &Failure) {
        self.close(index);
        let part = self.parts.at(index);
        if part.state != FetchState::Fetching {
            return;
        }
        let out_of_range = matches!(failure.code, code::AUTO_OFFSET_RESET | code::OFFSET_OUT_OF_RANGE);
        let pause = if out_of_range { PAUSE / 4 } else { PAUSE };
        part.state = FetchState::Unchecked(Instant::now() + pause);
        self.stopped.push((part.topic.clone(), part.partition));
        let (topic, partition, offset) = (part.topic.clone(), part.partition, part.next.raw());
        let reason = failure.to_string();
        if out_of_range {
            tracing::warn!(%topic, partition, offset, reason, "position refused, its log is asked for");
        } else if failure.is_denied() || failure.is_unknown_topic() {
            self.failed.push(general(Some(topic.as_str()), failure));
        } else {
            self.failed.push(Error::Unreadable { topic, partition, offset, reason });
        }
    }

    fn close(&mut self, index: usize) {
        if let Some(batch) = self.open.remove(&index) {
            let part = self.parts.at(index);
            part.room = (batch.len(), batch.bytes());
            let bytes = batch.bytes().max(1);
            let generation = Some((part.generation, part.track.clone()));
            self.out.push(Queued { event: ConsumerEvent::Records(batch), bytes, generation });
        }
    }

    fn close_all(&mut self) {
        let mut open: Vec<usize> = self.open.keys().copied().collect();
        open.sort_unstable();
        for index in open {
            self.close(index);
        }
    }
}

/// An error that is not about one offset.
fn general(topic: Option<&str>, failure: &Failure) -> Error {
    match topic.and_then(|topic| topic.parse().ok()) {
        Some(topic) if failure.is_unknown_topic() => Error::NoTopic { topic },
        _ => Error::of("read topics", failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::part::Part;

    #[test]
    fn what_cannot_be_read_stops_its_partition_where_it_stands() {
        let topic: TopicName = "t".parse().expect("valid");
        let mut parts = Parts::default();
        let start = Next::At(Offset(7));
        parts.add(Part::new(topic.clone(), 0, start, std::sync::Arc::default(), Instant::now()));
        parts.at(0).state = FetchState::Fetching;
        let limits = Limits::default();
        let mut fill = Fill {
            parts: &mut parts,
            ids: &BTreeMap::new(),
            limits,
            open: HashMap::new(),
            out: Vec::new(),
            failed: Vec::new(),
            stopped: Vec::new(),
        };
        let checksum = Failure { code: -199, text: "failed CRC32C check".to_owned() };
        fill.error(0, &checksum);
        fill.error(0, &checksum);
        assert_eq!(fill.stopped, [(topic, 0)], "taken from the library, once");
        assert!(matches!(&fill.failed[..], [Error::Unreadable { partition: 0, offset: 7, .. }]));
        assert!(matches!(parts.at(0).state, FetchState::Unchecked(_)));
        assert_eq!(parts.at(0).next, start, "nothing is skipped");
    }
}
