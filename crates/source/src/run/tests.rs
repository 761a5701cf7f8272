//! The loop over a log in memory, and a source of numbers that fails at every step in turn.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use model::TopicName;
use parking_lot::Mutex;
use rstest::rstest;
use runtime::meters::Metric;
use runtime::{Meter, Meters};
use stream::Outgoing;

use super::*;
use crate::batch::Batch;
use crate::connector::Reader;
use crate::publisher::Log;

/// Numbers that the source holds, and how many one transaction takes.
const NUMBERS: u64 = 10;
const EACH: u64 = 4;

fn topic(name: &str) -> TopicName {
    name.parse().expect("a topic name")
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

/// The broker, and what fails.
#[derive(Default)]
struct Broker {
    numbers: Vec<u64>,
    cursor: u64,
    /// The cursor was seen ahead of a number.
    ran_ahead: bool,
    /// Which producer may write.
    epoch: u64,
    steps: usize,
    fault: Option<(usize, Fault)>,
}
impl Broker {
    /// What is to fail of this step.
    fn step(&mut self) -> Option<Fault> {
        self.steps += 1;
        let (_, fault) = self.fault.filter(|(at, _)| *at == self.steps)?;
        Some(fault)
    }
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

type Shared = Arc<Mutex<Broker>>;

/// A producer.
struct Memory {
    broker: Shared,
    epoch: u64,
    /// Whether records are hidden until the commit.
    hides: bool,
    under_way: Mutex<Vec<Record>>,
}
impl Memory {
    fn step(&self, effect: impl FnOnce(&mut Broker, &mut Vec<Record>)) -> stream::Result<()> {
        let mut broker = self.broker.lock();
        let lost = |action| stream::Error::Indefinite { action, reason: "made to".to_owned() };
        let fenced = || stream::Error::Fenced { id: "numbers".to_owned() };
        if broker.epoch != self.epoch {
            return Err(fenced());
        }
        match broker.step() {
            Some(Fault::Before) => return Err(lost("before")),
            Some(Fault::Fenced) => return Err(fenced()),
            fault => {
                effect(&mut broker, &mut self.under_way.lock());
                if fault.is_some() {
                    return Err(lost("after"));
                }
            }
        }
        Ok(())
    }
}
#[async_trait]
impl Log for Memory {
    async fn begin(&self) -> stream::Result<()> {
        self.step(|_, _| {})
    }
    fn send(&self, record: Outgoing<'_>) -> stream::Result<()> {
        let number = record.value.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
        let number = number.expect("the source sends numbers");
        let is_cursor = *record.topic == topic("cursors");
        let record = if is_cursor { Record::Cursor(number) } else { Record::Number(number) };
        self.step(|_, under_way| under_way.push(record))
    }
    async fn flush(&self) -> stream::Result<()> {
        if self.hides {
            return self.step(|_, _| {});
        }
        // The last record arrives first: nothing but a flush in between keeps an order between partitions.
        self.step(|broker, under_way| {
            under_way.drain(..).rev().for_each(|record| broker.arrives(record));
        })
    }
    async fn commit(&self) -> stream::Result<()> {
        if !self.hides {
            self.flush().await?;
        }
        self.step(|broker, under_way| under_way.drain(..).for_each(|record| broker.arrives(record)))
    }
}

/// A source of numbers.
struct Numbers {
    broker: Shared,
    hides: bool,
    meter: Meter,
    opened: u32,
    /// What opening and reading fail with, at a fault of theirs.
    reaction: Reaction,
    on_stop: OnStop,
    /// What comes when all numbers were read. `None`: the end.
    then: Option<Wait>,
}
fn numbers(fault: Option<(usize, Fault)>) -> Numbers {
    Numbers {
        broker: Arc::new(Mutex::new(Broker { fault, ..Broker::default() })),
        hides: true,
        meter: Meters::new().stage("ingest", "numbers"),
        opened: 0,
        reaction: Reaction::Retry,
        on_stop: OnStop::Drop,
        then: None,
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
        let mut broker = self.broker.lock();
        if broker.step().is_some() {
            return Err(Error::new(self.reaction, Made));
        }
        broker.epoch += 1;
        let memory = Memory {
            broker: self.broker.clone(),
            epoch: broker.epoch,
            hides: self.hides,
            under_way: Mutex::new(Vec::new()),
        };
        let failed = |error: stream::Error| Error::new(error.reaction(), error);
        let publisher = Publisher::over(Arc::new(memory), topic("cursors"), failed);
        let (next, reaction, broker) = (broker.cursor, self.reaction, self.broker.clone());
        let (then, on_stop, stop) = (self.then.clone(), self.on_stop, stop.clone());
        let reader = Box::new(Counting { broker, reaction, next, sent: 0, then, on_stop, stop });
        Ok(Opened { publisher, reader })
    }
    fn on_stop(&self) -> OnStop {
        self.on_stop
    }
}

struct Counting {
    broker: Shared,
    reaction: Reaction,
    next: u64,
    /// Of the open transaction.
    sent: u64,
    then: Option<Wait>,
    on_stop: OnStop,
    stop: CancellationToken,
}
impl Counting {
    fn batch(&mut self) -> Batch {
        let number = self.next;
        (self.next, self.sent) = (number + 1, self.sent + 1);
        Batch::new(move |outbox| {
            let value = number.to_be_bytes();
            let sent = outbox.send(Outgoing {
                topic: &topic("numbers"),
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
        if self.broker.lock().step().is_some() {
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
        assert_eq!(self.broker.lock().cursor, self.next, "told before it was on the topic");
        self.sent = 0;
        if self.broker.lock().step().is_some() {
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
        let mut source = Numbers { hides, ..numbers(Some((at, fault))) };
        soon(&mut source, &stop).await.expect("it goes on");
        let broker = source.broker.lock();
        let there: BTreeSet<u64> = broker.numbers.iter().copied().collect();
        assert_eq!(there, (0..NUMBERS).collect(), "step {at}");
        assert_eq!((broker.cursor, broker.ran_ahead), (NUMBERS, false), "step {at}");
        if hides {
            assert_eq!(broker.numbers, (0..NUMBERS).collect::<Vec<_>>(), "step {at}");
        }
        assert_eq!(source.meter.gauge(Metric::State), State::Drained as i64);
        if broker.steps < at {
            break;
        }
        assert_eq!(source.opened, 2, "step {at} was not met");
    }
    // Opening, thirteen steps of the reader, its commits, and each number and cursor.
    assert!(at > 30, "only {at} steps");
}

#[tokio::test]
async fn what_was_published_is_counted_and_a_drained_source_is_said_to_be() {
    let mut source = numbers(None);
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
    let mut source = Numbers { reaction: Reaction::Halt, ..numbers(Some((step, Fault::Before))) };
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
            let broker = self.0.broker.clone();
            let opened = self.0.open(stop).await?;
            broker.lock().epoch += 1;
            Ok(opened)
        }
    }
    let (mut source, stop) = (Robbed(numbers(None)), CancellationToken::new());
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
    let mut source = Numbers { then, on_stop, ..numbers(None) };
    let (meter, stop) = (source.meter.clone(), CancellationToken::new());
    let (sent, ()) = tokio::join!(soon(&mut source, &stop), async {
        while meter.gauge(Metric::State) != State::Idle as i64 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert_eq!(sent.expect("stopped"), Sent { records: NUMBERS, bad: 0 });
    assert_eq!(source.broker.lock().cursor, NUMBERS);
}

#[tokio::test]
async fn a_source_that_finishes_says_when_kafka_did_not_acknowledge() {
    /// Never acknowledges.
    struct Silent;
    #[async_trait]
    impl Log for Silent {
        async fn begin(&self) -> stream::Result<()> {
            Ok(())
        }
        fn send(&self, _: Outgoing<'_>) -> stream::Result<()> {
            Ok(())
        }
        async fn flush(&self) -> stream::Result<()> {
            std::future::pending().await
        }
        async fn commit(&self) -> stream::Result<()> {
            Ok(())
        }
    }
    struct Unheard(Numbers);
    #[async_trait]
    impl Connector for Unheard {
        fn about(&self) -> About {
            self.0.about()
        }
        async fn open<'a>(&'a mut self, stop: &CancellationToken) -> Result<Opened<'a>, Error> {
            let Opened { reader, .. } = self.0.open(stop).await?;
            let failed = |error: stream::Error| Error::new(error.reaction(), error);
            Ok(Opened { publisher: Publisher::over(Arc::new(Silent), topic("cursors"), failed), reader })
        }
        fn on_stop(&self) -> OnStop {
            OnStop::Finish(Duration::from_millis(1))
        }
    }
    let (mut source, stop) = (Unheard(numbers(None)), CancellationToken::new());
    stop.cancel();
    let running = run_with(&mut source, &stop, Retry::new(Duration::from_micros(100)));
    let error = running.await.expect_err("not acknowledged");
    assert!(matches!(error, Error::Unacknowledged), "{error}");
}
