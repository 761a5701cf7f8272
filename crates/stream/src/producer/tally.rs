//! Deliveries, counted.

use runtime::time::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use crate::{Error, Result, logs};

/// How many records were sent and how many reported, and what failed.
#[derive(Default)]
pub struct Tally {
    sent: AtomicU64,
    reported: AtomicU64,
    failures: Mutex<Failures>,
    door: Mutex<()>,
    room: Condvar,
    settled: Notify,
}

#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<(String, String)>,
}

impl Tally {
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::AcqRel);
    }
    /// The record was not taken after all.
    pub fn unsent(&self) {
        self.sent.fetch_sub(1, Ordering::AcqRel);
        self.settled.notify_waiters();
    }
    pub fn reported(&self) -> u64 {
        self.reported.load(Ordering::Acquire)
    }
    pub fn pending(&self) -> u64 {
        // Reported first: what is sent meanwhile only adds.
        let reported = self.reported();
        self.sent.load(Ordering::Acquire).saturating_sub(reported)
    }
    /// Waits for a report beyond the first `seen`. `false` at the deadline.
    pub fn wait_for_report(&self, seen: u64, deadline: Instant) -> bool {
        let mut door = self.door.lock();
        while self.reported() == seen {
            let left = deadline.duration_since(Instant::now());
            if self.room.wait_for(&mut door, left).timed_out() {
                return self.reported() != seen;
            }
        }
        true
    }
    /// Waits until all that was sent is reported.
    pub async fn settled(&self) {
        loop {
            let changed = self.settled.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no report falls in between.
            changed.as_mut().enable();
            if self.pending() == 0 {
                return;
            }
            changed.await;
        }
    }
    /// Errs when a delivery failed since the last call.
    pub fn take_failures(&self) -> Result<()> {
        let failures = std::mem::take(&mut *self.failures.lock());
        match failures.first {
            None => Ok(()),
            Some((topic, reason)) => Err(Error::NotDelivered { failed: failures.count, topic, reason }),
        }
    }

    fn report(&self, failure: Option<(String, String)>) {
        if let Some(failure) = failure {
            let mut failures = self.failures.lock();
            failures.count += 1;
            failures.first.get_or_insert(failure);
        }
        self.reported.fetch_add(1, Ordering::AcqRel);
        drop(self.door.lock());
        self.room.notify_one();
        if self.pending() == 0 {
            self.settled.notify_waiters();
        }
    }
}

/// Takes the library's reports.
pub struct Reports(Arc<Tally>);
impl Reports {
    pub fn new(tally: Arc<Tally>) -> Self {
        Self(tally)
    }
}
impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, detail: &str) {
        logs::line(level as i32, facility, detail);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        logs::failed(&logs::of(&error, reason));
    }
}
impl ProducerContext for Reports {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let failure = match result {
            Ok(_) => None,
            Err((error, message)) => Some((message.topic().to_owned(), error.to_string())),
        };
        self.0.report(failure);
    }
}
