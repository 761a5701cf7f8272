//! Lands a plan in its table, each record exactly once.
//!
//! Order: encode and upload the rows, then one commit that names the files **and** sets the position
//! of every partition in them, if those positions are still what the records were read from. Stop
//! before the commit: the files are orphans for vacuum, the records are read again. Stop after it: the
//! table says so, and what is read again lies below its position. An answer that is lost in between is
//! asked for by the operation's ULID; the very same files are committed until the outcome is known.
//! Positions that moved mean another process has the partition: nothing lands.
//!
//! Offsets mean nothing without the topic's id, and a topic that is deleted and made again has records at the
//! same offsets. The id is asked for when all records of the commit are in hand: if it is still the one that
//! their offsets are kept by, they are of that topic.

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
use crate::decider::{Plan, Range};
use crate::ledger::{self, Lines};

/// How long a commit waits for the topic's id: a broker that is away must not keep rows from landing.
const ID_PATIENCE: Duration = Duration::from_secs(3);

/// Rows that wait for their commit.
#[derive(Debug)]
pub struct Waiting {
    /// The rows.
    pub batch: RecordBatch,
    /// Their bytes on the wire, until they are durable.
    pub permit: Permit,
    /// Kafka's newest timestamp among them, in milliseconds.
    pub newest: Option<Millis>,
    /// Traces that records among them were sampled for.
    pub causes: Vec<Cause>,
    /// The last lines of files among them.
    pub lines: Lines,
    /// Of each column that has a default: the first offset whose writer knows it.
    pub firsts: BTreeMap<String, i64>,
}

/// One commit to be.
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
    pub plan: Plan<Waiting>,
    /// The table's columns after it, where it gains some.
    pub schema: Option<SchemaRef>,
    /// What stands for columns that it may gain.
    pub defaults: absent::Values,
    /// Where its span goes.
    pub traces: Traces,
    /// Says whether the topic is still the same one. `None`: nobody is asked.
    pub admin: Option<Admin>,
    /// Ends the wait for a store that does not answer.
    pub stop: CancellationToken,
}

/// What became of it.
#[derive(Debug)]
pub struct Finished {
    /// The table, at its newest version known.
    pub table: Table,
    /// The ranges of the plan.
    pub ranges: Vec<Range>,
    /// The last lines of files in each of them.
    pub lines: Vec<Lines>,
    /// Landed, or why not.
    pub outcome: Outcome,
    /// Kafka's newest timestamp in it, in milliseconds.
    pub newest: Option<Millis>,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is this version.
    Landed(Version),
    /// Someone else moved on; nothing of it landed.
    Moved,
    /// The topic was made anew and has this id; nothing of it landed.
    Recreated(TopicId),
    /// The table halts or has to be read again.
    Failed(lake::Error),
}

/// Lands `work`. Tries until the outcome is known, or until it is to stop. May be aborted anywhere: the commit
/// landed or it did not, and the table tells.
pub async fn land(mut table: Table, work: Work) -> Finished {
    let ranges = work.plan.ranges.clone();
    let newest = work.plan.batches.iter().flatten().filter_map(|waiting| waiting.newest).max();
    let lines = work.plan.batches.iter().map(|part| {
        let mut lines = Lines::new();
        part.iter().for_each(|waiting| ledger::raise(&mut lines, &waiting.lines));
        lines
    });
    let lines = lines.collect();
    let mut causes = Vec::new();
    for waiting in work.plan.batches.iter().flatten() {
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
    let outcome = attempt(&mut table, work, span.cause()).await.unwrap_or_else(Outcome::Failed);
    match &outcome {
        Outcome::Landed(version) => span.set_attribute("lakepulse.version", version.position()),
        Outcome::Moved => span.failed(&"another process has moved the table on"),
        Outcome::Recreated(_) => span.failed(&"the topic was made anew"),
        Outcome::Failed(error) => span.failed(error),
    }
    Finished { table, ranges, lines, outcome, newest }
}

/// What a commit says of columns that have a default. `None`: nothing.
fn said_of_columns(
    defaults: &absent::Values,
    plan: &Plan<Waiting>,
    app: impl Fn(&Range) -> AppId,
) -> Option<String> {
    let default = |(path, value): (&String, &String)| {
        let first =
            |part: &Vec<Waiting>| part.iter().filter_map(|waiting| waiting.firsts.get(path)).min().copied();
        let parts = plan.ranges.iter().zip(&plan.batches);
        let from = parts.filter_map(|(range, part)| Some((app(range).as_str().to_owned(), first(part)?)));
        (path.clone(), lake::defaults::ColumnDefault { value: value.clone(), from: from.collect() })
    };
    let all: lake::Defaults = defaults.iter().map(default).collect();
    (!all.is_empty()).then(|| lake::defaults::print(&all))
}

async fn attempt(table: &mut Table, work: Work, cause: Option<Cause>) -> lake::Result<Outcome> {
    let Work { op, project, topic, topic_id, plan, schema, defaults, admin, stop, .. } = work;
    let app = |range: &Range| AppId::partition(&topic_id, range.partition);
    let said = said_of_columns(&defaults, &plan, app);
    let (batches, permits) = split(plan.batches);
    let digested = batches.clone();
    let digests = runtime::cpu::run(move || digested.iter().map(|part| digest(part)).collect::<Vec<_>>());
    let rows: Vec<RecordBatch> = batches.into_iter().flatten().filter(|batch| batch.num_rows() > 0).collect();
    // Of all that a commit waits for these two take longest, and neither needs the other.
    let (digests, append, now) =
        tokio::join!(digests, stage::staged(table, &rows, &stop), id_of(admin.as_ref(), &topic));
    let append = append?;
    if let Some(now) = now.filter(|now| *now != topic_id) {
        return Ok(Outcome::Recreated(now));
    }
    // Encoded and uploaded: the rows are not needed any more, whatever the commit says.
    drop((rows, permits));
    let mut info = info(&project, &topic, &topic_id, &plan.ranges, &digests);
    info.traceparent = cause.map(|cause| cause.to_string());
    let commit = Commit {
        operation: "WRITE",
        op: op.clone(),
        expect: Expect::These(
            plan.ranges.iter().map(|range| (app(range), range.position.map(|at| at.0))).collect(),
        ),
        set: plan.ranges.iter().map(|range| (app(range), range.to.0)).collect::<Positions>(),
        append,
        remove: lake::Remove::Nothing,
        properties: said.map(|said| (lake::DEFAULTS.to_owned(), said)).into_iter().collect(),
        schema,
        info: CommitInfo::Bronze(info).stored(),
    };
    match stage::commit(table, &commit, &stop).await? {
        Landing::Landed(version) => {
            let rows: u64 = plan.ranges.iter().map(|range| range.rows).sum();
            let ranges = Spans { topic: &topic, ranges: &plan.ranges };
            tracing::info!(table = %table.name(), version = version.0, op, rows, %ranges, "bronze committed");
            Ok(Outcome::Landed(version))
        }
        Landing::Moved => Ok(Outcome::Moved),
    }
}

/// The id that the topic has now. `None`: the broker does not say. Then the records are taken for what they
/// were when they were read, as the consumer's own watch does.
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

/// Coordinates of records for a log line: `topic/partition[from,to)`.
struct Spans<'a> {
    topic: &'a TopicName,
    ranges: &'a [Range],
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

/// Order-free sum over the rows of one range. A null adds nothing to a row's hash, so columns that
/// the table gains later change no digest.
pub fn digest(batches: &[RecordBatch]) -> Sum {
    let mut sum = Sum::default();
    for batch in batches {
        let columns: Vec<&str> =
            batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        sum.add(&row_hashes(batch, &columns));
    }
    sum
}

/// What the commit says of itself.
pub fn info(
    project: &ProjectName,
    topic: &TopicName,
    topic_id: &TopicId,
    ranges: &[Range],
    digests: &[Sum],
) -> info::BronzeCommit {
    let range = |(range, digest): (&Range, &Sum)| info::Range {
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
