use super::*;
use crate::tests::{bench, fill, nowhere, soon, topic};
use crate::{Outgoing, Producer};

async fn put(kafka: &Kafka, topic: &TopicName, records: &[(Option<&str>, Option<&str>, i32)]) {
    let producer = Producer::idempotent(kafka).await.expect("valid");
    for (key, value, partition) in records {
        let headers: &[(&str, &[u8])] = &[("lp.seq", b"1")];
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        let record = Outgoing { topic, partition: Some(*partition), key, value, headers, timestamp: None };
        producer.send(record).expect("queued");
    }
    soon(producer.flush()).await.expect("delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_folds_by_key_and_drops_the_deleted() {
    let bench = bench(&[("t", 2)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    let records = [
        (Some("a"), Some("1"), 0),
        (Some("b"), Some("1"), 1),
        (None, Some("no key"), 0),
        (Some("a"), Some("2"), 0),
        (Some("c"), Some("1"), 1),
        (Some("c"), None, 1),
        (Some(""), Some("empty key"), 0),
    ];
    put(&kafka, &t, &records).await;
    let folded = soon(latest(&kafka, &t)).await.expect("readable");
    let expected = [("", "empty key"), ("a", "2"), ("b", "1")];
    let expected = expected.map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()));
    assert_eq!(folded, BTreeMap::from(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_is_the_last_record_of_each_partition_that_has_one() {
    let bench = bench(&[("t", 3)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 500).await;
    put(&kafka, &t, &[(Some("k"), None, 2)]).await;
    let tail = soon(tail(&kafka, &t)).await.expect("readable");
    assert_eq!(tail.keys().copied().collect::<Vec<_>>(), [0, 2]);
    assert_eq!((tail[&0].offset, tail[&0].value.as_deref()), (Offset(499), Some(&b"499"[..])));
    assert_eq!((tail[&2].key.as_deref(), tail[&2].value.as_deref()), (Some(&b"k"[..]), None));
    assert_eq!(tail[&2].header("lp.seq"), Some(&b"1"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_has_neither() {
    let bench = bench(&[("t", 2)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    assert!(soon(latest(&kafka, &t)).await.expect("readable").is_empty());
    assert!(soon(tail(&kafka, &t)).await.expect("readable").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_is_an_error_in_time() {
    let error = soon(latest(&nowhere(), &topic("t"))).await.expect_err("nobody answers");
    assert_eq!(error.reaction(), model::Reaction::Retry, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_behind_anothers_open_transaction_is_waited_for() {
    let bench = bench(&[("t", 1)]).await;
    let (kafka, t) = (bench.kafka.clone(), topic("t"));
    let other = soon(Producer::transactional(&kafka, "other")).await.expect("the broker can");
    let mine = soon(Producer::transactional(&kafka, "mine")).await.expect("the broker can");
    let send = |producer: &Producer, key: &[u8]| {
        let record = Outgoing {
            topic: &t,
            partition: Some(0),
            key: Some(key),
            value: Some(b"x"),
            headers: &[],
            timestamp: None,
        };
        producer.send(record).expect("queued");
    };
    soon(other.begin()).await.expect("begun");
    send(&other, b"other");
    soon(other.flush()).await.expect("delivered");
    soon(mine.begin()).await.expect("begun");
    send(&mine, b"mine");
    soon(mine.commit()).await.expect("committed");
    let (folded, aborted) = tokio::join!(soon(latest(&kafka, &t)), soon(other.abort()));
    aborted.expect("aborted");
    assert_eq!(folded.expect("readable").into_keys().collect::<Vec<_>>(), [b"mine".to_vec()]);
}
