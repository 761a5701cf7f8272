//! Transactions: which producer may write, what is open, and how a transaction ends.
//!
//! A transaction ends in three steps: (1) the decision is journalled; (2) a marker goes to every partition it
//! wrote to; (3) its end is journalled, with the offsets it promised. If the broker stops before (1), the
//! transaction is still open, and its producer or its timeout ends it. If the broker stops after (1), the
//! restarted broker repeats (2) where a marker is missing, then (3). A reader of committed records does not
//! pass an open transaction, so all its records appear at once, or never.

use std::collections::BTreeSet;
use std::time::Duration;

use runtime::time::Instant;

use tansu_sans_io::ErrorCode;

use super::journal::Place;

/// The phase of a transactional id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No transaction is open.
    Idle,
    /// A transaction is open since this time.
    Open(Instant),
    /// The outcome is decided; markers are being written.
    Ending {
        /// The outcome.
        commit: bool,
    },
    /// The last transaction ended with this outcome; its producer may ask again.
    Ended {
        /// The outcome.
        commit: bool,
    },
}

/// A transactional id.
#[derive(Debug, Clone)]
pub(super) struct Txn {
    pub producer: i64,
    pub epoch: i16,
    pub timeout_ms: i32,
    pub phase: Phase,
    pub places: BTreeSet<Place>,
    /// Group, partition, offset.
    pub promises: Vec<(String, Place, i64)>,
}

/// What an `EndTxn` request has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Decide, write markers, end.
    Now,
    /// Nothing: it is a repeated request.
    Done,
}

impl Txn {
    pub(super) fn new(producer: i64, epoch: i16, timeout_ms: i32) -> Self {
        Self {
            producer,
            epoch,
            timeout_ms,
            phase: Phase::Idle,
            places: BTreeSet::new(),
            promises: Vec::new(),
        }
    }

    /// Checks that the request comes from the current producer of the id.
    pub(super) fn check(&self, producer: i64, epoch: i16) -> Result<(), ErrorCode> {
        if producer != self.producer {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        Ok(())
    }

    /// Opens a transaction unless one is open.
    pub(super) fn begin(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Open(_)) {
            self.phase = Phase::Open(now);
        }
    }

    /// Whether the producer may write to `place` now.
    pub(super) fn may_write(&self, place: &Place) -> bool {
        matches!(self.phase, Phase::Open(_)) && self.places.contains(place)
    }

    /// What an `EndTxn` request has to do now.
    pub(super) fn ending(&self, wish: bool) -> Result<Ending, ErrorCode> {
        match self.phase {
            Phase::Open(_) => Ok(Ending::Now),
            Phase::Ending { commit } | Phase::Ended { commit } if commit != wish => {
                Err(ErrorCode::InvalidTxnState)
            }
            Phase::Ending { .. } => Ok(Ending::Now),
            // Nothing was written, so both outcomes are the same.
            Phase::Ended { .. } | Phase::Idle => Ok(Ending::Done),
        }
    }

    /// Whether the transaction has been open for longer than its producer allowed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let Phase::Open(since) = self.phase else { return false };
        let limit = Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0).max(1000));
        now.duration_since(since) > limit
    }

    /// Clears the state of the transaction that ended.
    pub(super) fn close(&mut self, commit: bool) {
        self.phase = Phase::Ended { commit };
        self.places.clear();
        self.promises.clear();
    }
}
