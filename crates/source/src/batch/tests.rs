use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::ManualClock;
use stream::{Admin, TailRecord, TopicSpec};
use testkit::memory::Memory;

use super::*;

/// Sends one dead letter, and reads it from its topic.
async fn letter(raw: Vec<u8>, length: u64) -> (Sent, TailRecord) {
    let kafka = Memory::new(Arc::new(ManualClock::default())).kafka();
    let dead: TopicName = "dead".parse().expect("a name");
    let spec = TopicSpec { name: dead.clone(), partitions: 1, replication: 1, config: BTreeMap::new() };
    Admin::try_new(&kafka).expect("a cluster").create(&[spec]).await.expect("created");
    let topic = dead.clone();
    let batch = SourceBatch::new(move |outbox| {
        let meant_for: TopicName = "rows".parse().expect("a name");
        let letter = DeadLetter {
            topic: &topic,
            meant_for: &meant_for,
            key: b"a.csv",
            place: &[("lp.line", b"7")],
            raw: &raw,
            length,
            reason: "no number",
        };
        outbox.dead_letter(&letter).map_err(|error| Error::new(error.reaction(), error))
    });
    let producer = Producer::idempotent(&kafka).await.expect("a cluster");
    let sent = batch.send(&producer).expect("sent");
    let mut last = stream::tail(&kafka, &dead).await.expect("read");
    (sent, last.remove(&0).expect("the letter"))
}

#[tokio::test]
async fn a_dead_letter_says_where_it_comes_from_and_why_and_counts_as_bad() {
    let (sent, TailRecord { value, headers, .. }) = letter(b"1,x".to_vec(), 3).await;
    assert_eq!((sent, value.as_deref()), (Sent { records: 0, bad: 1 }, Some(&b"1,x"[..])));
    let headers: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let expected: [(&str, &[u8]); 3] =
        [("lp.line", b"7"), ("error", b"no number"), ("source_topic", b"rows")];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn of_a_long_dead_letter_the_first_bytes_are_kept_and_it_says_so() {
    let (_, TailRecord { value, headers, .. }) = letter(vec![b'x'; KEPT + 1], 9_999_999).await;
    assert_eq!(value.map(|value| value.len()), Some(KEPT));
    let reason = String::from_utf8_lossy(&headers[1].1).into_owned();
    assert_eq!(reason, "no number (the first 524288 of its 9999999 bytes are kept here)");
}
