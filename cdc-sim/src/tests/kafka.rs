//! Claims about a log on the embedded broker, with its registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use embedded::Host;
use model::{Offset, Reaction, TopicName};
use runtime::{CancellationToken, Meters, WallClock};
use stream::{
    Admin, Consumer, ConsumerEvent, Kafka, KafkaSettings, Limits, Registry, RegistrySettings, TopicSpec,
};

use super::fold::{Reader, fold};
use super::{Sent, log, spoiled};
use crate::block::What;
use crate::schema::{self, Shape};
use crate::settings::{SchemaChange, Settings};
use crate::tables::SourceTable;
use crate::{Error, Simulator, Summary, discard};

const PARTITIONS: i32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

struct Services {
    host: Host,
    kafka: Kafka,
    registry: Registry,
    _dir: tempfile::TempDir,
}
impl Services {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let host = Host::join(dir.path()).await.expect("hosted");
        let kafka = Kafka::new(KafkaSettings {
            bootstrap: host.bootstrap.clone(),
            transactions: true,
            ..KafkaSettings::default()
        });
        let registry =
            Registry::new(RegistrySettings { url: host.registry_url.clone(), ..Default::default() });
        let specs = SourceTable::ALL.map(|table| TopicSpec {
            name: topic(table),
            partitions: PARTITIONS,
            replication: 1,
            config: BTreeMap::new(),
        });
        Admin::try_new(&kafka).expect("valid settings").create(&specs).await.expect("created");
        Self { host, kafka, registry, _dir: dir }
    }
    async fn run(&self, settings: &Settings, stop: CancellationToken) -> Result<Summary, Error> {
        let streams = SourceTable::ALL.map(|table| (table.name().to_owned(), topic(table)));
        self.run_on(settings, streams, stop).await
    }
    async fn run_on(
        &self,
        settings: &Settings,
        streams: impl IntoIterator<Item = (String, TopicName)>,
        stop: CancellationToken,
    ) -> Result<Summary, Error> {
        let context = source::Context {
            project: "shop".parse().expect("a name"),
            kafka: self.kafka.clone(),
            registry: self.registry.clone(),
            meters: Meters::new(),
            clock: Arc::new(WallClock),
            once: false,
        };
        let mut simulator = Simulator::try_new(settings.clone(), context, streams)?;
        let ran =
            runtime::time::timeout(PATIENCE, source::run(&mut simulator, &stop)).await.expect("in time");
        match ran {
            Ok(_) => Ok(simulator.take_summary().expect("the log has come to its end")),
            Err(error) => Err(error.downcast().expect("an error of the simulator's own")),
        }
    }
    /// All records on the topics, by table, partition and offset, with the ids of `super::ids`.
    async fn read(&self) -> Vec<Sent> {
        let names: BTreeMap<TopicName, SourceTable> =
            SourceTable::ALL.map(|table| (topic(table), table)).into();
        let mut open: Vec<(TopicName, i32, Offset)> = Vec::new();
        for name in names.keys() {
            open.extend((0..PARTITIONS).map(|partition| (name.clone(), partition, Offset(0))));
        }
        let mut left = open.len();
        let mut consumer = Consumer::assign(&self.kafka, open, Limits::default()).expect("assigned");
        let mut found: BTreeMap<(SourceTable, i32, i64), Sent> = BTreeMap::new();
        while left > 0 {
            match runtime::time::timeout(PATIENCE, consumer.next()).await.expect("in time").expect("running")
            {
                ConsumerEvent::Records(records) => {
                    for i in 0..records.len() {
                        let table = names[&records.topic];
                        let headers: BTreeMap<&str, &[u8]> =
                            records.headers(i).filter_map(|(name, value)| Some((name, value?))).collect();
                        assert_eq!(headers["lp.epoch"], b"1");
                        let number =
                            std::str::from_utf8(headers["lp.seq"]).expect("text").parse().expect("a number");
                        let sent = Sent {
                            number,
                            table,
                            partition: records.partition,
                            what: What::Change,
                            key: records.key(i).expect("keyed").to_vec(),
                            value: records.value(i).map(<[u8]>::to_vec),
                        };
                        found.insert((table, records.partition, records.offset(i).0), sent);
                    }
                }
                ConsumerEvent::End(..) => left -= 1,
                ConsumerEvent::Lost(loss) => panic!("{loss}"),
                _ => {}
            }
        }
        consumer.stop().await;
        found.into_values().collect()
    }
}

fn topic(table: SourceTable) -> TopicName {
    format!("lakepulse.cdc.{}", table.name()).parse().expect("a topic name")
}

/// Number, key and value.
type Body = (u64, Vec<u8>, Option<Vec<u8>>);

/// Records without their schema ids, which depend on the registry.
fn bodies(log: &[Sent]) -> BTreeMap<(SourceTable, i32), Vec<Body>> {
    let body = |framed: &[u8]| framed.get(5..).unwrap_or(framed).to_vec();
    let mut bodies: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sent in log {
        let value = sent.value.as_deref().map(body);
        bodies.entry((sent.table, sent.partition)).or_default().push((sent.number, body(&sent.key), value));
    }
    bodies
}

fn settings(events: u64) -> Settings {
    Settings { schema_change: Some(SchemaChange { at: 1_500, column: true, widen: true }), ..spoiled(events) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_stopped_and_begun_again_is_the_log_written_in_one_go() {
    let services = Services::start().await;
    // Stopped midway; the current block is finished, and the summary is exactly that of the sent blocks.
    let (stop, longer) = (CancellationToken::new(), settings(4_000));
    let (stopped, ()) = tokio::join!(services.run(&longer, stop.clone()), async {
        while services.read().await.len() < 900 {}
        stop.cancel();
    });
    let stopped = stopped.expect("stopped");
    assert_eq!(stopped.events % 1_000, 0);
    assert_eq!(stopped.tables, discard(&settings(stopped.events)).summary.tables);

    let summary = services.run(&settings(4_000), CancellationToken::new()).await.expect("done");
    let mut expected = discard(&settings(4_000)).summary;
    // `expected` was counted with another number of partitions.
    expected.injected.disordered = summary.injected.disordered;
    assert!(summary.injected.disordered > 0);
    assert_eq!(summary, expected);
    let found = services.read().await;
    assert_eq!(bodies(&found), bodies(&log(&settings(4_000))));

    // Another run has nothing to send.
    assert_eq!(services.run(&settings(4_000), CancellationToken::new()).await.expect("done"), summary);
    assert_eq!(services.read().await.len(), found.len());
    services.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_other_settings_is_left_alone() {
    let services = Services::start().await;
    services.run(&settings(1_500), CancellationToken::new()).await.expect("done");
    let before = services.read().await;
    let other = Settings { seed: 8, ..settings(1_500) };
    let refused = services.run(&other, CancellationToken::new()).await.expect_err("another log");
    assert!(matches!(refused, Error::OtherLog { .. }), "{refused}");
    assert_eq!(refused.reaction(), Reaction::Halt);
    assert_eq!(services.read().await, before);
    services.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_registered_once_and_the_changed_one_when_it_is_used() {
    let services = Services::start().await;
    services.run(&settings(999), CancellationToken::new()).await.expect("done");
    let subject = format!("{}-value", topic(SourceTable::Customers));
    assert_eq!(services.registry.versions(&subject).await.expect("answers").len(), 1);
    for _ in 0..2 {
        services.run(&settings(3_000), CancellationToken::new()).await.expect("done");
        let versions = services.registry.versions(&subject).await.expect("answers");
        assert_eq!(versions.len(), 2);
        assert_eq!(&*versions[0].schema, schema::value(SourceTable::Customers, Shape::FIRST));
    }
    // What consumers read with the ids in the records.
    let mut found = services.read().await;
    for sent in &mut found {
        if let Some(value) = sent.value.as_mut().filter(|value| value.len() >= 5 && value[0] == 0) {
            let id = u32::from_be_bytes([value[1], value[2], value[3], value[4]]);
            let known = services.registry.schema(id).await;
            let first = known.as_deref().is_ok_and(|text| text == schema::value(sent.table, Shape::FIRST));
            let id = if known.is_err() {
                u32::MAX
            } else {
                sent.table as u32 + if first { 0 } else { super::CHANGED }
            };
            value[1..5].copy_from_slice(&id.to_be_bytes());
        }
    }
    let reader = Reader::new();
    assert_eq!(fold(&reader.changes(&found)), fold(&reader.changes(&log(&settings(3_000)))));
    services.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named() {
    let services = Services::start().await;
    let streams = [("orders".to_owned(), "nowhere".parse().expect("a topic name"))];
    let refused = services.run_on(&settings(10), streams, CancellationToken::new()).await;
    let refused = refused.expect_err("no such topic");
    assert_eq!(refused.to_string(), "topic `nowhere` does not exist; `lakepulse apply` creates it");
    services.host.stop().await;
}
