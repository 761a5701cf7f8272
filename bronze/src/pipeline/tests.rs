//! Bronze as a whole, with the embedded broker and registry and a lake of files.

use std::collections::{BTreeMap, BTreeSet};

use apache_avro::types::Value;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use catalog::Project;
use embedded::Host;
use lake::digest::Sum;
use lake::{Lake, LakeSettings};
use model::{Offset, TableName, TopicId, column};
use runtime::{Meters, RandomIds, WallClock};
use stream::{Kafka, KafkaSettings, Outgoing, Producer, Registry, RegistrySettings, TopicSpec};
use tokio::task::JoinHandle;

mod json;
mod strange;

use stage::CommitInfo;

use super::*;
use crate::commit::digest;
use crate::testing::{body, framed, schema};
use crate::{Loss, PartitionProgress, Settings};

const FIRST: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"int"},{"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}}]}"#;
/// Adds a nullable column and promotes `id`.
const SECOND: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},{"name":"total","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"note","type":["null","string"],"default":null}]}"#;
const INCOMPATIBLE: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":{"type":"int","logicalType":"date"}},{"name":"total","type":{"type":"array","items":"int"}}]}"#;

/// Far longer than any step takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    dir: tempfile::TempDir,
    host: Host,
    kafka: Kafka,
    registry: Registry,
    project: Arc<Project>,
    draining: CancellationToken,
}

/// Key and value.
type Keyed = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Running {
    stop: CancellationToken,
    progress: PartitionProgress,
    task: JoinHandle<Result<(), Error>>,
}

impl Bench {
    /// A project with these topics, each with three partitions, the first schema and a key.
    async fn new(topics: &[&str]) -> Self {
        Self::with(topics, "schema: schemas/order.avsc, key: [id]").await
    }
    /// As [`Bench::new`], with another contract.
    async fn with(topics: &[&str], contract: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writable");
        std::fs::create_dir(dir.path().join("schemas")).expect("writable");
        write("schemas/order.avsc", FIRST);
        write("lakepulse.yaml", "version: 1\nname: shop\ncommit: { interval: 50ms }\n");
        let mut text = "version: 1\ntopics:\n".to_owned();
        for topic in topics {
            text.push_str(&format!(
                "  shop.{topic}: {{ {contract}, partitions: 3, table: bronze.{topic}, compatibility: none }}\n"
            ));
        }
        write("topics.yaml", &text);
        let project = catalog::load(dir.path(), "embedded").await.expect("a valid project");
        let host = Host::join(&dir.path().join(".lakepulse")).await.expect("a broker");
        let bootstrap = host.bootstrap.clone();
        let kafka = Kafka::new(KafkaSettings { bootstrap, transactions: true, ..KafkaSettings::default() });
        let settings = RegistrySettings { url: host.registry_url.clone(), ..Default::default() };
        let bench = Self {
            host,
            kafka,
            registry: Registry::new(settings),
            project: Arc::new(project),
            draining: CancellationToken::new(),
            dir,
        };
        for topic in topics {
            bench.create(topic).await;
        }
        bench
    }
    async fn create(&self, topic: &str) {
        let spec = TopicSpec { name: name(topic), partitions: 3, replication: 1, config: BTreeMap::new() };
        self.admin().create(&[spec]).await.expect("created");
    }
    fn admin(&self) -> Admin {
        Admin::try_new(&self.kafka).expect("valid settings")
    }
    async fn lake(&self) -> Lake {
        let url = url(&self.dir.path().join("lake"));
        Lake::connect(LakeSettings { url, options: BTreeMap::new() }, Arc::new(RandomIds))
            .await
            .expect("a lake")
    }
    async fn register(&self, topic: &str, schema: &str) -> u32 {
        let subject = format!("shop.{topic}-value");
        self.registry.set_compatibility(&subject, "NONE").await.expect("set");
        self.registry.register(&subject, schema).await.expect("registered")
    }
    /// Sends values to a partition, in order.
    async fn send(&self, topic: &str, partition: i32, values: &[Option<Vec<u8>>]) {
        let records: Vec<_> = values.iter().map(|value| (None, value.clone())).collect();
        self.send_keyed(topic, partition, &records).await;
    }
    /// Sends keys and values to a partition, in order.
    async fn send_keyed(&self, topic: &str, partition: i32, records: &[Keyed]) {
        let producer = Producer::idempotent(&self.kafka).await.expect("a producer");
        for (key, value) in records {
            let topic = &name(topic);
            let record = Outgoing {
                topic,
                partition: Some(partition),
                key: key.as_deref(),
                value: value.as_deref(),
                headers: &[],
                timestamp: None,
            };
            producer.send(record).expect("taken");
        }
        producer.flush().await.expect("delivered");
    }
    async fn run(&self) -> Running {
        self.run_with(Settings { missing_schema_after: Duration::ZERO, ..Settings::default() }).await
    }
    async fn run_with(&self, settings: Settings) -> Running {
        self.run_in(self.context(settings).await)
    }
    async fn context(&self, settings: Settings) -> Context {
        Context {
            project: self.project.clone(),
            lake: self.lake().await,
            clock: Arc::new(WallClock),
            ids: Arc::new(RandomIds),
            meters: Meters::new(),
            settings,
            create: true,
            select: Vec::new(),
            announce: Arc::new(()),
            draining: self.draining.clone(),
        }
    }
    fn run_in(&self, context: Context) -> Running {
        let progress = PartitionProgress::default();
        let input =
            Input { kafka: self.kafka.clone(), registry: self.registry.clone(), progress: progress.clone() };
        let stop = CancellationToken::new();
        let task = runtime::tasks::spawn("bronze-test", run(context, input, stop.clone()));
        Running { stop, progress, task }
    }
    async fn table(&self, topic: &str) -> lake::Table {
        self.lake().await.table(&table(topic)).await.expect("reachable").expect("a table")
    }
    async fn rows(&self, topic: &str) -> Vec<RecordBatch> {
        self.table(topic).await.scan(None).await.expect("rows")
    }
    /// Runs until everything on the topics is in the tables.
    async fn drain(&self) {
        let running = self.run().await;
        self.drained(&running).await;
        running.end().await.expect("no table halted");
    }
    async fn drained(&self, running: &Running) {
        let ends = crate::drain::ends(&self.kafka, &self.project).await.expect("reachable");
        let lake = self.lake().await;
        let drained =
            crate::drain::until_drained(&lake, &self.kafka, &self.project, &running.progress, &ends);
        let ended = runtime::time::timeout(PATIENCE, drained).await;
        let state = (running.progress.reached(), running.progress.not_ours(&ends), running.progress.halted());
        ended.unwrap_or_else(|_| panic!("not drained: {state:?}")).expect("reachable");
    }
}
impl Running {
    async fn end(self) -> Result<(), Error> {
        self.stop.cancel();
        runtime::time::timeout(PATIENCE, self.task).await.expect("stops").expect("no panic")
    }
    /// Drops the run, as near to `kill -9` as one process can come.
    async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

fn url(path: &std::path::Path) -> url::Url {
    url::Url::from_directory_path(path).expect("an absolute path")
}
fn name(topic: &str) -> TopicName {
    format!("shop.{topic}").parse().expect("a topic name")
}
fn table(topic: &str) -> TableName {
    format!("bronze.{topic}").parse().expect("a table name")
}
fn order(schema_id: u32, id: i32) -> Option<Vec<u8>> {
    let total = apache_avro::Decimal::from((i64::from(id) * 100).to_be_bytes());
    let fields = vec![("id".to_owned(), Value::Int(id)), ("total".to_owned(), Value::Decimal(total))];
    Some(framed(schema_id, &body(&schema(FIRST), Value::Record(fields))))
}
fn noted(schema_id: u32, id: i64) -> Option<Vec<u8>> {
    let note = Value::Union(1, Box::new(Value::String(format!("n{id}"))));
    let fields = vec![
        ("id".to_owned(), Value::Long(id)),
        ("total".to_owned(), Value::Decimal(apache_avro::Decimal::from([1_u8]))),
        ("note".to_owned(), note),
    ];
    Some(framed(schema_id, &body(&schema(SECOND), Value::Record(fields))))
}
/// Offsets of all rows as runs `from..to`, by partition. Panics if an offset occurs twice.
fn offsets(rows: &[RecordBatch]) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut all = BTreeSet::new();
    for batch in rows {
        let long = |name| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>().clone();
        let (partitions, offsets) = (long(column::PARTITION), long(column::OFFSET));
        for row in 0..batch.num_rows() {
            let place = (partitions.value(row), offsets.value(row));
            assert!(all.insert(place), "{place:?} is there twice");
        }
    }
    let mut runs: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for (partition, offset) in all {
        let runs = runs.entry(partition).or_default();
        match runs.last_mut() {
            Some(run) if run.1 == offset => run.1 += 1,
            _ => runs.push((offset, offset + 1)),
        }
    }
    runs
}
/// Every offset below `end`, in all three partitions.
fn whole(end: i64) -> BTreeMap<i64, Vec<(i64, i64)>> {
    (0..3).map(|partition| (partition, vec![(0, end)])).collect()
}
fn cells(rows: &[RecordBatch], column: &str) -> BTreeMap<(i64, i64), String> {
    let mut all = BTreeMap::new();
    for batch in rows {
        let long = |name| batch.column_by_name(name).expect("a column").as_primitive::<Int64Type>().clone();
        let (partitions, offsets) = (long(column::PARTITION), long(column::OFFSET));
        let array = batch.column_by_name(column).expect("a column");
        for row in 0..batch.num_rows() {
            let text = crate::testing::arrow_text(array, row);
            all.insert((partitions.value(row), offsets.value(row)), text);
        }
    }
    all
}
/// The ranges in the commits, contiguous and by partition, with the sums of rows and digests.
async fn ranges(table: &lake::Table) -> (BTreeMap<i64, (i64, i64)>, u64, Sum) {
    let (mut ranges, mut rows, mut sum) = (BTreeMap::<i64, (i64, i64)>::new(), 0, Sum::default());
    for entry in table.log(None, table.version()).await.expect("a log") {
        let Some(CommitInfo::Bronze(info)) = CommitInfo::parse(&entry).expect("readable") else { continue };
        for range in info.ranges {
            let known = ranges.entry(range.partition.into()).or_insert((range.from, range.from));
            assert_eq!(known.1, range.from, "a range follows the one before it");
            known.1 = range.to;
            rows += range.rows;
            let part: Sum = range.digest.parse().expect("a sum");
            sum.0 = sum.0.wrapping_add(part.0);
        }
    }
    (ranges, rows, sum)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_draining_nothing_waits_for_a_commit_to_be_old_enough() {
    let mut bench = Bench::new(&["orders"]).await;
    Arc::get_mut(&mut bench.project).expect("nobody has it yet").commit.interval = Duration::from_secs(3600);
    let id = bench.register("orders", FIRST).await;
    bench.send("orders", 1, &[order(id, 1), order(id, 2)]).await;
    bench.draining.cancel();
    bench.drain().await;
    assert_eq!(offsets(&bench.rows("orders").await), BTreeMap::from([(1, vec![(0, 2)])]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_one_row_good_or_bad() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let mut truncated = order(id, 3).expect("a value");
    truncated.pop();
    let mut values: Vec<_> = (0..500).map(|n| order(id, n)).collect();
    values[10] = None;
    values[20] = Some(Vec::new());
    values[30] = Some(truncated.clone());
    values[40] = order(9_999, 1);
    values[50] = Some(vec![1, 2, 3, 4, 5, 6]);
    values[60] = Some(vec![0xa5; 700_000]);
    for partition in 0..3 {
        bench.send("orders", partition, &values).await;
    }
    bench.drain().await;
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), whole(500));
    let errors = cells(&rows, column::ERROR);
    let bad: Vec<i64> = (0..500).filter(|o| errors[&(1, *o)] != "null").collect();
    assert_eq!(bad, [20, 30, 40, 50, 60]);
    let raw = cells(&rows, column::RAW);
    assert_eq!(raw[&(2, 30)], format!("{truncated:02x?}"));
    let ids = cells(&rows, "id");
    assert_eq!(
        (ids[&(0, 499)].as_str(), ids[&(0, 10)].as_str(), ids[&(0, 30)].as_str()),
        ("499", "null", "null")
    );
    let table = bench.table("orders").await;
    let (ranges, count, sum) = ranges(&table).await;
    assert_eq!(ranges, BTreeMap::from([(0, (0, 500)), (1, (0, 500)), (2, (0, 500))]));
    assert_eq!(count, 1_500);
    assert_eq!(sum, digest(&rows), "the digests of the commits are those of the rows as they are read back");
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_schema_widens_the_table_while_it_runs_and_an_incompatible_one_gives_error_rows() {
    let bench = Bench::new(&["orders"]).await;
    let first = bench.register("orders", FIRST).await;
    bench.send("orders", 0, &(0..50).map(|n| order(first, n)).collect::<Vec<_>>()).await;
    let running = bench.run().await;
    bench.drained(&running).await;
    let second = bench.register("orders", SECOND).await;
    let third = bench.register("orders", INCOMPATIBLE).await;
    let mut values: Vec<_> = (50..100).map(|n| noted(second, i64::from(i32::MAX) + n)).collect();
    values.push(Some(framed(third, &[2, 2, b'x'])));
    values.push(order(first, 7));
    bench.send("orders", 0, &values).await;
    bench.drained(&running).await;
    running.end().await.expect("no table halted");
    let rows = bench.rows("orders").await;
    let (ids, notes, errors) = (cells(&rows, "id"), cells(&rows, "note"), cells(&rows, column::ERROR));
    assert_eq!(ids.len(), 102);
    assert_eq!(ids[&(0, 99)], (i64::from(i32::MAX) + 99).to_string());
    assert_eq!((notes[&(0, 0)].as_str(), notes[&(0, 101)].as_str()), ("null", "null"));
    assert_eq!(notes[&(0, 60)], format!("\"n{}\"", i64::from(i32::MAX) + 60));
    assert!(errors[&(0, 100)].starts_with("\"incompatible_schema"), "{}", errors[&(0, 100)]);
    assert_eq!(errors.values().filter(|error| *error != "null").count(), 1);
    bench.host.stop().await;
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_nothing_is_lost_and_nothing_doubled() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    for round in 0..8_u64 {
        for partition in 0..3 {
            let values: Vec<_> = (0..400).map(|n| order(id, n)).collect();
            bench.send("orders", partition, &values).await;
        }
        let running = bench.run().await;
        // Spreads the kill over opening, reading, encoding and committing.
        runtime::time::sleep(Duration::from_millis(40 + round * 57 % 400)).await;
        running.kill().await;
    }
    bench.drain().await;
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), whole(3_200));
    let (ranges, count, sum) = ranges(&bench.table("orders").await).await;
    assert_eq!(ranges, (0..3).map(|p| (p, (0, 3_200))).collect());
    assert_eq!((count, sum), (9_600, digest(&rows)));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_partitions_and_one_that_dies_leaves_no_trace() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let values: Vec<_> = (0..2_000).map(|n| order(id, n)).collect();
    let instances = [bench.run().await, bench.run().await];
    for partition in 0..3 {
        bench.send("orders", partition, &values).await;
    }
    let [dies, lives] = instances;
    runtime::time::sleep(Duration::from_millis(300)).await;
    dies.kill().await;
    for partition in 0..3 {
        bench.send("orders", partition, &values).await;
    }
    lives.end().await.expect("no table halted");
    bench.drain().await;
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), whole(4_000));
    bench.host.stop().await;
}

// Holds P5 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_halts_its_table_and_no_other() {
    let bench = Bench::new(&["orders", "returns"]).await;
    let id = bench.register("orders", FIRST).await;
    bench.register("returns", FIRST).await;
    bench.send("orders", 0, &[order(id, 1), order(id, 2)]).await;
    bench.drain().await;
    bench.admin().delete(&name("orders")).await.expect("deleted");
    bench.create("orders").await;
    bench.send("orders", 0, &[order(id, 3), order(id, 4), order(id, 5)]).await;
    bench.send("returns", 1, &[order(id, 6)]).await;
    let running = bench.run().await;
    bench.drained(&running).await;
    assert_eq!(running.progress.halted(), [table("orders")]);
    assert!(matches!(running.end().await, Err(Error::Halted { tables }) if tables == [table("orders")]));
    assert_eq!(offsets(&bench.rows("orders").await), BTreeMap::from([(0, vec![(0, 2)])]));
    assert_eq!(offsets(&bench.rows("returns").await), BTreeMap::from([(1, vec![(0, 1)])]));

    let lake = bench.lake().await;
    let accept_in = async |project: &Project| {
        let topic = &project.catalog.topics[&name("orders")];
        crate::accept(&lake, &bench.kafka, project, topic, runtime::Ids::ulid(&RandomIds)).await
    };
    let accept = async || accept_in(&bench.project).await;
    let mut other = Project::clone(&bench.project);
    other.name = "another".parse().expect("a name");
    let refused = accept_in(&other).await.expect_err("the table is not that project's");
    assert!(matches!(&refused, Error::Lake { source: lake::Error::ForeignTable { .. }, .. }), "{refused}");
    let accepted = accept().await.expect("acceptable").expect("a loss");
    assert!(matches!(accepted.losses.as_slice(), [Loss::Recreated { .. }]), "{accepted:?}");
    assert!(accept().await.expect("acceptable").is_none(), "accepted once");
    bench.drain().await;
    let rows = bench.rows("orders").await;
    let epochs = rows.iter().flat_map(|rows| {
        let epochs = rows.column_by_name(column::EPOCH).expect("a column").as_primitive::<Int64Type>();
        epochs.iter().collect::<Vec<_>>()
    });
    let mut epochs: Vec<Option<i64>> = epochs.collect();
    epochs.sort();
    assert_eq!(epochs, [None, None, Some(1), Some(1), Some(1)], "all of the new topic is newer");
    bench.host.stop().await;
}

/// Panics in the task that has committed to `bronze.orders`.
struct Breaks;
impl stage::Announce for Breaks {
    fn announce(&self, _: &TableName, upstream: &TableName, _: model::Version) {
        assert!(upstream.table() != "orders", "broken on purpose");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_task_panics_is_named_at_once_and_the_others_go_on() {
    let mut bench = Bench::new(&["orders", "returns"]).await;
    for of in ["orders", "returns"] {
        let path = bench.dir.path().join(format!("models/silver/{of}.sql"));
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("made");
        let text = format!("/* lakepulse\nkind: append\n*/\nSELECT id FROM changes(bronze.{of})\n");
        std::fs::write(path, text).expect("written");
    }
    bench.project = Arc::new(catalog::load(bench.dir.path(), "embedded").await.expect("a valid project"));
    let id = bench.register("orders", FIRST).await;
    bench.register("returns", FIRST).await;
    bench.send("orders", 0, &[order(id, 1)]).await;
    let context = Context { announce: Arc::new(Breaks), ..bench.context(Settings::default()).await };
    let meters = context.meters.clone();
    let running = bench.run_in(context);
    let (lake, broken) = (bench.lake().await, table("orders"));
    let noted = async {
        loop {
            if let Some(halt) = lake.halted("bronze", &broken).await.expect("reachable") {
                return halt.reason;
            }
            runtime::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = runtime::time::timeout(PATIENCE, noted).await.expect("noted");
    assert_eq!(
        reason,
        "the task of table `bronze.orders` broke off, which is a fault of lakepulse: broken on purpose"
    );
    bench.send("returns", 1, &[order(id, 2)]).await;
    bench.drained(&running).await;
    assert_eq!(meters.stage("bronze", "bronze.orders").halted(), Some(reason));
    assert_eq!(meters.stage("bronze", "bronze.returns").halted(), None);
    assert!(matches!(running.end().await, Err(Error::Halted { tables }) if tables == [broken]));
    assert_eq!(offsets(&bench.rows("returns").await), BTreeMap::from([(1, vec![(0, 1)])]));
    bench.host.stop().await;
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_table_set_back_by_another_writer_is_read_on_from_where_it_stands() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    bench.send("orders", 0, &(0..10).map(|n| order(id, n)).collect::<Vec<_>>()).await;
    let running = bench.run().await;
    bench.drained(&running).await;
    // Another writer commits a position five records later.
    let topic_id: TopicId =
        bench.admin().describe(&name("orders")).await.expect("reachable").expect("there").id;
    let app = model::AppId::partition(&topic_id, 0);
    let mut rival = bench.table("orders").await;
    let commit = lake::Commit {
        operation: "WRITE",
        op: "01JD0000000000000000000000".to_owned(),
        expect: lake::Expect::These(BTreeMap::from([(app.clone(), Some(10))])),
        set: [(app, 15)].into_iter().collect(),
        append: Vec::new(),
        remove: lake::Remove::Nothing,
        schema: None,
        properties: BTreeMap::new(),
        info: serde_json::Map::new(),
    };
    let landing = rival.commit(&commit).await.expect("reachable");
    assert!(matches!(landing, lake::Landing::Landed(_)), "{landing:?}");
    bench.send("orders", 0, &(10..30).map(|n| order(id, n)).collect::<Vec<_>>()).await;
    bench.drained(&running).await;
    running.end().await.expect("no table halted");
    assert_eq!(offsets(&bench.rows("orders").await), BTreeMap::from([(0, vec![(0, 10), (15, 30)])]));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_memory_budget_slows_and_loses_nothing() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let values: Vec<_> = (0..3_000).map(|n| order(id, n)).collect();
    for partition in 0..3 {
        bench.send("orders", partition, &values).await;
    }
    let settings = Settings { memory_bytes: 4_000, batch_records: 100, ..Settings::default() };
    let running = bench.run_with(settings).await;
    bench.drained(&running).await;
    running.end().await.expect("no table halted");
    assert_eq!(offsets(&bench.rows("orders").await), whole(3_000));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_compacted_beside_the_commits_of_two_processes_and_keeps_every_row_once() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let eager = Settings { compact_every: 1, ..Settings::default() };
    let running = [bench.run_with(eager.clone()).await, bench.run_with(eager).await];
    let mut sent = 0;
    // A compaction needs sixteen files, and each round adds at least one.
    let compacted = loop {
        for partition in 0..3 {
            bench.send("orders", partition, &[order(id, sent), order(id, sent)]).await;
        }
        sent += 2;
        for running in &running {
            bench.drained(running).await;
        }
        let table = bench.table("orders").await;
        match table.positions().get(&model::AppId::compaction()) {
            Some(_) => break table,
            None => assert!(sent < 200, "{} files and nobody compacts them", table.files().0),
        }
    };
    assert!((compacted.files().0 as u64) < compacted.version().0, "{:?}", compacted.files());
    for partition in 0..3 {
        bench.send("orders", partition, &[order(id, sent)]).await;
    }
    for running in &running {
        bench.drained(running).await;
    }
    for running in running {
        running.end().await.expect("no table halted");
    }
    let end = i64::from(sent) + 1;
    assert_eq!(offsets(&bench.rows("orders").await), whole(end));
    let (ranges, rows, _) = ranges(&bench.table("orders").await).await;
    assert_eq!((ranges, rows), ((0..3).map(|p| (p, (0, end))).collect(), 3 * end.cast_unsigned()));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schema_holds_its_partition_only_until_it_is_known() {
    let bench = Bench::new(&["orders"]).await;
    let first = bench.register("orders", FIRST).await;
    let running = bench.run_with(Settings::default()).await;
    // The registry numbers consecutively: the schema that is registered later gets this id.
    let later = first + 1;
    bench.send("orders", 0, &[order(later, 1), order(first, 2)]).await;
    bench.send("orders", 1, &[order(first, 3)]).await;
    let ours = BTreeMap::from([((name("orders"), 1), Offset(1))]);
    runtime::time::timeout(PATIENCE, running.progress.wait_past(&ours))
        .await
        .expect("the other partition goes on");
    assert_eq!(offsets(&bench.rows("orders").await), BTreeMap::from([(1, vec![(0, 1)])]));
    assert_eq!(bench.register("orders", &FIRST.replace("\"Order\"", "\"Order2\"")).await, later);
    bench.drained(&running).await;
    running.end().await.expect("no table halted");
    let rows = bench.rows("orders").await;
    assert!(cells(&rows, column::ERROR).values().all(|error| error == "null"));
    assert_eq!(offsets(&rows), BTreeMap::from([(0, vec![(0, 2)]), (1, vec![(0, 1)])]));
    bench.host.stop().await;
}

#[test]
fn a_loss_names_topic_table_and_offsets() {
    let loss = Loss::Retention { partition: 3, from: 7, to: 9 };
    let error = Error::Loss { table: table("orders"), topic: name("orders"), loss };
    let text = error.to_string();
    for part in ["bronze.orders", "7 to 9", "partition 3", "accept-loss shop.orders"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(error.reaction(), Reaction::Halt);
}
