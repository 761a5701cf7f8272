//! Lands rows in their table, each record exactly once.
//!
//! Order: encode and upload the rows; then one commit adds the files **and** sets the position of every
//! partition in them, if those positions still equal those the records were read from. Crash before the
//! commit: the files are orphans for vacuum and the records are read again. Crash after it: the records that
//! are read again lie below the table's position. After a lost answer, the table's log is searched for the
//! operation's ULID, and the same files are committed again until the outcome is known. If positions have
//! moved, another process has the partition and nothing lands.
//!
//! A deleted and recreated topic has other records at the same offsets, so an offset needs the topic's id.
//! The broker is asked for the id once all records of the commit are in memory: if the id is still that of
//! the positions, the records belong to that topic.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lake::digest::{Sum, row_hashes};
use lake::{Commit, Expect, Landing, Table};
use model::{AppId, Millis, Positions, ProjectName, TopicId, TopicName, Version};
use runtime::traces::{Cause, Role};
use runtime::{CancellationToken, Traces};
use stage::{CommitInfo, info};
use stream::Admin;

use crate::absent;
use crate::budget::Permit;
use crate::decider::{OffsetRange, PendingCommit};
use crate::ledger::{self, Lines};

/// How long a commit waits for the topic's id: an unreachable broker must not keep rows from landing.
const ID_PATIENCE: Duration = Duration::from_secs(3);

/// Rows that wait for their commit.
#[derive(Debug)]
pub struct Waiting {
    /// The rows.
    pub batch: RecordBatch,
    /// Their bytes on the wire, counted until they are uploaded.
    pub permit: Permit,
    /// Kafka's newest timestamp among them, in milliseconds.
    pub newest: Option<Millis>,
    /// Traces that sampled records among them belong to.
    pub causes: Vec<Cause>,
    /// The last line of each file among them.
    pub lines: Lines,
    /// For each column with a default, the first offset whose writer knows the column.
    pub firsts: BTreeMap<String, i64>,
}

/// The input of one commit.
#[derive(Debug)]
pub struct Work {
    /// ULID of the operation.
    pub op: String,
    /// The project.
    pub project: ProjectName,
    /// The topic.
    pub topic: TopicName,
    /// Its id.
    pub topic_id: TopicId,
    /// What to land.
    pub pending: PendingCommit<Waiting>,
    /// The table's columns after the commit, if it adds some.
    pub schema: Option<SchemaRef>,
    /// Defaults of columns that the table has or gains.
    pub defaults: absent::Values,
    /// Receives the commit's span.
    pub traces: Traces,
    /// Asked whether the topic still has the same id. `None` skips the check.
    pub admin: Option<Admin>,
    /// Ends the retries while the store does not answer.
    pub stop: CancellationToken,
}

/// The result of [`land`].
#[derive(Debug)]
pub struct Finished {
    /// The table, at its newest known version.
    pub table: Table,
    /// The ranges of the commit.
    pub ranges: Vec<OffsetRange>,
    /// The last line of each file, for each range.
    pub lines: Vec<Lines>,
    /// Whether it landed.
    pub result: CommitResult,
    /// Kafka's newest timestamp among the rows, in milliseconds.
    pub newest: Option<Millis>,
}

/// How a commit ended.
#[derive(Debug)]
pub enum CommitResult {
    /// It is this version.
    Landed(Version),
    /// Another writer moved the positions; nothing landed.
    Moved,
    /// The topic was recreated with this id; nothing landed.
    Recreated(TopicId),
    /// The table halts or must be loaded again. After `stop`, it may have landed all the same.
    Failed(lake::Error),
}

/// Lands `work`. Retries until the outcome is known or `stop` is cancelled. May be aborted at any point: the
/// table's log has the outcome.
pub async fn land(mut table: Table, work: Work) -> Finished {
    let ranges = work.pending.ranges.clone();
    let newest = work.pending.batches.iter().flatten().filter_map(|waiting| waiting.newest).max();
    let lines = work.pending.batches.iter().map(|part| {
        let mut lines = Lines::new();
        part.iter().for_each(|waiting| ledger::raise(&mut lines, &waiting.lines));
        lines
    });
    let lines = lines.collect();
    let mut causes = Vec::new();
    for waiting in work.pending.batches.iter().flatten() {
        waiting.causes.iter().for_each(|cause| cause.clone().add_to(&mut causes));
    }
    let mut span = work.traces.span("bronze commit", Role::Reads, &causes);
    span.set_attribute("messaging.system", "kafka");
    span.set_attribute("messaging.destination.name", work.topic.as_str().to_owned());
    span.set_attribute(
        "messaging.batch.message_count",
        ranges.iter().map(|range| range.rows).sum::<u64>().cast_signed(),
    );
    span.set_attribute("lakepulse.table", table.name().to_string());
    span.set_attribute("lakepulse.op", work.op.clone());
    let result = attempt(&mut table, work, span.cause()).await.unwrap_or_else(CommitResult::Failed);
    match &result {
        CommitResult::Landed(version) => span.set_attribute("lakepulse.version", version.position()),
        CommitResult::Moved => span.failed(&"another process has moved the table on"),
        CommitResult::Recreated(_) => span.failed(&"the topic was made anew"),
        CommitResult::Failed(error) => span.failed(error),
    }
    Finished { table, ranges, lines, result, newest }
}

/// The value of the commit's defaults property. `None` if no column has a default.
fn said_of_columns(
    defaults: &absent::Values,
    pending: &PendingCommit<Waiting>,
    app: impl Fn(&OffsetRange) -> AppId,
) -> Option<String> {
    let default = |(path, value): (&String, &String)| {
        let first =
            |part: &Vec<Waiting>| part.iter().filter_map(|waiting| waiting.firsts.get(path)).min().copied();
        let parts = pending.ranges.iter().zip(&pending.batches);
        let from = parts.filter_map(|(range, part)| Some((app(range).as_str().to_owned(), first(part)?)));
        (path.clone(), lake::defaults::ColumnDefault { value: value.clone(), from: from.collect() })
    };
    let all: lake::Defaults = defaults.iter().map(default).collect();
    (!all.is_empty()).then(|| lake::defaults::print(&all))
}

async fn attempt(table: &mut Table, work: Work, cause: Option<Cause>) -> lake::Result<CommitResult> {
    let Work { op, project, topic, topic_id, pending, schema, defaults, admin, stop, .. } = work;
    let app = |range: &OffsetRange| AppId::partition(&topic_id, range.partition);
    let said = said_of_columns(&defaults, &pending, app);
    let (batches, permits) = split(pending.batches);
    let digested = batches.clone();
    let digests = runtime::cpu::run(move || digested.iter().map(|part| digest(part)).collect::<Vec<_>>());
    let rows: Vec<RecordBatch> = batches.into_iter().flatten().filter(|batch| batch.num_rows() > 0).collect();
    // The two slowest steps, and the broker's answer, do not depend on each other.
    let (digests, append, now) =
        tokio::join!(digests, stage::staged(table, &rows, &stop), id_of(admin.as_ref(), &topic));
    let append = append?;
    if let Some(now) = now.filter(|now| *now != topic_id) {
        return Ok(CommitResult::Recreated(now));
    }
    // The rows are uploaded, so their memory is free whatever the outcome of the commit.
    drop((rows, permits));
    let mut info = info(&project, &topic, &topic_id, &pending.ranges, &digests);
    info.traceparent = cause.map(|cause| cause.to_string());
    let commit = Commit {
        operation: "WRITE",
        op: op.clone(),
        expect: Expect::These(
            pending.ranges.iter().map(|range| (app(range), range.position.map(|at| at.0))).collect(),
        ),
        set: pending.ranges.iter().map(|range| (app(range), range.to.0)).collect::<Positions>(),
        append,
        remove: lake::Remove::Nothing,
        properties: said.map(|said| (lake::DEFAULTS.to_owned(), said)).into_iter().collect(),
        schema,
        info: CommitInfo::Bronze(info).stored(),
    };
    match stage::commit(table, &commit, &stop).await? {
        Landing::Landed(version) => {
            let rows: u64 = pending.ranges.iter().map(|range| range.rows).sum();
            let ranges = Spans { topic: &topic, ranges: &pending.ranges };
            tracing::info!(table = %table.name(), version = version.0, op, rows, %ranges, "bronze committed");
            Ok(CommitResult::Landed(version))
        }
        Landing::Moved => Ok(CommitResult::Moved),
    }
}

/// The topic's current id. `None` if the broker does not answer. The commit then trusts the id that the
/// records were read under; the consumer checks the id as well.
async fn id_of(admin: Option<&Admin>, topic: &TopicName) -> Option<TopicId> {
    let asked = runtime::time::timeout(ID_PATIENCE, admin?.describe(topic)).await;
    match asked {
        Ok(Ok(found)) => found.map(|found| found.id),
        Ok(Err(_)) | Err(_) => {
            tracing::debug!(%topic, "the broker does not say the topic's id");
            None
        }
    }
}

/// Formats a commit's ranges for a log line: `topic/partition[from,to)`.
struct Spans<'a> {
    topic: &'a TopicName,
    ranges: &'a [OffsetRange],
}
impl std::fmt::Display for Spans<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, range) in self.ranges.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}/{}[{},{})", self.topic.as_str(), range.partition, range.from, range.to)?;
        }
        Ok(())
    }
}

fn split(batches: Vec<Vec<Waiting>>) -> (Vec<Vec<RecordBatch>>, Vec<Permit>) {
    let mut permits = Vec::new();
    let mut parts = Vec::with_capacity(batches.len());
    for part in batches {
        let mut rows = Vec::with_capacity(part.len());
        for Waiting { batch, permit, .. } in part {
            rows.push(batch);
            permits.push(permit);
        }
        parts.push(rows);
    }
    (parts, permits)
}

/// Order-independent sum over the rows of one range. A null adds nothing to a row's hash, so columns that the
/// table gains later do not change a digest.
pub fn digest(batches: &[RecordBatch]) -> Sum {
    let mut sum = Sum::default();
    for batch in batches {
        let columns: Vec<&str> =
            batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        sum.add(&row_hashes(batch, &columns));
    }
    sum
}

/// The commit's info, as stored in the table's log.
pub fn info(
    project: &ProjectName,
    topic: &TopicName,
    topic_id: &TopicId,
    ranges: &[OffsetRange],
    digests: &[Sum],
) -> info::BronzeCommit {
    let range = |(range, digest): (&OffsetRange, &Sum)| info::Range {
        topic: topic.to_string(),
        topic_id: topic_id.to_string(),
        partition: range.partition,
        from: range.from.0,
        to: range.to.0,
        rows: range.rows,
        digest: digest.to_string(),
    };
    info::BronzeCommit {
        project: project.to_string(),
        ranges: ranges.iter().zip(digests).map(range).collect(),
        ..info::BronzeCommit::default()
    }
}
