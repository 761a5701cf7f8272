use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::Producer;
use crate::aside;
use crate::tests::{
    bench, fill, kafka, next, next_records, nowhere, numbers, own_bench, plain, soon, subscribe, topic,
    values,
};

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
        Event::Lost(loss) => assert_eq!((loss.position, loss.cause), (Some(Offset(1)), Cause::LogStart(low))),
        event => panic!("{event:?}"),
    }
    // No start given: the log's own.
    let mut consumer = subscribe(&kafka, "g", &t);
    assert_eq!(next_records(&mut consumer).await.first(), Some(low));
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
        if let Some(Event::Error(error)) = soon(consumer.next()).await {
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
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        match soon(consumer.next()).await {
            Some(Event::Error(error)) => assert_eq!(error.reaction(), model::Reaction::Retry, "{error}"),
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
    let deadline = tokio::time::Instant::now() + crate::tests::PATIENCE;
    while shared.suspensions.load(Ordering::Acquire) == 0 {
        assert!(tokio::time::Instant::now() < deadline, "a full queue was never noticed");
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
            Some(Event::Error(Error::NoTopic { topic })) => break topic,
            Some(Event::Error(error)) => assert_eq!(error.reaction(), model::Reaction::Retry, "{error}"),
            event => panic!("{event:?}"),
        }
    };
    assert_eq!(error, absent);
}

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
    let loss = Loss {
        topic: topic("t"),
        topic_id: "id".parse().expect("valid"),
        partition: 3,
        position: Some(Offset(5)),
        cause: Cause::LogStart(Offset(9)),
    };
    let said = loss.to_string();
    assert_eq!(said, "partition 3 of topic `t` was to be read from offset 5, but its log starts at 9");
}
