//! The store below the protocol: what a crash leaves, and what it must not.

use runtime::time::Instant;
use std::fs::OpenOptions;
use std::io::Write as _;

use bytes::Bytes;
use tansu_sans_io::record::{Record, deflated, inflated};

use super::write::Identity;
use super::*;

fn batch(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> deflated::Batch {
    stamped(producer, epoch, sequence, values, 1000, 0)
}

fn stamped(
    producer: i64,
    epoch: i16,
    sequence: i32,
    values: &[&str],
    timestamp: i64,
    attributes: i16,
) -> deflated::Batch {
    let mut builder = inflated::Batch::builder()
        .producer_id(producer)
        .producer_epoch(epoch)
        .base_sequence(sequence)
        .attributes(attributes)
        .base_timestamp(timestamp)
        .max_timestamp(timestamp)
        .last_offset_delta(i32::try_from(values.len()).expect("few") - 1);
    for (delta, value) in (0..).zip(values) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        builder = builder.record(Record::builder().offset_delta(delta).value(Some(value)));
    }
    builder.build().and_then(TryInto::try_into).expect("a batch")
}

const TRANSACTIONAL: i16 = 0b1_0000;

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path(), "localhost", 1).expect("opened");
        store.create("t", 2, 1, BTreeMap::new()).expect("created");
        Self { dir, store }
    }

    fn reopen(&mut self) {
        self.store = Store::open(self.dir.path(), "localhost", 1).expect("opened");
    }

    fn topic(&self) -> Arc<StoredTopic> {
        self.store.topic("t").expect("there")
    }

    fn produce(&self, batch: deflated::Batch) -> Result<i64, ErrorCode> {
        self.store.produce(&self.topic(), 0, batch).map_err(|refusal| self.store.code(refusal))
    }

    /// Values a reader sees, aborted transactions skipped as clients skip them.
    fn read(&self, committed: bool) -> Vec<String> {
        let topic = self.topic();
        let read = topic.partitions[0].read(0, committed, usize::MAX, false).expect("readable");
        let mut values = Vec::new();
        for batch in read.batches {
            let hidden = read.aborted.iter().any(|txn| {
                txn.producer == batch.producer_id && (txn.first..=txn.last).contains(&batch.base_offset)
            });
            if batch.is_control() || hidden {
                continue;
            }
            let records: Vec<Record> = batch.try_into().expect("records");
            values.extend(
                records
                    .into_iter()
                    .map(|r| String::from_utf8(r.value.expect("a value").to_vec()).expect("text")),
            );
        }
        values
    }

    fn newest_file(&self, partition: i32) -> PathBuf {
        let dir = self.dir.path().join("log").join(self.topic().id.to_string()).join(partition.to_string());
        let files = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.max().expect("a file")
    }
}

#[test]
fn a_torn_batch_is_cut_off_and_the_rest_stays() {
    let mut bench = Bench::new();
    bench.produce(batch(-1, -1, -1, &["a", "b"])).expect("stored");
    bench.produce(batch(-1, -1, -1, &["torn"])).expect("stored");
    let path = bench.newest_file(0);
    for lost in [1, 10, 60] {
        let length = fs::metadata(&path).expect("there").len();
        OpenOptions::new().write(true).open(&path).expect("writable").set_len(length - lost).expect("cut");
        bench.reopen();
        assert_eq!(bench.read(true), ["a", "b"]);
        assert_eq!(bench.produce(batch(-1, -1, -1, &["torn"])), Ok(2));
    }
    bench.reopen();
    assert_eq!(bench.read(true), ["a", "b", "torn"]);
}

#[test]
fn a_torn_line_of_the_journal_is_cut_off() {
    let mut bench = Bench::new();
    let path = bench.dir.path().join("journal.jsonl");
    let mut file = OpenOptions::new().append(true).open(path).expect("writable");
    file.write_all(br#"{"dropped":{"na"#).expect("written");
    bench.reopen();
    assert_eq!(bench.topic().partitions.len(), 2);
    bench.store.create("u", 1, 1, BTreeMap::new()).expect("created");
    bench.reopen();
    assert!(bench.store.topic("u").is_some());
}

#[test]
fn what_the_disk_refuses_is_not_acknowledged_and_leaves_no_hole() {
    let mut bench = Bench::new();
    bench.produce(batch(5, 0, 0, &["a"])).expect("stored");
    let dir = bench.newest_file(0).parent().expect("a folder").to_owned();
    let away = dir.with_extension("away");
    fs::rename(&dir, &away).expect("moved");
    assert_eq!(bench.produce(batch(5, 0, 1, &["b"])), Err(ErrorCode::KafkaStorageError));
    fs::rename(&away, &dir).expect("moved");
    // The client sends it again.
    assert_eq!(bench.produce(batch(5, 0, 1, &["b"])), Ok(1));
    bench.reopen();
    assert_eq!(bench.read(true), ["a", "b"]);
}

#[test]
fn a_hole_in_an_older_file_is_an_error_and_nothing_is_cut() {
    let bench = Bench::new();
    let config = BTreeMap::from([("segment.bytes".to_owned(), "1".to_owned())]);
    bench.store.configure(&bench.topic(), config).expect("set");
    bench.produce(batch(-1, -1, -1, &["a"])).expect("stored");
    let older = bench.newest_file(0);
    bench.produce(batch(-1, -1, -1, &["b"])).expect("stored");
    let length = fs::metadata(&older).expect("there").len();
    OpenOptions::new().write(true).open(&older).expect("writable").set_len(length - 1).expect("cut");
    let error = Store::open(bench.dir.path(), "localhost", 1).expect_err("it is damaged");
    assert!(error.to_string().contains(&older.display().to_string()), "{error}");
    assert_eq!(fs::metadata(&older).expect("there").len(), length - 1);
}

#[test]
fn a_repeated_batch_is_stored_once_also_after_a_restart() {
    let mut bench = Bench::new();
    assert_eq!(bench.produce(batch(5, 0, 0, &["a", "b"])), Ok(0));
    assert_eq!(bench.produce(batch(5, 0, 2, &["c"])), Ok(2));
    assert_eq!(bench.produce(batch(5, 0, 0, &["a", "b"])), Ok(0));
    bench.reopen();
    assert_eq!(bench.produce(batch(5, 0, 2, &["c"])), Ok(2));
    assert_eq!(bench.produce(batch(5, 0, 9, &["hole"])), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(bench.produce(batch(5, 1, 0, &["d"])), Ok(3));
    assert_eq!(bench.produce(batch(5, 0, 3, &["zombie"])), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(bench.read(true), ["a", "b", "c", "d"]);
}

#[test]
fn a_sequence_wraps_to_zero() {
    let bench = Bench::new();
    bench.produce(batch(5, 0, i32::MAX - 1, &["a", "b"])).expect("stored");
    assert_eq!(bench.produce(batch(5, 0, 0, &["c"])), Ok(2));
}

fn open_transaction(bench: &Bench, value: &str) -> Identity {
    let who = bench.store.transactional("x", 60_000, None).expect("given");
    bench.store.txn_writes("x", who, vec![("t".to_owned(), 0)]).expect("allowed");
    bench.produce(stamped(who.id, who.epoch, 0, &[value], 1000, TRANSACTIONAL)).expect("stored");
    who
}

#[test]
fn a_decided_transaction_is_finished_by_the_next_broker() {
    for commit in [true, false] {
        let mut bench = Bench::new();
        let who = open_transaction(&bench, "a");
        let promise = vec![(("t".to_owned(), 0), 5)];
        bench.store.txn_promises("x", who, "g", promise).expect("allowed");
        // Killed behind the decision, before the first marker.
        let decided = JournalEntry::Decided { txn: "x".to_owned(), commit };
        bench.store.0.state.lock().journal.append(&decided).expect("written");
        bench.reopen();
        assert_eq!(bench.read(true).len(), usize::from(commit));
        assert_eq!(bench.topic().partitions[0].stable(), 2, "one record, one marker");
        assert_eq!(bench.store.offsets("g").len(), usize::from(commit));
        // The producer asks again, as it got no answer.
        bench.store.txn_end("x", who, commit).expect("it is done");
        bench.reopen();
        assert_eq!(bench.topic().partitions[0].next(), 2, "no second marker");
    }
}

#[test]
fn a_transaction_that_is_never_ended_is_aborted_when_its_time_is_up() {
    let bench = Bench::new();
    let who = open_transaction(&bench, "a");
    bench.produce(batch(-1, -1, -1, &["other"])).expect("stored");
    assert_eq!(bench.read(true), [""; 0], "nobody passes it");
    bench.store.abort_overdue(Instant::now() + std::time::Duration::from_secs(59));
    assert_eq!(bench.read(true), [""; 0]);
    bench.store.abort_overdue(Instant::now() + std::time::Duration::from_secs(61));
    assert_eq!(bench.read(true), ["other"]);
    let late = bench.store.txn_end("x", who, true).map_err(|refusal| bench.store.code(refusal));
    assert_eq!(late, Err(ErrorCode::InvalidProducerEpoch));
}

#[test]
fn records_outside_of_a_transaction_are_refused() {
    let bench = Bench::new();
    let who = open_transaction(&bench, "a");
    let stray = stamped(who.id, who.epoch, 0, &["stray"], 1000, TRANSACTIONAL);
    let stray = bench.store.produce(&bench.topic(), 1, stray).map_err(|refusal| bench.store.code(refusal));
    assert_eq!(stray, Err(ErrorCode::InvalidTxnState));
    bench.store.txn_end("x", who, true).expect("committed");
    let late = bench.produce(stamped(who.id, who.epoch, 1, &["late"], 1000, TRANSACTIONAL));
    assert_eq!(late, Err(ErrorCode::InvalidTxnState));
}

#[test]
fn old_records_go_and_offsets_stay() {
    let mut bench = Bench::new();
    let topic = bench.topic();
    bench
        .store
        .configure(&topic, BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]))
        .expect("set");
    bench.produce(batch(-1, -1, -1, &["old", "old"])).expect("stored");
    bench.store.maintain().expect("maintained");
    assert_eq!((topic.partitions[0].start(), topic.partitions[0].next()), (2, 2));
    bench.reopen();
    assert_eq!((bench.topic().partitions[0].start(), bench.topic().partitions[0].next()), (2, 2));
    bench.produce(stamped(-1, -1, -1, &["new"], now(), 0)).expect("stored");
    bench.store.maintain().expect("maintained");
    assert_eq!(bench.read(true), ["new"]);
}

#[test]
fn deleted_records_stay_deleted() {
    let mut bench = Bench::new();
    bench.produce(batch(-1, -1, -1, &["a", "b", "c"])).expect("stored");
    let topic = bench.topic();
    assert_eq!(bench.store.forget_below(&topic, 0, 2).expect("done"), 2);
    assert!(bench.store.forget_below(&topic, 0, 9).is_err());
    bench.reopen();
    assert_eq!(bench.topic().partitions[0].start(), 2);
}

#[test]
fn the_first_record_at_a_time_is_found_within_its_batch() {
    let bench = Bench::new();
    for (value, stamp) in [("a", 100), ("b", 200), ("c", 300)] {
        bench.produce(stamped(-1, -1, -1, &[value], stamp, 0)).expect("stored");
    }
    let at = |time| bench.topic().partitions[0].with(|log| log.at_time(time)).expect("readable");
    assert_eq!(at(0), Some((0, 100)));
    assert_eq!(at(150), Some((1, 200)));
    assert_eq!(at(300), Some((2, 300)));
    assert_eq!(at(301), None);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut bench = Bench::new();
    let mut last = 0;
    for _ in 0..3 {
        for _ in 0..1500 {
            let Identity { id, .. } = bench.store.idempotent(None).expect("given");
            assert!(id > last);
            last = id;
        }
        let mut state = bench.store.0.state.lock();
        bench.store.rewrite_journal(&mut state).expect("rewritten");
        drop(state);
        let Identity { id, .. } = bench.store.idempotent(None).expect("given");
        last = id;
        bench.reopen();
    }
}

#[test]
fn a_rewritten_journal_says_the_same() {
    let mut bench = Bench::new();
    let who = open_transaction(&bench, "a");
    bench.store.txn_promises("x", who, "g", vec![(("t".to_owned(), 1), 9)]).expect("allowed");
    bench.store.commit_offsets("h", vec![(("t".to_owned(), 0), 3)]).expect("committed");
    // Opening rewrites it; the second opening reads what the first wrote.
    bench.reopen();
    bench.reopen();
    bench.store.txn_end("x", who, true).expect("committed");
    assert_eq!(bench.read(true), ["a"]);
    assert_eq!(bench.store.offsets("g"), BTreeMap::from([(("t".to_owned(), 1), 9)]));
    assert_eq!(bench.store.offsets("h"), BTreeMap::from([(("t".to_owned(), 0), 3)]));
}

fn keyed(key: &str, value: Option<&str>, timestamp: i64) -> deflated::Batch {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let record = Record::builder().key(Some(bytes(key))).value(value.map(bytes));
    let batch = inflated::Batch::builder().record(record).base_timestamp(timestamp).max_timestamp(timestamp);
    batch.build().and_then(TryInto::try_into).expect("a batch")
}

#[test]
fn compaction_keeps_the_last_record_of_each_key_at_its_offset() {
    let mut bench = Bench::new();
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "300")];
    let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    bench.store.configure(&bench.topic(), config).expect("set");
    let mut last = BTreeMap::new();
    for round in 0..5 {
        for key in ["a", "b", "c"] {
            let value = format!("{key}{round}");
            let offset = bench.produce(keyed(key, Some(&value), now())).expect("stored");
            last.insert(key, (offset, value));
        }
    }
    bench.produce(keyed("gone", Some("old"), 1000)).expect("stored");
    bench.produce(keyed("gone", None, 1000)).expect("stored");
    let fresh = bench.produce(keyed("going", None, now())).expect("stored");
    let aborted = open_transaction(&bench, "aborted");
    bench.store.txn_end("x", aborted, false).expect("aborted");
    for _ in 0..5 {
        bench.produce(keyed("filler", Some("x"), now())).expect("stored");
    }
    let end = bench.topic().partitions[0].next();
    let records = |bench: &Bench| -> Vec<(i64, Option<Bytes>)> {
        let topic = bench.topic();
        let mut offset = 0;
        let mut all = Vec::new();
        loop {
            let read = topic.partitions[0].read(offset, true, 100, true).expect("readable");
            let Some(end) = read.batches.last().map(deflated::Batch::max_offset) else { return all };
            offset = end + 1;
            for batch in read.batches.into_iter().filter(|batch| !batch.is_control()) {
                let base = batch.base_offset;
                let batch: Vec<Record> = batch.try_into().expect("records");
                all.extend(batch.into_iter().map(|r| (base + i64::from(r.offset_delta), r.value)));
            }
        }
    };
    let before = records(&bench).len();
    bench.store.maintain().expect("compacted");
    for _ in 0..2 {
        let after = records(&bench);
        assert!(after.len() < before / 2, "{} of {before} are left", after.len());
        for (offset, value) in last.values() {
            assert!(after.contains(&(*offset, Some(Bytes::from(value.clone())))), "{value} is lost");
        }
        assert!(after.contains(&(fresh, None)), "a fresh tombstone stays");
        let values: Vec<_> = after.iter().filter_map(|(_, value)| value.as_deref()).collect();
        assert!(!values.contains(&&b"old"[..]) && !values.contains(&&b"aborted"[..]), "{values:?}");
        assert_eq!((bench.topic().partitions[0].start(), bench.topic().partitions[0].next()), (0, end));
        bench.reopen();
    }
}

#[test]
fn a_deleted_topic_takes_its_files_and_offsets_along() {
    let mut bench = Bench::new();
    bench.produce(batch(-1, -1, -1, &["a"])).expect("stored");
    bench.store.commit_offsets("g", vec![(("t".to_owned(), 0), 1)]).expect("committed");
    let path = bench.newest_file(0);
    bench.store.drop_topic(&bench.topic()).expect("dropped");
    assert!(!path.exists());
    bench.reopen();
    assert!(bench.store.topic("t").is_none());
    assert!(bench.store.offsets("g").is_empty());
}
