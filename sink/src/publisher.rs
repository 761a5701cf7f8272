//! Publishes a table's versions to its destination: the newest row of each key, and no key that the table
//! lacks.
//!
//! A version's changes are read from the table's log, netted by key, ordered by the key's bytes, and cut into
//! transactions. **Order of writes** in each: (1) begin, (2) the changes, (3) wait until all have arrived,
//! (4) the progress, (5) commit. Only the progress (table id, version, last key, complete or not) says how
//! far the destination is. It is in the transaction of the changes it covers and is written after them. So
//! even if a system shows uncommitted data, a visible progress has its changes before it.
//!
//! **A crash** before (5) leaves nothing that readers see; after it, everything. The next publisher first
//! opens a writer of the same destination, which aborts what the old one left open, *then* reads progress,
//! and goes on behind the last key: the order of keys does not depend on how the version was cut. After any
//! error this publisher does the same.
//!
//! Until the last change of a version, readers see a mix of two versions; the last change is marked. A
//! version without changes moves progress too. Progress that is ahead of the table, or of another table with
//! this name, halts: the lake was restored or the table recreated, and what readers have is not the table's
//! past.
//!
//! **Without progress** the destination has to be empty. A first progress then assigns it to the table before
//! any change is written, and the current table is published as one version. A destination with other
//! contents halts: `apply` gives it to the table, and what the table lacks is deleted while the whole table
//! is published.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use lake::{LogEntry, Table};
use model::{Millis, TableId, TableName, Version};
use runtime::Traces;
use runtime::traces::{Cause, Role};
use stage::CommitInfo;

use crate::Progress;
use crate::error::{Error, OfTable as _, Result};
use crate::net::Net;
use crate::seam::{Changes, Destination, Sink, Writer};

/// What to publish next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The destination has nothing of the table and was never its own. This is the table's newest version.
    First(Version),
    /// The whole table at this version, after this key.
    Whole(Version, Option<Vec<u8>>),
    /// The rest of this version's difference, after this key.
    Rest(Version, Vec<u8>),
    /// The differences of the versions after this one.
    After(Version),
}

/// Decides from all progress of the project.
pub fn next(
    table: &TableName,
    id: &TableId,
    newest: Version,
    destination: &Destination,
    all: &[Progress],
) -> Result<Next> {
    let (named, at) = (|| table.clone(), || destination.clone());
    let ours = |p: &&Progress| p.table == *table && p.destination == destination.name;
    if let Some(other) = all.iter().filter(ours).find(|p| p.id != *id) {
        let (published, id) = (other.id.to_string(), id.to_string());
        return Err(Error::OfAnother { table: named(), destination: at(), published, id });
    }
    if let Some(other) = all.iter().find(|p| p.destination == destination.name && p.table != *table) {
        let holds = format!("the rows of `{}`", other.table);
        return Err(Error::Holds { table: named(), destination: at(), holds });
    }
    let Some(progress) = all.iter().filter(ours).find(|p| p.id == *id) else {
        return Ok(Next::First(newest));
    };
    if progress.version > newest {
        let (published, newest) = (progress.version.0, newest.0);
        return Err(Error::Ahead { table: named(), destination: at(), published, newest });
    }
    Ok(match (progress.last, progress.whole, &progress.last_key) {
        (true, ..) => Next::After(progress.version),
        (false, true, behind) => Next::Whole(progress.version, behind.clone()),
        (false, false, behind) => Next::Rest(progress.version, behind.clone().unwrap_or_default()),
    })
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// The number of changes.
    pub records: usize,
    /// The newest Kafka timestamp behind them. A whole table has none.
    pub arrived: Option<Millis>,
}
impl Published {
    /// Adds a version of the table. Returns its span if it was traced.
    fn saw(&mut self, entry: &LogEntry) -> Option<Cause> {
        let info = CommitInfo::parse_lossy(entry)?;
        self.arrived = self.arrived.max(info.newest_arrival_ms());
        info.cause()
    }
}

/// Publishes one table.
pub struct Publisher<S: Sink> {
    route: Route<S>,
    /// The writer, and what to publish next. `None`: open a writer and read the progress.
    open: Option<(S::Writer, Next)>,
}

impl<S: Sink> Publisher<S> {
    /// Publishes `table` to `sink`, with at most `limit` changes per transaction.
    pub fn new(table: TableName, sink: S, limit: usize) -> Self {
        let route = Route { table, sink, limit: limit.max(1), traces: Traces::default() };
        Self { route, open: None }
    }

    /// Traces published versions.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.route.traces = traces;
        self
    }

    /// Publishes everything up to the version that `table` is open at. After an error, the next call starts
    /// over with a new writer.
    pub async fn step(&mut self, table: &Table) -> Result<Published> {
        let (mut writer, next) = match self.open.take() {
            Some(open) => open,
            None => self.route.open(table).await?,
        };
        let (published, done) = self.route.catch_up(&mut writer, table, next).await?;
        self.open = Some((writer, Next::After(done)));
        Ok(published)
    }

    /// Drops the writer: the next step opens one for the table's current columns.
    pub fn close(&mut self) {
        self.open = None;
    }
}

/// The source and the destination of a publisher.
struct Route<S> {
    table: TableName,
    sink: S,
    /// The most changes in one transaction.
    limit: usize,
    traces: Traces,
}

/// A version, or the part of it that has to be published.
struct Part {
    version: Version,
    /// Its added rows.
    added: Vec<RecordBatch>,
    /// Its removed rows.
    removed: Vec<RecordBatch>,
    /// Keys up to this one are published already.
    behind: Option<Vec<u8>>,
    /// True if it is the whole table instead of a difference.
    whole: bool,
    /// The commit of the version, if it was traced.
    cause: Option<Cause>,
    /// Keys that have a row at the destination: those that the version lacks are deleted.
    held: Vec<Bytes>,
}
impl Part {
    /// The difference of a version.
    fn of(change: lake::Change, cause: Option<Cause>, behind: Option<Vec<u8>>) -> Self {
        let lake::Change { version, added, removed } = change;
        Self { version, added, removed, behind, whole: false, cause, held: Vec::new() }
    }
    /// A version without changed rows.
    fn empty(version: Version) -> Self {
        let (added, removed, held) = (Vec::new(), Vec::new(), Vec::new());
        Self { version, added, removed, behind: None, whole: false, cause: None, held }
    }
}

impl<S: Sink> Route<S> {
    /// Opens a writer, and reads how far its destination is.
    async fn open(&self, table: &Table) -> Result<(S::Writer, Next)> {
        let mut writer = self.sink.open(table).await?;
        let all = writer.progress().await?;
        let next = next(&self.table, table.id(), table.version(), self.sink.destination(), &all)?;
        Ok((writer, next))
    }

    /// Publishes up to the version of `table`, and returns that version.
    async fn catch_up(
        &self,
        writer: &mut S::Writer,
        table: &Table,
        mut next: Next,
    ) -> Result<(Published, Version)> {
        let name = &self.table;
        let mut sent = Published::default();
        loop {
            next = match next {
                Next::First(version) => {
                    self.take_over(writer, table, version).await?;
                    Next::Whole(version, None)
                }
                Next::Whole(version, behind) => {
                    let held = writer.held().await?;
                    let added = table.at(version).await.of(name)?.scan(None).await.of(name)?;
                    let part = Part { added, behind, whole: true, held, ..Part::empty(version) };
                    sent.records += self.publish(writer, table.id(), part).await?;
                    Next::After(version)
                }
                Next::Rest(version, behind) => {
                    let before = version.0.checked_sub(1).map(Version);
                    for changed in table.changes(before, version).await.of(name)? {
                        let change = table.read_change(&changed).await.of(name)?;
                        let part = Part::of(change, sent.saw(changed.entry()), Some(behind.clone()));
                        sent.records += self.publish(writer, table.id(), part).await?;
                    }
                    Next::After(version)
                }
                Next::After(mut done) if done < table.version() => {
                    for changed in table.changes(Some(done), table.version()).await.of(name)? {
                        let change = table.read_change(&changed).await.of(name)?;
                        done = change.version;
                        let part = Part::of(change, sent.saw(changed.entry()), None);
                        sent.records += self.publish(writer, table.id(), part).await?;
                    }
                    if done < table.version() {
                        // Versions without changed rows: only progress moves.
                        done = table.version();
                        self.publish(writer, table.id(), Part::empty(done)).await?;
                    }
                    Next::After(done)
                }
                Next::After(done) => return Ok((sent, done)),
            };
        }
    }

    /// Assigns an empty destination to the table.
    async fn take_over(&self, writer: &mut S::Writer, table: &Table, version: Version) -> Result<()> {
        let (name, destination) = (self.table.clone(), self.sink.destination().clone());
        let held = writer.held().await?;
        if !held.is_empty() {
            let holds = format!("{} keys that nobody here published", held.len());
            return Err(Error::Holds { table: name, destination, holds });
        }
        let mine = Progress::first(table.id().clone(), name, destination.name, version);
        self.transaction(writer, None, &mine).await
    }

    /// Publishes a part. Returns the number of its changes.
    async fn publish(&self, writer: &mut S::Writer, id: &TableId, part: Part) -> Result<usize> {
        let Part { version, added, removed, behind, whole, cause, held } = part;
        let (name, keys) = (self.table.clone(), writer.keys());
        let net =
            runtime::cpu::run(move || Net::of(name, keys.as_ref(), added, &removed, held, behind.as_deref()));
        let net = Arc::new(net.await?);
        let count = net.len();
        let progress = |last_key, last| Progress {
            id: id.clone(),
            table: self.table.clone(),
            destination: self.sink.destination().name.clone(),
            version,
            last_key,
            last,
            whole,
        };
        if count == 0 {
            return self.transaction(writer, None, &progress(None, true)).await.map(|()| 0);
        }
        let causes: Vec<Cause> = cause.into_iter().collect();
        let mut span = self.traces.span("publish version", Role::Publishes, &causes);
        self.sink.describe(&mut span, count);
        span.set_attribute("lakepulse.table", self.table.to_string());
        span.set_attribute("lakepulse.version", version.position());
        let trace = span.cause().map(|cause| cause.to_string());
        let mut from = 0;
        while from < count {
            let (to, of) = (count.min(from + self.limit), Arc::clone(&net));
            let (keys, rows) = runtime::cpu::run(move || of.part(from..to)).await?;
            let progress = progress(keys.last().map(|change| change.key.to_vec()), to == count);
            let (table, trace) = (id.clone(), trace.clone());
            let changes = Changes { table, version, last: to == count, trace, keys, rows };
            self.transaction(writer, Some(changes), &progress).await?;
            from = to;
        }
        self.sink.published(&self.table, version, count);
        Ok(count)
    }

    async fn transaction(
        &self,
        writer: &mut S::Writer,
        changes: Option<Changes>,
        progress: &Progress,
    ) -> Result<()> {
        writer.begin().await?;
        if let Some(changes) = changes {
            writer.write(changes).await?;
            writer.flush().await?;
        }
        writer.note(progress).await?;
        writer.commit().await
    }
}
