//! JSON topics whose columns are not declared.

use serde_json::{Value as Json, json};

use super::*;

fn field(name: &str, kind: &str, optional: bool) -> Json {
    json!({ "field": name, "type": kind, "optional": optional })
}
fn record(name: &str, optional: bool, fields: Vec<Json>) -> Json {
    json!({ "field": name, "type": "struct", "optional": optional, "fields": fields })
}
/// An insert as Debezium writes it, with its schema, and with a note if the table has that column.
fn change(id: i32, note: Option<&str>) -> Option<Vec<u8>> {
    let mut row = vec![field("id", "int32", false)];
    let mut after = json!({ "id": id });
    if let Some(note) = note {
        row.push(field("note", "string", true));
        after["note"] = json!(note);
    }
    let source = vec![field("ts_ms", "int64", false), field("lsn", "int64", true)];
    let fields = vec![
        record("before", true, row.clone()),
        record("after", true, row),
        record("source", false, source),
        field("op", "string", false),
    ];
    let source = json!({ "ts_ms": 7, "lsn": id });
    let payload = json!({ "before": null, "after": after, "source": source, "op": "c" });
    let schema = json!({ "type": "struct", "optional": false, "fields": fields });
    Some(json!({ "schema": schema, "payload": payload }).to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_brings_its_columns_and_widens_the_table_while_it_runs() {
    let bench = Bench::with(&["orders"], "value: json, envelope: debezium").await;
    for partition in 0..3 {
        bench.send("orders", partition, &(0..50).map(|id| change(id, None)).collect::<Vec<_>>()).await;
    }
    let running = bench.run().await;
    bench.drained(&running).await;
    let mut values: Vec<_> = (50..100).map(|id| change(id, Some(&format!("n{id}")))).collect();
    let cut = values[10].clone().map(|mut value| {
        value.truncate(value.len() - 9);
        value
    });
    values[10] = cut.clone();
    // Its types are unknown, and the table's columns are not used for it.
    values[20] = Some(br#"{"before":null,"after":{"id":70},"source":{"ts_ms":7},"op":"c"}"#.to_vec());
    values[30] = None;
    for partition in 0..3 {
        bench.send("orders", partition, &values).await;
    }
    bench.drained(&running).await;
    running.end().await.expect("no table halted");
    let rows = bench.rows("orders").await;
    assert_eq!(offsets(&rows), whole(100));
    let errors = cells(&rows, column::ERROR);
    let bad: Vec<(i64, &str)> = (0..100)
        .filter(|offset| errors[&(1, *offset)] != "null")
        .map(|offset| (offset, errors[&(1, offset)].split(':').next().unwrap_or_default()))
        .collect();
    assert_eq!(bad, [(60, "\"bad_json"), (70, "\"no_schema_part")]);
    assert_eq!(cells(&rows, column::RAW)[&(0, 60)], format!("{:02x?}", cut.expect("a value")));
    let after = cells(&rows, "after");
    assert!(after[&(2, 99)].contains("99") && after[&(2, 99)].contains("n99"), "{}", after[&(2, 99)]);
    assert!(!after[&(2, 49)].contains('n') || after[&(2, 49)].contains("null"), "{}", after[&(2, 49)]);
    assert_eq!(after[&(2, 80)], "null");
    bench.host.stop().await;
}
