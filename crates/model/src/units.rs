//! Numbers with a unit or an origin.

use serde::{Deserialize, Serialize};

/// Position of a record in its Kafka partition. Positions skip numbers (compaction, transaction markers), so a
/// range of offsets is never a row count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offset(pub i64);
impl Offset {
    /// Where to resume once the record at `self` is durable.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Version of a Delta table. The first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u64);
impl Version {
    /// The version of the next commit on top of this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
    /// This version as the `version` of a Delta `txn` action.
    pub const fn position(self) -> i64 {
        self.0.cast_signed()
    }
}
impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Milliseconds since the epoch on the pipeline's own clock. Timestamps from producers are [`EventMs`]. The two
/// never mix, and neither orders changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClockMs(pub i64);

/// Milliseconds since the epoch, as stamped by a producer or a source database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventMs(pub i64);
