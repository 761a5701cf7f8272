//! Sends the records of blocks, one block after another, at the configured pace.
//!
//! The producer leaves no gap in a partition (`enable.gapless.guarantee`): it stops at a record that cannot
//! be delivered, so nothing after a partition's last record was ever sent. Between two flushes there are
//! never more records than its queue takes, so sending does not block a thread.

use std::sync::Arc;
use std::time::Duration;

use model::header;
use runtime::time::{Instant, sleep};
use runtime::{CancellationToken, Meter};
use source::{Outbox, SourceBatch};
use stream::Outgoing;

use crate::block::{Block, LogRecord, What};
use crate::emit::Topics;
use crate::error::Error;
use crate::pace::Pace;
use crate::resume::{Mismatch, Resume, Verdict};
use crate::settings::Settings;
use crate::tables::TABLES;
use crate::wire;

/// Records between two flushes: far fewer than the producer's queue takes.
const FLUSH_RECORDS: usize = 40_000;
/// Bytes between two flushes.
const FLUSH_BYTES: usize = 16 << 20;
/// Pause between two looks at the clock in a paced run.
const LOOK: Duration = Duration::from_millis(20);

/// Sends what the partitions do not have yet.
pub(crate) struct Sender {
    topics: Arc<Topics>,
    meters: Arc<[Option<Meter>; TABLES]>,
    epoch: String,
    resume: Resume,
    pace: Pace,
    /// When the first record was sent, and how many events were sent since.
    begun: Option<Instant>,
    paced: u64,
    /// Records and bytes since the last flush.
    unflushed: (usize, usize),
    block: Option<Arc<Block>>,
    /// Numbers and indices of its records that the partitions lack, and how many of them were sent.
    lacking: Vec<(u64, usize)>,
    sent: usize,
}
impl Sender {
    pub(crate) fn new(
        settings: &Settings,
        topics: Arc<Topics>,
        meters: Arc<[Option<Meter>; TABLES]>,
        resume: Resume,
    ) -> Self {
        Self {
            topics,
            meters,
            epoch: settings.epoch.to_string(),
            resume,
            pace: Pace::of(settings),
            begun: None,
            paced: 0,
            unflushed: (0, 0),
            block: None,
            lacking: Vec::new(),
            sent: 0,
        }
    }

    /// The block that is being sent or was sent last.
    pub(crate) fn block(&self) -> Option<&Block> {
        self.block.as_deref()
    }

    /// Continues with this block.
    pub(crate) fn take(&mut self, block: Block) -> Result<(), Mismatch> {
        (self.lacking, self.sent) = (Vec::new(), 0);
        for (number, index) in block.numbered(|table, partition| self.resume.last(table, partition)) {
            let record = block.record(index);
            if self.topics.of(record.table).is_none() {
                continue;
            }
            if self.resume.judge(&block, number, record)? == Verdict::Send {
                self.lacking.push((number, index));
            }
        }
        self.block = Some(Arc::new(block));
        Ok(())
    }

    /// The next records of the block that the partitions lack, at the pace, or at once if stopped. `None`: no
    /// record of it is lacking.
    pub(crate) async fn next(&mut self, stop: &CancellationToken) -> Option<SourceBatch> {
        let block = self.block.clone()?;
        while self.sent < self.lacking.len() {
            let (from, to) = (self.sent, self.reached(&block, stop));
            if to > from {
                self.sent = to;
                return Some(self.batch(block, self.lacking[from..to].to_vec()));
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = sleep(LOOK) => {}
            }
        }
        None
    }

    /// The index up to which the pace allows sending.
    fn reached(&mut self, block: &Block, stop: &CancellationToken) -> usize {
        if matches!(self.pace, Pace::Unbounded) || stop.is_cancelled() {
            return self.lacking.len();
        }
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut left = self.pace.allowed(millis).saturating_sub(self.paced);
        let mut to = self.sent;
        for (_, index) in &self.lacking[self.sent..] {
            if block.record(*index).what == What::Change {
                if left == 0 {
                    break;
                }
                left -= 1;
                self.paced += 1;
            }
            to += 1;
        }
        to
    }

    fn batch(&mut self, block: Arc<Block>, records: Vec<(u64, usize)>) -> SourceBatch {
        let size = |(_, index): &(u64, usize)| size(&block, block.record(*index));
        self.unflushed.0 += records.len();
        self.unflushed.1 += records.iter().map(size).sum::<usize>();
        let (topics, meters, epoch) = (self.topics.clone(), self.meters.clone(), self.epoch.clone());
        SourceBatch::new(move |outbox| {
            let mut sent = [0_u64; TABLES];
            for (number, index) in records {
                let record = block.record(index);
                queue(outbox, &topics, &block, (number, record), &epoch).map_err(Error::Stream)?;
                sent[record.table as usize] += 1;
            }
            for (meter, sent) in meters.iter().zip(sent) {
                if let Some(meter) = meter.as_ref().filter(|_| sent > 0) {
                    meter.records_out(sent);
                }
            }
            Ok(())
        })
    }

    /// Whether Kafka must acknowledge what was sent before more is sent.
    pub(crate) fn is_full(&self) -> bool {
        self.unflushed.0 >= FLUSH_RECORDS || self.unflushed.1 >= FLUSH_BYTES
    }

    /// Notes that Kafka was asked to acknowledge what was sent.
    pub(crate) fn flushed(&mut self) {
        self.unflushed = (0, 0);
    }

    /// Whether the log has passed everything that was on the topics at the start of the run.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.resume.is_met()
    }

    /// Checks at the end of the log that no partition has more than it.
    pub(crate) fn end(&self) -> Result<(), Mismatch> {
        self.resume.end()
    }
}

fn size(block: &Block, record: &LogRecord) -> usize {
    block.key(record).len() + block.value(record).map_or(0, <[u8]>::len)
}

/// Queues one record.
fn queue(
    outbox: &mut Outbox<'_>,
    topics: &Topics,
    block: &Block,
    (number, record): (u64, &LogRecord),
    epoch: &str,
) -> Result<(), stream::Error> {
    let Some(topic) = topics.of(record.table) else { return Ok(()) };
    let mut digits = wire::Digits::default();
    let number = digits.of(number.cast_signed());
    outbox.send(Outgoing {
        topic,
        partition: Some(record.partition),
        key: Some(block.key(record)),
        value: block.value(record),
        headers: &[(header::SEQ, number.as_bytes()), (header::EPOCH, epoch.as_bytes())],
        timestamp: None,
    })
}
