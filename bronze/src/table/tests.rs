//! A table's task with a group, a log, a lake and another process, in any order of events.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use catalog::Project;
use lake::{Lake, LakeSettings};
use model::{Offset, TopicName, header};
use proptest::prelude::*;
use runtime::{Failure as _, Meters, RandomIds, WallClock};
use stream::{Cause, Kafka, KafkaSettings, Record, Registry, RegistrySettings, Start as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::budget::Budget;
use crate::start::Starts;
use crate::{Context, Input, PartitionProgress, Settings, create_table};

const PARTITIONS: i32 = 3;
const PROCESSES: usize = 2;

/// One record of a log.
#[derive(Debug, Clone, Copy)]
enum Entry {
    /// Not from a file.
    Plain,
    /// The next line of a file.
    Next(u8),
    /// The first or an earlier line of a file, sent again.
    Again(u8, u8),
    /// An offset without a record.
    Hole,
}

/// One step of a test.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The group assigns a partition to a process; the former owner may hear of it only later.
    Assign(usize, i32),
    Revoke(usize, i32),
    /// The client delivers the next records of a partition.
    Poll(usize, i32, usize),
    /// The broker does not have the offset that the client asks for.
    Lost(usize, i32),
    /// The task takes the next message.
    Handle(usize),
    Commit(usize),
    /// The running commit ends.
    Finish(usize),
    /// The running commit's task fails, after it landed or before; the table is opened again.
    Break(usize),
    /// The process dies; its running commit may go on.
    Kill(usize, bool),
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = prop_oneof![
        1 => Just(Entry::Plain),
        6 => (0..2_u8).prop_map(Entry::Next),
        3 => (0..2_u8, 1..4_u8).prop_map(|(file, back)| Entry::Again(file, back)),
        1 => Just(Entry::Hole),
    ];
    prop::collection::vec(entry, 0..14)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (process, partition) = (0..PROCESSES, 0..PARTITIONS);
    let both = (process.clone(), partition);
    let event = prop_oneof![
        3 => both.clone().prop_map(|(process, partition)| Event::Assign(process, partition)),
        2 => both.clone().prop_map(|(process, partition)| Event::Revoke(process, partition)),
        8 => (both.clone(), 1..5_usize).prop_map(|((process, partition), n)| Event::Poll(process, partition, n)),
        1 => both.prop_map(|(process, partition)| Event::Lost(process, partition)),
        14 => process.clone().prop_map(Event::Handle),
        4 => process.clone().prop_map(Event::Commit),
        3 => process.clone().prop_map(Event::Finish),
        1 => process.clone().prop_map(Event::Break),
        1 => (process, any::<bool>()).prop_map(|(process, goes_on)| Event::Kill(process, goes_on)),
    ];
    prop::collection::vec(event, 0..60)
}

/// One partition's records, and which of them are not repeats.
#[derive(Default)]
struct Log {
    records: Vec<(i64, Option<(u8, i64)>)>,
    wanted: Vec<i64>,
}
impl Log {
    fn of(entries: &[Entry]) -> Self {
        let (mut log, mut last) = (Self::default(), HashMap::<u8, i64>::new());
        for (offset, entry) in entries.iter().enumerate() {
            let offset = offset as i64;
            let line = match *entry {
                Entry::Hole => continue,
                Entry::Plain => None,
                Entry::Next(file) => Some((file, last.get(&file).unwrap_or(&0) + 1)),
                Entry::Again(file, back) => {
                    let last = last.get(&file).copied().unwrap_or(0);
                    Some((file, (last + 1 - i64::from(back)).max(1)))
                }
            };
            log.records.push((offset, line));
            let is_new = line.is_none_or(|(file, line)| {
                let last = last.entry(file).or_insert(0);
                let is_new = line > *last;
                *last = line.max(*last);
                is_new
            });
            if is_new {
                log.wanted.push(offset);
            }
        }
        log
    }
    fn end(&self) -> i64 {
        self.records.last().map_or(0, |(offset, _)| offset + 1)
    }
}

struct World {
    lake: Lake,
    topic: Topic,
    project: Arc<Project>,
    logs: Vec<Log>,
    processes: Vec<Process>,
}

struct Process {
    shared: Arc<Shared>,
    share: Share,
    task: Task,
    commands: UnboundedReceiver<Command>,
    inbox: VecDeque<Message>,
    /// The router's state: generation, and where the client reads on.
    reads: BTreeMap<i32, (u64, i64)>,
}

fn topic_id() -> TopicId {
    "T1".parse().expect("an id")
}

impl World {
    async fn new(project: &Arc<Project>, logs: &[Vec<Entry>]) -> Self {
        let settings =
            LakeSettings { url: "memory:///lake/".parse().expect("a url"), options: BTreeMap::new() };
        let lake = Lake::connect(settings, Arc::new(RandomIds)).await.expect("a lake");
        let topic = project.catalog.topics.values().next().expect("a topic").clone();
        create_table(&lake, &project.name, &topic).await.expect("created");
        let logs = logs.iter().map(|entries| Log::of(entries)).collect();
        let mut world = Self { lake, topic, project: project.clone(), logs, processes: Vec::new() };
        for _ in 0..PROCESSES {
            let process = world.process().await;
            world.processes.push(process);
        }
        world
    }

    async fn process(&self) -> Process {
        let context = Context {
            project: self.project.clone(),
            lake: self.lake.clone(),
            clock: Arc::new(WallClock),
            ids: Arc::new(RandomIds),
            meters: Meters::new(),
            settings: Settings::default(),
            create: true,
            select: Vec::new(),
            announce: Arc::new(()),
            draining: CancellationToken::new(),
        };
        let input = Input {
            kafka: Kafka::new(KafkaSettings { bootstrap: "127.0.0.1:1".to_owned(), ..Default::default() }),
            registry: Registry::new(RegistrySettings {
                url: "http://127.0.0.1:1".to_owned(),
                ..Default::default()
            }),
            progress: PartitionProgress::default(),
        };
        let shared = Arc::new(Shared::new(context, input, Arc::<Starts>::default(), None));
        let share = Budget::new(64 << 20, 1).share();
        let (sender, commands) = unbounded_channel();
        let task = self.task(&shared, sender, &share, BTreeMap::new()).await;
        Process { shared, share, task, commands, inbox: VecDeque::new(), reads: BTreeMap::new() }
    }

    async fn task(
        &self,
        shared: &Arc<Shared>,
        commands: UnboundedSender<Command>,
        share: &Share,
        assigned: BTreeMap<i32, Ours>,
    ) -> Task {
        let table = self.table().await;
        let opened = Opened { topic: self.topic.clone(), topic_id: topic_id(), table };
        let mut task = Task::new(shared.clone(), commands, share.clone(), opened, assigned);
        task.begin_again();
        task
    }

    async fn table(&self) -> Table {
        self.lake.table(&self.topic.table).await.expect("reachable").expect("a table")
    }

    async fn apply(&mut self, event: Event) {
        match event {
            Event::Assign(process, partition) => self.assign(process, partition),
            Event::Revoke(process, partition) => self.revoke(process, partition),
            Event::Poll(process, partition, n) => self.poll(process, partition, n),
            Event::Lost(process, partition) => self.lose(process, partition),
            Event::Handle(process) => self.handle(process).await,
            Event::Commit(process) => self.processes[process].task.commit_if_due(false),
            Event::Finish(process) => {
                let ended = self.processes[process].task.settle().await;
                self.reopen_after(process, ended).await;
            }
            Event::Break(process) => {
                if let Some(commit) = &self.processes[process].task.commit {
                    commit.abort();
                }
                let ended = self.processes[process].task.settle().await;
                self.reopen_after(process, ended).await;
            }
            Event::Kill(process, goes_on) => {
                if let Some(commit) = self.processes[process].task.commit.take().filter(|_| !goes_on) {
                    commit.abort();
                }
                self.processes[process] = self.process().await;
            }
        }
        for process in &mut self.processes {
            process.obey();
        }
    }

    fn name(&self) -> TopicName {
        self.topic.name.clone()
    }

    fn assign(&mut self, process: usize, partition: i32) {
        let name = self.name();
        let process = &mut self.processes[process];
        if process.reads.contains_key(&partition) {
            return;
        }
        let start = process.shared.starts.start_of(&[(name, topic_id(), partition)]);
        let from = start[0].map_or(0, |offset| offset.0);
        let generation = process.shared.generation();
        process.reads.insert(partition, (generation, from));
        process.inbox.push_back(Message::Assigned(vec![(partition, generation)]));
    }

    fn revoke(&mut self, process: usize, partition: i32) {
        let process = &mut self.processes[process];
        if process.reads.remove(&partition).is_some() {
            process.inbox.push_back(Message::Revoked(vec![partition]));
        }
    }

    fn poll(&mut self, process: usize, partition: i32, n: usize) {
        let name = self.name();
        let (process, log) = (&mut self.processes[process], &self.logs[partition as usize]);
        let Some((generation, from)) = process.reads.get_mut(&partition) else { return };
        let mut records = Records::new(name, topic_id(), partition);
        for (offset, line) in log.records.iter().filter(|(offset, _)| *offset >= *from).take(n) {
            let text = line.map(|(file, line)| (file.to_string(), line.to_string()));
            let headers: Vec<(&str, Option<&[u8]>)> = match &text {
                Some((file, line)) => {
                    vec![(header::FILE, Some(file.as_bytes())), (header::LINE, Some(line.as_bytes()))]
                }
                None => Vec::new(),
            };
            let offset = Offset(*offset);
            records.push(&Record { offset, timestamp: 0, key: None, value: Some(b"v"), headers: &headers });
        }
        let generation = *generation;
        let message = match records.next() {
            Some(next) => {
                *from = next.0;
                let permit = process.share.take(records.bytes());
                Message::Records { records, generation, permit }
            }
            None => Message::End { partition, offset: Offset(*from), generation },
        };
        process.inbox.push_back(message);
    }

    /// The client reports a loss at a position that the table has left, as after a stale start.
    fn lose(&mut self, process: usize, partition: i32) {
        let (topic, process) = (self.name(), &mut self.processes[process]);
        let Some((generation, _)) = process.reads.get(&partition) else { return };
        let loss = stream::LostPosition {
            topic,
            topic_id: topic_id(),
            partition,
            position: None,
            cause: Cause::LogEnd(Offset(0)),
        };
        // Without a position in the table it would be a real loss, and the partition would halt.
        if process
            .task
            .table
            .as_ref()
            .is_some_and(|table| table.positions().get(&AppId::partition(&topic_id(), partition)).is_some())
        {
            process.inbox.push_back(Message::Lost { loss, generation: *generation });
        }
    }

    async fn handle(&mut self, process: usize) {
        let Some(message) = self.processes[process].inbox.pop_front() else { return };
        let ended = self.processes[process].task.on_message(message).await;
        self.reopen_after(process, ended).await;
    }

    /// Opens the table again, as its keeper does.
    async fn reopen_after(&mut self, process: usize, ended: Result<(), Error>) {
        let Err(error) = ended else { return };
        assert_ne!(error.reaction(), Reaction::Halt, "{error}");
        let process = &self.processes[process];
        let assigned = process.task.assigned();
        let task = self.task(&process.shared, process.task.commands.clone(), &process.share, assigned).await;
        let at = self.processes.iter().position(|p| Arc::ptr_eq(&p.shared, &task.shared));
        self.processes[at.expect("one of ours")].task = task;
    }

    /// Assigns everything to the first process and lets it read to the ends.
    async fn finish(&mut self) {
        for process in 0..PROCESSES {
            for partition in 0..PARTITIONS {
                self.revoke(process, partition);
            }
        }
        for partition in 0..PARTITIONS {
            self.assign(0, partition);
        }
        for round in 0.. {
            for process in 0..PROCESSES {
                while !self.processes[process].inbox.is_empty() {
                    self.apply(Event::Handle(process)).await;
                }
                self.apply(Event::Commit(process)).await;
                self.apply(Event::Finish(process)).await;
            }
            let positions = self.table().await.positions().clone();
            let is_whole = |partition: i32| {
                let position = positions.get(&AppId::partition(&topic_id(), partition)).unwrap_or(0);
                position >= self.logs[partition as usize].end()
            };
            if (0..PARTITIONS).all(is_whole) {
                return;
            }
            assert!(round < 50, "the ends are not reached: {positions:?}");
            (0..PARTITIONS).for_each(|partition| self.poll(0, partition, 100));
        }
    }

    async fn offsets(&self) -> Vec<Vec<i64>> {
        let mut offsets = vec![Vec::new(); PARTITIONS as usize];
        for rows in self.table().await.scan(None).await.expect("rows") {
            let long =
                |name| rows.column_by_name(name).expect("a column").as_primitive::<Int64Type>().clone();
            let (partitions, at) = (long(column::PARTITION), long(column::OFFSET));
            (0..rows.num_rows()).for_each(|row| offsets[partitions.value(row) as usize].push(at.value(row)));
        }
        offsets.iter_mut().for_each(|offsets| offsets.sort_unstable());
        offsets
    }
}

impl Process {
    /// Does what the task asks of the router.
    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Seek { partition, offset, expected, generation, .. } = command
                && let Some(read) = self.reads.get_mut(&partition).filter(|read| read.0 == expected)
            {
                *read = (generation, offset.0);
            }
        }
    }
}

fn project() -> (tempfile::TempDir, Arc<Project>) {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writable");
    write("lakepulse.yaml", "version: 1\nname: shop\n");
    write("topics.yaml", "version: 1\ntopics:\n  t.lines: { value: bytes, partitions: 3 }\n");
    let project = futures::executor::block_on(catalog::load(dir.path(), "embedded"));
    let mut project = project.expect("a valid project");
    project.commit.interval = std::time::Duration::ZERO;
    (dir, Arc::new(project))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Plays the events, then reads everything to the end: each record is there once, each repeat not at all.
async fn play(project: &Arc<Project>, logs: &[Vec<Entry>], events: &[Event]) {
    let mut world = World::new(project, logs).await;
    for event in events {
        world.apply(*event).await;
    }
    world.finish().await;
    let wanted: Vec<_> = world.logs.iter().map(|log| log.wanted.clone()).collect();
    assert_eq!(world.offsets().await, wanted, "after {events:?} on {logs:?}");
}

// Holds P1 (docs/invariants.md).
#[test]
fn whatever_happens_between_reading_and_landing_every_record_lands_once_and_no_repeat() {
    let (_dir, project) = project();
    let runtime = runtime();
    // Set `PROPTEST_CASES` for more cases.
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let logs = prop::collection::vec(entries(), PARTITIONS as usize);
    proptest!(config, |(logs in logs, events in events())| {
        runtime.block_on(play(&project, &logs, &events));
    });
}

#[test]
fn a_partition_that_comes_back_before_its_records_are_committed_loses_none() {
    let (_dir, project) = project();
    let logs = vec![vec![Entry::Next(0); 9], Vec::new(), Vec::new()];
    let (read, again) =
        ([Event::Poll(0, 0, 5), Event::Handle(0)], [Event::Revoke(0, 0), Event::Assign(0, 0)]);
    let handled = [Event::Handle(0); 2];
    let events = [&[Event::Assign(0, 0), Event::Handle(0)][..], &read, &again, &handled].concat();
    runtime().block_on(play(&project, &logs, &events));
}
