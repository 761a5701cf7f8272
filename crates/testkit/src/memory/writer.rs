//! A producer of the model.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use stream::cluster::Writer;
use stream::hash::partition_of;
use stream::{Error, Outgoing, Result};

use super::group::Place;
use super::{Memory, State};
use crate::fate::{Moment, Step, Verdict, failed, pass};

/// The largest record that is taken: `message.max.bytes` of our producers.
const LARGEST: usize = 16 << 20;

pub(super) struct Client {
    cluster: Memory,
    number: u64,
    /// `None`: idempotent only.
    id: Option<String>,
    in_transaction: AtomicBool,
    /// Where the open transaction has records.
    places: Mutex<BTreeSet<Place>>,
}

impl Client {
    pub fn idempotent(cluster: Memory) -> Self {
        let number = cluster.state().number();
        Self { cluster, number, id: None, in_transaction: AtomicBool::new(false), places: Mutex::default() }
    }

    pub async fn transactional(cluster: Memory, id: &str) -> Result<Self> {
        let action = "begin to write in transactions";
        pass(&*cluster.fate, Step::Open, Moment::Before, id, action).await?;
        let now = cluster.shared.clock.now().0;
        let number = {
            let mut state = cluster.state();
            let number = state.number();
            if let Some(before) = state.producers.insert(id.to_owned(), number) {
                let logs = state.topics.values_mut().flat_map(|topic| &mut topic.partitions);
                logs.for_each(|log| log.end(before, false, now));
            }
            number
        };
        cluster.shared.changed.notify_waiters();
        pass(&*cluster.fate, Step::Open, Moment::After, id, action).await?;
        let (in_transaction, places) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { cluster, number, id: Some(id.to_owned()), in_transaction, places })
    }

    /// Its transactional id, if it has one.
    fn of(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Errs when a later producer has the id.
    fn check(&self, state: &State) -> Result<()> {
        match &self.id {
            Some(id) if state.producers.get(id) != Some(&self.number) => {
                Err(Error::Fenced { id: id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// One step that a broker answers.
    async fn step(
        &self,
        step: Step,
        action: &'static str,
        what: impl FnOnce(&mut State) -> Result<()> + Send,
    ) -> Result<()> {
        pass(&*self.cluster.fate, step, Moment::Before, self.of(), action).await?;
        let outcome = {
            let mut state = self.cluster.state();
            self.check(&state).and_then(|()| what(&mut state))
        };
        self.cluster.shared.changed.notify_waiters();
        pass(&*self.cluster.fate, step, Moment::After, self.of(), action).await?;
        outcome
    }

    fn end(&self, state: &mut State, commits: bool) -> Result<()> {
        let action = if commits { "commit" } else { "abort" };
        if !self.in_transaction.swap(false, Ordering::SeqCst) {
            return Err(Error::Indefinite { action, reason: "there is no open transaction".to_owned() });
        }
        let now = self.cluster.shared.clock.now().0;
        let mut places = self.places.lock();
        for (topic, partition) in std::mem::take(&mut *places) {
            let log = state.topics.get_mut(&topic).and_then(|topic| topic.partition_mut(partition));
            if let Some(log) = log {
                log.end(self.number, commits, now);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for Client {
    fn send(&self, record: Outgoing<'_>, _: Duration) -> Result<()> {
        let fate = &*self.cluster.fate;
        match fate.at(Step::Send, Moment::Before, record.topic.as_str()) {
            Verdict::Go => {}
            Verdict::Fail => return Err(failed(Step::Send, "send")),
            // Nothing of a dead process is sent; it finds out at its next step.
            Verdict::Die => return Ok(()),
        }
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let refused = |reason: &str| {
            Err(Error::Unsendable { topic: record.topic.clone(), bytes, reason: reason.to_owned() })
        };
        if bytes > LARGEST {
            return refused("it is larger than any record may be");
        }
        let mut state = self.cluster.state();
        self.check(&state)?;
        let transaction_of = match &self.id {
            None => None,
            Some(_) if self.in_transaction.load(Ordering::SeqCst) => Some(self.number),
            Some(_) => {
                let reason = "there is no open transaction".to_owned();
                return Err(Error::Indefinite { action: "send", reason });
            }
        };
        let Some(topic) = state.topics.get_mut(record.topic) else {
            return Err(Error::NoTopic { topic: record.topic.clone() });
        };
        let count = topic.numbers().end;
        let by_key = || record.key.map_or(0, |key| partition_of(key, count));
        let partition = record.partition.unwrap_or_else(by_key);
        let Some(log) = topic.partition_mut(partition) else { return refused("there is no such partition") };
        log.append(&record, self.cluster.shared.clock.now().0, transaction_of);
        if transaction_of.is_some() {
            self.places.lock().insert((record.topic.clone(), partition));
        }
        drop(state);
        self.cluster.shared.changed.notify_waiters();
        match fate.at(Step::Send, Moment::After, record.topic.as_str()) {
            Verdict::Fail => Err(failed(Step::Send, "send")),
            Verdict::Go | Verdict::Die => Ok(()),
        }
    }

    async fn flush(&self) -> Result<()> {
        self.step(Step::Flush, "flush", |_| Ok(())).await
    }

    async fn begin(&self) -> Result<()> {
        if self.id.is_none() {
            return Ok(());
        }
        self.step(Step::Begin, "begin", |_| {
            if self.in_transaction.swap(true, Ordering::SeqCst) {
                let reason = "a transaction is open".to_owned();
                return Err(Error::Indefinite { action: "begin", reason });
            }
            Ok(())
        })
        .await
    }

    async fn commit(&self) -> Result<()> {
        self.flush().await?;
        if self.id.is_none() {
            return Ok(());
        }
        self.step(Step::Commit, "commit", |state| self.end(state, true)).await
    }

    async fn abort(&self) -> Result<()> {
        if self.id.is_none() {
            return Ok(());
        }
        self.step(Step::Abort, "abort", |state| self.end(state, false)).await
    }
}
