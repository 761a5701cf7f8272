//! One batch of one partition: offsets and timestamps as columns, keys, values and headers in one arena.
//!
//! A record costs no allocation of its own. In the arena lie, record after record, its key, its
//! value and its headers; a header is its name and its value, each behind a length.

use model::{Offset, TopicId, TopicName};

/// Length that means "null", which is not "empty".
const NULL: u32 = u32::MAX;

/// Records of one partition in offset order. Offsets rise but skip: what compaction and transaction
/// markers took is no gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// Where they come from.
    pub topic: TopicName,
    /// Its id, which a recreated topic does not share.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// One offset a record.
    pub offsets: Vec<i64>,
    /// Kafka's timestamps in milliseconds, one a record; -1 is unknown.
    pub timestamps: Vec<i64>,
    spans: Vec<ByteRange>,
    arena: Vec<u8>,
}

/// Where a record lies in the arena: key, value and headers one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ByteRange {
    at: usize,
    key: u32,
    value: u32,
    headers: u32,
}

/// A record on its way into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its offset, above that of the record before it.
    pub offset: Offset,
    /// Milliseconds, -1 when unknown.
    pub timestamp: i64,
    /// Null differs from empty.
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone.
    pub value: Option<&'a [u8]>,
    /// In order, names may repeat.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl Records {
    /// An empty batch.
    pub fn new(topic: TopicName, topic_id: TopicId, partition: i32) -> Self {
        Self {
            topic,
            topic_id,
            partition,
            offsets: Vec::new(),
            timestamps: Vec::new(),
            spans: Vec::new(),
            arena: Vec::new(),
        }
    }
    /// An empty batch with room for what its predecessor held.
    pub(crate) fn with_room(mut self, records: usize, bytes: usize) -> Self {
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.spans.reserve(records);
        self.arena.reserve(bytes);
        self
    }

    /// Appends a record.
    pub fn push(&mut self, record: &Record<'_>) {
        self.push_with(record.offset.0, record.timestamp, record.key, record.value, |headers| {
            for (name, value) in record.headers {
                headers.push(name, *value);
            }
        });
    }
    /// Appends a record whose headers are not at hand as a slice.
    pub(crate) fn push_with(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl FnOnce(&mut HeaderSink<'_>),
    ) {
        let at = self.arena.len();
        let key = put(&mut self.arena, key);
        let value = put(&mut self.arena, value);
        let behind = self.arena.len();
        headers(&mut HeaderSink(&mut self.arena));
        let headers = length(self.arena.len() - behind);
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        self.spans.push(ByteRange { at, key, value, headers });
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }
    /// Offset of record `i`.
    pub fn offset(&self, i: usize) -> Offset {
        Offset(self.offsets[i])
    }
    /// Offset of the first record.
    pub fn first(&self) -> Option<Offset> {
        self.offsets.first().copied().map(Offset)
    }
    /// Where to resume once all of these are durable.
    pub fn next(&self) -> Option<Offset> {
        self.offsets.last().map(|last| Offset(*last).next())
    }
    /// Kafka's timestamp of record `i` in milliseconds, -1 when unknown.
    pub fn timestamp(&self, i: usize) -> i64 {
        self.timestamps[i]
    }
    /// Key of record `i`.
    pub fn key(&self, i: usize) -> Option<&[u8]> {
        let span = self.spans[i];
        (span.key != NULL).then(|| &self.arena[span.at..span.at + present(span.key)])
    }
    /// Value of record `i`; `None` is a tombstone.
    pub fn value(&self, i: usize) -> Option<&[u8]> {
        let span = self.spans[i];
        let at = span.at + present(span.key);
        (span.value != NULL).then(|| &self.arena[at..at + present(span.value)])
    }
    /// Headers of record `i`, in order.
    pub fn headers(&self, i: usize) -> Headers<'_> {
        let span = self.spans[i];
        let at = span.at + present(span.key) + present(span.value);
        Headers(&self.arena[at..at + present(span.headers)])
    }
    /// Value of the last header `name` of record `i`.
    pub fn header(&self, i: usize, name: &str) -> Option<&[u8]> {
        self.headers(i).filter(|(n, _)| *n == name).last().and_then(|(_, value)| value)
    }

    /// Values of headers with this name, `most` of them at most, in the order of the records. One search over
    /// all bytes, not a look at each record: bytes of a key or value that look like such a header count, too, so
    /// this is for values that say of themselves what they are.
    pub fn find_headers(&self, name: &str, most: usize) -> Vec<&[u8]> {
        let mut pattern = length(name.len()).to_le_bytes().to_vec();
        pattern.extend_from_slice(name.as_bytes());
        let value = |at: usize| {
            let (size, rest) = self.arena[at + pattern.len()..].split_first_chunk::<4>()?;
            rest.get(..u32::from_le_bytes(*size) as usize)
        };
        memchr::memmem::find_iter(&self.arena, &pattern).filter_map(value).take(most).collect()
    }

    /// Keeps the first `at` records, returns the others.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let from = self.spans.get(at).map_or(self.arena.len(), |span| span.at);
        let mut spans = self.spans.split_off(at);
        for span in &mut spans {
            span.at -= from;
        }
        Self {
            topic: self.topic.clone(),
            topic_id: self.topic_id.clone(),
            partition: self.partition,
            offsets: self.offsets.split_off(at),
            timestamps: self.timestamps.split_off(at),
            spans,
            arena: self.arena.split_off(from),
        }
    }
    /// Drops the records below `offset`: what a replay brings again.
    pub fn drop_below(&mut self, offset: Offset) {
        let at = self.offsets.partition_point(|o| *o < offset.0);
        if at > 0 {
            *self = self.split_off(at);
        }
    }
    /// Appends the records of `later`, which must follow on the same partition.
    pub fn append(&mut self, later: &Self) {
        debug_assert_eq!((&self.topic_id, self.partition), (&later.topic_id, later.partition));
        let from = self.arena.len();
        self.arena.extend_from_slice(&later.arena);
        self.offsets.extend_from_slice(&later.offsets);
        self.timestamps.extend_from_slice(&later.timestamps);
        self.spans.extend(later.spans.iter().map(|span| ByteRange { at: span.at + from, ..*span }));
    }
}

/// Takes the headers of the record being pushed.
pub(crate) struct HeaderSink<'a>(&'a mut Vec<u8>);
impl HeaderSink<'_> {
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        self.0.extend_from_slice(&length(name.len()).to_le_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(&value.map_or(NULL, |v| length(v.len())).to_le_bytes());
        self.0.extend_from_slice(value.unwrap_or_default());
    }
}

/// Headers of one record.
#[derive(Debug, Clone)]
pub struct Headers<'a>(&'a [u8]);
impl<'a> Headers<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n);
        self.0 = rest;
        taken
    }
    fn length(&mut self) -> u32 {
        let bytes = self.take(4);
        u32::from_le_bytes(bytes.try_into().expect("four were taken"))
    }
}
impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let name = self.length();
        let name = std::str::from_utf8(self.take(present(name))).expect("a sink takes names as text");
        let value = self.length();
        Some((name, (value != NULL).then(|| self.take(present(value)))))
    }
}

fn put(arena: &mut Vec<u8>, bytes: Option<&[u8]>) -> u32 {
    arena.extend_from_slice(bytes.unwrap_or_default());
    bytes.map_or(NULL, |bytes| length(bytes.len()))
}

/// Bytes a part takes in the arena.
fn present(length: u32) -> usize {
    if length == NULL { 0 } else { length as usize }
}

/// The protocol's own lengths are 31 bits.
fn length(n: usize) -> u32 {
    u32::try_from(n).expect("no part of a record reaches 4 GiB")
}

#[cfg(test)]
mod tests;
