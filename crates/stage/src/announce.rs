//! Wakes the readers of a table.

use model::{TableName, Version};

/// Announces new versions of a table to downstream tables. A hint: it never waits and never fails.
pub trait Announce: Send + Sync {
    /// Wakes the owner of `downstream`.
    fn announce(&self, downstream: &TableName, upstream: &TableName, version: Version);
}
impl Announce for stream::Announcer {
    fn announce(&self, downstream: &TableName, upstream: &TableName, version: Version) {
        stream::Announcer::announce(self, downstream, upstream, version);
    }
}
/// Announces nothing: readers find new versions when they poll.
impl Announce for () {
    fn announce(&self, _: &TableName, _: &TableName, _: Version) {}
}
