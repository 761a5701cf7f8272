//! What the tests of this crate share.
//!
//! What every cluster has to do is held by `testkit::contract`, on the embedded broker as on others. The tests of
//! this crate hold what it does not: the client library's own doings, loads, limits and outages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Offset, TopicName};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::{
    Admin, Consumer, ConsumerEvent, Kafka, KafkaSettings, Limits, Outgoing, Producer, Records, Start,
    TopicSpec,
};
use embedded::Host;

/// Nothing in a test takes this long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub fn topic(name: &str) -> TopicName {
    name.parse().expect("valid")
}

pub fn kafka(bootstrap: &str) -> Kafka {
    let settings =
        KafkaSettings { bootstrap: bootstrap.to_owned(), transactions: true, ..KafkaSettings::default() };
    Kafka::new(settings)
}

/// A broker; the embedded one lies in a folder of its own and can be stopped and started.
pub struct Bench {
    pub kafka: Kafka,
    host: Option<Host>,
    dir: tempfile::TempDir,
}

/// A broker with topics of so many partitions: the embedded one, or the one that
/// `LAKEPULSE_TEST_KAFKA` names, whose topics of these names are emptied (run one test at a time).
pub async fn bench(topics: &[(&str, i32)]) -> Bench {
    let Ok(bootstrap) = std::env::var("LAKEPULSE_TEST_KAFKA") else {
        return own_bench(topics).await;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench { kafka: kafka(&bootstrap), host: None, dir };
    for (name, _) in topics {
        let topic = topic(name);
        soon(bench.admin().delete(&topic)).await.expect("deleted");
        while soon(bench.admin().describe(&topic)).await.expect("reachable").is_some() {}
    }
    bench.with(topics).await
}

/// An embedded broker, for tests that stop it.
pub async fn own_bench(topics: &[(&str, i32)]) -> Bench {
    let dir = tempfile::tempdir().expect("a folder");
    let host = soon(Host::join(dir.path())).await.expect("hosted");
    let bench = Bench { kafka: kafka(&host.bootstrap), host: Some(host), dir };
    bench.with(topics).await
}

impl Bench {
    async fn with(self, topics: &[(&str, i32)]) -> Self {
        let spec = |(name, partitions): &(&str, i32)| TopicSpec {
            name: topic(name),
            partitions: *partitions,
            replication: 1,
            config: BTreeMap::new(),
        };
        let specs: Vec<TopicSpec> = topics.iter().map(spec).collect();
        soon(self.admin().create(&specs)).await.expect("created");
        self
    }
    pub fn admin(&self) -> Admin {
        Admin::try_new(&self.kafka).expect("valid settings")
    }
    pub async fn stop(&mut self) {
        soon(self.host.take().expect("running").stop()).await;
    }
    /// Again, on the same files and ports.
    pub async fn start(&mut self) {
        let host = soon(Host::join(self.dir.path())).await.expect("hosted");
        assert_eq!(host.bootstrap, self.kafka.settings().bootstrap);
        self.host = Some(host);
    }
    /// Drops the records of a partition below `offset`, as retention does.
    pub async fn forget_below(&self, topic: &TopicName, partition: i32, offset: i64) {
        let client: AdminClient<DefaultClientContext> =
            self.kafka.settings().admin().create().expect("valid settings");
        let mut places = TopicPartitionList::new();
        let offset = rdkafka::Offset::Offset(offset);
        places.add_partition_offset(topic.as_str(), partition, offset).expect("valid");
        soon(client.delete_records(&places, &AdminOptions::new())).await.expect("done");
    }
}

/// A port nobody listens on.
pub fn nowhere() -> Kafka {
    kafka("127.0.0.1:1")
}

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    runtime::time::timeout(PATIENCE, what).await.expect("within the test's patience")
}

/// A record with a value only.
pub fn plain<'a>(topic: &'a TopicName, partition: i32, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(partition),
        key: None,
        value: Some(value),
        headers: &[],
        timestamp: None,
    }
}

/// Puts `count` numbered records on each partition.
pub async fn fill(kafka: &Kafka, topic: &TopicName, partitions: i32, count: usize) {
    let producer = Producer::idempotent(kafka).await.expect("valid settings");
    for i in 0..count {
        for partition in 0..partitions {
            producer.send(plain(topic, partition, i.to_string().as_bytes())).expect("queued");
        }
    }
    soon(producer.flush()).await.expect("delivered");
}

/// The same position for every partition.
pub struct From(pub Option<i64>);
impl Start for From {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        vec![self.0.map(Offset); assigned.len()]
    }
}

pub fn subscribe(kafka: &Kafka, group: &str, topic: &TopicName) -> Consumer {
    let topics = std::slice::from_ref(topic);
    Consumer::subscribe(kafka, group, topics, Arc::new(From(None)), Limits::default())
        .expect("valid settings")
}

/// The next event that is no error: those only say that the client tries again.
pub async fn next(consumer: &mut Consumer) -> ConsumerEvent {
    loop {
        match soon(consumer.next()).await.expect("the client goes on") {
            ConsumerEvent::Error(_) => {}
            event => return event,
        }
    }
}

pub async fn next_records(consumer: &mut Consumer) -> Records {
    loop {
        match next(consumer).await {
            ConsumerEvent::Records(records) => return records,
            ConsumerEvent::Lost(loss) => panic!("{loss}"),
            _ => {}
        }
    }
}

/// Values by partition, until there are `count` of them.
pub async fn values(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    while values.values().map(Vec::len).sum::<usize>() < count {
        let records = next_records(consumer).await;
        let all = (0..records.len()).map(|i| text(records.value(i)));
        values.entry(records.partition).or_default().extend(all);
    }
    values
}

pub fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

/// The offset a group stored.
pub fn stored(kafka: &Kafka, group: &str, topic: &str, partition: i32) -> Option<i64> {
    let consumer: BaseConsumer = kafka.settings().consumer(group, 1 << 20).create().expect("valid settings");
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let stored = consumer.committed_offsets(asked, PATIENCE).expect("reachable");
    stored.find_partition(topic, partition)?.offset().to_raw()
}
