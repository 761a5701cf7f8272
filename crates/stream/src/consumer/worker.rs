//! The consumer's thread: one loop that serves handle, group, checks and messages in turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::time::Instant;

use model::{Offset, TopicId, TopicName};
use rdkafka::ClientConfig;
use tokio::sync::mpsc::UnboundedSender;

use super::check::Round;
use super::client::LEAVE;
use super::part::{FetchState, Next, Part, Parts};
use super::shared::{Command, Queued, Shared, raise};
use super::{ConsumerEvent, Limits, Start};
use crate::ffi::{Client, Signal};
use crate::{Error, Result, logs};

mod fill;
mod places;
mod rounds;

/// The most messages taken in one call.
const TAKE: usize = 10_000;
/// How long a call waits for the first message; commands wait as long at most.
const WAIT: Duration = Duration::from_millis(20);
/// The same while an answer is awaited.
const SHORT_WAIT: Duration = Duration::from_millis(2);
/// A question's deadline.
const PATIENCE: Duration = Duration::from_secs(10);
/// The library answers each question within its deadline. One that has no answer after this long never gets
/// one, and its partitions would wait for ever: a new client asks anew.
const SILENCE: Duration = Duration::from_secs(60);
/// Between a failure and the next attempt; also the least time between two errors told.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a full queue is waited for before the fetches are given up to serve the group.
const FULL: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 1000 });
/// How often a topic is looked at for having been recreated.
const WATCH: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// How often lag is stored.
const LAG: Duration = Duration::from_secs(5);

/// The thread's state.
pub struct Worker {
    client: Client,
    shared: Arc<Shared>,
    out: UnboundedSender<Queued>,
    limits: Limits,
    start: Option<Arc<dyn Start>>,
    parts: Parts,
    ids: BTreeMap<TopicName, TopicId>,
    round: Round,
    /// When the round's last question was asked.
    asked: Instant,
    watched: Instant,
    lag: BTreeMap<(TopicName, i32), Offset>,
    lag_stored: Instant,
    full_since: Option<Instant>,
    told: Option<Instant>,
    broken: bool,
}

impl Worker {
    pub fn try_new(
        config: &ClientConfig,
        limits: Limits,
        shared: Arc<Shared>,
        out: UnboundedSender<Queued>,
    ) -> Result<Self> {
        let client = Client::try_new(config, TAKE).map_err(|reason| Error::Settings { reason })?;
        let now = Instant::now();
        Ok(Self {
            client,
            shared,
            out,
            limits,
            start: None,
            parts: Parts::default(),
            ids: BTreeMap::new(),
            round: Round::Idle,
            asked: now,
            watched: now,
            lag: BTreeMap::new(),
            lag_stored: now,
            full_since: None,
            told: None,
            broken: false,
        })
    }

    pub fn subscribe(&mut self, topics: &[TopicName], start: Arc<dyn Start>) -> Result<()> {
        self.start = Some(start);
        self.client.subscribe(topics).map_err(|failure| Error::Settings { reason: failure.to_string() })
    }
    pub fn assign(&mut self, partitions: Vec<(TopicName, i32, Offset)>) -> Result<()> {
        self.client.assign_none().map_err(|failure| Error::Settings { reason: failure.to_string() })?;
        let now = Instant::now();
        for (topic, partition, offset) in partitions {
            let track = self.shared.track(&topic, partition);
            self.parts.add(Part::new(topic, partition, Next::At(offset), track, now));
        }
        Ok(())
    }

    pub fn run(mut self) {
        while !self.shared.is_stopped() && !self.broken {
            self.serve_commands();
            self.serve_signals();
            self.serve_replies();
            self.give_up_silence();
            self.ask();
            self.store_lag(false);
            if self.has_room() {
                self.take(if matches!(self.round, Round::Idle) { WAIT } else { SHORT_WAIT });
            }
        }
        self.serve_commands();
        self.store_lag(true);
        self.leave();
    }

    fn serve_commands(&mut self) {
        for command in self.shared.commands() {
            match command {
                Command::Seek(topic, partition, offset, generation) => {
                    self.seek(&topic, partition, offset, generation);
                }
                Command::Pause(topic, partition, generation) => self.pause(&topic, partition, generation),
                Command::ShowLag(topic, partition, offset) => {
                    self.lag.insert((topic, partition), offset);
                }
            }
        }
    }
    fn seek(&mut self, topic: &TopicName, partition: i32, offset: Offset, generation: u64) {
        let Some(part) = self.parts.get_mut(topic.as_str(), partition) else { return };
        if generation < part.generation {
            return; // assigned anew since: `Start` is asked
        }
        let placed = part.state == FetchState::Fetching;
        part.generation = generation;
        part.next = Next::At(offset);
        part.state = FetchState::Unchecked(Instant::now());
        if placed {
            self.stop_fetching(&[(topic.clone(), partition)]);
        }
    }
    fn pause(&mut self, topic: &TopicName, partition: i32, generation: u64) {
        let Some(part) = self.parts.get_mut(topic.as_str(), partition) else { return };
        if generation < part.generation {
            return; // assigned anew since
        }
        part.generation = generation;
        if std::mem::replace(&mut part.state, FetchState::Paused) == FetchState::Fetching {
            self.stop_fetching(&[(topic.clone(), partition)]);
        }
    }
    fn store_lag(&mut self, now: bool) {
        if self.lag.is_empty() || (!now && self.lag_stored.elapsed() < LAG) {
            return;
        }
        self.lag_stored = Instant::now();
        let lag = std::mem::take(&mut self.lag);
        let ours = lag.iter().filter(|((t, p), _)| self.parts.iter().any(|part| part.is(t.as_str(), *p)));
        if let Err(failure) = self.client.commit(ours.map(|((t, p), offset)| (t, *p, offset.0))) {
            tracing::debug!(%failure, "lag not stored");
        }
    }

    fn serve_signals(&mut self) {
        for signal in self.client.signals() {
            match signal {
                Signal::Assign(partitions) => self.assigned(named(partitions)),
                Signal::Revoke(partitions) => self.revoked(&named(partitions)),
                Signal::Failed(failure) => {
                    logs::failed(&failure);
                    self.fail(Error::of("read topics", &failure));
                }
            }
        }
    }
    fn assigned(&mut self, partitions: Vec<(TopicName, i32)>) {
        // Answered at once, with none: the fetch of each starts after its check.
        if let Err(failure) = self.client.assign([]) {
            self.fail(Error::of("accept partitions", &failure));
        }
        let now = Instant::now();
        for (topic, partition) in &partitions {
            let track = self.shared.track(topic, *partition);
            self.parts.add(Part::new(topic.clone(), *partition, Next::Unasked, track, now));
        }
        if !partitions.is_empty() {
            self.emit(ConsumerEvent::Assigned(partitions));
        }
    }
    fn revoked(&mut self, partitions: &[(TopicName, i32)]) {
        let gone = self.parts.remove(partitions);
        for part in &gone {
            raise(&part.track);
        }
        let placed = gone.iter().filter(|part| part.state == FetchState::Fetching);
        if let Err(failure) = self.client.unassign(placed.map(|part| (&part.topic, part.partition))) {
            self.fail(Error::of("give partitions back", &failure));
        }
        if !gone.is_empty() {
            self.emit(ConsumerEvent::Revoked(
                gone.into_iter().map(|part| (part.topic, part.partition)).collect(),
            ));
        }
    }

    /// Leaves the group, so that others need not wait for the session timeout.
    fn leave(&mut self) {
        let deadline = Instant::now() + LEAVE;
        if let Err(failure) = self.client.close() {
            tracing::debug!(%failure, "consumer not closed");
            return;
        }
        while !self.client.closed() && Instant::now() < deadline {
            drop(self.client.take(WAIT));
            for signal in self.client.signals() {
                match signal {
                    Signal::Assign(_) => drop(self.client.assign([])),
                    Signal::Revoke(partitions) => self.revoked(&named(partitions)),
                    Signal::Failed(_) => {}
                }
            }
        }
    }

    fn emit(&mut self, event: ConsumerEvent) {
        self.send(Queued { event, bytes: 0, generation: None });
    }
    fn send(&mut self, queued: Queued) {
        // Nobody listens any more: the same as having been stopped.
        if self.out.send(queued).is_err() {
            self.shared.stop();
        }
    }
    /// Tells of an error, unless one was told within the last second. The last word always is.
    fn fail(&mut self, error: Error) {
        self.broken |= matches!(error, Error::Broken { .. });
        let now = Instant::now();
        if !self.broken && self.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            tracing::debug!(%error, "kafka error not told again");
            return;
        }
        self.told = Some(now);
        self.emit(ConsumerEvent::Error(error));
    }
}

/// Topic names from the library are ones it was given.
fn named(partitions: Vec<(String, i32)>) -> Vec<(TopicName, i32)> {
    partitions.into_iter().filter_map(|(topic, partition)| Some((topic.parse().ok()?, partition))).collect()
}
