use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use catalog::{Envelope, Topic};
use serde_json::json;

use super::*;
use crate::tests::support::{bronze, bronze_schema, header, long, text, topic};

fn read(rows: &[serde_json::Value]) -> Changes {
    let schema = bronze_schema(&[long("id"), text("notes")], &[long("id")]);
    Reader::try_new(&topic(&["id"]), &schema)
        .expect("a bronze table")
        .read(&bronze(&schema, rows))
        .expect("reads")
}

#[test]
fn a_delete_has_its_key_and_nothing_it_made_up() {
    let changes = read(&[
        json!({ "op": "d", "before": { "id": 7, "notes": "" }, "_keys": { "id": 7 }, "_schema_id": 1 }),
        json!({ "op": "d", "before": { "id": 8, "notes": "" }, "_schema_id": 1 }),
    ]);
    assert_eq!(changes.ops, [Op::Delete, Op::Delete]);
    assert_eq!(
        changes.view.column(0).as_primitive::<Int64Type>().values(),
        &[7, 8],
        "from the key, else from `before`"
    );
    assert_eq!(changes.view.column(1).null_count(), 2);
}

#[test]
fn an_unchanged_value_is_null_and_named() {
    let changes = read(&[
        json!({ "op": "u", "after": { "id": 1, "notes": UNCHANGED }, "_schema_id": 1 }),
        json!({ "op": "u", "after": { "id": 1, "notes": null }, "_schema_id": 1 }),
    ]);
    let named = changes.view.column_by_name("_unchanged").expect("a column").as_list::<i32>().clone();
    assert_eq!(named.value(0).as_string::<i32>().value(0), "notes");
    assert_eq!(named.value(1).len(), 0);
    assert!(changes.view.column(1).is_null(0));
    assert_eq!(changes.unchanged[&1], BooleanArray::from(vec![true, false]));
}

#[test]
fn every_row_is_something() {
    let changes = read(&[
        json!({ "_keys": { "id": 1 } }),
        json!({ "_error": "wrong magic byte" }),
        json!({ "op": "t", "_schema_id": 1 }),
        json!({ "op": "m", "_schema_id": 1 }),
        json!({ "op": "c", "_schema_id": 1 }),
        json!({ "op": "z", "after": { "id": 1 }, "_schema_id": 1 }),
        json!({ "after": { "id": 1 }, "_schema_id": 1 }),
    ]);
    let expected = [
        Op::Tombstone,
        Op::Error,
        Op::Truncate,
        Op::Message,
        Op::Unknown(Unknown::NoRow),
        Op::Unknown(Unknown::OtherOp),
        Op::Unknown(Unknown::NoOp),
    ];
    assert_eq!(changes.ops, expected);
}

#[test]
fn a_row_has_its_sequence_its_time_and_its_old_key() {
    let changes = read(&[json!({
        "op": "c", "after": { "id": 2 }, "_epoch": 3, "_schema_id": 1, "_topic_id": "t", "_partition": 1, "_offset": 9,
        "source": { "lsn": 77, "ts_ms": 5 }, "transaction": { "total_order": 2 },
        "_headers": [header("lp.epoch", "3"), header("__debezium.oldkey", "{\"id\":1}")],
    })]);
    let seq = &changes.seqs[0];
    assert_eq!((seq.named(), seq.coordinates()), (Some((3, 77, 2)), ("t", 1, 9)));
    let at = changes
        .view
        .column_by_name("_ts")
        .expect("a column")
        .as_primitive::<TimestampMicrosecondType>()
        .value(0);
    assert_eq!(at, 5_000);
    assert_eq!(changes.old_keys, [(0, b"{\"id\":1}".to_vec())]);
}

#[test]
fn an_old_key_is_read_with_and_without_a_schema_part() {
    let schema = bronze_schema(&[long("id"), text("notes")], &[long("id")]);
    let reader = Reader::try_new(&topic(&["id"]), &schema).expect("a bronze table");
    let keys: Vec<(usize, Vec<u8>)> = ["{\"id\":4}", "{\"schema\":{},\"payload\":{\"id\":5}}", "nothing"]
        .iter()
        .map(|text| (0, text.as_bytes().to_vec()))
        .collect();
    let rows = reader.old_key_rows(&keys).expect("rows");
    let ids: Vec<Option<i64>> = rows.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ids, [Some(4), Some(5), None]);
}

#[test]
fn without_an_envelope_a_null_value_is_the_delete() {
    let of = |name: &str| DataType::Struct(vec![long(name)].into());
    let schema = Arc::new(Schema::new(vec![
        long("id"),
        text("notes"),
        arrow::datatypes::Field::new("_keys", of("id"), true),
        text("_topic_id"),
        long("_partition"),
        long("_offset"),
        long("_schema_id"),
        text("_error"),
    ]));
    let flat = Topic { envelope: Envelope::None, ..topic(&["id"]) };
    let rows = bronze(
        &schema,
        &[
            json!({ "id": 1, "notes": "x", "_keys": { "id": 1 }, "_schema_id": 1 }),
            json!({ "_keys": { "id": 1 } }),
            json!({ "id": 3 }),
        ],
    );
    let changes = Reader::try_new(&flat, &schema).expect("a bronze table").read(&rows).expect("reads");
    assert_eq!(changes.ops, [Op::Create, Op::Delete, Op::Create]);
    assert_eq!(changes.view.column(0).as_primitive::<Int64Type>().values(), &[1, 1, 3]);
}

#[test]
fn a_key_that_cannot_be_read_is_told_from_none_at_all() {
    let of = |name: &str| DataType::Struct(vec![long(name)].into());
    let binary = |name: &str| arrow::datatypes::Field::new(name, DataType::Binary, true);
    let schema = Arc::new(Schema::new(vec![
        long("id"),
        arrow::datatypes::Field::new("_keys", of("id"), true),
        binary("_key"),
        text("_topic_id"),
        long("_partition"),
        long("_offset"),
    ]));
    let flat = Topic { envelope: Envelope::None, ..topic(&["id"]) };
    let reader = Reader::try_new(&flat, &schema).expect("a bronze table");
    assert!(reader.needs(&schema).contains(&"_key".to_owned()));
    let rows = bronze(
        &schema,
        &[json!({ "_keys": { "id": 1 }, "_key": "00" }), json!({ "_key": "00ff" }), json!({})],
    );
    let changes = reader.read(&rows).expect("reads");
    assert_eq!(changes.unread_keys, [1].into_iter().collect());
}
