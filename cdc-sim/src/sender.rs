//! Sends blocks, one after the other, at the pace.
//!
//! The producer leaves no gap in a partition (`enable.gapless.guarantee`): a record that cannot be
//! delivered ends it, so what is above a partition's last record was never sent. Between two flushes
//! there are never more records than its queue takes, so sending does not block a thread.

use std::sync::Arc;
use std::time::Duration;

use runtime::{CancellationToken, Meter, cpu};
use stream::{Kafka, Outgoing, Producer};
use tokio::time::{Instant, sleep};

use crate::block::{Block, Record, What};
use crate::emit::{Sink, Topics};
use crate::error::Error;
use crate::pace::Pace;
use crate::resume::{Mismatch, Resume, Verdict};
use crate::settings::Settings;
use crate::tables::{TABLES, Table};
use crate::wire;

/// Records between two flushes: well below what the producer's queue takes.
const FLUSH_RECORDS: usize = 40_000;
/// Bytes between two flushes.
const FLUSH_BYTES: usize = 16 << 20;
/// How often a paced run looks at the clock.
const LOOK: Duration = Duration::from_millis(20);
/// How long a stopped run waits for acknowledgements.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// One producer and what it must not send again.
pub(crate) struct Sender {
    producer: Arc<Producer>,
    topics: Arc<Topics>,
    meters: Arc<[Option<Meter>; TABLES]>,
    epoch: String,
    resume: Resume,
    pace: Pace,
    /// When the first record was sent, and how many events since.
    begun: Option<Instant>,
    paced: u64,
    /// Records and bytes since the last flush.
    unflushed: (usize, usize),
}
impl Sender {
    /// A new producer: the old one, if any, is never used again.
    pub(crate) async fn begin(settings: &Settings, sink: &Sink, resume: Resume) -> Result<Self, Error> {
        let mut kafka = sink.kafka.settings().clone();
        kafka.config.insert("enable.gapless.guarantee".to_owned(), "true".into());
        let meters = Table::ALL.map(|table| {
            let meter = sink.topics.of(table).map(|_| sink.meters.stage("source", table.name()));
            if let Some(meter) = &meter {
                meter.state(runtime::State::Running);
            }
            meter
        });
        Ok(Self {
            producer: Arc::new(Producer::idempotent(&Kafka::new(kafka)).await?),
            topics: sink.topics.clone(),
            meters: Arc::new(meters),
            epoch: settings.epoch.to_string(),
            resume,
            pace: Pace::of(settings),
            begun: None,
            paced: 0,
            unflushed: (0, 0),
        })
    }

    /// Sends what the partitions lack of a block, at the pace; at once when stopped.
    pub(crate) async fn send(&mut self, block: &Arc<Block>, stop: &CancellationToken) -> Result<(), Error> {
        let mut lacking = Vec::new();
        for (number, index) in block.numbered(|table, partition| self.resume.last(table, partition)) {
            let record = block.record(index);
            if self.topics.of(record.table).is_none() {
                continue;
            }
            if self.resume.judge(block, number, record)? == Verdict::Send {
                lacking.push((number, index));
            }
        }
        let mut from = 0;
        while from < lacking.len() {
            let to = self.reached(block, &lacking, from, stop);
            if to == from {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(LOOK) => {}
                }
                continue;
            }
            self.hand_over(block, lacking[from..to].to_vec()).await?;
            from = to;
            if self.unflushed.0 >= FLUSH_RECORDS || self.unflushed.1 >= FLUSH_BYTES {
                self.flush(stop).await?;
            }
        }
        Ok(())
    }

    /// How far the pace lets us go.
    fn reached(
        &mut self,
        block: &Block,
        lacking: &[(u64, usize)],
        from: usize,
        stop: &CancellationToken,
    ) -> usize {
        if matches!(self.pace, Pace::Unbounded) || stop.is_cancelled() {
            return lacking.len();
        }
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut left = self.pace.allowed(millis).saturating_sub(self.paced);
        let mut to = from;
        for (_, index) in &lacking[from..] {
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

    /// Queues records on a thread that may be held for a moment.
    async fn hand_over(&mut self, block: &Arc<Block>, records: Vec<(u64, usize)>) -> Result<(), Error> {
        let (producer, topics, meters) = (self.producer.clone(), self.topics.clone(), self.meters.clone());
        let (block, epoch) = (block.clone(), self.epoch.clone());
        let count = records.len();
        let bytes = cpu::run(move || {
            let (mut bytes, mut sent) = (0, [0_u64; TABLES]);
            for (number, index) in records {
                let record = block.record(index);
                bytes += queue(&producer, &topics, &block, (number, record), &epoch)?;
                sent[record.table as usize] += 1;
            }
            for (meter, sent) in meters.iter().zip(sent) {
                if let Some(meter) = meter.as_ref().filter(|_| sent > 0) {
                    meter.records_out(sent);
                }
            }
            Ok::<_, stream::Error>(bytes)
        })
        .await?;
        self.unflushed = (self.unflushed.0 + count, self.unflushed.1 + bytes);
        Ok(())
    }

    /// Whether all that the topics held when the run began lies behind.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.resume.is_met()
    }

    /// Says that the log has ended: no partition may hold more than it.
    pub(crate) fn end(&self) -> Result<(), Mismatch> {
        self.resume.end()
    }

    /// Waits until Kafka has all that was sent; a stopped run does not wait long.
    async fn flush(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        self.unflushed = (0, 0);
        let stopped = async {
            stop.cancelled().await;
            sleep(LAST_FLUSH).await;
        };
        tokio::select! {
            flushed = self.producer.flush() => Ok(flushed?),
            () = stopped => Err(Error::Unacknowledged),
        }
    }

    /// Returns once Kafka has everything.
    pub(crate) async fn finish(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        self.flush(stop).await?;
        for meter in self.meters.iter().flatten() {
            meter.state(runtime::State::Drained);
        }
        Ok(())
    }
}

/// Queues one record; its size.
fn queue(
    producer: &Producer,
    topics: &Topics,
    block: &Block,
    (number, record): (u64, &Record),
    epoch: &str,
) -> Result<usize, stream::Error> {
    let Some(topic) = topics.of(record.table) else { return Ok(0) };
    let (key, value) = (block.key(record), block.value(record));
    let mut digits = wire::Digits::default();
    let number = digits.of(number.cast_signed());
    producer.send(Outgoing {
        topic,
        partition: Some(record.partition),
        key: Some(key),
        value,
        headers: &[("lp.seq", number.as_bytes()), ("lp.epoch", epoch.as_bytes())],
        timestamp: None,
    })?;
    Ok(key.len() + value.map_or(0, <[u8]>::len))
}
