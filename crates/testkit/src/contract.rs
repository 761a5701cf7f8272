//! What a cluster, a registry and a store have to do, whatever they are made of: one suite for the models and for
//! the real ones.
//!
//! This module has the contracts of a cluster, [`registry`] and [`objects`] the others.
//!
//! Each contract makes topics of its own, so that they can run on one cluster one after another. It panics where
//! the cluster does not keep it. [`ALL`] names them; a test calls each on a cluster.

pub mod objects;
pub mod registry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use model::{Offset, TopicName};
use stream::{
    Admin, Cause, Consumer, ConsumerEvent, Error, Kafka, KafkaSettings, Limits, Outgoing, Producer, Records,
    Start, TopicSpec,
};

/// Nothing in a contract takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that is held to the contracts.
pub struct Bench {
    /// Its handle.
    pub kafka: Kafka,
    /// Sets the names of topics, groups and transactional ids apart from those of other runs.
    pub prefix: String,
}

/// A contract and its name.
pub type Contract = (&'static str, for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>);

/// Every contract.
pub const ALL: &[Contract] = &[
    ("records_come_as_they_were_sent_and_in_order", |b| records_come_as_they_were_sent(b).boxed()),
    ("a_key_goes_to_the_partition_of_its_murmur2", |b| keys_have_their_partition(b).boxed()),
    ("the_end_is_told_behind_the_last_record", |b| the_end_is_told(b).boxed()),
    ("after_a_seek_only_what_lies_behind_it_comes", |b| a_seek_moves(b).boxed()),
    ("a_paused_partition_rests_until_a_seek", |b| a_paused_partition_rests(b).boxed()),
    ("a_position_above_the_end_is_lost_and_others_go_on", |b| above_the_end_is_lost(b).boxed()),
    ("a_recreated_topic_is_lost_and_not_read_on", |b| a_recreated_topic_is_lost(b).boxed()),
    ("a_batch_keeps_its_limits", |b| batches_keep_their_limits(b).boxed()),
    ("what_a_transaction_wrote_is_read_once_it_is_committed", |b| transactions_hide(b).boxed()),
    ("an_open_transaction_holds_back_what_lies_behind_it", |b| open_transactions_hold_back(b).boxed()),
    ("a_later_producer_shuts_the_earlier_one_out", |b| later_producers_shut_out(b).boxed()),
    ("members_share_partitions_and_hand_them_over", |b| members_share(b).boxed()),
    ("topics_are_made_once_described_and_deleted", |b| topics_are_made(b).boxed()),
    ("a_topic_grows_and_keeps_its_id", |b| topics_grow(b).boxed()),
    ("the_latest_value_of_a_key_and_the_last_record_are_found", |b| latest_and_tail(b).boxed()),
];

/// Holds a cluster to every contract but these.
pub async fn hold(bench: &Bench, leave_out: &[&str]) {
    let is_known = |name: &&str| ALL.iter().any(|(known, _)| known == name);
    assert!(leave_out.iter().all(is_known), "a contract that there is none of");
    for (name, contract) in ALL.iter().filter(|(name, _)| !leave_out.contains(name)) {
        println!("{name}");
        contract(bench).await;
    }
}

impl Bench {
    /// The brokers at this address, `host:port`, which can do transactions.
    pub fn at(bootstrap: &str, prefix: String) -> Self {
        let settings =
            KafkaSettings { bootstrap: bootstrap.to_owned(), transactions: true, ..KafkaSettings::default() };
        Self { kafka: Kafka::new(settings), prefix }
    }
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }
    async fn topic(&self, name: &str, partitions: i32) -> TopicName {
        let topic: TopicName = self.name(name).parse().expect("a topic's name");
        let spec = TopicSpec { name: topic.clone(), partitions, replication: 1, config: BTreeMap::new() };
        soon(self.admin().create(&[spec])).await.expect("created");
        topic
    }
    fn admin(&self) -> Admin {
        Admin::try_new(&self.kafka).expect("valid settings")
    }
    async fn producer(&self) -> Producer {
        Producer::idempotent(&self.kafka).await.expect("valid settings")
    }
    async fn transactional(&self, id: &str) -> Producer {
        soon(Producer::transactional(&self.kafka, &self.name(id))).await.expect("the cluster can")
    }
    fn assign(&self, topic: &TopicName, from: &[(i32, i64)]) -> Consumer {
        self.assign_within(topic, from, Limits::default())
    }
    fn assign_within(&self, topic: &TopicName, from: &[(i32, i64)], limits: Limits) -> Consumer {
        let places = from.iter().map(|(partition, offset)| (topic.clone(), *partition, Offset(*offset)));
        Consumer::assign(&self.kafka, places.collect(), limits).expect("valid settings")
    }
    fn join(&self, group: &str, topic: &TopicName) -> Consumer {
        let topics = std::slice::from_ref(topic);
        let start = Arc::new(FromTheStart);
        Consumer::subscribe(&self.kafka, &self.name(group), topics, start, Limits::default())
            .expect("valid settings")
    }
    async fn fill(&self, topic: &TopicName, partitions: i32, count: usize) {
        let producer = self.producer().await;
        for i in 0..count {
            for partition in 0..partitions {
                producer.send(plain(topic, partition, i.to_string().as_bytes())).expect("queued");
            }
        }
        soon(producer.flush()).await.expect("delivered");
    }
}

struct FromTheStart;
impl Start for FromTheStart {
    fn start(&self, assigned: &[(TopicName, i32)]) -> Vec<Option<Offset>> {
        vec![None; assigned.len()]
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    runtime::time::timeout(PATIENCE, what).await.expect("within the contract's patience")
}

fn plain<'a>(topic: &'a TopicName, partition: i32, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(partition),
        key: None,
        value: Some(value),
        headers: &[],
        timestamp: None,
    }
}

/// The next event that is no error: those only say that the client tries again.
async fn next(consumer: &mut Consumer) -> ConsumerEvent {
    loop {
        match soon(consumer.next()).await.expect("the client goes on") {
            ConsumerEvent::Error(_) => {}
            event => return event,
        }
    }
}

async fn next_records(consumer: &mut Consumer) -> Records {
    loop {
        match next(consumer).await {
            ConsumerEvent::Records(records) => return records,
            ConsumerEvent::Lost(loss) => panic!("{loss}"),
            _ => {}
        }
    }
}

/// Values by partition, until there are `count` of them.
async fn values(consumer: &mut Consumer, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    while values.values().map(Vec::len).sum::<usize>() < count {
        let records = next_records(consumer).await;
        let texts = values.entry(records.partition).or_default();
        let text = |i| String::from_utf8_lossy(records.value(i).unwrap_or_default()).into_owned();
        texts.extend((0..records.len()).map(text));
    }
    values
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|i| i.to_string()).collect()
}

/// Key, value and headers.
type Sent<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a str, &'a [u8])]);

async fn records_come_as_they_were_sent(bench: &Bench) {
    let topic = bench.topic("sent", 1).await;
    let producer = bench.producer().await;
    let headers: &[(&str, &[u8])] = &[("lp.seq", b"7"), ("empty", b""), ("lp.seq", b"8")];
    let cases: [Sent<'_>; 4] = [
        (Some(b"k"), Some(b"v"), headers),
        (None, Some(b""), &[]),
        (Some(b""), None, &[]),
        (None, None, headers),
    ];
    for (i, (key, value, headers)) in (1_000..).zip(&cases) {
        let (key, value, timestamp) = (*key, *value, Some(i));
        let record = Outgoing { topic: &topic, partition: Some(0), key, value, headers, timestamp };
        producer.send(record).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
    let mut consumer = bench.assign(&topic, &[(0, 0)]);
    let mut records = next_records(&mut consumer).await;
    while records.len() < cases.len() {
        records.append(&next_records(&mut consumer).await);
    }
    assert_eq!(records.offsets, [0, 1, 2, 3]);
    for (i, (key, value, headers)) in cases.iter().enumerate() {
        assert_eq!((records.key(i), records.value(i)), (*key, *value), "record {i}");
        assert_eq!(records.timestamps, [1_000, 1_001, 1_002, 1_003]);
        let got: Vec<_> = records.headers(i).map(|(name, value)| (name, value.unwrap_or_default())).collect();
        assert_eq!(got, *headers, "record {i}");
    }
    let info = soon(bench.admin().describe(&topic)).await.expect("reachable").expect("exists");
    assert_eq!(records.topic_id, info.id);
}

async fn keys_have_their_partition(bench: &Bench) {
    let topic = bench.topic("keys", 4).await;
    let producer = bench.producer().await;
    let keys: Vec<String> = (0..40).map(|i| format!("key-{i}")).collect();
    for key in &keys {
        let (key, value) = (Some(key.as_bytes()), Some(key.as_bytes()));
        let record = Outgoing { topic: &topic, partition: None, key, value, headers: &[], timestamp: None };
        producer.send(record).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
    let mut consumer = bench.assign(&topic, &[(0, 0), (1, 0), (2, 0), (3, 0)]);
    let got = values(&mut consumer, keys.len()).await;
    for key in &keys {
        let partition = stream::hash::partition_of(key.as_bytes(), 4);
        assert!(got[&partition].contains(key), "{key} belongs on partition {partition}");
    }
}

async fn the_end_is_told(bench: &Bench) {
    let topic = bench.topic("ends", 2).await;
    bench.fill(&topic, 1, 10).await;
    let mut consumer = bench.assign(&topic, &[(0, 4), (1, 0)]);
    let (mut seen, mut ends) = (0, BTreeSet::new());
    while ends.len() < 2 {
        match next(&mut consumer).await {
            ConsumerEvent::Records(records) => seen += records.len(),
            ConsumerEvent::End(_, partition, end) => {
                ends.insert((partition, end.0, if partition == 0 { seen } else { 0 }));
            }
            _ => {}
        }
    }
    assert_eq!(ends, BTreeSet::from([(0, 10, 6), (1, 0, 0)]));
    // It is told again once more has come.
    bench.fill(&topic, 1, 1).await;
    assert_eq!(values(&mut consumer, 1).await[&0], ["0"]);
    loop {
        if let ConsumerEvent::End(_, 0, end) = next(&mut consumer).await {
            assert_eq!(end, Offset(11));
            break;
        }
    }
}

async fn a_seek_moves(bench: &Bench) {
    let topic = bench.topic("seek", 1).await;
    bench.fill(&topic, 1, 500).await;
    let limits = Limits { max_records: 10, ..Limits::default() };
    let mut consumer = bench.assign_within(&topic, &[(0, 0)], limits);
    for target in [432, 17, 0] {
        assert!(!next_records(&mut consumer).await.is_empty());
        consumer.seek(&topic, 0, Offset(target));
        assert_eq!(next_records(&mut consumer).await.first(), Some(Offset(target)));
    }
    consumer.seek(&topic, 0, Offset(400));
    assert_eq!(values(&mut consumer, 100).await[&0], numbers(400..500));
}

async fn a_paused_partition_rests(bench: &Bench) {
    let topic = bench.topic("paused", 2).await;
    bench.fill(&topic, 2, 50).await;
    let limits = Limits { max_records: 10, ..Limits::default() };
    let mut consumer = bench.assign_within(&topic, &[(0, 0), (1, 0)], limits);
    consumer.pause(&topic, 0);
    let mut other = 0;
    while other < 50 {
        let records = next_records(&mut consumer).await;
        assert_eq!(records.partition, 1, "partition 0 rests");
        other += records.len();
    }
    consumer.seek(&topic, 0, Offset(45));
    assert_eq!(values(&mut consumer, 5).await[&0], numbers(45..50));
}

async fn above_the_end_is_lost(bench: &Bench) {
    let topic = bench.topic("above", 2).await;
    bench.fill(&topic, 2, 10).await;
    let mut consumer = bench.assign(&topic, &[(0, 11), (1, 0)]);
    let (mut lost, mut read) = (None, 0);
    while lost.is_none() || read < 10 {
        match next(&mut consumer).await {
            ConsumerEvent::Lost(loss) => lost = Some(loss),
            ConsumerEvent::Records(records) => {
                assert_eq!(records.partition, 1);
                read += records.len();
            }
            _ => {}
        }
    }
    let lost = lost.expect("seen");
    assert_eq!((lost.partition, lost.position, lost.cause), (0, Some(Offset(11)), Cause::LogEnd(Offset(10))));
    consumer.seek(&topic, 0, Offset(8));
    assert_eq!(values(&mut consumer, 2).await[&0], numbers(8..10));
}

async fn a_recreated_topic_is_lost(bench: &Bench) {
    let topic = bench.topic("again", 1).await;
    bench.fill(&topic, 1, 10).await;
    let mut consumer = bench.assign(&topic, &[(0, 0)]);
    let old = next_records(&mut consumer).await.topic_id;
    soon(bench.admin().delete(&topic)).await.expect("deleted");
    while soon(bench.admin().describe(&topic)).await.expect("reachable").is_some() {}
    bench.topic("again", 1).await;
    bench.fill(&topic, 1, 50).await;
    let loss = loop {
        match next(&mut consumer).await {
            ConsumerEvent::Lost(loss) => break loss,
            ConsumerEvent::Records(records) => assert_eq!(records.topic_id, old, "read on in another topic"),
            _ => {}
        }
    };
    let new = soon(bench.admin().describe(&topic)).await.expect("reachable").expect("exists").id;
    assert_ne!(new, old);
    assert_eq!((loss.topic_id, loss.cause), (old, Cause::Recreated(new)));
}

async fn batches_keep_their_limits(bench: &Bench) {
    let topic = bench.topic("limits", 1).await;
    bench.fill(&topic, 1, 300).await;
    let limits = Limits { max_records: 7, ..Limits::default() };
    let mut consumer = bench.assign_within(&topic, &[(0, 0)], limits);
    let mut read = Vec::new();
    while read.len() < 300 {
        let records = next_records(&mut consumer).await;
        assert!(records.len() <= 7);
        read.extend(records.offsets);
    }
    assert_eq!(read, (0..300).collect::<Vec<_>>());
}

async fn transactions_hide(bench: &Bench) {
    let topic = bench.topic("hides", 1).await;
    let producer = bench.transactional("hides").await;
    for (value, commits) in [(&b"a"[..], true), (b"b", false), (b"c", true)] {
        soon(producer.begin()).await.expect("begun");
        producer.send(plain(&topic, 0, value)).expect("queued");
        if commits {
            soon(producer.commit()).await.expect("committed");
        } else {
            soon(producer.flush()).await.expect("delivered");
            soon(producer.abort()).await.expect("aborted");
        }
    }
    let mut consumer = bench.assign(&topic, &[(0, 0)]);
    assert_eq!(values(&mut consumer, 2).await[&0], ["a", "c"]);
    let tail = soon(stream::tail(&bench.kafka, &topic)).await.expect("readable");
    assert_eq!(tail[&0].value.as_deref(), Some(&b"c"[..]), "the last record, not the marker behind it");
    // Three records and three markers.
    let ends = soon(bench.admin().watermarks(&topic)).await.expect("reachable");
    assert_eq!(ends[&0], (Offset(0), Offset(6)));
}

async fn open_transactions_hold_back(bench: &Bench) {
    let topic = bench.topic("open", 1).await;
    let producer = bench.transactional("open").await;
    soon(producer.begin()).await.expect("begun");
    producer.send(plain(&topic, 0, b"first")).expect("queued");
    soon(producer.flush()).await.expect("delivered");
    bench.fill(&topic, 1, 1).await;
    let mut consumer = bench.assign(&topic, &[(0, 0)]);
    match next(&mut consumer).await {
        ConsumerEvent::End(_, 0, end) => assert_eq!(end, Offset(0)),
        event => panic!("nothing can be read yet, but {event:?}"),
    }
    soon(producer.commit()).await.expect("committed");
    assert_eq!(values(&mut consumer, 2).await[&0], ["first", "0"]);
}

async fn later_producers_shut_out(bench: &Bench) {
    let topic = bench.topic("fenced", 1).await;
    let older = bench.transactional("fenced").await;
    soon(older.begin()).await.expect("begun");
    older.send(plain(&topic, 0, b"old")).expect("queued");
    soon(older.flush()).await.expect("delivered");
    let newer = bench.transactional("fenced").await;
    match soon(older.commit()).await {
        Err(error @ Error::Fenced { .. }) => assert_eq!(error.reaction(), model::Reaction::Halt),
        outcome => panic!("{outcome:?}"),
    }
    assert!(matches!(older.send(plain(&topic, 0, b"later")), Err(Error::Fenced { .. })));
    soon(newer.begin()).await.expect("begun");
    newer.send(plain(&topic, 0, b"new")).expect("queued");
    soon(newer.commit()).await.expect("committed");
    let mut consumer = bench.assign(&topic, &[(0, 0)]);
    assert_eq!(values(&mut consumer, 1).await[&0], ["new"]);
}

/// Reads from one or two members until `until` holds of who has what and how much was read.
async fn share(
    members: &mut [(Consumer, BTreeSet<i32>)],
    until: impl Fn(&[(Consumer, BTreeSet<i32>)], usize) -> bool,
) {
    let mut read = 0;
    while !until(members, read) {
        let (first, rest) = members.split_first_mut().expect("one at least");
        let (event, owned) = match rest.first_mut() {
            Some(second) => tokio::select! {
                event = next(&mut first.0) => (event, &mut first.1),
                event = next(&mut second.0) => (event, &mut second.1),
            },
            None => (next(&mut first.0).await, &mut first.1),
        };
        match event {
            ConsumerEvent::Assigned(given) => owned.extend(given.into_iter().map(|(_, partition)| partition)),
            ConsumerEvent::Revoked(taken) => owned.retain(|mine| !taken.iter().any(|(_, p)| p == mine)),
            ConsumerEvent::Records(records) => {
                assert!(owned.contains(&records.partition), "a record of a partition that is another's");
                read += records.len();
            }
            _ => {}
        }
    }
}

async fn members_share(bench: &Bench) {
    let topic = bench.topic("shared", 4).await;
    bench.fill(&topic, 4, 50).await;
    let mut members = vec![(bench.join("group", &topic), BTreeSet::new())];
    share(&mut members, |members, read| members[0].1.len() == 4 && read == 200).await;
    members.push((bench.join("group", &topic), BTreeSet::new()));
    // The second reads its two from where its output stands: here, the start.
    share(&mut members, |members, read| members.iter().all(|(_, owned)| owned.len() == 2) && read >= 100)
        .await;
    assert!(members[0].1.is_disjoint(&members[1].1));
    let (leaver, _) = members.remove(0);
    leaver.stop().await;
    share(&mut members, |members, read| members[0].1.len() == 4 && read >= 100).await;
}

async fn topics_are_made(bench: &Bench) {
    let admin = bench.admin();
    let absent: TopicName = bench.name("absent").parse().expect("valid");
    assert_eq!(soon(admin.describe(&absent)).await.expect("reachable"), None);
    assert!(
        matches!(soon(admin.watermarks(&absent)).await, Err(Error::NoTopic { topic }) if topic == absent)
    );
    assert!(matches!(soon(admin.config(&absent)).await, Err(Error::NoTopic { topic }) if topic == absent));
    soon(admin.delete(&absent)).await.expect("what is not there can be deleted");
    let topic = bench.topic("made", 3).await;
    let made = soon(admin.describe(&topic)).await.expect("reachable").expect("exists");
    assert_eq!(made.partitions, 3);
    bench.topic("made", 5).await;
    let still = soon(admin.describe(&topic)).await.expect("reachable").expect("exists");
    assert_eq!(still, made, "what exists stays as it is");
    assert_eq!(soon(admin.absent([&topic, &absent])).await.expect("reachable"), [absent]);
    assert!(soon(admin.topics()).await.expect("reachable").contains(&topic));
    assert!(soon(admin.config(&topic)).await.expect("reachable").contains_key("cleanup.policy"));
}

async fn topics_grow(bench: &Bench) {
    let admin = bench.admin();
    let topic = bench.topic("grows", 1).await;
    bench.fill(&topic, 1, 3).await;
    let before = soon(admin.describe(&topic)).await.expect("reachable").expect("exists");
    soon(admin.grow(&topic, 3)).await.expect("grown");
    let after = loop {
        let info = soon(admin.describe(&topic)).await.expect("reachable").expect("exists");
        if info.partitions == 3 {
            break info;
        }
    };
    assert_eq!(after.id, before.id);
    let ends = soon(admin.watermarks(&topic)).await.expect("reachable");
    let high: Vec<i64> = ends.values().map(|(_, high)| high.0).collect();
    assert_eq!(high, [3, 0, 0]);
}

async fn latest_and_tail(bench: &Bench) {
    let topic = bench.topic("latest", 2).await;
    let producer = bench.producer().await;
    let sent =
        [(0, "a", Some("1")), (1, "b", Some("2")), (0, "c", Some("3")), (0, "a", Some("4")), (1, "b", None)];
    for (partition, key, value) in sent {
        let (partition, key, value) = (Some(partition), Some(key.as_bytes()), value.map(str::as_bytes));
        producer
            .send(Outgoing { topic: &topic, partition, key, value, headers: &[], timestamp: None })
            .expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
    let latest = soon(stream::latest(&bench.kafka, &topic)).await.expect("readable");
    let expected = [(&b"a"[..], &b"4"[..]), (b"c", b"3")].map(|(k, v)| (k.to_vec(), v.to_vec()));
    assert_eq!(latest, BTreeMap::from(expected));
    let tail = soon(stream::tail(&bench.kafka, &topic)).await.expect("readable");
    assert_eq!((tail[&0].offset, tail[&0].value.as_deref()), (Offset(2), Some(&b"4"[..])));
    assert_eq!((tail[&1].offset, tail[&1].value.as_deref()), (Offset(1), None));
}

#[cfg(test)]
mod tests {
    use runtime::WallClock;

    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn the_model_keeps_every_contract() {
        let kafka = Memory::new(Arc::new(WallClock)).kafka();
        hold(&Bench { kafka, prefix: "contract".to_owned() }, &[]).await;
    }

    /// It has no request that adds partitions.
    // Holds P4 (docs/invariants.md).
    #[tokio::test(flavor = "multi_thread")]
    async fn the_embedded_broker_keeps_all_but_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let host = soon(embedded::Host::join(dir.path())).await.expect("hosted");
        let bench = Bench::at(&host.bootstrap, "contract".to_owned());
        hold(&bench, &["a_topic_grows_and_keeps_its_id"]).await;
    }
}
