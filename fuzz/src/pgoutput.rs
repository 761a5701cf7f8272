//! Messages of PostgreSQL's replication stream, down to the records of the topic.

use bytes::Bytes;

/// Messages, each behind its length in two bytes, little-endian.
pub fn run(data: &[u8]) {
    let mut rest = data;
    let mut messages = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let at = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(at);
        messages.push(Bytes::copy_from_slice(message));
        rest = after;
    }
    let _ = ingest::postgres::replay(messages);
}
