//! A table's versions at its destination: each key's newest row, and no key that the table lacks.
//!
//! What a version changed is read from the table's log, netted per key, ordered by the key's bytes,
//! and cut into transactions. **Order of writes** in each: (1) begin, (2) the changes, (3) wait until
//! every one has arrived, (4) the progress, (5) commit. Progress (table id, version, last
//! key, last?) is the only memory of how far the destination is; it shares the transaction with the changes
//! it covers, and is written behind them, so that even where a system shows what was
//! never committed, a progress that can be seen has its changes before it.
//!
//! **A crash** before (5) leaves nothing a reader sees; after it, everything. The next publisher
//! first opens a writer of the same destination, which ends whatever the old one left open,
//! *then* reads progress, and goes on behind the last key: the order of keys does not depend on how
//! the version was cut. After any error this publisher does the same with itself.
//!
//! Until the last change of a version a reader sees a mix of two versions, and the changes say which of them is
//! the last. A version that changed nothing moves progress too. Progress ahead of the table, or of another table of
//! this name, halts: the lake was restored or the table recreated, and what readers hold is not the
//! table's past.
//!
//! **Without progress** the destination has to be empty. A first progress then makes it the
//! table's, before any change is written, and the current table is published as one version. A destination that
//! holds something else halts: `apply` gives it to the table, and what the table
//! lacks is deleted from it while the table is published as a whole.

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
    /// Nothing of the table is at the destination, which was never its own. This is its newest version.
    First(Version),
    /// The whole table at this version, behind this key.
    Whole(Version, Option<Vec<u8>>),
    /// The rest of this version's difference, behind this key.
    Rest(Version, Vec<u8>),
    /// The differences of the versions behind this one.
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

/// What a call published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// How many changes.
    pub records: usize,
    /// The newest Kafka timestamp behind the differences among them.
    pub arrived: Option<Millis>,
}
impl Published {
    /// Takes note of a version of the table. Its span comes back, where it was traced.
    fn saw(&mut self, entry: &LogEntry) -> Option<Cause> {
        let info = CommitInfo::parse_lossy(entry)?;
        self.arrived = self.arrived.max(info.newest_arrival_ms());
        info.cause()
    }
}

/// Publishes one table.
pub struct Publisher<S: Sink> {
    route: Route<S>,
    /// The writer, and where its destination is. `None`: both are to be found out.
    open: Option<(S::Writer, Next)>,
}

impl<S: Sink> Publisher<S> {
    /// Publishes `table` to `sink`, at most `limit` changes a transaction.
    pub fn new(table: TableName, sink: S, limit: usize) -> Self {
        let route = Route { table, sink, limit: limit.max(1), traces: Traces::default() };
        Self { route, open: None }
    }

    /// Says what it does as spans.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.route.traces = traces;
        self
    }

    /// Publishes everything up to the version that `table` is open at. Returns what that was.
    /// After an error the same call starts over with a new writer.
    pub async fn step(&mut self, table: &Table) -> Result<Published> {
        let (mut writer, next) = match self.open.take() {
            Some(open) => open,
            None => self.route.open(table).await?,
        };
        let (published, done) = self.route.catch_up(&mut writer, table, next).await?;
        self.open = Some((writer, Next::After(done)));
        Ok(published)
    }

    /// Drops the writer: the next step opens another one, for the columns that the table has then.
    pub fn close(&mut self) {
        self.open = None;
    }
}

/// From where to where a publisher goes.
struct Route<S> {
    table: TableName,
    sink: S,
    /// Changes of one transaction.
    limit: usize,
    traces: Traces,
}

/// A version, or the part of it that is to be published.
struct Part {
    version: Version,
    /// Rows that came with it.
    added: Vec<RecordBatch>,
    /// Rows that went.
    removed: Vec<RecordBatch>,
    /// Keys up to this one were published before.
    behind: Option<Vec<u8>>,
    /// Whether it is the whole table, not a difference.
    whole: bool,
    /// The commit that made the version, where it was traced.
    cause: Option<Cause>,
    /// Keys with a row at the destination: those that the version lacks are deleted.
    held: Vec<Bytes>,
}
impl Part {
    /// The difference that a version made.
    fn of(change: lake::Change, cause: Option<Cause>, behind: Option<Vec<u8>>) -> Self {
        let lake::Change { version, added, removed } = change;
        Self { version, added, removed, behind, whole: false, cause, held: Vec::new() }
    }
    /// Versions up to this one changed no row.
    fn empty(version: Version) -> Self {
        let (added, removed, held) = (Vec::new(), Vec::new(), Vec::new());
        Self { version, added, removed, behind: None, whole: false, cause: None, held }
    }
}

impl<S: Sink> Route<S> {
    /// Opens a writer, and reads where its destination is.
    async fn open(&self, table: &Table) -> Result<(S::Writer, Next)> {
        let mut writer = self.sink.open(table).await?;
        let all = writer.progress().await?;
        let next = next(&self.table, table.id(), table.version(), self.sink.destination(), &all)?;
        Ok((writer, next))
    }

    /// Publishes up to the version of `table`, which comes back.
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
                        // Versions that changed no row: only progress moves.
                        done = table.version();
                        self.publish(writer, table.id(), Part::empty(done)).await?;
                    }
                    Next::After(done)
                }
                Next::After(done) => return Ok((sent, done)),
            };
        }
    }

    /// Makes an empty destination the table's.
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

    /// Publishes a part. Returns how many changes it has.
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
