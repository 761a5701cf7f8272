//! Topics without an envelope that are ordered by a column: null values, null or negative sequences, late
//! events, and keys on several partitions. A partition's records come in offset order; the table is the same
//! however partitions interleave and batches are cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use catalog::{Envelope, Kind, Topic};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::shelf::{Shelf, texts};
use super::support::{Modelling, bronze, long, text, topic};
use crate::judge::Rules;

/// A record with key, sequence and value; a delete has only the key.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    key: i64,
    partition: i64,
    offset: i64,
    says: Option<(Option<i64>, &'static str)>,
}

fn schema(sequence: DataType) -> SchemaRef {
    let keys = DataType::Struct(vec![long("id")].into());
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fields = vec![
        long("id"),
        Field::new("seq", sequence, true),
        text("v"),
        Field::new("_keys", keys, true),
        text("_topic_id"),
        long("_partition"),
        long("_offset"),
        Field::new("_timestamp", at, true),
        long("_schema_id"),
        text("_error"),
    ];
    Arc::new(Schema::new(fields))
}

fn row(record: &Record, sequence: impl Fn(i64) -> Value) -> Value {
    let mut row = json!({ "_keys": { "id": record.key }, "_topic_id": "t", "_partition": record.partition,
        "_offset": record.offset, "_timestamp": "2024-05-01T00:00:00Z" });
    if let Some((seq, v)) = &record.says {
        let own = json!({ "id": record.key, "seq": seq.map(sequence), "v": v, "_schema_id": 1 });
        row.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    }
    row
}

fn rules(kind: Kind, schema: &SchemaRef) -> Rules {
    rules_with(kind, schema, None)
}

fn rules_with(kind: Kind, schema: &SchemaRef, deletes_when: Option<&str>) -> Rules {
    let topic = Topic { envelope: Envelope::None, ..topic(&["id"]) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sql = "SELECT id, v FROM changes(bronze.things)";
    let modelling = Modelling::new(kind, &["id"], sql);
    runtime.block_on(async {
        let model = modelling.model(&topic, schema).await;
        let deletes_when = deletes_when.map(str::to_owned);
        let model = catalog::Model { sequence_by: Some("seq".to_owned()), deletes_when, ..model };
        Rules::compile(&model, &topic, schema).await.expect("compiles")
    })
}

type Place = (Option<i64>, i64, i64);

/// Orders a key's events by the rule: a delete comes directly after the highest sequence that its key has
/// before it on its partition.
fn placed(records: &[Record]) -> Vec<(Place, &Record)> {
    let place = |record: &Record| match record.says {
        Some((seq, _)) => seq,
        None => {
            let before = records.iter().filter(|r| {
                (r.key, r.partition) == (record.key, record.partition) && r.offset < record.offset
            });
            before.filter_map(|r| r.says.as_ref()?.0).max()
        }
    };
    let has_place = records.iter().filter(|r| !matches!(r.says, Some((None, _))));
    has_place.map(|r| ((place(r), r.offset, r.partition), r)).collect()
}

fn newest(records: &[Record]) -> Vec<String> {
    let mut keys: BTreeMap<i64, (Place, &Record)> = BTreeMap::new();
    for (place, record) in placed(records) {
        let held = keys.entry(record.key).or_insert((place, record));
        if place >= held.0 {
            *held = (place, record);
        }
    }
    let show = |(_, record): &(_, &Record)| Some(format!("{}|{}", record.key, record.says?.1));
    keys.values().filter_map(show).collect()
}

fn versions(records: &[Record]) -> Vec<String> {
    let mut all = placed(records);
    all.sort_by_key(|(place, record)| (record.key, *place));
    let mut lines: Vec<(i64, &str)> = Vec::new();
    let mut open: Option<(i64, &str)> = None;
    for (_, record) in all {
        let now = record.says.map(|(_, v)| (record.key, v));
        match now {
            Some(now) if open == Some(now) => {}
            Some(now) => lines.push(now),
            None => {}
        }
        open = now.or(open.filter(|(key, _)| *key != record.key));
    }
    lines.iter().map(|(key, v)| format!("{key}|{v}")).collect()
}

/// What was written, and how it is delivered.
#[derive(Debug, Clone)]
struct Delivery {
    records: Vec<Record>,
    /// The same records, each partition in its order, interleaved in any way.
    delivered: Vec<Record>,
    /// Rows per batch.
    size: usize,
    /// True if the rows of a batch are in reverse order.
    backwards: bool,
}

/// The records in the order of `turns`, but each partition in offset order.
fn in_turns(records: &[Record], turns: &[Record]) -> Vec<Record> {
    let of = |partition: i64| records.iter().filter(move |record| record.partition == partition);
    let mut rest = [of(0), of(1)];
    let mut next = |turn: &Record| rest[usize::try_from(turn.partition).expect("small")].next().cloned();
    turns.iter().map(|turn| next(turn).expect("as many as there are turns")).collect()
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let seq = prop_oneof![4 => (-3..4_i64).prop_map(Some), 1 => Just(None), 1 => prop_oneof![
        Just(i64::MIN), Just(i64::MAX), Just(-1_000_000_007)].prop_map(Some)];
    let says = prop_oneof![
        1 => Just(None),
        3 => (seq, prop_oneof![Just("a"), Just("b"), Just("c")]).prop_map(Some)
    ];
    (proptest::collection::vec((0..3_i64, 0..2_i64, says), 1..16), any::<bool>())
        .prop_map(|(choices, spread)| {
            let mut offsets = [0_i64, 0];
            let record = |(key, partition, says): (i64, i64, _)| {
                // Most keys stay on their partition.
                let partition = if spread { partition } else { key % 2 };
                let offset = &mut offsets[usize::try_from(partition).expect("small")];
                *offset += 1;
                Record { key, partition, offset: *offset - 1, says }
            };
            choices.into_iter().map(record).collect::<Vec<_>>()
        })
        .prop_flat_map(|records| {
            let turns = prop_oneof![Just(records.clone()), Just(records.clone()).prop_shuffle()];
            (Just(records), turns, 1..6_usize, any::<bool>())
        })
        .prop_map(|(records, turns, size, backwards)| {
            let delivered = in_turns(&records, &turns);
            Delivery { records, delivered, size, backwards }
        })
}

impl Delivery {
    fn batches(&self, schema: &SchemaRef) -> Vec<RecordBatch> {
        let batch = |part: &[Record]| {
            let mut rows: Vec<Value> = part.iter().map(|r| row(r, Value::from)).collect();
            if self.backwards {
                rows.reverse();
            }
            bronze(schema, &rows)
        };
        self.delivered.chunks(self.size).map(batch).collect()
    }
}

fn folded(rules: &Rules, batches: &[RecordBatch]) -> Shelf {
    let mut shelf = Shelf::new(rules.clone());
    for batch in batches {
        shelf.step(batch);
    }
    shelf
}

/// The same, by a process that dies between its commits at the batch `at`.
fn folded_with_a_crash(rules: &Rules, batches: &[RecordBatch], at: usize) -> Shelf {
    let mut shelf = folded(rules, &batches[..at]);
    let nothing = batches[at].slice(0, 0);
    shelf.crash_then_step(&batches[at], batches.get(at + 1).unwrap_or(&nothing));
    for batch in batches.iter().skip(at + 2) {
        shelf.step(batch);
    }
    shelf
}

fn runner() -> proptest::test_runner::TestRunner {
    proptest::test_runner::TestRunner::new(cases::few(300))
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

// Holds P6 (docs/invariants.md).
#[test]
fn a_column_orders_events_and_what_has_none_of_it_is_put_aside() {
    let schema = schema(DataType::Int64);
    let (newest_rows, history) = (rules(Kind::Scd1, &schema), rules(Kind::Scd2, &schema));
    let check = |delivery: Delivery| {
        let (records, batches) = (&delivery.records, delivery.batches(&schema));
        let shelf = folded(&newest_rows, &batches);
        prop_assert_eq!(shelf.rows(&["id", "v"]), newest(records));
        let aside = records.iter().filter(|r| matches!(r.says, Some((None, _)))).count();
        prop_assert_eq!(shelf.put_aside(), aside, "put aside");
        prop_assert_eq!(shelf.outcomes.quarantined, aside as u64);
        prop_assert_eq!(shelf.outcomes.total(), records.len() as u64);
        let shelf = folded(&history, &batches);
        prop_assert_eq!(shelf.rows(&["id", "v"]), sorted(versions(records)));
        // The texts order: no two versions of a key have the same start, and ends do not overlap.
        let parts = |line: &String| line.split('|').map(str::to_owned).collect::<Vec<_>>();
        let mut spans: Vec<_> = shelf.rows(&["id", "__START_AT", "__END_AT"]).iter().map(parts).collect();
        // By value: one text may be a prefix of another, and what follows it would then order.
        spans.sort();
        for pair in spans.windows(2) {
            let (a, b) = (&pair[0], &pair[1]);
            let apart = a[1] < b[1] && a[2] != "·" && a[2] <= b[1];
            prop_assert!(a[0] != b[0] || apart, "{:?} {:?}", a, b);
        }
        Ok(())
    };
    runner().run(&delivery(), check).unwrap_or_else(|failed| panic!("{failed}"));
}

#[test]
fn a_row_of_which_nobody_can_say_whether_it_deletes_is_put_aside() {
    let schema = schema(DataType::Int64);
    let rules = rules_with(Kind::Scd1, &schema, Some("100 / CAST(v AS BIGINT) > 10"));
    let record = |offset, key, v| Record { key, partition: 0, offset, says: Some((Some(offset), v)) };
    let records = [
        record(1, 1, "50"),
        record(2, 2, "50"),
        record(3, 3, "50"),
        record(4, 1, "5"),
        record(5, 2, "0"),
        record(6, 3, "ten"),
        record(7, 4, ""),
    ];
    let rows: Vec<Value> = records.iter().map(|r| row(r, Value::from)).collect();
    let shelf = folded(&rules, &[bronze(&schema, &rows)]);
    assert_eq!(shelf.rows(&["id", "v"]), ["2|50", "3|50"]);
    assert_eq!((shelf.put_aside(), shelf.outcomes.quarantined), (3, 3));
}

#[test]
fn a_death_between_the_commits_moves_no_delete_without_a_sequence() {
    let schema = schema(DataType::Int64);
    let (newest_rows, history) = (rules(Kind::Scd1, &schema), rules(Kind::Scd2, &schema));
    let check = |(delivery, at): (Delivery, prop::sample::Index)| {
        let (records, batches) = (&delivery.records, delivery.batches(&schema));
        let at = at.index(batches.len());
        let shelf = folded_with_a_crash(&newest_rows, &batches, at);
        prop_assert_eq!(shelf.rows(&["id", "v"]), newest(records));
        let shelf = folded_with_a_crash(&history, &batches, at);
        prop_assert_eq!(shelf.rows(&["id", "v"]), sorted(versions(records)));
        Ok(())
    };
    let strategy = (delivery(), any::<prop::sample::Index>());
    runner().run(&strategy, check).unwrap_or_else(|failed| panic!("{failed}"));
}

// Holds P6 (docs/invariants.md).
#[rstest]
#[case::number(DataType::Int64, false)]
#[case::date(DataType::Date32, true)]
#[case::timestamp(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)]
fn the_times_of_a_history_follow_its_sequence_or_are_absent(#[case] kind: DataType, #[case] is_time: bool) {
    let schema = schema(kind.clone());
    let sequence = |n: i64| match &kind {
        DataType::Int64 => Value::from(n),
        DataType::Date32 => Value::from(format!("19{:02}-01-01", 70 + n)),
        _ => Value::from(format!("19{:02}-01-01T00:00:00Z", 70 + n)),
    };
    let event = |offset, seq, v| Record { key: 1, partition: 0, offset, says: Some((Some(seq), v)) };
    let mut shelf = Shelf::new(rules(Kind::Scd2, &schema));
    // The last one is a delete, directly after the highest sequence before it.
    let delete = Record { key: 1, partition: 0, offset: 3, says: None };
    for record in [event(0, -4, "a"), event(1, 9, "c"), event(2, -2, "b"), delete] {
        shelf.step(&bronze(&schema, &[row(&record, sequence)]));
    }
    let rows = shelf.rows(&["__START_AT", "v", "valid_from", "valid_to"]);
    let times: Vec<Vec<&str>> = rows.iter().map(|row| row.split('|').skip(1).collect()).collect();
    let expected = match is_time {
        true => [
            ["a", "1966-01-01T00:00:00Z", "1968-01-01T00:00:00Z"],
            ["b", "1968-01-01T00:00:00Z", "1979-01-01T00:00:00Z"],
            ["c", "1979-01-01T00:00:00Z", "1979-01-01T00:00:00Z"],
        ],
        false => [["a", "·", "·"], ["b", "·", "·"], ["c", "·", "·"]],
    };
    assert_eq!(times, expected.map(|line| line.to_vec()));
    assert!(texts(&shelf.table, "__END_AT").iter().all(Option::is_some));
}

#[test]
fn a_declared_time_that_runs_backwards_ends_no_version_before_it_begins() {
    let schema = schema(DataType::Int64);
    let topic = Topic { envelope: Envelope::None, event_time: Some("seq".to_owned()), ..topic(&["id"]) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sql = "SELECT id, v FROM changes(bronze.things)";
    let rules = runtime.block_on(Modelling::new(Kind::Scd2, &["id"], sql).rules(&topic, &schema));
    let mut shelf = Shelf::new(rules);
    for (offset, at, v) in [(0, 10, "a"), (1, 40, "b"), (2, 30, "c"), (3, 50, "d")] {
        let record = Record { key: 1, partition: 0, offset, says: Some((Some(at), v)) };
        shelf.step(&bronze(&schema, &[row(&record, Value::from)]));
    }
    let mut spans = Vec::new();
    for batch in &shelf.table {
        let of = |name: &str| {
            let column = batch.column_by_name(name).expect("a column");
            column.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>()
        };
        spans.extend(of("valid_from").into_iter().zip(of("valid_to")));
    }
    spans.sort();
    let ms = |at: i64| Some(at * 1000);
    assert_eq!(spans, [(ms(10), ms(40)), (ms(40), ms(40)), (ms(40), ms(50)), (ms(50), None)]);
}
