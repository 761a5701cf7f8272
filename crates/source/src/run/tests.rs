//! The loop over a cluster in memory, and a source of numbers that fails at every step in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::FutureExt as _;
use model::{ClockMs, Offset, Reaction, TopicName};
use parking_lot::Mutex;
use rstest::rstest;
use runtime::meters::Metric;
use runtime::{Clock, Failure as _, Meter, Meters};
use stream::cluster::{self, Cluster, Topics, Writer};
use stream::{
    Admin, Kafka, Limits, Outgoing, Producer, Registry, RegistrySettings, Start, TopicSpec, internal,
};
use testkit::fate::{self, Fate, Moment, Verdict};
use testkit::memory::Memory;

use super::*;
use crate::Context;
use crate::batch::SourceBatch;
use crate::connector::Reader;

/// Numbers that the source holds, and how many one transaction takes.
const NUMBERS: u64 = 10;
const EACH: u64 = 4;

/// The project, and the transactional id of its source.
const PROJECT: &str = "p";
const ID: &str = "p.ingest.numbers";

fn numbers_topic() -> TopicName {
    "numbers".parse().expect("a topic name")
}
fn cursors_topic() -> TopicName {
    internal::cursors(&PROJECT.parse().expect("a project name"))
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It did not happen.
    Before,
    /// It happened, and its answer was lost.
    After,
    /// Another producer has the id.
    Fenced,
}

/// Counts the steps of a source and of its producer, and lets one of them fail.
struct Faults {
    fault: Option<(usize, Fault)>,
    steps: AtomicUsize,
    /// Where another producer takes the id.
    kafka: Kafka,
}
impl Faults {
    fn steps(&self) -> usize {
        self.steps.load(Ordering::SeqCst)
    }
    /// The next step. What is to fail of it.
    fn step(&self) -> Option<Fault> {
        self.steps.fetch_add(1, Ordering::SeqCst);
        self.fault()
    }
    /// What is to fail of this step.
    fn fault(&self) -> Option<Fault> {
        let (_, fault) = self.fault.filter(|(at, _)| *at == self.steps())?;
        Some(fault)
    }
}
impl Fate for Faults {
    fn at(&self, step: fate::Step, moment: Moment, _: &str) -> Verdict {
        let fault = match moment {
            // Not counted: after an error the client reads on by itself.
            _ if step == fate::Step::Read => None,
            Moment::Before => self.step(),
            Moment::After => self.fault(),
        };
        // A producer that opens shuts all others out, so the other one comes behind it.
        let is_taken = (step == fate::Step::Open) == (moment == Moment::After);
        match (fault, moment) {
            (Some(Fault::Before), Moment::Before) | (Some(Fault::After), Moment::After) => Verdict::Fail,
            (Some(Fault::Fenced), _) if is_taken => {
                let taken = Producer::transactional(&self.kafka, ID).now_or_never();
                taken.expect("a cluster in memory answers at once").expect("it can do transactions");
                Verdict::Go
            }
            _ => Verdict::Go,
        }
    }
}

/// No two records have the same time: it says in which order they arrived.
#[derive(Default)]
struct Ticks(AtomicI64);
impl Clock for Ticks {
    fn now(&self) -> ClockMs {
        ClockMs(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// What arrived on the topics.
#[derive(Default)]
struct Arrived {
    numbers: Vec<u64>,
    cursor: u64,
    /// The cursor was seen ahead of a number.
    ran_ahead: bool,
}
impl Arrived {
    fn arrives(&mut self, record: Record) {
        match record {
            Record::Number(number) => self.numbers.push(number),
            Record::Cursor(next) => {
                let there: BTreeSet<u64> = self.numbers.iter().copied().collect();
                self.ran_ahead |= (0..next).any(|number| !there.contains(&number));
                self.cursor = next;
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Record {
    Number(u64),
    Cursor(u64),
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().expect("the source sends numbers"))
}

/// What can be read, in the order in which it arrived.
async fn arrived(kafka: &Kafka) -> Arrived {
    let admin = Admin::try_new(kafka).expect("a cluster");
    let mut by_time = BTreeMap::new();
    for topic in [numbers_topic(), cursors_topic()] {
        let ends = admin.watermarks(&topic).await.expect("there");
        let read = stream::read(kafka, &topic, &ends, |records| {
            for i in 0..records.len() {
                let number = number(records.value(i).expect("no tombstones"));
                let is_cursor = topic == cursors_topic();
                let record = if is_cursor { Record::Cursor(number) } else { Record::Number(number) };
                by_time.insert(records.timestamp(i), record);
            }
        });
        read.await.expect("read");
    }
    let mut arrived = Arrived::default();
    by_time.into_values().for_each(|record| arrived.arrives(record));
    arrived
}

/// Brokers that can do no transactions.
struct Plain(Memory);
#[async_trait]
impl Cluster for Plain {
    fn topics(&self) -> stream::Result<Arc<dyn Topics>> {
        self.0.topics()
    }
    fn subscribe(
        &self,
        group: &str,
        topics: &[TopicName],
        start: Arc<dyn Start>,
        limits: Limits,
    ) -> stream::Result<Box<dyn cluster::Reader>> {
        self.0.subscribe(group, topics, start, limits)
    }
    fn assign(
        &self,
        partitions: Vec<(TopicName, i32, Offset)>,
        limits: Limits,
    ) -> stream::Result<Box<dyn cluster::Reader>> {
        self.0.assign(partitions, limits)
    }
    async fn transactional(&self, _: &str) -> stream::Result<Box<dyn Writer>> {
        self.idempotent()
    }
    fn idempotent(&self) -> stream::Result<Box<dyn Writer>> {
        Ok(Box::new(Late { writer: self.0.idempotent()?, queue: Mutex::default() }))
    }
}

/// A producer whose records are on their way until a flush. The last of them arrives first: nothing but a flush in
/// between keeps an order between partitions.
struct Late {
    writer: Box<dyn Writer>,
    queue: Mutex<Vec<Queued>>,
}
struct Queued {
    topic: TopicName,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}
#[async_trait]
impl Writer for Late {
    fn send(&self, record: Outgoing<'_>, _: Duration) -> stream::Result<()> {
        let (topic, partition) = (record.topic.clone(), record.partition);
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        self.queue.lock().push(Queued { topic, partition, key, value });
        Ok(())
    }
    async fn flush(&self) -> stream::Result<()> {
        let queue = std::mem::take(&mut *self.queue.lock());
        for Queued { topic, partition, key, value } in queue.iter().rev() {
            let (partition, key, value) = (*partition, key.as_deref(), value.as_deref());
            let record = Outgoing { topic, partition, key, value, headers: &[], timestamp: None };
            self.writer.send(record, Duration::ZERO)?;
        }
        self.writer.flush().await
    }
    async fn begin(&self) -> stream::Result<()> {
        self.writer.begin().await
    }
    async fn commit(&self) -> stream::Result<()> {
        self.flush().await?;
        self.writer.commit().await
    }
    async fn abort(&self) -> stream::Result<()> {
        self.writer.abort().await
    }
}

/// A source of numbers.
struct Numbers {
    cluster: Memory,
    faults: Arc<Faults>,
    /// What happens to the producer.
    fate: Arc<dyn Fate>,
    /// Whether records are hidden until the commit.
    hides: bool,
    meter: Meter,
    opened: u32,
    /// What opening and reading fail with, at a fault of theirs.
    reaction: Reaction,
    on_stop: OnStop,
    /// What comes when all numbers were read. `None`: the end.
    then: Option<Wait>,
}
async fn numbers(fault: Option<(usize, Fault)>) -> Numbers {
    let cluster = Memory::new(Arc::new(Ticks::default()));
    let kafka = cluster.kafka();
    let spec = |name| TopicSpec { name, partitions: 1, replication: 1, config: BTreeMap::new() };
    let specs = [spec(numbers_topic()), spec(cursors_topic())];
    Admin::try_new(&kafka).expect("a cluster").create(&specs).await.expect("created");
    let faults = Arc::new(Faults { fault, steps: AtomicUsize::new(0), kafka });
    Numbers {
        cluster,
        faults: faults.clone(),
        fate: faults,
        hides: true,
        meter: Meters::new().stage("ingest", "numbers"),
        opened: 0,
        reaction: Reaction::Retry,
        on_stop: OnStop::Drop,
        then: None,
    }
}
impl Numbers {
    /// What arrived so far.
    async fn arrived(&self) -> Arrived {
        arrived(&self.cluster.kafka()).await
    }
    /// The cluster as the source meets it.
    fn context(&self) -> Context {
        let cluster = self.cluster.with(self.fate.clone());
        Context {
            project: PROJECT.parse().expect("a project name"),
            kafka: if self.hides { cluster.kafka() } else { Kafka::over(Arc::new(Plain(cluster))) },
            registry: Registry::new(RegistrySettings::default()),
            meters: Meters::new(),
            clock: Arc::new(Ticks::default()),
            once: true,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("made to fail")]
struct Made;

#[async_trait]
impl Connector for Numbers {
    fn about(&self) -> About {
        About { name: "numbers".to_owned(), goes_on: "read on", meter: Some(self.meter.clone()) }
    }
    async fn open<'a>(&'a mut self, stop: &CancellationToken) -> Result<Opened<'a>, Error> {
        self.opened += 1;
        if self.faults.step().is_some() {
            return Err(Error::new(self.reaction, Made));
        }
        let failed = |error: stream::Error| Error::new(error.reaction(), error);
        let (publisher, cursors) = Publisher::open(&self.context(), "numbers", failed).await?;
        let next = cursors.get(&b"numbers"[..]).map_or(0, |value| number(value));
        let (kafka, faults, reaction) = (self.cluster.kafka(), self.faults.clone(), self.reaction);
        let (then, on_stop, stop) = (self.then.clone(), self.on_stop, stop.clone());
        let reader = Box::new(Counting { kafka, faults, reaction, next, sent: 0, then, on_stop, stop });
        Ok(Opened { publisher, reader })
    }
    fn on_stop(&self) -> OnStop {
        self.on_stop
    }
}

struct Counting {
    /// Where what was published is looked at.
    kafka: Kafka,
    faults: Arc<Faults>,
    reaction: Reaction,
    next: u64,
    /// Of the open transaction.
    sent: u64,
    then: Option<Wait>,
    on_stop: OnStop,
    stop: CancellationToken,
}
impl Counting {
    fn batch(&mut self) -> SourceBatch {
        let number = self.next;
        (self.next, self.sent) = (number + 1, self.sent + 1);
        SourceBatch::new(move |outbox| {
            let value = number.to_be_bytes();
            let sent = outbox.send(Outgoing {
                topic: &numbers_topic(),
                partition: None,
                key: None,
                value: Some(&value),
                headers: &[],
                timestamp: None,
            });
            sent.map_err(|error| Error::new(error.reaction(), error))
        })
    }
}
#[async_trait]
impl Reader for Counting {
    async fn next(&mut self) -> Result<Step, Error> {
        if self.faults.step().is_some() {
            return Err(Error::new(self.reaction, Made));
        }
        if self.next == NUMBERS && self.sent == 0 {
            return Ok(match &self.then {
                Some(wait) if !(self.stop.is_cancelled() && self.on_stop != OnStop::Drop) => {
                    Step::Wait(wait.clone())
                }
                _ => Step::Done,
            });
        }
        if self.next < NUMBERS && self.sent < EACH {
            return Ok(Step::Send(self.batch()));
        }
        let (key, value) = (b"numbers".to_vec(), Some(self.next.to_be_bytes().to_vec()));
        Ok(Step::Commit(vec![CursorRecord { key, value }]))
    }
    fn sent(&mut self, sent: Sent) {
        assert_eq!(sent, Sent { records: 1, bad: 0 });
    }
    async fn committed(&mut self, sent: Sent) -> Result<(), Error> {
        assert_eq!(sent, Sent { records: self.sent, bad: 0 });
        assert_eq!(arrived(&self.kafka).await.cursor, self.next, "told before it was on the topic");
        self.sent = 0;
        if self.faults.step().is_some() {
            return Err(Error::new(self.reaction, Made));
        }
        Ok(())
    }
}

async fn soon(source: &mut Numbers, stop: &CancellationToken) -> Result<Sent, Error> {
    let running = run_with(source, stop, Retry::new(Duration::from_micros(100)));
    runtime::time::timeout(Duration::from_secs(60), running).await.expect("it ends")
}

// Holds P4 (docs/invariants.md).
#[rstest]
#[case::a_step_that_did_not_happen(Fault::Before, true)]
#[case::an_answer_that_was_lost(Fault::After, true)]
#[case::an_id_that_was_taken(Fault::Fenced, true)]
#[case::a_step_that_did_not_happen_where_nothing_is_hidden(Fault::Before, false)]
#[case::an_answer_that_was_lost_where_nothing_is_hidden(Fault::After, false)]
#[tokio::test]
async fn whatever_step_fails_each_number_arrives_and_the_cursor_is_never_ahead(
    #[case] fault: Fault,
    #[case] hides: bool,
) {
    let (mut at, stop) = (0, CancellationToken::new());
    loop {
        at += 1;
        let mut source = Numbers { hides, ..numbers(Some((at, fault))).await };
        soon(&mut source, &stop).await.expect("it goes on");
        let arrived = source.arrived().await;
        let there: BTreeSet<u64> = arrived.numbers.iter().copied().collect();
        assert_eq!(there, (0..NUMBERS).collect(), "step {at}");
        assert_eq!((arrived.cursor, arrived.ran_ahead), (NUMBERS, false), "step {at}");
        if hides {
            assert_eq!(arrived.numbers, (0..NUMBERS).collect::<Vec<_>>(), "step {at}");
        }
        assert_eq!(source.meter.gauge(Metric::State), State::Drained as i64);
        if source.faults.steps() < at {
            break;
        }
        assert_eq!(source.opened, 2, "step {at} was not met");
    }
    // Opening, each step of the reader, its commits, and each number and cursor.
    assert!(at > 30, "only {at} steps");
}

#[tokio::test]
async fn what_was_published_is_counted_and_a_drained_source_is_said_to_be() {
    let mut source = numbers(None).await;
    let sent = soon(&mut source, &CancellationToken::new()).await.expect("read");
    assert_eq!(sent, Sent { records: NUMBERS, bad: 0 });
    assert_eq!(source.meter.total(Metric::RecordsOut), NUMBERS);
    assert_eq!((source.opened, source.meter.gauge(Metric::State)), (1, State::Drained as i64));
}

#[rstest]
#[case::opening(1)]
#[case::reading(2)]
#[tokio::test]
async fn an_error_for_a_person_is_tried_once(#[case] step: usize) {
    // Of the source's own steps: its producer is left alone.
    let (fate, reaction) = (Arc::new(()), Reaction::Halt);
    let mut source = Numbers { fate, reaction, ..numbers(Some((step, Fault::Before))).await };
    let error = soon(&mut source, &CancellationToken::new()).await.expect_err("halted");
    assert_eq!((error.to_string().as_str(), error.reaction()), ("made to fail", Reaction::Halt));
    assert!(error.downcast::<Made>().is_ok());
    assert_eq!((source.opened, source.meter.halted()), (1, Some("made to fail".to_owned())));
}

#[tokio::test]
async fn an_id_that_is_taken_again_and_again_is_left_to_the_other() {
    /// Takes the id as soon as the source has it.
    struct Robbed(Numbers);
    #[async_trait]
    impl Connector for Robbed {
        fn about(&self) -> About {
            self.0.about()
        }
        async fn open<'a>(&'a mut self, stop: &CancellationToken) -> Result<Opened<'a>, Error> {
            let kafka = self.0.cluster.kafka();
            let opened = self.0.open(stop).await?;
            Producer::transactional(&kafka, ID).await.expect("the cluster can");
            Ok(opened)
        }
    }
    let (mut source, stop) = (Robbed(numbers(None).await), CancellationToken::new());
    let running = run_with(&mut source, &stop, Retry::new(Duration::from_micros(100)));
    let error = running.await.expect_err("halted");
    assert!(error.is_fenced() && error.to_string().contains("another producer"), "{error}");
    assert_eq!(source.0.opened, 4, "it is taken back three times");
    assert!(source.0.meter.halted().is_some());
}

#[rstest]
#[case::dropped(OnStop::Drop)]
#[case::finished(OnStop::Finish(Duration::from_secs(5)))]
#[tokio::test]
async fn a_stopped_source_ends_where_it_is_held_back(#[case] on_stop: OnStop) {
    let hour = runtime::time::Instant::now() + Duration::from_secs(3_600);
    let then = Some(Wait { until: hour, held_back: Some("its budget is used up".to_owned()) });
    let mut source = Numbers { then, on_stop, ..numbers(None).await };
    let (meter, stop) = (source.meter.clone(), CancellationToken::new());
    let (sent, ()) = tokio::join!(soon(&mut source, &stop), async {
        while meter.gauge(Metric::State) != State::Idle as i64 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert_eq!(sent.expect("stopped"), Sent { records: NUMBERS, bad: 0 });
    assert_eq!(source.arrived().await.cursor, NUMBERS);
}

#[tokio::test]
async fn a_source_that_finishes_says_when_kafka_did_not_acknowledge() {
    /// Never acknowledges.
    struct Silent;
    impl Fate for Silent {
        fn at(&self, step: fate::Step, _: Moment, _: &str) -> Verdict {
            if step == fate::Step::Flush { Verdict::Die } else { Verdict::Go }
        }
    }
    let (fate, on_stop) = (Arc::new(Silent), OnStop::Finish(Duration::from_millis(1)));
    let (mut source, stop) = (Numbers { fate, on_stop, ..numbers(None).await }, CancellationToken::new());
    stop.cancel();
    let running = run_with(&mut source, &stop, Retry::new(Duration::from_micros(100)));
    let error = running.await.expect_err("not acknowledged");
    assert!(matches!(error, Error::Unacknowledged), "{error}");
}
