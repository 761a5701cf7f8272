use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::aside;
use crate::tests::{
    bench, fill, kafka, next, next_records, nowhere, numbers, own_bench, plain, soon, subscribe, topic,
    values,
};
use crate::{Outgoing, Producer};

fn from(topic: &TopicName, starts: &[(i32, i64)]) -> Vec<(TopicName, i32, Offset)> {
    starts.iter().map(|(partition, offset)| (topic.clone(), *partition, Offset(*offset))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_comes_once_and_in_order() {
    let bench = bench(&[("t", 3)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 3, 20_000).await;
    let limits = Limits { max_records: 700, ..Limits::default() };
    let mut consumer =
        Consumer::assign(&kafka, from(&t, &[(0, 0), (1, 0), (2, 19_990)]), limits).expect("valid");
    let got = values(&mut consumer, 40_010).await;
    assert_eq!(got[&0], numbers(0..20_000));
    assert_eq!(got[&1], numbers(0..20_000));
    assert_eq!(got[&2], numbers(19_990..20_000));
    consumer.stop().await;
}

/// Key, value and headers.
type Sent<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a [(&'a str, &'a [u8])]);

#[tokio::test(flavor = "multi_thread")]
async fn keys_values_headers_and_timestamps_arrive_as_sent() {
    let bench = bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    let producer = Producer::idempotent(&kafka).await.expect("valid");
    let headers: &[(&str, &[u8])] = &[("lp.seq", b"7"), ("empty", b""), ("lp.seq", b"8")];
    let cases: [Sent<'_>; 4] = [
        (Some(b"k"), Some(b"v"), headers),
        (None, Some(b""), &[]),
        (Some(b""), None, &[]),
        (None, None, headers),
    ];
    for (i, (key, value, headers)) in cases.iter().enumerate() {
        let timestamp = Some(1_000 + i as i64);
        let record = Outgoing { topic: &t, partition: Some(0), key: *key, value: *value, headers, timestamp };
        producer.send(record).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");

    let mut consumer = Consumer::assign(&kafka, from(&t, &[(0, 0)]), Limits::default()).expect("valid");
    let mut records = next_records(&mut consumer).await;
    while records.len() < cases.len() {
        records.append(&next_records(&mut consumer).await);
    }
    for (i, (key, value, headers)) in cases.iter().enumerate() {
        assert_eq!((records.key(i), records.value(i)), (*key, *value), "record {i}");
        assert_eq!(records.timestamp(i), 1_000 + i as i64);
        let got: Vec<_> = records.headers(i).map(|(name, value)| (name, value.unwrap_or_default())).collect();
        assert_eq!(got, *headers, "record {i}");
    }
    let id = bench.admin().describe(&t).await.expect("reachable").expect("exists").id;
    assert_eq!(records.topic_id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_ten_mebibytes_comes_whole_between_its_neighbours() {
    let bench = bench(&[("t", 1)]).await;
    let t = topic("t");
    let producer = Producer::idempotent(&bench.kafka).await.expect("valid");
    let large: Vec<u8> = (0..10 << 20).map(|i: u32| (i % 251) as u8).collect();
    for value in [&b"before"[..], &large, b"after"] {
        producer.send(plain(&t, 0, value)).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let mut consumer = Consumer::assign(&bench.kafka, from(&t, &[(0, 0)]), limits).expect("valid");
    let mut got = Vec::new();
    while got.len() < 3 {
        let records = next_records(&mut consumer).await;
        got.extend((0..records.len()).map(|i| records.value(i).unwrap_or_default().to_vec()));
    }
    assert_eq!((got[0].as_slice(), got[2].as_slice()), (&b"before"[..], &b"after"[..]));
    assert!(got[1] == large);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_behind_the_last_record() {
    let bench = bench(&[("t", 2)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 10).await;
    let mut consumer =
        Consumer::assign(&kafka, from(&t, &[(0, 4), (1, 0)]), Limits::default()).expect("valid");
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
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_seek_only_what_lies_behind_it_comes() {
    let bench = bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 5_000).await;
    let limits = Limits { max_records: 100, ..Limits::default() };
    let mut consumer = Consumer::assign(&kafka, from(&t, &[(0, 0)]), limits).expect("valid");
    for target in [4_321, 17, 0] {
        assert!(!next_records(&mut consumer).await.is_empty());
        consumer.seek(&t, 0, Offset(target));
        assert_eq!(
            next_records(&mut consumer).await.first(),
            Some(Offset(target)),
            "the first behind the seek"
        );
    }
    consumer.seek(&t, 0, Offset(4_000));
    assert_eq!(values(&mut consumer, 1_000).await[&0], numbers(4_000..5_000));
}

// Holds P5 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_position_above_the_end_is_lost_and_other_partitions_go_on() {
    let bench = bench(&[("t", 2)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 2, 10).await;
    let mut consumer =
        Consumer::assign(&kafka, from(&t, &[(0, 11), (1, 0)]), Limits::default()).expect("valid");
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

    // It rests until someone decides where to go on.
    consumer.seek(&t, 0, Offset(8));
    assert_eq!(values(&mut consumer, 2).await[&0], numbers(8..10));
}

// Holds P5 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_position_below_the_start_is_lost() {
    let bench = bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 20).await;
    bench.forget_below(&t, 0, 7).await;
    let ends = bench.admin().watermarks(&t).await.expect("reachable");
    assert_eq!(ends[&0], (Offset(7), Offset(20)));
    let low = Offset(7);
    let mut consumer = Consumer::assign(&kafka, from(&t, &[(0, 1)]), Limits::default()).expect("valid");
    match next(&mut consumer).await {
        ConsumerEvent::Lost(loss) => {
            assert_eq!((loss.position, loss.cause), (Some(Offset(1)), Cause::LogStart(low)))
        }
        event => panic!("{event:?}"),
    }
    // No start given: the log's own.
    let mut consumer = subscribe(&kafka, "g", &t);
    assert_eq!(next_records(&mut consumer).await.first(), Some(low));
}

// Holds P5 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_is_lost_not_read_on() {
    let bench = bench(&[("t", 1)]).await;
    let t = topic("t");
    fill(&bench.kafka, &t, 1, 10).await;
    let mut consumer = Consumer::assign(&bench.kafka, from(&t, &[(0, 0)]), Limits::default()).expect("valid");
    let old = next_records(&mut consumer).await.topic_id;
    let admin = bench.admin();
    admin.delete(&t).await.expect("deleted");
    let spec =
        crate::TopicSpec { name: t.clone(), partitions: 1, replication: 1, config: Default::default() };
    admin.create(&[spec]).await.expect("created");
    fill(&bench.kafka, &t, 1, 50).await;
    let loss = loop {
        match soon(consumer.next()).await {
            Some(ConsumerEvent::Lost(loss)) => break loss,
            Some(ConsumerEvent::Records(records)) => {
                assert_eq!(records.topic_id, old, "read on in another topic")
            }
            Some(_) => {}
            None => panic!("the client ended"),
        }
    };
    let new = admin.describe(&t).await.expect("reachable").expect("exists").id;
    assert_eq!((loss.topic_id, loss.cause), (old, Cause::Recreated(new)));
}

/// Reads until `count` records have come to either, which also notes who has what.
async fn share(
    consumers: &mut [(Consumer, BTreeSet<i32>)],
    until: impl Fn(&[(Consumer, BTreeSet<i32>)], usize) -> bool,
) {
    let mut read = 0;
    while !until(consumers, read) {
        let (first, rest) = consumers.split_first_mut().expect("one at least");
        let (event, owned) = match rest.first_mut() {
            Some(second) => tokio::select! {
                event = next(&mut first.0) => (event, &mut first.1),
                event = next(&mut second.0) => (event, &mut second.1),
            },
            None => (next(&mut first.0).await, &mut first.1),
        };
        match event {
            ConsumerEvent::Assigned(given) => owned.extend(given.into_iter().map(|(_, p)| p)),
            ConsumerEvent::Revoked(taken) => owned.retain(|mine| !taken.iter().any(|(_, p)| p == mine)),
            ConsumerEvent::Records(records) => {
                assert!(owned.contains(&records.partition), "a record of a partition that is another's");
                read += records.len();
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_share_partitions_and_hand_them_over() {
    let bench = bench(&[("t", 4)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 4, 50).await;
    let mut members = vec![(subscribe(&kafka, "g", &t), BTreeSet::new())];
    share(&mut members, |members, read| members[0].1.len() == 4 && read == 200).await;

    members.push((subscribe(&kafka, "g", &t), BTreeSet::new()));
    // The second reads its two from where its output stands: here, the start.
    share(&mut members, |members, read| members[0].1.len() == 2 && members[1].1.len() == 2 && read >= 100)
        .await;
    assert!(members[0].1.is_disjoint(&members[1].1));

    let (leaver, _) = members.remove(0);
    leaver.stop().await;
    share(&mut members, |members, read| members[0].1.len() == 4 && read >= 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_down_meanwhile_loses_nothing() {
    let mut bench = own_bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 100).await;
    let mut consumer = Consumer::assign(&kafka, from(&t, &[(0, 0)]), Limits::default()).expect("valid");
    assert_eq!(values(&mut consumer, 100).await[&0], numbers(0..100));

    bench.stop().await;
    let error = loop {
        if let Some(ConsumerEvent::Error(error)) = soon(consumer.next()).await {
            break error;
        }
    };
    assert_eq!(error.reaction(), model::Reaction::Retry, "{error}");

    bench.start().await;
    let producer = Producer::idempotent(&kafka).await.expect("valid");
    for i in 100..200 {
        producer.send(plain(&t, 0, i.to_string().as_bytes())).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
    assert_eq!(values(&mut consumer, 100).await[&0], numbers(100..200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_at_start_is_an_error_a_second_and_no_hang() {
    let t = topic("t");
    let mut consumer = subscribe(&nowhere(), "g", &t);
    let begun = runtime::time::Instant::now();
    for _ in 0..3 {
        match soon(consumer.next()).await {
            Some(ConsumerEvent::Error(error)) => {
                assert_eq!(error.reaction(), model::Reaction::Retry, "{error}")
            }
            event => panic!("{event:?}"),
        }
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "three errors are two seconds apart at least");
    soon(consumer.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_bounds_the_queue_and_misses_nothing() {
    let bench = bench(&[("t", 2)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 2, 30_000).await;
    let limits = Limits { max_records: 500, max_bytes: 1 << 20, queue_bytes: 20_000 };
    let client = client::Client::assign(kafka.settings(), from(&t, &[(0, 0), (1, 0)]), limits);
    let client = client.expect("valid");
    let shared = Arc::clone(&client.shared);
    let mut consumer = Consumer(Box::new(client));
    let mut got = values(&mut consumer, 1).await;
    // Left alone with a full queue, the thread gives its fetches up.
    let deadline = runtime::time::Instant::now() + crate::tests::PATIENCE;
    while shared.suspensions.load(Ordering::Acquire) == 0 {
        assert!(runtime::time::Instant::now() < deadline, "a full queue was never noticed");
        tokio::task::yield_now().await;
    }
    let read: usize = got.values().map(Vec::len).sum();
    for (partition, rest) in values(&mut consumer, 60_000 - read).await {
        got.entry(partition).or_default().extend(rest);
    }
    assert_eq!(got[&0], numbers(0..30_000));
    assert_eq!(got[&1], numbers(0..30_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let bench = bench(&[("other", 1)]).await;
    let absent = topic("absent");
    let mut consumer = subscribe(&bench.kafka, "g", &absent);
    let error = loop {
        match soon(consumer.next()).await {
            Some(ConsumerEvent::Error(Error::NoTopic { topic })) => break topic,
            Some(ConsumerEvent::Error(error)) => {
                assert_eq!(error.reaction(), model::Reaction::Retry, "{error}")
            }
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(error, absent);
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn lag_is_stored_for_people_and_never_read_back() {
    let bench = bench(&[("t", 1)]).await;
    let t = topic("t");
    fill(&bench.kafka, &t, 1, 10).await;
    let mut consumer = subscribe(&bench.kafka, "lag", &t);
    assert_eq!(values(&mut consumer, 10).await[&0].len(), 10);
    consumer.show_lag(&t, 0, Offset(6));
    consumer.stop().await;
    let stored = soon(aside::run("stored", {
        let kafka = bench.kafka.clone();
        move || crate::tests::stored(&kafka, "lag", "t", 0)
    }));
    assert_eq!(stored.await.expect("a thread"), Some(6));
    let mut consumer = subscribe(&bench.kafka, "lag", &t);
    assert_eq!(values(&mut consumer, 10).await[&0], numbers(0..10));
}

#[test]
fn a_setting_the_library_does_not_know_is_an_error() {
    let config = [("no.such.setting".to_owned(), "1".into())].into();
    let kafka = Kafka::new(crate::KafkaSettings { config, ..kafka("x:1").settings().clone() });
    let made = Consumer::assign(&kafka, Vec::new(), Limits::default());
    assert!(matches!(made.err(), Some(Error::Settings { reason }) if reason.contains("no.such.setting")));
}

#[test]
fn a_loss_says_what_where_and_why() {
    let loss = LostPosition {
        topic: topic("t"),
        topic_id: "id".parse().expect("valid"),
        partition: 3,
        position: Some(Offset(5)),
        cause: Cause::LogStart(Offset(9)),
    };
    let said = loss.to_string();
    assert_eq!(said, "partition 3 of topic `t` was to be read from offset 5, but its log starts at 9");
}
