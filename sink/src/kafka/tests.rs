//! Topics on the embedded broker: the contract, a claim, and the task of a table.

mod random;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catalog::Project;
use embedded::Host;
use lake::{Elsewhere as _, Table};
use model::{TopicName, Version};
use rstest::rstest;
use runtime::{CancellationToken, Meters, WallClock};
use stage::Followers;
use stream::{Admin, Kafka, KafkaSettings, Outgoing, Producer, Registry, RegistrySettings};

use super::writer::TopicSink;
use super::{Topics, all_progress, claim, progress};
use crate::tests::contract::{Readable, State, whatever_fails_the_destination_is_the_table};
use crate::tests::unsteady::Failing;
use crate::tests::world::*;
use crate::{Error, Publisher};

const FILES: &[(&str, &str)] = &[
    ("lakepulse.yaml", "version: 1\nname: test\n"),
    (
        "topics.yaml",
        "version: 1\ntopics:\n  t.items: { schema: schemas/item.avsc, key: [id], partitions: 1 }\n",
    ),
    (
        "schemas/item.avsc",
        r#"{"type":"record","name":"item","fields":[{"name":"id","type":"long"},
           {"name":"kind","type":"string"},{"name":"amount","type":"long"}]}"#,
    ),
    (
        "models/silver/items.sql",
        "/* lakepulse\nkind: scd1\nkeys: [id]\n*/\nSELECT id, kind, amount FROM changes(bronze.items)\n",
    ),
    (
        "models/gold/t.sql",
        "/* lakepulse\nkind: table\nkeys: [id]\npublish: gold.t.v1\n*/\nSELECT id, kind, amount FROM silver.items\n",
    ),
];

/// Far longer than any step takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, a registry, and a project that publishes the world's table.
struct Bench {
    project: Arc<Project>,
    kafka: Kafka,
    registry: Registry,
    _host: Host,
    _dir: tempfile::TempDir,
}
impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (path, text) in FILES {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let project = catalog::load(dir.path(), "embedded").await.expect("a valid project");
        let model = &project.catalog.models[&name("gold.t")];
        assert_eq!(model.schema, schema(), "the model has the columns of the world's table");
        let host = Host::join(&dir.path().join(".lakepulse")).await.expect("a broker");
        let bootstrap = host.bootstrap.clone();
        let kafka = Kafka::new(KafkaSettings { bootstrap, transactions: true, ..KafkaSettings::default() });
        let registry = RegistrySettings { url: host.registry_url.clone(), ..Default::default() };
        let own = stream::internal::specs(&project.name, 1);
        Admin::try_new(&kafka).expect("valid settings").create(&own).await.expect("created");
        let registry = Registry::new(registry);
        Self { project: Arc::new(project), kafka, registry, _host: host, _dir: dir }
    }

    fn sink(&self) -> TopicSink {
        let model = &self.project.catalog.models[&name("gold.t")];
        let (kafka, registry) = (self.kafka.clone(), self.registry.clone());
        TopicSink::new(Arc::clone(&self.project), model, topic(), kafka, registry, true)
    }

    fn topics(&self, world: &World) -> Topics {
        Topics {
            project: Arc::clone(&self.project),
            lake: world.lake.clone(),
            kafka: self.kafka.clone(),
            registry: self.registry.clone(),
            clock: Arc::new(WallClock),
            meters: Meters::new(),
            create: true,
        }
    }
}

fn topic() -> TopicName {
    "gold.t.v1".parse().expect("valid")
}

impl Readable for TopicSink {
    async fn rows(&self) -> State {
        stream::latest(&self.kafka, &topic()).await.expect("read")
    }
    async fn wanted(&self, table: &Table) -> State {
        let encoders = self.encoders(table).await.expect("encoders");
        let mut state = BTreeMap::new();
        for batch in table.scan(None).await.expect("scanned") {
            let (keys, values) =
                (encoders.keys(&batch).expect("keys"), encoders.values(&batch).expect("values"));
            state.extend(keys.iter().map(|k| k.to_vec()).zip(values.iter().map(|v| v.to_vec())));
        }
        state
    }
}

// Holds P4 (docs/invariants.md).
#[rstest]
#[case::nothing_fails(Failing::Never, false)]
#[case::every_ninth_call_fails_and_the_publisher_goes_on(Failing::Each(9), false)]
#[case::every_eleventh_call_fails_and_the_publisher_dies(Failing::Each(11), true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_fails_the_topic_is_the_table(#[case] failing: Failing, #[case] dies: bool) {
    let (mut world, bench) = (World::new().await, Bench::new().await);
    let calls = whatever_fails_the_destination_is_the_table(&mut world, bench.sink(), failing, 2, dies).await;
    assert!(calls > 20, "{calls}");
    let table = world.table().await;
    let at = progress(&bench.kafka, &bench.project.name, table.id()).await.expect("read").expect("noted");
    assert_eq!((at.version, at.last, at.destination.as_str()), (table.version(), true, "gold.t.v1"));
}

/// Headers as sorted text, one line per record.
async fn headers(bench: &Bench) -> Vec<String> {
    let ends = Admin::try_new(&bench.kafka).expect("valid").watermarks(&topic()).await.expect("asked");
    let mut all = Vec::new();
    stream::read(&bench.kafka, &topic(), &ends, |records| {
        for row in 0..records.len() {
            let text = |name| records.header(row, name).map_or("-".into(), String::from_utf8_lossy);
            let value = if records.value(row).is_some() { "value" } else { "tombstone" };
            all.push(format!("{} {} {} {value}", text("lp.table_id"), text("lp.version"), text("lp.last")));
        }
    })
    .await
    .expect("read");
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_says_of_which_version_it_is_and_whether_it_is_the_last() {
    let (mut world, bench) = (World::new().await, Bench::new().await);
    world.edit(&[(1, "x", 1), (2, "y", 2), (3, "z", 3)], &[]).await;
    let mut publisher = Publisher::new(name("gold.t"), bench.sink(), 2);
    publisher.step(&world.table().await).await.expect("published");
    world.edit(&[], &[2]).await;
    let table = world.table().await;
    publisher.step(&table).await.expect("published");
    let id = table.id();
    let wanted = ["1 - value", "1 - value", "1 true value", "2 true tombstone"];
    assert_eq!(headers(&bench).await, wanted.map(|rest| format!("{id} {rest}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_holds_something_else_halts_until_it_is_claimed() {
    let (mut world, bench) = (World::new().await, Bench::new().await);
    world.edit(&[(1, "x", 1), (2, "y", 2)], &[]).await;
    let (table, sink) = (world.table().await, bench.sink());
    // The topic exists, and has a record of something else.
    sink.encoders(&table).await.expect("prepared");
    let producer = Producer::idempotent(&bench.kafka).await.expect("a producer");
    let record = Outgoing {
        topic: &topic(),
        partition: None,
        key: Some(b"stale"),
        value: Some(b"of something else"),
        headers: &[],
        timestamp: None,
    };
    producer.send(record).expect("sent");
    producer.flush().await.expect("flushed");
    let halted = Publisher::new(name("gold.t"), sink.clone(), 1).step(&table).await.expect_err("halts");
    assert!(
        matches!(&halted, Error::Holds { .. }) && halted.to_string().starts_with("topic `gold.t.v1`"),
        "{halted}"
    );
    claim(&bench.kafka, &bench.project.name, &table, &topic()).await.expect("claimed");
    Publisher::new(name("gold.t"), sink.clone(), 1).step(&table).await.expect("published");
    assert_eq!(sink.rows().await, sink.wanted(&table).await);
    let all = all_progress(&bench.kafka, &bench.project.name).await.expect("read");
    assert_eq!(all.iter().map(|at| (at.version, at.last)).collect::<Vec<_>>(), [(table.version(), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_table_runs_what_publishes_it_and_upkeep_keeps_what_that_needs() {
    let (mut world, bench) = (World::new().await, Bench::new().await);
    let followers = Followers::of([Arc::new(bench.topics(&world)) as Arc<dyn stage::Follower>]);
    let needs = async |table: &Table| followers.needs(table).await.expect("asked");
    world.edit(&[(1, "x", 1)], &[]).await;
    assert_eq!(needs(&world.table().await).await, [None], "nothing is published: all is needed");
    let stop = CancellationToken::new();
    assert!(followers.start(&name("gold.other"), &stop).0.is_empty(), "it is published nowhere");
    let (mut tasks, landed) = followers.start(&name("gold.t"), &stop);
    assert_eq!(tasks.len(), 1);
    let task = tasks.remove(0);
    assert_eq!(task.name, "gold publisher");
    let task = runtime::tasks::spawn(task.name, task.run);
    let sink = bench.sink();
    for id in 2..4 {
        world.edit(&[(id, "x", id)], &[]).await;
        landed.tell();
        let table = world.table().await;
        let there = async {
            while needs(&table).await != [Some(table.version())] {
                runtime::time::sleep(Duration::from_millis(10)).await;
            }
        };
        runtime::time::timeout(PATIENCE, there).await.expect("it is published");
        assert_eq!(sink.rows().await, sink.wanted(&table).await);
    }
    assert!(world.table().await.version() > Version(2));
    stop.cancel();
    task.await.expect("no panic").expect("no halt");
}
