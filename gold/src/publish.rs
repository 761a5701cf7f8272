//! A gold table's versions on its topic: keyed records, tombstones for deletes, compacted.
//!
//! What a version changed is read from the table's log, netted per key, ordered by the key's bytes,
//! and cut into transactions. **Order of writes** in each: (1) begin, (2) the records, (3) wait until
//! every one is acknowledged, (4) the progress record, (5) commit. Progress (table id, version, last
//! key, last?) is the only memory of how far the topic is; it shares the transaction with the records
//! it covers, and is sent behind them, so that even where a broker shows records of transactions
//! that were never committed, a progress that can be seen has its records before it.
//!
//! **A crash** before (5) leaves nothing a consumer sees; after it, everything. The next publisher
//! first makes a producer of the same transactional id, which ends whatever the old one left open,
//! *then* reads progress, and goes on behind the last key: the order of keys does not depend on how
//! the version was cut. After any error this publisher does the same with itself.
//!
//! Until the record with `lp.last` a consumer sees a mix of two versions, and the headers say so.
//! A version that changed nothing moves progress too. Progress ahead of the table, or of another table of
//! this name, halts: the lake was restored or the table recreated, and what consumers hold is not the
//! table's past.
//!
//! **Without progress** the topic has to be empty. A first progress record then says that the topic is the
//! table's, before any record is sent, and the current table is published as one version. A topic that
//! holds records of something else halts: `apply` gives it to the table ([`claim`]), and what the table
//! lacks is deleted from it while the table is published as a whole.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use lake::{LogEntry, Table};
use model::{TableId, TableName, TopicName, Version};
use runtime::Traces;
use runtime::traces::{Cause, Role};
use stage::CommitInfo;

use crate::error::{Error, OfTable as _, Result};

pub mod encode;
pub mod follow;
pub mod kafka;
pub mod progress;
pub mod records;

use encode::Encoders;
pub use follow::follow;
pub use kafka::claim;
pub use progress::{Progress, all_progress, progress};
use records::Records;

/// What a publisher writes to. One value is one producer after another, never two.
#[async_trait::async_trait]
pub trait Wire: Send {
    /// Makes a new producer. When it returns, no earlier one can add anything.
    async fn open(&mut self) -> Result<()>;
    /// All progress records of the project, as committed.
    async fn progress(&mut self) -> Result<Vec<Progress>>;
    /// The keys that have a value on the topic.
    async fn held(&mut self) -> Result<Vec<Bytes>>;
    /// Begins a transaction.
    async fn begin(&mut self) -> Result<()>;
    /// Sends records, without waiting for them.
    async fn send(&mut self, records: Vec<Record>) -> Result<()>;
    /// Sends a progress record, without waiting for it.
    async fn send_progress(&mut self, progress: &Progress) -> Result<()>;
    /// Waits until everything sent was acknowledged.
    async fn flush(&mut self) -> Result<()>;
    /// Commits the transaction.
    async fn commit(&mut self) -> Result<()>;
}

/// One record of a gold topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Avro, framed.
    pub key: Bytes,
    /// Avro, framed; `None` deletes the key.
    pub value: Option<Bytes>,
    /// Id of the table it comes from.
    pub table: TableId,
    /// The version it belongs to.
    pub version: Version,
    /// Whether it is the last of its version.
    pub last: bool,
    /// The span that publishes it: on the first record of a transaction, where spans are made.
    pub trace: Option<String>,
}

/// What to publish next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing of the table is on the topic, which was never its own. This is its newest version.
    First(Version),
    /// The whole table at this version, behind this key.
    Whole(Version, Option<Vec<u8>>),
    /// The rest of this version's difference, behind this key.
    Rest(Version, Vec<u8>),
    /// The differences of the versions behind this one.
    After(Version),
}

/// Decides from the progress records of the project.
pub fn next(
    table: &TableName,
    id: &TableId,
    newest: Version,
    topic: &TopicName,
    all: &[Progress],
) -> Result<Next> {
    let ours = |p: &&Progress| p.table == *table && p.topic == *topic;
    if let Some(other) = all.iter().filter(ours).find(|p| p.id != *id) {
        let (published, id) = (other.id.to_string(), id.to_string());
        return Err(Error::TopicOfAnother { table: table.clone(), topic: topic.clone(), published, id });
    }
    if let Some(other) = all.iter().find(|p| p.topic == *topic && p.table != *table) {
        let holds = format!("the rows of `{}`", other.table);
        return Err(Error::TopicHolds { table: table.clone(), topic: topic.clone(), holds });
    }
    let Some(progress) = all.iter().filter(ours).find(|p| p.id == *id) else {
        return Ok(Next::First(newest));
    };
    if progress.version > newest {
        let (published, newest) = (progress.version.0, newest.0);
        return Err(Error::TopicAhead { table: table.clone(), topic: topic.clone(), published, newest });
    }
    Ok(match (progress.last, progress.whole, &progress.last_key) {
        (true, ..) => Next::After(progress.version),
        (false, true, behind) => Next::Whole(progress.version, behind.clone()),
        (false, false, behind) => Next::Rest(progress.version, behind.clone().unwrap_or_default()),
    })
}

/// Which part of a version is published, and after what.
#[derive(Default)]
struct Part<'a> {
    /// Keys up to this one were published before.
    behind: Option<&'a [u8]>,
    /// Whether it is the whole table, not a difference.
    whole: bool,
    /// The commit that made the version, where it was traced.
    cause: Option<Cause>,
    /// Keys with a value on the topic: those that the version lacks are deleted.
    held: Vec<Bytes>,
}

/// The record that makes a topic a table's: nothing of it is published yet.
fn first(table: &Table, name: &TableName, topic: &TopicName, version: Version) -> Progress {
    Progress {
        id: table.id().clone(),
        table: name.clone(),
        topic: topic.clone(),
        version,
        last_key: None,
        last: false,
        whole: true,
    }
}

/// What a call published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// How many records.
    pub records: usize,
    /// The newest Kafka timestamp behind the differences among them.
    pub arrived: Option<model::Millis>,
}
impl Published {
    /// Takes note of a version of the table. Its span comes back, where it was traced.
    fn saw(&mut self, entry: &LogEntry) -> Option<Cause> {
        let info = CommitInfo::said(entry)?;
        self.arrived = self.arrived.max(info.newest_arrival_ms());
        info.cause()
    }
}

/// Publishes one table.
pub struct Publisher<W> {
    table: TableName,
    topic: TopicName,
    encoders: Arc<Encoders>,
    wire: W,
    /// Records of one transaction.
    limit: usize,
    traces: Traces,
    /// Where the topic is. `None`: to be read, with a new producer.
    standing: Option<Next>,
}

impl<W: Wire> Publisher<W> {
    /// Publishes `table` on `topic` over `wire`, at most `limit` records a transaction.
    pub fn new(table: TableName, topic: TopicName, encoders: Encoders, wire: W, limit: usize) -> Self {
        let traces = Traces::default();
        Self { table, topic, encoders: Arc::new(encoders), wire, limit: limit.max(1), traces, standing: None }
    }

    /// Says what it does as spans.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    /// Publishes everything up to the version that `table` is open at. Returns what that was.
    /// After an error the same call starts over with a new producer.
    pub async fn step(&mut self, table: &Table) -> Result<Published> {
        let published = self.try_step(table).await;
        if published.is_err() {
            self.standing = None;
        }
        published
    }

    /// Hands the wire back, for another publisher.
    pub fn into_wire(self) -> W {
        self.wire
    }

    async fn try_step(&mut self, table: &Table) -> Result<Published> {
        let mut next = match self.standing.take() {
            Some(next) => next,
            None => {
                self.wire.open().await?;
                let all = self.wire.progress().await?;
                next(&self.table, table.id(), table.version(), &self.topic, &all)?
            }
        };
        let mut sent = Published::default();
        loop {
            next = match next {
                Next::First(version) => {
                    let held = self.wire.held().await?;
                    if !held.is_empty() {
                        let (table, topic) = (self.table.clone(), self.topic.clone());
                        let holds = format!("{} keys that nobody here published", held.len());
                        return Err(Error::TopicHolds { table, topic, holds });
                    }
                    let mine = first(table, &self.table, &self.topic, version);
                    self.transaction(Vec::new(), &mine).await?;
                    Next::Whole(version, None)
                }
                Next::Whole(version, behind) => {
                    let held = self.wire.held().await?;
                    let rows = table.at(version).await.of(&self.table)?.scan(None).await.of(&self.table)?;
                    let part = Part { behind: behind.as_deref(), whole: true, cause: None, held };
                    sent.records += self.version(table, version, rows, Vec::new(), part).await?;
                    Next::After(version)
                }
                Next::Rest(version, behind) => {
                    let before = version.0.checked_sub(1).map(Version);
                    for changed in table.changes(before, version).await.of(&self.table)? {
                        let change = table.read_change(&changed).await.of(&self.table)?;
                        let part = Part {
                            behind: Some(&behind),
                            cause: sent.saw(changed.entry()),
                            ..Part::default()
                        };
                        sent.records +=
                            self.version(table, version, change.added, change.removed, part).await?;
                    }
                    Next::After(version)
                }
                Next::After(mut done) if done < table.version() => {
                    for changed in table.changes(Some(done), table.version()).await.of(&self.table)? {
                        let change = table.read_change(&changed).await.of(&self.table)?;
                        done = change.version;
                        let part = Part { cause: sent.saw(changed.entry()), ..Part::default() };
                        sent.records += self.version(table, done, change.added, change.removed, part).await?;
                    }
                    if done < table.version() {
                        // Versions that changed no row: only progress moves.
                        done = table.version();
                        self.version(table, done, Vec::new(), Vec::new(), Part::default()).await?;
                    }
                    Next::After(done)
                }
                done @ Next::After(_) => {
                    self.standing = Some(done);
                    return Ok(sent);
                }
            };
        }
    }

    /// Publishes one version, or the part of it that is left.
    async fn version(
        &mut self,
        table: &Table,
        version: Version,
        added: Vec<RecordBatch>,
        removed: Vec<RecordBatch>,
        part: Part<'_>,
    ) -> Result<usize> {
        let Part { behind, whole, cause, held } = part;
        let (name, encoders, behind) =
            (self.table.clone(), Arc::clone(&self.encoders), behind.map(<[u8]>::to_vec));
        let net =
            runtime::cpu::run(move || Records::net(&encoders, added, &removed, held, behind.as_deref()));
        let records = Arc::new(net.await.map_err(|source| Error::Avro { table: name.clone(), source })?);
        let (id, count) = (table.id().clone(), records.len());
        let progress = |last_key: Option<Vec<u8>>, last| Progress {
            id: id.clone(),
            table: self.table.clone(),
            topic: self.topic.clone(),
            version,
            last_key,
            last,
            whole,
        };
        if count == 0 {
            let progress = progress(None, true);
            return self.transaction(Vec::new(), &progress).await.map(|()| 0);
        }
        let causes: Vec<Cause> = cause.into_iter().collect();
        let mut span = self.traces.span("publish version", Role::Publishes, &causes);
        span.says("messaging.system", "kafka");
        span.says("messaging.destination.name", self.topic.as_str().to_owned());
        span.says("messaging.batch.message_count", i64::try_from(count).unwrap_or(i64::MAX));
        span.says("lakepulse.table", self.table.to_string());
        span.says("lakepulse.version", version.position());
        let mut from = 0;
        while from < count {
            let to = count.min(from + self.limit);
            let (encoders, part) = (Arc::clone(&self.encoders), Arc::clone(&records));
            let values = runtime::cpu::run(move || part.values(&encoders, from..to)).await;
            let values = values.map_err(|source| Error::Avro { table: name.clone(), source })?;
            let part: Vec<Record> = values
                .into_iter()
                .enumerate()
                .map(|(i, (key, value))| Record {
                    key,
                    value,
                    table: id.clone(),
                    version,
                    last: from + i + 1 == count,
                    trace: span.cause().filter(|_| i == 0).map(|cause| cause.to_string()),
                })
                .collect();
            let last_key = part.last().map(|r| r.key.to_vec());
            let progress = Progress {
                id: id.clone(),
                table: self.table.clone(),
                topic: self.topic.clone(),
                version,
                last_key,
                last: to == count,
                whole,
            };
            self.transaction(part, &progress).await?;
            from = to;
        }
        let topic = self.topic.as_str();
        tracing::info!(table = %self.table, version = version.0, topic, records = count, "version published");
        Ok(count)
    }

    async fn transaction(&mut self, records: Vec<Record>, progress: &Progress) -> Result<()> {
        self.wire.begin().await?;
        if !records.is_empty() {
            self.wire.send(records).await?;
            self.wire.flush().await?;
        }
        self.wire.send_progress(progress).await?;
        self.wire.commit().await
    }
}
