//! The broker through librdkafka, as every other part of LakePulse uses it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runtime::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use rstest::rstest;

use super::{Host, Role};
use stream::{Admin, TopicSpec};
use stream::{Kafka, KafkaSettings};

mod coordinator;

const DEADLINE: Duration = Duration::from_secs(30);

/// Deliveries, by payload order.
#[derive(Default)]
struct Deliveries(parking_lot::Mutex<Vec<Result<i64, KafkaError>>>);

impl ClientContext for Deliveries {}
impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().push(result);
    }
}

type Producer = ThreadedProducer<Deliveries>;

fn client(host: &Host) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &host.bootstrap)
        .set("message.max.bytes", "33554432")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200");
    config
}

fn producer(host: &Host, settings: &[(&str, &str)]) -> Producer {
    let mut config = client(host);
    config.set("enable.idempotence", "true").set("linger.ms", "5");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create_with_context(Deliveries::default()).expect("valid settings")
}

fn transactional(host: &Host, id: &str) -> Producer {
    let producer = producer(host, &[("transactional.id", id)]);
    producer.init_transactions(DEADLINE).expect("initialised");
    producer
}

async fn create(host: &Host, topic: &str, partitions: i32) {
    let kafka = Kafka::new(KafkaSettings {
        bootstrap: host.bootstrap.clone(),
        config: BTreeMap::new(),
        transactions: true,
    });
    let spec = TopicSpec {
        name: topic.parse().expect("a name"),
        partitions,
        replication: 1,
        config: BTreeMap::new(),
    };
    Admin::try_new(&kafka).expect("an admin").create(&[spec]).await.expect("created");
}

fn send(producer: &Producer, topic: &str, partition: i32, value: &[u8]) {
    let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
}

/// Reads a partition from its start to the end it has now.
fn read(host: &Host, topic: &str, partition: i32, isolation: &str) -> Vec<(i64, Vec<u8>)> {
    let mut config = client(host);
    config
        .set("group.id", "reader")
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("fetch.message.max.bytes", "1048576")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("valid settings");
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
    consumer.assign(&places).expect("assigned");
    let deadline = Instant::now() + DEADLINE;
    let mut records = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "the end of {topic}/{partition} is not reached");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                records.push((message.offset(), message.payload().unwrap_or_default().to_vec()));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return records,
            Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => {}
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        runtime::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn join(dir: &Path) -> Host {
    Host::join(dir).await.expect("joined")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_restart_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 2).await;
    let large = vec![7_u8; 10 << 20];
    let producer = producer(&host, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "lp.seq", value: Some("1") })
        .insert(Header { key: "none", value: None::<&[u8]> });
    let record =
        BaseRecord::<str, str>::to("t").partition(0).key("k").payload("v").timestamp(42).headers(headers);
    producer.send(record).map_err(|(error, _)| error).expect("queued");
    let tombstone = BaseRecord::<str, [u8]>::to("t").partition(0).key("k");
    producer.send(tombstone).map_err(|(error, _)| error).expect("queued");
    send(&producer, "t", 1, &large);
    send(&producer, "t", 1, b"behind the large one");
    producer.flush(DEADLINE).expect("flushed");
    assert!(producer.context().0.lock().iter().all(Result::is_ok));
    let addresses = (host.bootstrap.clone(), host.registry_url.clone());
    host.stop().await;

    let host = join(dir.path()).await;
    assert_eq!((host.bootstrap.clone(), host.registry_url.clone()), addresses);
    let values: Vec<Vec<u8>> =
        read(&host, "t", 1, "read_committed").into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [large, b"behind the large one".to_vec()]);
    let mut config = client(&host);
    let consumer: BaseConsumer = config.set("group.id", "g").create().expect("valid settings");
    let mut places = TopicPartitionList::new();
    places.add_partition_offset("t", 0, Offset::Beginning).expect("a place");
    consumer.assign(&places).expect("assigned");
    let next = || loop {
        match consumer.poll(DEADLINE) {
            Some(Ok(message)) => break message.detach(),
            Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => {}
            other => panic!("{other:?}"),
        }
    };
    let first = next();
    assert_eq!((first.key(), first.payload()), (Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(first.timestamp().to_millis(), Some(42));
    let headers = first.headers().expect("headers");
    assert_eq!((headers.get(0).key, headers.get(0).value), ("lp.seq", Some(&b"1"[..])));
    assert_eq!((headers.get(1).key, headers.get(1).value), ("none", None));
    let second = next();
    assert_eq!((second.key(), second.payload()), (Some(&b"k"[..]), None));
    drop(consumer);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hosts_and_the_next_takes_over_at_the_same_address() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = join(dir.path()).await;
    let second = join(dir.path()).await;
    assert_eq!((first.role(), second.role()), (Role::Host, Role::Guest));
    assert_eq!(first.bootstrap, second.bootstrap);
    create(&second, "t", 1).await;
    let producer = producer(&second, &[]);
    send(&producer, "t", 0, b"before");
    producer.flush(DEADLINE).expect("flushed");
    first.stop().await;
    until("the takeover", || second.role() == Role::Host).await;
    send(&producer, "t", 0, b"after");
    producer.flush(DEADLINE).expect("flushed");
    let values = read(&second, "t", 0, "read_committed");
    assert_eq!(values, [(0, b"before".to_vec()), (1, b"after".to_vec())]);
    let registry = stream::Registry::new(stream::RegistrySettings {
        url: second.registry_url.clone(),
        ..Default::default()
    });
    assert_eq!(registry.subjects().await.expect("it answers"), Vec::<String>::new());
    second.stop().await;
}

/// Hosts in the folder named by the environment until killed; started by the test below.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of `a_killed_host_loses_nothing_it_acknowledged`"]
async fn host_until_killed() {
    let Some(dir) = std::env::var_os("LAKEPULSE_TEST_DIR") else { return };
    let host = join(Path::new(&dir)).await;
    std::fs::write(Path::new(&dir).join("hosting"), host.bootstrap.as_bytes()).expect("writable");
    std::future::pending::<()>().await;
}

/// Killed when the test ends, however it ends.
struct Other(Child);
impl Drop for Other {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().expect("a folder");
    let other = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "tests::host_until_killed", "--ignored"])
        .env("LAKEPULSE_TEST_DIR", dir.path())
        .stdout(Stdio::null())
        .spawn();
    let mut other = Other(other.expect("started"));
    until("the other process hosts", || dir.path().join("hosting").exists()).await;
    let host = join(dir.path()).await;
    assert_eq!(host.role(), Role::Guest);
    create(&host, "t", 1).await;
    let producer = producer(&host, &[("queue.buffering.max.messages", "200000")]);
    let total: u32 = 60_000;
    for number in 0..total {
        send(&producer, "t", 0, &number.to_be_bytes());
        if number == total / 2 {
            // In the middle of it: some acknowledged, some under way.
            until("something is acknowledged", || producer.context().0.lock().len() > 1000).await;
            other.0.kill().expect("killed");
        }
    }
    producer.flush(DEADLINE).expect("flushed");
    assert_eq!(host.role(), Role::Host);
    assert!(
        producer.context().0.lock().iter().all(Result::is_ok),
        "the producer is idempotent: all must arrive"
    );
    let numbers: Vec<u32> = read(&host, "t", 0, "read_committed")
        .into_iter()
        .map(|(_, value)| u32::from_be_bytes(value.try_into().expect("four bytes")))
        .collect();
    assert!(numbers.iter().copied().eq(0..total), "every record once, in order; there are {}", numbers.len());
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_committed_records_never_see_an_aborted_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 2).await;
    let producer = transactional(&host, "p");
    for (value, commit) in [("kept 1", true), ("lost", false), ("kept 2", true)] {
        producer.begin_transaction().expect("begun");
        send(&producer, "t", 0, value.as_bytes());
        send(&producer, "t", 1, value.as_bytes());
        producer.flush(DEADLINE).expect("flushed");
        if commit {
            producer.commit_transaction(DEADLINE).expect("committed");
        } else {
            producer.abort_transaction(DEADLINE).expect("aborted");
        }
    }
    producer.begin_transaction().expect("begun");
    send(&producer, "t", 0, b"open");
    producer.flush(DEADLINE).expect("flushed");
    let text = |records: Vec<(i64, Vec<u8>)>| -> Vec<String> {
        records.into_iter().map(|(_, value)| String::from_utf8(value).expect("text")).collect()
    };
    let mut host = host;
    for restarted in [false, true] {
        if restarted {
            host.stop().await;
            host = join(dir.path()).await;
        }
        assert_eq!(text(read(&host, "t", 0, "read_committed")), ["kept 1", "kept 2"]);
        assert_eq!(text(read(&host, "t", 1, "read_committed")), ["kept 1", "kept 2"]);
        assert_eq!(text(read(&host, "t", 0, "read_uncommitted")), ["kept 1", "lost", "kept 2", "open"]);
    }
    producer.commit_transaction(DEADLINE).expect("committed");
    assert_eq!(text(read(&host, "t", 0, "read_committed")), ["kept 1", "kept 2", "open"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_after_the_host_restarts() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 1).await;
    let producer = transactional(&host, "p");
    producer.begin_transaction().expect("begun");
    send(&producer, "t", 0, b"before");
    producer.flush(DEADLINE).expect("flushed");
    host.stop().await;
    let host = join(dir.path()).await;
    assert_eq!(read(&host, "t", 0, "read_committed"), []);
    send(&producer, "t", 0, b"after");
    producer.commit_transaction(DEADLINE).expect("committed");
    assert_eq!(read(&host, "t", 0, "read_committed").len(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_producer_of_an_id_fences_the_first_and_aborts_what_it_left() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 1).await;
    let zombie = transactional(&host, "p");
    zombie.begin_transaction().expect("begun");
    send(&zombie, "t", 0, b"zombie");
    zombie.flush(DEADLINE).expect("flushed");
    let heir = transactional(&host, "p");
    assert!(zombie.commit_transaction(DEADLINE).is_err(), "it is fenced");
    heir.begin_transaction().expect("begun");
    send(&heir, "t", 0, b"heir");
    heir.commit_transaction(DEADLINE).expect("committed");
    let values: Vec<_> = read(&host, "t", 0, "read_committed").into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [b"heir".to_vec()]);
    host.stop().await;
}

#[rstest]
#[case::committed(true, Offset::Offset(7))]
#[case::aborted(false, Offset::Invalid)]
#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_transaction_follow_its_end(#[case] commit: bool, #[case] expected: Offset) {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 1).await;
    let producer = transactional(&host, "p");
    producer.begin_transaction().expect("begun");
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 0, Offset::Offset(7)).expect("a place");
    let mut config = client(&host);
    let member: BaseConsumer = config.set("group.id", "g").create().expect("valid settings");
    let group = member.group_metadata().expect("a group");
    producer.send_offsets_to_transaction(&offsets, &group, DEADLINE).expect("sent");
    if commit {
        producer.commit_transaction(DEADLINE).expect("committed");
    } else {
        producer.abort_transaction(DEADLINE).expect("aborted");
    }
    host.stop().await;
    let host = join(dir.path()).await;
    let mut config = client(&host);
    let consumer: BaseConsumer = config.set("group.id", "g").create().expect("valid settings");
    let mut asked = TopicPartitionList::new();
    asked.add_partition("t", 0);
    let committed = consumer.committed_offsets(asked, DEADLINE).expect("answered");
    assert_eq!(committed.elements()[0].offset(), expected);
    drop(consumer);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shares_the_partitions_and_a_member_that_goes_leaves_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 4).await;
    let member = || {
        let mut config = client(&host);
        config
            .set("group.id", "g")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500");
        let consumer: BaseConsumer = config.create().expect("valid settings");
        consumer.subscribe(&["t"]).expect("subscribed");
        consumer
    };
    let owned = |consumer: &BaseConsumer| {
        consumer.poll(Duration::from_millis(50));
        consumer.assignment().expect("an assignment").count()
    };
    let first = member();
    until("the first has all", || owned(&first) == 4).await;
    let second = member();
    until("they share", || (owned(&first), owned(&second)) == (2, 2)).await;
    drop(second);
    until("the first has all again", || owned(&first) == 4).await;
    drop(first);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_on_after_the_host_restarts() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 2).await;
    let producer = producer(&host, &[]);
    let mut config = client(&host);
    config
        .set("group.id", "g")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("heartbeat.interval.ms", "200")
        .set("session.timeout.ms", "6000");
    let consumer: BaseConsumer = config.create().expect("valid settings");
    consumer.subscribe(&["t"]).expect("subscribed");
    let receives = |value: &[u8]| match consumer.poll(Duration::from_millis(50)) {
        Some(Ok(message)) => {
            let found = message.payload() == Some(value);
            if found {
                consumer.commit_message(&message, rdkafka::consumer::CommitMode::Sync).expect("committed");
            }
            found
        }
        _ => false,
    };
    send(&producer, "t", 0, b"before");
    until("the first record", || receives(b"before")).await;
    host.stop().await;
    let host = join(dir.path()).await;
    send(&producer, "t", 1, b"after");
    until("the second record", || receives(b"after")).await;
    drop(consumer);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_comes_back_empty_with_another_id() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    let kafka = Kafka::new(KafkaSettings {
        bootstrap: host.bootstrap.clone(),
        config: BTreeMap::new(),
        transactions: true,
    });
    let admin = Admin::try_new(&kafka).expect("an admin");
    let name = "t".parse().expect("a name");
    create(&host, "t", 1).await;
    let producer = producer(&host, &[]);
    send(&producer, "t", 0, b"gone");
    producer.flush(DEADLINE).expect("flushed");
    drop(producer);
    let before = admin.describe(&name).await.expect("answered").expect("there");
    admin.delete(&name).await.expect("deleted");
    create(&host, "t", 3).await;
    let after = admin.describe(&name).await.expect("answered").expect("there");
    assert_eq!(after.partitions, 3);
    assert_ne!(before.id, after.id);
    assert_eq!(read(&host, "t", 0, "read_committed"), []);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_prompt_with_clients_connected() {
    let dir = tempfile::tempdir().expect("a folder");
    let host = join(dir.path()).await;
    create(&host, "t", 1).await;
    let mut config = client(&host);
    let consumer: BaseConsumer = config.set("group.id", "g").create().expect("valid settings");
    consumer.subscribe(&["t"]).expect("subscribed");
    consumer.poll(Duration::from_millis(300));
    let started = Instant::now();
    host.stop().await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
