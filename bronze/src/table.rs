//! The task of one table: takes records, makes commits.
//!
//! It decodes the router's records on the CPU threads, and reads the next batch while a commit is encoded and
//! uploaded. Two things make it wait. For a schema that the registry has not returned, only that partition
//! waits. If the next commit is full while one is running, the whole table waits; its share of memory fills
//! until the router stops reading it. Other tables are not affected.
//!
//! A commit without an answer is repeated until its outcome is known ([`stage::commit`]). If another writer moved
//! on, or the table changed, the task drops what is in memory, reads the table's positions and goes on from there.

mod answers;
mod compaction;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use catalog::{Topic, ValueFormat};
use lake::{Table, Within};
use model::{AppId, ClockMs, Millis, Offset, Reaction, TopicId, Version, column};
use runtime::traces::{self, MAX_CAUSES, TRACEPARENT};
use runtime::{CancellationToken, Meter, State};
use stream::Records;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::absent;
use crate::assemble::{Layout, Origin};
use crate::batch::{Format, Reader, numbers};
use crate::budget::{Permit, Share};
use crate::commit::{Finished, Waiting, Work, land};
use crate::decider::{Decider, Limits, PartitionBatch};
use crate::evolve;
use crate::inbox::Inbox;
use crate::ledger::{self, Ledger, Lines, Partitions};
use crate::lookup::{Asked, Lookups};
use crate::open::Opened;
use crate::patience::{Needs, Patience};
use crate::said::{Cause, Said};
use crate::shared::{Command, Message, Shared};
use crate::{Error, Loss};

/// How long a running commit may take once the process stops.
const LAST_COMMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Records of a partition that wait for a schema, and since when the first of them does.
struct Parked {
    waiting: VecDeque<Held>,
    since: ClockMs,
}

/// Records with the generation that they were read under.
struct Held {
    records: Records,
    generation: u64,
    permit: Permit,
    needs: Needs,
}

/// An assigned partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours {
    /// The generation that its records must carry.
    generation: u64,
    /// First offset read: where to start again while the table has no position.
    begin: Option<Offset>,
}

/// The task's state.
pub(crate) struct Task {
    shared: Arc<Shared>,
    commands: UnboundedSender<Command>,
    share: Share,
    meter: Meter,
    topic: Topic,
    topic_id: TopicId,
    /// `None` while a commit runs.
    table: Option<Table>,
    commit: Option<JoinHandle<Finished>>,
    committing_since: ClockMs,
    /// Commits since the last compaction.
    commits: u32,
    compaction: Option<JoinHandle<lake::Result<Option<Version>>>>,
    /// `None` while a batch is decoded.
    reader: Option<Reader>,
    decider: Decider<Waiting>,
    ledger: Ledger,
    lookups: Lookups,
    patience: Patience,
    /// Record names of the known schemas.
    names: BTreeSet<String>,
    /// Why the registry's schema cannot be used.
    unusable: HashMap<Asked, String>,
    said: Said,
    parked: BTreeMap<i32, Parked>,
    assigned: BTreeMap<i32, Ours>,
    /// Ends of the logs that were reached; removed when more records come.
    ends: BTreeMap<i32, Offset>,
    /// Ends the task, and the retries while the store does not answer.
    stop: CancellationToken,
}

impl Task {
    /// `assigned`: partitions that were assigned before the table was opened.
    pub fn new(
        shared: Arc<Shared>,
        commands: UnboundedSender<Command>,
        share: Share,
        opened: Opened,
        assigned: BTreeMap<i32, Ours>,
    ) -> Self {
        let Opened { topic, topic_id, table } = opened;
        let commit = &shared.context.project.commit;
        let limits = Limits { age: commit.interval, rows: commit.max_rows, bytes: commit.max_bytes };
        let format = match topic.value {
            ValueFormat::Avro => Format::Avro,
            ValueFormat::Json if topic.value_schema.is_some() || topic.is_unlearned() => Format::Json,
            ValueFormat::Json => Format::Text,
            ValueFormat::Bytes => Format::Bytes,
        };
        let reader = Reader::new(format, layout_of(&table)).keys_in(topic.key_format);
        let meter = shared.context.meters.stage("bronze", &topic.table.to_string());
        meter.version(table.version());
        let context = &shared.context;
        let patience = Patience::new(context.settings.missing_schema_after);
        let lookups = Lookups::new(shared.input.registry.clone());
        shared.starts.learn(table.positions());
        Self {
            commands,
            share,
            meter,
            topic,
            topic_id,
            table: Some(table),
            commit: None,
            committing_since: ClockMs(0),
            commits: 0,
            compaction: None,
            reader: Some(reader),
            decider: Decider::new(limits),
            ledger: Ledger::default(),
            lookups,
            patience,
            names: BTreeSet::new(),
            unusable: HashMap::new(),
            said: Said::default(),
            parked: BTreeMap::new(),
            assigned,
            ends: BTreeMap::new(),
            stop: CancellationToken::new(),
            shared,
        }
    }

    /// The assigned partitions, for when the table is opened again.
    pub fn assigned(&self) -> BTreeMap<i32, Ours> {
        self.assigned.clone()
    }

    /// Runs until `stop` or an error.
    pub async fn run(&mut self, inbox: &mut Inbox, stop: &CancellationToken) -> Result<(), Error> {
        self.stop = stop.clone();
        self.meter.state(State::Running);
        self.declare();
        self.begin_again();
        let every = (self.shared.context.project.commit.interval / 10)
            .clamp(std::time::Duration::from_millis(5), std::time::Duration::from_millis(100));
        let mut tick = runtime::time::interval(every);
        loop {
            let has_room = self.commit.is_none() || !self.decider.is_full();
            tokio::select! {
                biased; // inbox last: a full one must not starve commits
                () = stop.cancelled() => break,
                finished = joined(&mut self.commit), if self.commit.is_some() => self.finished(finished).await?,
                compacted = joined(&mut self.compaction), if self.compaction.is_some() => self.compacted(compacted),
                (asked, found) = self.lookups.next() => {
                    self.learn(asked, found);
                    self.unpark().await?;
                }
                _ = tick.tick() => self.unpark().await?,
                message = inbox.next(), if has_room => match message {
                    Some(message) => self.on_message(message).await?,
                    None => break,
                },
            }
            self.commit_if_due(inbox.is_empty());
        }
        self.stop().await;
        Ok(())
    }

    /// Waits for the running commit, for a limited time. Waiting rows are not committed: they are read again.
    pub async fn stop(&mut self) {
        if let Some(mut commit) = self.commit.take()
            && runtime::time::timeout(LAST_COMMIT, &mut commit).await.is_err()
        {
            // It landed or it did not: the next start reads that from the table.
            commit.abort();
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Assigned(partitions) => self.on_assigned(partitions).await?,
            Message::Revoked(partitions) => partitions.iter().for_each(|&partition| self.release(partition)),
            Message::End { partition, offset, generation } => {
                if self.ours(partition, generation).is_some() {
                    self.ends.insert(partition, offset);
                    self.report(partition);
                }
            }
            Message::Lost { loss, generation } => self.on_lost(&loss, generation).await?,
            Message::Records { records, generation, permit } => {
                if records.topic_id != self.topic_id {
                    let (before, now) = (self.topic_id.to_string(), records.topic_id.to_string());
                    return Err(self.loss(Loss::Recreated { before, now }));
                }
                self.on_records(records, generation, permit).await?;
            }
        }
        Ok(())
    }

    async fn on_records(&mut self, records: Records, generation: u64, permit: Permit) -> Result<(), Error> {
        let partition = records.partition;
        let Some(first) = records.first() else { return Ok(()) };
        let Some(ours) = self.ours(partition, generation) else { return Ok(()) };
        ours.begin.get_or_insert(first);
        self.meter.records_in(records.len() as u64);
        self.ends.remove(&partition);
        if self.parked.contains_key(&partition) {
            // Their schemas are requested now, not when it is their turn.
            let needs = self.needs(&records, &all(&records));
            self.ask(&needs);
            if let Some(parked) = self.parked.get_mut(&partition) {
                parked.waiting.push_back(Held { records, generation, permit, needs });
            }
        } else if let Some(held) = self.read(records, generation, permit).await? {
            let since = self.shared.context.clock.now();
            self.parked.insert(partition, Parked { waiting: VecDeque::from([held]), since });
        }
        Ok(())
    }

    /// Reads records into rows that wait for a commit. Returns the records if a schema is missing.
    async fn read(
        &mut self,
        records: Records,
        generation: u64,
        permit: Permit,
    ) -> Result<Option<Held>, Error> {
        let partition = records.partition;
        let from_files = Ledger::concerns(&records, &all(&records));
        if from_files && !self.ledger.knows(partition) {
            // This comes before the check of the generation: a commit that ends here may restart the
            // partition.
            self.know_lines().await?;
        }
        let Some(floor) = self.decider.floor(partition, generation) else { return Ok(None) };
        let (Some(first), Some(next)) = (records.first(), records.next()) else { return Ok(None) };
        let repeats = records.offsets.partition_point(|offset| Offset(*offset) < floor);
        let mut kept: Vec<u32> = numbers(records.len()).skip(repeats).collect();
        self.learn_parts(&records, &kept);
        let needs = self.needs(&records, &kept);
        if !needs.is_empty() {
            self.ask(&needs);
            return Ok(Some(Held { records, generation, permit, needs }));
        }
        if repeats > 0 {
            self.meter.late("repeat", repeats as u64);
        }
        let mut lines = Lines::new();
        if from_files {
            let (twice, last) = self.ledger.drop_repeats(&records, &mut kept);
            if twice > 0 {
                self.meter.late("sent_twice", twice);
            }
            lines = last;
        }
        let rows = kept.len() as u64;
        let newest =
            kept.iter().map(|&row| records.timestamp(row as usize)).filter(|&ms| ms >= 0).max().map(Millis);
        let bytes = records.bytes() as u64;
        let causes = self.causes(&records);
        let (batch, firsts) = self.decode(records, kept).await;
        let payload = Waiting { batch, permit, newest, causes, lines, firsts };
        let batch = PartitionBatch { partition, generation, first, next, rows, bytes, payload };
        self.decider.on_batch(batch, self.shared.context.clock.now());
        Ok(None)
    }

    /// The traces that sampled records belong to.
    fn causes(&self, records: &Records) -> Vec<traces::Cause> {
        let mut causes = Vec::new();
        if self.meter.traces().is_on() {
            let headers = records.find_headers(TRACEPARENT, MAX_CAUSES);
            headers
                .into_iter()
                .filter_map(traces::Cause::of_header)
                .for_each(|cause| cause.add_to(&mut causes));
        }
        causes
    }

    /// The rows, and for each column with a default the first offset whose writer knows the column.
    async fn decode(&mut self, records: Records, kept: Vec<u32>) -> (RecordBatch, BTreeMap<String, i64>) {
        let mut reader = self.reader.take().expect("put back below before anything else runs");
        let (topic_id, epoch) = (self.topic_id.clone(), self.topic.epoch);
        let ingested_at = self.shared.context.clock.now();
        let (reader, read) = runtime::cpu::run(move || {
            let partition = records.partition;
            let origin = Origin { topic_id: topic_id.as_str(), partition, epoch, ingested_at };
            let read = reader.read(origin, &records, &kept);
            (reader, read)
        })
        .await;
        self.reader = Some(reader);
        for (reason, n) in &read.errors {
            self.meter.decode_errors(reason, *n);
        }
        if !read.errors.is_empty() {
            let n: u64 = read.errors.iter().map(|(_, n)| n).sum();
            if let Some(more) = self.said.due(Cause::ErrorRows, ingested_at, n) {
                tracing::warn!(table = %self.topic.table, records = more, reasons = ?read.errors, "records kept as error rows");
            }
        }
        if read.unread_keys > 0 {
            self.meter.schema_change("unread_key");
            if let Some(more) = self.said.due(Cause::UnreadKeys, ingested_at, read.unread_keys) {
                tracing::warn!(table = %self.topic.table, records = more, "keys cannot be read: a delete by such a key is put aside; `key_format:` of the topic says how keys are encoded");
            }
        }
        if read.partly > 0 {
            self.meter.schema_change("not_declared");
            if let Some(more) = self.said.due(Cause::Partly, ingested_at, read.partly) {
                tracing::warn!(table = %self.topic.table, records = more, "records hold fields that the declared schema lacks: their bytes are kept in `_raw`");
            }
        }
        (read.batch, read.firsts)
    }

    /// Reads from the table the last line of each file, for every assigned partition where they are unknown.
    /// Keeps one number per file in memory.
    async fn know_lines(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let unknown: BTreeSet<i32> =
            self.assigned.keys().copied().filter(|partition| !self.ledger.knows(*partition)).collect();
        let (Some(table), Some(least), Some(greatest)) =
            (self.table.as_ref(), unknown.first(), unknown.last())
        else {
            return Ok(());
        };
        let within =
            [Within { column: column::PARTITION, least: (*least).into(), greatest: (*greatest).into() }];
        let topic_id = self.topic_id.clone();
        let learn = move |all: &mut Partitions, rows: RecordBatch| {
            ledger::learn(&rows, topic_id.as_str(), all);
        };
        let merge = |all: &mut Partitions, more: Partitions| {
            more.iter()
                .for_each(|(partition, lines)| ledger::raise(all.entry(*partition).or_default(), lines));
        };
        let known = table.fold(&ledger::COLUMNS.map(str::to_owned), &within, learn, merge).await;
        let mut known = known.map_err(|source| self.lake(source))?;
        for partition in unknown {
            let lines = known.remove(&partition).unwrap_or_default();
            self.ledger.put(partition, self.position(partition), lines);
        }
        Ok(())
    }

    /// Reads the waiting records in order, as far as their schemas are known or given up.
    async fn unpark(&mut self) -> Result<(), Error> {
        for partition in self.parked.keys().copied().collect::<Vec<_>>() {
            self.give_up(partition);
            while let Some(held) = self.next_read(partition) {
                let Held { records, generation, permit, .. } = held;
                let waits = self.read(records, generation, permit).await?;
                // A commit failed meanwhile and removed it: its records are read again.
                let Some(parked) = self.parked.get_mut(&partition) else { break };
                if let Some(held) = waits {
                    parked.waiting.push_front(held);
                    break;
                }
                parked.since = self.shared.context.clock.now();
            }
            if self.parked.get(&partition).is_some_and(|parked| parked.waiting.is_empty()) {
                self.parked.remove(&partition);
            }
        }
        Ok(())
    }

    /// The first waiting records, if they need not wait any more.
    fn next_read(&mut self, partition: i32) -> Option<Held> {
        let now = self.shared.context.clock.now();
        let first = self.parked.get(&partition)?.waiting.front()?;
        let is_ready = first
            .needs
            .all()
            .all(|asked| self.reader().knows(*asked) || self.patience.is_given_up(asked, now));
        if is_ready { self.parked.get_mut(&partition)?.waiting.pop_front() } else { None }
    }

    /// Commits when due. If the memory share is full, it commits early, but only once the inbox is empty
    /// (`all_read`): the memory may belong to messages that were not read yet, which a commit does not free.
    fn commit_if_due(&mut self, all_read: bool) {
        let now = self.shared.context.clock.now();
        let is_due = self.decider.is_due(now) || (all_read && (self.share.is_full() || self.is_last()));
        if self.commit.is_some() || !is_due {
            return;
        }
        let Some(table) = self.table.take() else { return };
        let Some(pending) = self.decider.take() else {
            self.table = Some(table);
            return;
        };
        let schema = self.reader().layout().schema().clone();
        let work = Work {
            op: self.shared.context.ids.ulid(),
            project: self.shared.context.project.name.clone(),
            topic: self.topic.name.clone(),
            topic_id: self.topic_id.clone(),
            pending,
            defaults: self.reader().layout().defaults().clone(),
            schema: (schema != *table.schema()).then_some(schema),
            traces: self.meter.traces().clone(),
            admin: self.shared.admin.clone(),
            stop: self.stop.clone(),
        };
        self.committing_since = now;
        self.commit = Some(runtime::tasks::spawn("bronze-commit", land(table, work)));
    }

    /// True when draining and every assigned partition has reached its end offset, so the last commit need
    /// not wait for its interval. Valid only once the inbox is empty, because later records remove the end.
    fn is_last(&self) -> bool {
        self.shared.context.draining.is_cancelled()
            && self.assigned.keys().all(|partition| self.ends.contains_key(partition))
    }

    /// Gives up a partition that was revoked or that halts.
    fn release(&mut self, partition: i32) {
        self.assigned.remove(&partition);
        self.decider.stop(partition);
        self.ledger.drop_waiting(partition);
        self.parked.remove(&partition);
        self.ends.remove(&partition);
    }

    /// The partition, if it has this generation.
    fn ours(&mut self, partition: i32, generation: u64) -> Option<&mut Ours> {
        self.assigned.get_mut(&partition).filter(|ours| ours.generation == generation)
    }
    fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("away only while `decode` runs, which puts it back")
    }
    fn lake(&self, source: lake::Error) -> Error {
        Error::Lake { table: self.topic.table.clone(), source }
    }
    fn loss(&self, loss: Loss) -> Error {
        Error::Loss { table: self.topic.table.clone(), topic: self.topic.name.clone(), loss }
    }
    fn app(&self, partition: i32) -> AppId {
        AppId::partition(&self.topic_id, partition)
    }
}

/// The columns of a table, with their defaults.
fn layout_of(table: &Table) -> Layout {
    Layout::new(table.schema().clone()).with_defaults(defaults_of(table))
}

/// The table's defaults of columns. An unreadable property gives none here, and lets no commit land.
fn defaults_of(table: &Table) -> absent::Values {
    let known = lake::defaults::parse(table.property(lake::DEFAULTS)).unwrap_or_default();
    known.into_iter().map(|(path, default)| (path, default.value)).collect()
}

/// Every row of a batch.
fn all(records: &Records) -> Vec<u32> {
    numbers(records.len()).collect()
}

/// Waits for a task and clears its handle. `None` if it panicked.
async fn joined<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    let outcome = match task {
        Some(handle) => handle.await.ok(),
        None => None,
    };
    *task = None;
    outcome
}

impl Drop for Task {
    /// An aborted compaction leaves files for vacuum.
    fn drop(&mut self) {
        if let Some(compaction) = &self.compaction {
            compaction.abort();
        }
    }
}
