//! Transactions: who may write, what is open, and how one ends.
//!
//! A transaction ends in three steps: (1) the decision is journalled; (2) a marker goes to every
//! partition it wrote to; (3) its end is journalled, with the offsets it promised. Stopped before (1)
//! it is still open, and its producer, or its timeout, ends it. Stopped behind (1) the restarted broker
//! repeats (2) where no marker is yet, then (3). Nobody reading committed records passes an open
//! transaction, so all its records appear at once, or never.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tansu_sans_io::ErrorCode;

use super::journal::Place;

/// Where a transactional id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is open.
    Idle,
    /// Open since then.
    Open(Instant),
    /// Decided, markers being written.
    Ending {
        /// Which way.
        commit: bool,
    },
    /// The last one ended so; its producer may ask again.
    Ended {
        /// Which way.
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

/// What `EndTxn` has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Decide, mark, end.
    Now,
    /// It was done before: a repeated request.
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

    /// Whether the one who asks is the producer that has the id now.
    pub(super) fn check(&self, producer: i64, epoch: i16) -> Result<(), ErrorCode> {
        if producer != self.producer {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if epoch != self.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        Ok(())
    }

    /// Opens a transaction if none is.
    pub(super) fn begin(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Open(_)) {
            self.phase = Phase::Open(now);
        }
    }

    /// Whether its producer may write to `place` now.
    pub(super) fn may_write(&self, place: &Place) -> bool {
        matches!(self.phase, Phase::Open(_)) && self.places.contains(place)
    }

    /// What ending it means.
    pub(super) fn ending(&self, wish: bool) -> Result<Ending, ErrorCode> {
        match self.phase {
            Phase::Open(_) => Ok(Ending::Now),
            Phase::Ending { commit } | Phase::Ended { commit } if commit != wish => {
                Err(ErrorCode::InvalidTxnState)
            }
            Phase::Ending { .. } => Ok(Ending::Now),
            // Nothing was written: both outcomes are the same.
            Phase::Ended { .. } | Phase::Idle => Ok(Ending::Done),
        }
    }

    /// Whether it has been open for longer than its producer allowed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let Phase::Open(since) = self.phase else { return false };
        let limit = Duration::from_millis(u64::try_from(self.timeout_ms).unwrap_or(0).max(1000));
        now.duration_since(since) > limit
    }

    /// Forgets what belonged to the transaction that ended.
    pub(super) fn close(&mut self, commit: bool) {
        self.phase = Phase::Ended { commit };
        self.places.clear();
        self.promises.clear();
    }
}
