//! A broker in memory, whose calls fail when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::publish::{Progress, Record, Wire};

/// What a broker holds of one gold topic and the progress topic.
#[derive(Debug, Default)]
pub struct Broker {
    /// Records that consumers may see, in order.
    pub records: Vec<Record>,
    progress: BTreeMap<String, Progress>,
    open: Vec<Sent>,
    /// Calls so far.
    pub calls: usize,
}

#[derive(Debug, Clone)]
enum Sent {
    Record(Record),
    Progress(Progress),
}

/// How the broker treats a transaction that was never committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its records are never seen.
    Hides,
    /// Its records are seen all the same, in order.
    Shows,
}

/// Which call fails, once.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub call: usize,
    /// Whether the call takes effect all the same.
    pub after: bool,
}

/// One publisher's wire to the broker.
#[derive(Clone)]
pub struct FakeWire {
    pub broker: Arc<Mutex<Broker>>,
    pub kind: Kind,
    pub failure: Option<Failure>,
}

impl FakeWire {
    pub fn new(kind: Kind, failure: Option<Failure>) -> Self {
        Self { broker: Arc::default(), kind, failure }
    }
    pub fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().expect("no test panics while it holds the broker")
    }
    /// The topic as a consumer that read all of it has it: values by key.
    pub fn compacted(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut state = BTreeMap::new();
        for record in &self.broker().records {
            match &record.value {
                Some(value) => drop(state.insert(record.key.to_vec(), value.to_vec())),
                None => drop(state.remove(record.key.as_ref())),
            }
        }
        state
    }

    /// Runs one call's effect, or fails it.
    fn call(&mut self, effect: impl FnOnce(&mut Broker, Kind)) -> Result<()> {
        let kind = self.kind;
        let mut broker = self.broker.lock().expect("no test panics while it holds the broker");
        broker.calls += 1;
        let failing = self.failure.is_some_and(|f| f.call == broker.calls);
        if !failing || self.failure.is_some_and(|f| f.after) {
            effect(&mut broker, kind);
        }
        drop(broker);
        if failing {
            self.failure = None;
            let source = stream::Error::Indefinite { action: "a call", reason: "a test says so".to_owned() };
            return Err(Error::Owners { source: Box::new(source) });
        }
        Ok(())
    }
}

impl Broker {
    /// Ends a transaction; what it held is seen or not.
    fn end(&mut self, seen: bool) {
        for sent in std::mem::take(&mut self.open) {
            match sent {
                _ if !seen => {}
                Sent::Record(record) => self.records.push(record),
                Sent::Progress(progress) => drop(self.progress.insert(progress.id.to_string(), progress)),
            }
        }
    }
}

#[async_trait::async_trait]
impl Wire for FakeWire {
    async fn open(&mut self) -> Result<()> {
        self.call(|broker, kind| broker.end(kind == Kind::Shows))
    }
    async fn progress(&mut self) -> Result<Vec<Progress>> {
        self.call(|_, _| {})?;
        Ok(self.broker().progress.values().cloned().collect())
    }
    async fn held(&mut self) -> Result<Vec<bytes::Bytes>> {
        self.call(|_, _| {})?;
        Ok(self.compacted().into_keys().map(bytes::Bytes::from).collect())
    }
    async fn begin(&mut self) -> Result<()> {
        self.call(|broker, _| assert!(broker.open.is_empty(), "a transaction is open already"))
    }
    async fn send(&mut self, records: Vec<Record>) -> Result<()> {
        self.call(|broker, _| broker.open.extend(records.into_iter().map(Sent::Record)))
    }
    async fn send_progress(&mut self, progress: &Progress) -> Result<()> {
        self.call(|broker, _| broker.open.push(Sent::Progress(progress.clone())))
    }
    async fn flush(&mut self) -> Result<()> {
        self.call(|_, _| {})
    }
    async fn commit(&mut self) -> Result<()> {
        self.call(|broker, _| broker.end(true))
    }
}
