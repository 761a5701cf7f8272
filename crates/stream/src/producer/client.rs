//! A producer of librdkafka.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::Outgoing;
use super::tally::{Reports, Tally};
use crate::aside::{self, Parked};
use crate::cluster::Writer;
use crate::error::Failure;
use crate::{Error, KafkaSettings, Result};

/// How long a flush may take: beyond the library's own delivery timeout.
const FLUSH_PATIENCE: Duration = Duration::from_secs(130);
/// How long one step of a transaction may take.
const STEP_PATIENCE: Duration = Duration::from_secs(60);
/// How long finding the coordinator may take, also while no broker answers.
pub(super) const INIT_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// The client and what was reported to it.
pub(crate) struct Client {
    client: Arc<Parked<ThreadedProducer<Reports>>>,
    pub(super) tally: Arc<Tally>,
    /// `None`: idempotent only.
    transactional_id: Option<String>,
}

impl Client {
    pub async fn transactional(kafka: &KafkaSettings, id: &str) -> Result<Self> {
        if !kafka.transactions {
            return Self::make(kafka, None);
        }
        let made = Self::make(kafka, Some(id))?;
        made.step(INIT, INIT_PATIENCE, |client| client.init_transactions(INIT_PATIENCE)).await?;
        Ok(made)
    }

    pub fn make(kafka: &KafkaSettings, id: Option<&str>) -> Result<Self> {
        let tally = Arc::<Tally>::default();
        let reports = Reports::new(tally.clone());
        let client = ThreadedProducer::from_config_and_context(&kafka.producer(id), reports)
            .map_err(|error| Error::settings(&error))?;
        Ok(Self { client: Arc::new(Parked::new(client)), tally, transactional_id: id.map(str::to_owned) })
    }

    /// One blocking call of the library, on a thread of its own. Retriable errors are tried again
    /// within `patience`: the library resumes the same step.
    async fn step(
        &self,
        action: &'static str,
        patience: Duration,
        call: impl Fn(&ThreadedProducer<Reports>) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<()> {
        let client = self.client.clone();
        let outcome = aside::run("kafka-transaction", move || {
            let deadline = runtime::time::Instant::now() + patience;
            loop {
                match call(&client) {
                    Err(KafkaError::Transaction(error))
                        if error.is_retriable() && runtime::time::Instant::now() < deadline => {}
                    outcome => return outcome,
                }
            }
        })
        .await?;
        outcome.map_err(|error| self.failed(action, &error))
    }

    /// What the client says of itself once it has given up.
    fn verdict(&self, action: &'static str) -> Option<Error> {
        let (code, reason) = self.client.client().fatal_error()?;
        Some(if is_fenced(code) { self.fenced() } else { Error::Indefinite { action, reason } })
    }
    fn fenced(&self) -> Error {
        Error::Fenced { id: self.transactional_id.clone().unwrap_or_default() }
    }

    fn failed(&self, action: &'static str, error: &KafkaError) -> Error {
        let (code, reason) = match error {
            KafkaError::Transaction(error) => (Some(error.code()), error.string()),
            error => (error.rdkafka_error_code(), error.to_string()),
        };
        let failure = Failure { code: code.map_or(0, |code| code as i32), text: reason.clone() };
        match code {
            Some(code) if is_fenced(code) => self.fenced(),
            Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
                Error::Denied { action: "use a transactional id", reason }
            }
            _ if failure.is_denied() => Error::of("write in transactions", &failure),
            // Nothing was sent yet: asking again is safe, and with a new producer all the same.
            _ if action == INIT => Error::Unreachable { action: "begin to write in transactions", reason },
            _ => self.verdict(action).unwrap_or(Error::Indefinite { action, reason }),
        }
    }

    fn refused(&self, record: &Outgoing<'_>, error: &KafkaError) -> Error {
        if let Some(verdict) = self.verdict("send") {
            return verdict;
        }
        let (topic, reason) = (record.topic.clone(), error.to_string());
        match error.rdkafka_error_code() {
            // Outside of a transaction, or in one that must be aborted.
            Some(RDKafkaErrorCode::State) => Error::Indefinite { action: "send", reason },
            Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                Error::NoTopic { topic }
            }
            _ => {
                let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
                Error::Unsendable { topic, bytes, reason }
            }
        }
    }
}

#[async_trait]
impl Writer for Client {
    fn send(&self, record: Outgoing<'_>, patience: Duration) -> Result<()> {
        let mut queued = BaseRecord::<[u8], [u8]>::to(record.topic.as_str());
        queued.partition = record.partition;
        queued.key = record.key;
        queued.payload = record.value;
        queued.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            queued.headers =
                Some(record.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(*value) })
                }));
        }
        let deadline = runtime::time::Instant::now() + patience;
        loop {
            let reported = self.tally.reported();
            // Counted before it is queued: its report may be back before `send` returns.
            self.tally.sent();
            match self.client.send(queued) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.tally.unsent();
                    if !self.tally.wait_for_report(reported, deadline) {
                        return Err(Error::QueueFull { waited: patience });
                    }
                    queued = back;
                }
                Err((error, _)) => {
                    self.tally.unsent();
                    return Err(self.refused(&record, &error));
                }
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        if runtime::time::timeout(FLUSH_PATIENCE, self.tally.settled()).await.is_err() {
            return Err(Error::Indefinite {
                action: "flush",
                reason: format!("{} records are still on their way", self.tally.pending()),
            });
        }
        // A producer that was shut out must not come back under its id, so that goes first.
        self.tally.take_failures().map_err(|error| self.verdict("flush").unwrap_or(error))
    }

    async fn begin(&self) -> Result<()> {
        if self.transactional_id.is_none() {
            return Ok(());
        }
        self.step("begin", STEP_PATIENCE, |client| client.begin_transaction()).await
    }

    async fn commit(&self) -> Result<()> {
        self.flush().await?;
        if self.transactional_id.is_none() {
            return Ok(());
        }
        self.step("commit", STEP_PATIENCE, |client| client.commit_transaction(STEP_PATIENCE)).await
    }

    async fn abort(&self) -> Result<()> {
        if self.transactional_id.is_some() {
            self.step("abort", STEP_PATIENCE, |client| client.abort_transaction(STEP_PATIENCE)).await?;
        }
        self.tally.settled().await;
        // What was given up was to be given up.
        drop(self.tally.take_failures());
        Ok(())
    }
}

const INIT: &str = "init";

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
    matches!(code, Fenced | ProducerFenced | InvalidProducerEpoch)
}
