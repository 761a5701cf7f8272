//! Unexpected records and schemas of other producers: the table goes on.

use super::*;

/// Settings that wait this long for a schema.
fn patient(seconds: u64) -> Settings {
    Settings { missing_schema_after: Duration::from_secs(seconds), ..Settings::default() }
}

fn errors(rows: &[RecordBatch]) -> BTreeMap<(i64, i64), String> {
    let mut errors = cells(rows, column::ERROR);
    errors.retain(|_, error| error != "null");
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_mean_nothing_cost_their_partition_its_patience_once_and_others_nothing() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let running = bench.run_with(patient(5)).await;
    bench.send("orders", 1, &[order(id, 1)]).await;
    let began = runtime::time::Instant::now();
    // Each in its own batch, as if records came one by one.
    for n in 0..15 {
        bench.send("orders", 0, &[order(1_000 + n, 1), order(id, 2)]).await;
    }
    bench.send("orders", 1, &[order(id, 2)]).await;
    let other = BTreeMap::from([((name("orders"), 1), Offset(2))]);
    let going_on = runtime::time::timeout(Duration::from_secs(4), running.progress.wait_past(&other));
    assert!(
        going_on.await.is_ok() || began.elapsed() > Duration::from_secs(5),
        "the other partition waits too"
    );
    bench.drained(&running).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}, and 15 times 5 s is 75", began.elapsed());
    // More such records do not wait again.
    let again = runtime::time::Instant::now();
    bench.send("orders", 0, &[order(2_000, 1), order(2_001, 1), order(u32::MAX, 1), order(id, 2)]).await;
    bench.drained(&running).await;
    assert!(again.elapsed() < Duration::from_secs(4), "{:?}", again.elapsed());
    running.end().await.expect("no table halted");
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), BTreeMap::from([(0, vec![(0, 34)]), (1, vec![(0, 2)])]));
    let errors = errors(&rows);
    assert_eq!(errors.len(), 18);
    assert!(errors.values().all(|error| error.starts_with("\"unknown_schema_id")), "{errors:?}");
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_comes_after_its_records_were_given_up_is_used_from_there() {
    let bench = Bench::new(&["orders"]).await;
    let first = bench.register("orders", FIRST).await;
    let running = bench.run_with(patient(0)).await;
    bench.send("orders", 0, &[order(first + 1, 1), order(first, 2)]).await;
    bench.drained(&running).await;
    assert_eq!(bench.register("orders", &FIRST.replace("\"Order\"", "\"Order2\"")).await, first + 1);
    let deadline = runtime::time::Instant::now() + PATIENCE;
    for n in 2.. {
        bench.send("orders", 0, &[order(first + 1, n)]).await;
        bench.drained(&running).await;
        if errors(&bench.rows("orders").await).len() < usize::try_from(n).expect("small") {
            break;
        }
        assert!(runtime::time::Instant::now() < deadline, "the schema is never asked for again");
    }
    running.end().await.expect("no table halted");
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_only_look_like_frames_are_not_waited_for_where_the_value_has_the_key() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let long = |n: i64| Some(n.to_be_bytes().to_vec());
    let keys = (0..200).map(|n: i64| n.wrapping_mul(0x9E37_79B9_7F4A) & 0xFF_FFFF_FFFF);
    let records: Vec<_> = keys.enumerate().map(|(n, key)| (long(key), order(id, n as i32))).collect();
    let running = bench.run_with(patient(30)).await;
    let began = runtime::time::Instant::now();
    for some in records.chunks(20) {
        bench.send_keyed("orders", 0, some).await;
    }
    bench.drained(&running).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    running.end().await.expect("no table halted");
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), BTreeMap::from([(0, vec![(0, 200)])]));
    assert_eq!(errors(&rows).len(), 0);
    bench.host.stop().await;
}

/// Schemas that no table can hold, or not this one, or that only seem so.
const STRANGE: [&str; 9] = [
    // Delta treats `ID` and `id` as one name.
    r#"{"type":"record","name":"A","fields":[{"name":"ID","type":"int"}]}"#,
    r#"{"type":"record","name":"B","fields":[{"name":"in","type":{"type":"record","name":"I","fields":[
        {"name":"x","type":"int"},{"name":"X","type":"int"}]}}]}"#,
    // The root is not a record, or a union.
    r#"["null","string"]"#,
    r#"[{"type":"record","name":"C","fields":[{"name":"id","type":"int"}]},
        {"type":"record","name":"D","fields":[{"name":"other","type":"int"}]}]"#,
    // It contains itself.
    r#"{"type":"record","name":"E","fields":[{"name":"next","type":["null","E"]}]}"#,
    r#"{"type":"record","name":"F","fields":[{"name":"id","type":["int","string"]}]}"#,
    r#"{"type":"record","name":"G","fields":[]}"#,
    r#"{"type":"record","name":"H","fields":[{"name":"id","type":{"type":"map","values":"int"}}]}"#,
    r#""string""#,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_does_not_go_into_the_table_gives_error_rows_and_the_table_goes_on() {
    let bench = Bench::new(&["orders"]).await;
    let id = bench.register("orders", FIRST).await;
    let mut values = vec![order(id, 0)];
    for schema in STRANGE {
        let strange = bench.register("orders", schema).await;
        values.push(Some(framed(strange, &[2, 2])));
        values.push(order(id, 1));
    }
    // Another record type on the same topic, under its own subject, adds its own columns.
    let other = r#"{"type":"record","name":"Return","fields":[{"name":"reason","type":"string"}]}"#;
    let other = bench.registry.register("shop.orders-Return", other).await.expect("registered");
    values.push(Some(framed(other, &[4, b'n', b'o'])));
    bench.send("orders", 0, &values).await;
    bench.drain().await;
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), BTreeMap::from([(0, vec![(0, values.len() as i64)])]));
    let refused: Vec<i64> = errors(&rows).into_keys().map(|(_, offset)| offset).collect();
    let expected: Vec<i64> = (0..STRANGE.len() as i64).map(|n| 2 * n + 1).collect();
    assert_eq!(refused, expected, "{:?}", errors(&rows));
    let raw = cells(&rows, column::RAW);
    assert!(expected.iter().all(|offset| raw[&(0, *offset)] != "null"), "the bytes are kept");
    assert_eq!(cells(&rows, "reason")[&(0, values.len() as i64 - 1)], "\"no\"");
    bench.host.stop().await;
}

// Holds P5 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_topic_made_anew_never_land_at_the_offsets_of_the_old_one() {
    let mut bench = Bench::new(&["orders"]).await;
    // Long enough to delete, create and fill the topic between two commits.
    Arc::get_mut(&mut bench.project).expect("nobody has it yet").commit.interval = Duration::from_millis(300);
    let id = bench.register("orders", FIRST).await;
    bench.send("orders", 0, &[order(id, 1), order(id, 2)]).await;
    let running = bench.run().await;
    bench.drained(&running).await;
    bench.admin().delete(&name("orders")).await.expect("deleted");
    bench.create("orders").await;
    bench.send("orders", 0, &(0..50).map(|n| order(id, n)).collect::<Vec<_>>()).await;
    let deadline = runtime::time::Instant::now() + PATIENCE;
    while running.progress.halted().is_empty() {
        assert!(runtime::time::Instant::now() < deadline, "nobody notices");
        runtime::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(matches!(running.end().await, Err(Error::Halted { .. })));
    assert_eq!(offsets(&bench.rows("orders").await), BTreeMap::from([(0, vec![(0, 2)])]));
    bench.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_learned_from_records_whose_subject_is_named_after_their_type() {
    let bench = Bench::with(&["orders"], "key: [id]").await;
    let learn = async || {
        let topic = &bench.project.catalog.topics[&name("orders")];
        crate::learn(&bench.lake().await, &bench.kafka, &bench.registry, topic).await.expect("reachable")
    };
    assert!(learn().await.is_none(), "nothing says anything yet");
    let id = bench.registry.register("Order", FIRST).await.expect("registered");
    bench.send("orders", 1, &[order(77_777, 2)]).await;
    let topic = &bench.project.catalog.topics[&name("orders")];
    let unknown = crate::learn(&bench.lake().await, &bench.kafka, &bench.registry, topic).await;
    assert!(matches!(unknown, Err(Error::NoKnownSchema { .. })), "{unknown:?}");
    bench.send("orders", 0, &[order(id, 1)]).await;
    let learned = learn().await.expect("a record says it");
    assert!(learned.value.contains("\"total\""), "{}", learned.value);
    bench.drain().await;
    assert_eq!(cells(&bench.rows("orders").await, "id")[&(0, 0)], "1");
    bench.host.stop().await;
}
