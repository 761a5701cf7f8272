use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rstest::rstest;

use super::client::INIT_PATIENCE;
use super::*;
use crate::Error;
use crate::tests::{bench, fill, kafka, nowhere, numbers, own_bench, plain, soon, subscribe, topic, values};

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_says_what_was_not_delivered_and_then_forgets_it() {
    // The client library's own broker answers with any error asked for.
    let mock = MockCluster::new(1).expect("needs only ports");
    mock.create_topic("t", 1, 1).expect("new");
    let kafka = kafka(&mock.bootstrap_servers());
    let t = topic("t");
    let producer = Producer::idempotent(&kafka).await.expect("valid");
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED],
    );
    producer.send(plain(&t, 0, b"denied")).expect("queued");
    match soon(producer.flush()).await {
        Err(error @ Error::NotDelivered { failed: 1, .. }) => {
            assert_eq!(error.reaction(), model::Reaction::Reload);
        }
        outcome => panic!("{outcome:?}"),
    }
    soon(producer.flush()).await.expect("nothing failed since");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_survive_a_broker_that_comes_back() {
    let mut bench = own_bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    fill(&kafka, &t, 1, 10).await;
    bench.stop().await;
    let producer = Producer::idempotent(&kafka).await.expect("needs no broker");
    for i in 10..20 {
        producer.send(plain(&t, 0, i.to_string().as_bytes())).expect("queued");
    }
    bench.start().await;
    soon(producer.flush()).await.expect("delivered");
    let mut consumer = subscribe(&kafka, "g", &t);
    assert_eq!(values(&mut consumer, 20).await[&0], numbers(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_the_sender_wait_and_then_tells() {
    let config = [("queue.buffering.max.messages".to_owned(), "10".into())].into();
    let kafka = Kafka::new(crate::KafkaSettings { config, ..nowhere().settings().clone() });
    let t = topic("t");
    let client = client::Client::make(kafka.settings(), None).expect("needs no broker");
    let tally = std::sync::Arc::clone(&client.tally);
    let producer = Producer(Box::new(client));
    for _ in 0..10 {
        producer.send(plain(&t, 0, b"x")).expect("there is room");
    }
    let patience = Duration::from_millis(50);
    let outcome = producer.send_within(plain(&t, 0, b"x"), patience);
    assert!(matches!(outcome, Err(Error::QueueFull { waited }) if waited == patience), "{outcome:?}");
    assert_eq!(tally.pending(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_never_be_sent_is_refused_at_once() {
    let t = topic("t");
    let producer = Producer::idempotent(&nowhere()).await.expect("needs no broker");
    let outcome = producer.send(plain(&t, 0, &vec![0; 17 << 20]));
    assert!(matches!(outcome, Err(Error::Unsendable { bytes, .. }) if bytes == 17 << 20), "{outcome:?}");
    assert_eq!(outcome.err().map(|error| error.reaction()), Some(model::Reaction::Halt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_committed_or_aborted_and_the_next_one_begins() {
    let bench = bench(&[("t", 1)]).await;
    let kafka = bench.kafka.clone();
    let t = topic("t");
    let producer = soon(Producer::transactional(&kafka, "lp-test")).await.expect("the broker can");
    for (value, commit) in [(&b"a"[..], true), (b"b", false), (b"c", true)] {
        soon(producer.begin()).await.expect("begun");
        producer.send(plain(&t, 0, value)).expect("queued");
        if commit {
            soon(producer.commit()).await.expect("committed");
        } else {
            soon(producer.abort()).await.expect("aborted");
        }
    }
    let mut consumer = subscribe(&kafka, "g", &t);
    assert_eq!(values(&mut consumer, 2).await[&0], ["a", "c"], "what was aborted is not read");
    let tail = soon(crate::tail(&kafka, &t)).await.expect("readable");
    assert_eq!(tail[&0].value.as_deref(), Some(&b"c"[..]), "the last record, not the marker behind it");
}

/// The older finds out when it commits, or already when it flushes.
// Holds P4 (docs/invariants.md).
#[rstest]
#[case::at_the_commit(false)]
#[case::at_the_flush(true)]
#[tokio::test(flavor = "multi_thread")]
async fn the_older_of_two_producers_of_one_id_is_fenced(#[case] flush: bool) {
    let bench = bench(&[("t", 1)]).await;
    let (kafka, t) = (bench.kafka.clone(), topic("t"));
    let older = soon(Producer::transactional(&kafka, "same")).await.expect("the broker can");
    soon(older.begin()).await.expect("begun");
    older.send(plain(&t, 0, b"old")).expect("queued");
    soon(older.flush()).await.expect("delivered");
    let _newer = soon(Producer::transactional(&kafka, "same")).await.expect("the broker can");
    let outcome = if flush {
        older.send(plain(&t, 0, b"late")).expect("queued");
        soon(older.flush()).await
    } else {
        soon(older.commit()).await
    };
    match outcome {
        Err(error @ Error::Fenced { .. }) => assert_eq!(error.reaction(), model::Reaction::Halt),
        outcome => panic!("{outcome:?}"),
    }
    assert!(matches!(older.send(plain(&t, 0, b"later")), Err(Error::Fenced { .. })));
}

/// A transaction on the client library's own broker, which answers `request` with `error`.
async fn commit_answered_with(request: RDKafkaApiKey, error: RDKafkaRespErr) -> Error {
    let mock = MockCluster::new(1).expect("needs only ports");
    mock.create_topic("t", 1, 1).expect("new");
    let t = topic("t");
    let kafka = kafka(&mock.bootstrap_servers());
    let producer = soon(Producer::transactional(&kafka, "id")).await.expect("the mock can");
    soon(producer.begin()).await.expect("begun");
    mock.request_errors(request, &[error]);
    producer.send(plain(&t, 0, b"x")).expect("queued");
    soon(producer.commit()).await.expect_err("the mock refuses")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_with_a_failed_delivery_is_not_committed() {
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let error = commit_answered_with(RDKafkaApiKey::Produce, denied).await;
    assert!(matches!(error, Error::NotDelivered { failed: 1, .. }), "{error}");
}

// Holds P4 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_outcome_is_unknown_asks_for_a_new_producer() {
    let lost = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE;
    let error = commit_answered_with(RDKafkaApiKey::EndTxn, lost).await;
    assert!(matches!(error, Error::Indefinite { .. }), "{error}");
    assert_eq!(error.reaction(), model::Reaction::Reload);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_without_a_broker_end_in_an_error() {
    let outcome = runtime::time::timeout(INIT_PATIENCE * 2, Producer::transactional(&nowhere(), "id")).await;
    let error = outcome.expect("it has a deadline").err().expect("nobody answers");
    assert_eq!(error.reaction(), model::Reaction::Retry, "{error}");
}
