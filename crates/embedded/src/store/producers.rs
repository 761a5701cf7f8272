//! The batches that a partition has of each idempotent producer. A batch that is sent twice is stored once, and
//! a batch that would leave a hole is refused.

use std::collections::{HashMap, VecDeque};

use tansu_sans_io::ErrorCode;

use super::batch::Head;

/// The most batches a client may have in flight and may send again (Kafka's own limit).
const REMEMBERED: usize = 5;

/// The last batches of a producer.
#[derive(Debug, Default)]
struct Written {
    epoch: i16,
    /// First and last sequence, base offset; newest last.
    batches: VecDeque<(i32, i32, i64)>,
}

/// The producers of one partition.
#[derive(Debug, Default)]
pub(super) struct Producers(HashMap<i64, Written>);

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchCheck {
    /// Store it.
    New,
    /// It is stored already, at this offset.
    Repeat(i64),
    /// Answer with this error.
    Refused(ErrorCode),
}

impl Producers {
    /// Decides what to do with a batch that a client sent.
    pub(super) fn check(&self, head: &Head) -> BatchCheck {
        if !head.is_idempotent() {
            return BatchCheck::New;
        }
        // An unknown producer may start at any sequence: its earlier batches may have been deleted.
        let Some(written) = self.0.get(&head.producer) else { return BatchCheck::New };
        if head.epoch < written.epoch {
            return BatchCheck::Refused(ErrorCode::InvalidProducerEpoch);
        }
        if head.epoch > written.epoch {
            return if head.sequence == 0 {
                BatchCheck::New
            } else {
                BatchCheck::Refused(ErrorCode::OutOfOrderSequenceNumber)
            };
        }
        let (first, last) = (head.sequence, head.last_sequence());
        if let Some((.., base)) = written.batches.iter().find(|(f, l, _)| (*f, *l) == (first, last)) {
            return BatchCheck::Repeat(*base);
        }
        match written.batches.back() {
            Some((_, newest, _)) if first == next(*newest) => BatchCheck::New,
            Some((_, newest, _)) if last <= *newest => {
                BatchCheck::Refused(ErrorCode::DuplicateSequenceNumber)
            }
            Some(_) => BatchCheck::Refused(ErrorCode::OutOfOrderSequenceNumber),
            None => BatchCheck::New,
        }
    }

    /// Records a stored batch. A marker has no sequence, but fences older epochs.
    pub(super) fn note(&mut self, head: &Head) {
        if head.producer < 0 {
            return;
        }
        let written = self.0.entry(head.producer).or_default();
        if head.epoch != written.epoch {
            *written = Written { epoch: head.epoch, batches: VecDeque::new() };
        }
        if head.sequence >= 0 {
            if written.batches.len() == REMEMBERED {
                written.batches.pop_front();
            }
            written.batches.push_back((head.sequence, head.last_sequence(), head.base));
        }
    }
}

const fn next(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}
