//! Folds every message that a real Debezium wrote for `tests-data/debezium/workload.sql`: in any order and in
//! any batches, the table must end with PostgreSQL's own final rows.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use catalog::{Envelope, Kind, Topic};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::shelf::{Shelf, texts};
use super::support::{Modelling, bronze, bronze_schema, header, long, text, topic};
use crate::judge::Rules;

/// The messages of one topic as bronze rows. Consecutive files form one topic.
fn messages(files: &[&str]) -> Vec<Value> {
    let mut rows = Vec::new();
    for file in files {
        let path = format!("{}/tests-data/debezium/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let behind = rows.len() as i64;
        for line in std::fs::read_to_string(path).expect("a fixture").lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let inner = |name: &str| {
                let text = record[name].as_str()?;
                let value: Value = serde_json::from_str(text).expect("JSON");
                // With the converter's schema part, the value is below `payload`.
                Some(value.get("payload").cloned().unwrap_or(value))
            };
            let value = inner("payload").filter(|value| !value.is_null());
            let is_tombstone = value.is_none();
            let mut row = value.unwrap_or_else(|| json!({}));
            let headers = record["headers"].as_array().cloned().unwrap_or_default();
            let headers: Vec<Value> = headers
                .chunks(2)
                .map(|pair| {
                    header(pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
                })
                .collect();
            let into = row.as_object_mut().expect("an object");
            into.insert("_keys".to_owned(), inner("key").unwrap_or(Value::Null));
            into.insert("_headers".to_owned(), headers.into());
            into.insert("_topic_id".to_owned(), "t".into());
            into.insert("_partition".to_owned(), record["partition"].clone());
            let offset = record["offset"].as_i64().expect("an offset") + behind;
            into.insert("_offset".to_owned(), offset.into());
            into.insert("_epoch".to_owned(), 1.into());
            into.insert("_schema_id".to_owned(), if is_tombstone { Value::Null } else { 1.into() });
            rows.push(row);
        }
    }
    rows
}

struct Fixture {
    rules: Rules,
    schema: SchemaRef,
    messages: Vec<Value>,
}

fn fixture(files: &[&str], row: &[Field], keys: &[&str], kind: Kind, select: &str) -> Fixture {
    let key: Vec<Field> = row.iter().filter(|f| keys.contains(&f.name().as_str())).cloned().collect();
    fixture_of(files, bronze_schema(row, &key), &topic(keys), keys, kind, select)
}

/// As [`fixture`], for a topic whose values are the flattened rows with these added fields.
fn flat(files: &[&str], row: &[Field], keys: &[&str], added: &[Field], select: &str) -> Fixture {
    let key: Vec<Field> = row.iter().filter(|f| keys.contains(&f.name().as_str())).cloned().collect();
    let enveloped = bronze_schema(row, &key);
    let own = ["before", "after", "source", "transaction", "op", "ts_ms"];
    let behind = enveloped.fields().iter().filter(|f| !own.contains(&f.name().as_str()));
    let fields = row.iter().chain(added).map(|f| Arc::new(f.clone())).chain(behind.cloned());
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let topic = Topic { envelope: Envelope::DebeziumFlat, ..topic(keys) };
    fixture_of(files, schema, &topic, keys, Kind::Scd1, select)
}

fn fixture_of(
    files: &[&str],
    schema: SchemaRef,
    topic: &Topic,
    keys: &[&str],
    kind: Kind,
    select: &str,
) -> Fixture {
    let sql = format!("SELECT {select} FROM changes(bronze.things)");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rules = runtime.block_on(Modelling::new(kind, keys, &sql).rules(topic, &schema));
    Fixture { rules, schema, messages: messages(files) }
}
impl Fixture {
    /// Checks that every delivery, including the topic's own order, ends with `expected`.
    fn ends_with(&self, columns: &[&str], expected: &[&str]) -> Shelf {
        let shelf = self.play(&self.messages, 3);
        assert_eq!(shelf.rows(columns), expected);
        assert_eq!(shelf.outcomes.total(), self.messages.len() as u64);
        let mut runner = TestRunner::new(cases::few(150));
        let deliveries = (Just(self.messages.clone()).prop_shuffle(), 1..6_usize);
        runner
            .run(&deliveries, |(messages, size)| {
                let rows = self.play(&messages, size).rows(columns);
                prop_assert_eq!(rows, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
                Ok(())
            })
            .unwrap_or_else(|failed| panic!("{failed}"));
        shelf
    }
    fn play(&self, messages: &[Value], size: usize) -> Shelf {
        let mut shelf = Shelf::new(self.rules.clone());
        for rows in messages.chunks(size) {
            shelf.step(&bronze(&self.schema, rows));
        }
        shelf
    }
}

fn customer() -> Vec<Field> {
    let texts = ["customer_name", "credit_limit", "phone", "delivery", "standing", "notes", "segment"];
    let mut fields = vec![long("customer_id"), long("big")];
    fields.extend(texts.map(text));
    fields
}
const CUSTOMER: &str =
    "customer_id, customer_name, phone, segment, length(notes) AS noted, notes, credit_limit";
const CUSTOMER_COLUMNS: [&str; 6] =
    ["customer_id", "customer_name", "phone", "segment", "noted", "credit_limit"];

#[test]
fn customers_end_as_in_postgresql() {
    // Key 5 became 50 and kept its TOASTed notes; 4 was deleted; 1 lost its notes; 3 got one more letter.
    let expected = [
        "1|Customer 1|(01) 555-0100|vip|·|Jyk=",
        "2|Customer 2|(09) 555-0199|·|6400|TlI=",
        "3|Customer 3|(03) 555-0100|·|6401|dXs=",
        "50|Customer 5|(05) 555-0100|·|6400|AMPN",
        "60|Ünïcødé 客户 \u{1}|·|·|·|·",
        "61||·|·|·|/w==",
    ];
    let all = fixture(&["plain/public.customers"], &customer(), &["customer_id"], Kind::Scd1, CUSTOMER);
    let shelf = all.ends_with(&CUSTOMER_COLUMNS, &expected);
    let notes = texts(&shelf.table, "notes");
    assert!(notes.iter().flatten().any(|n| n.starts_with("e4da3b7fbbce2345")), "the notes customer 5 had");
    assert!(notes.iter().flatten().any(|n| n.ends_with('z')));
    assert!(!notes.iter().flatten().any(|n| n.contains("debezium")));
    assert_eq!((shelf.outcomes.tombstone, shelf.outcomes.error), (2, 0));
}

/// The final rows of the customers.
const LAST: [&str; 6] = [
    "1|Customer 1|(01) 555-0100|vip|·|Jyk=",
    "2|Customer 2|(09) 555-0199|·|6400|TlI=",
    "3|Customer 3|x|·|6401|dXs=",
    "50|Customer 5|(05) 555-0100|·|6400|AMPN",
    "60|Ünïcødé 客户 \u{1}|·|·|·|·",
    "61||·|·|·|/w==",
];

#[test]
fn a_later_snapshot_and_what_follows_it_end_as_in_postgresql() {
    for files in
        [&["with-schema/public.customers"][..], &["plain/public.customers", "with-schema/public.customers"]]
    {
        let all = fixture(files, &customer(), &["customer_id"], Kind::Scd1, CUSTOMER);
        all.ends_with(&CUSTOMER_COLUMNS, &LAST);
    }
}

#[test]
fn without_transaction_metadata_and_over_partitions_the_end_is_the_same() {
    // Customer 5 became 50 on another partition, at the same LSN and with nothing that orders the two.
    let customers = ["no-transactions/public.customers"];
    let all = fixture(&customers, &customer(), &["customer_id"], Kind::Scd1, CUSTOMER);
    let shelf = all.ends_with(&CUSTOMER_COLUMNS, &LAST);
    assert!(texts(&shelf.table, "notes").iter().flatten().any(|n| n.starts_with("e4da3b7fbbce2345")));
    let row = [long("order_line_id"), long("order_id"), long("quantity")];
    let keys = ["order_id", "order_line_id"];
    let lines = fixture(
        &["no-transactions/public.order_lines"],
        &row,
        &keys,
        Kind::Scd1,
        "order_id, order_line_id, quantity",
    );
    lines.ends_with(&["order_id"], &[]);
}

/// The columns of a flattened product, and the added ones.
fn flat_products(file: &str, added: &[&str]) -> Fixture {
    let row = [long("stock_item_id"), text("name"), text("price")];
    let kind =
        |name: &&str| if name.contains("op") || name.contains("deleted") { text(name) } else { long(name) };
    let added: Vec<Field> = added.iter().map(kind).collect();
    flat(&[file], &row, &["stock_item_id"], &added, "stock_item_id, name, price")
}
const PRODUCTS: [&str; 2] = ["1|Item 1|A+c=", "3|Item 3|AcI="];
const PRODUCT: [&str; 3] = ["stock_item_id", "name", "price"];

#[test]
fn flattened_rows_with_rewritten_deletes_end_as_in_postgresql_in_any_order() {
    let added = ["__deleted", "__op", "__lsn", "__source_ts_ms", "__transaction_total_order"];
    flat_products("flat/public.products", &added).ends_with(&PRODUCT, &PRODUCTS);
    let added: Vec<Field> =
        vec![text("__deleted"), text("__op"), long("__lsn"), long("__transaction_total_order")];
    let all = flat(&["flat/public.customers"], &customer(), &["customer_id"], &added, CUSTOMER);
    let shelf = all.ends_with(&CUSTOMER_COLUMNS, &LAST);
    assert_eq!((shelf.outcomes.tombstone, shelf.outcomes.error), (2, 0));
}

#[test]
fn flattened_rows_whose_deletes_are_tombstones_are_ordered_by_offset() {
    // The LSN of rows is ignored if deletes have none: otherwise no delete would count.
    let all = flat_products("flat-tombstones/public.products", &["__op", "__lsn", "__source_ts_ms"]);
    all.ends_with(&PRODUCT, &PRODUCTS);
    let added = [text("__op"), long("__lsn")];
    let all = flat(&["flat-tombstones/public.customers"], &customer(), &["customer_id"], &added, CUSTOMER);
    all.ends_with(&CUSTOMER_COLUMNS, &LAST);
}

#[test]
fn products_end_as_in_postgresql() {
    let row = [long("stock_item_id"), text("name"), text("price")];
    let select = "stock_item_id, name, price";
    let columns = ["stock_item_id", "name", "price"];
    let all = fixture(&["plain/public.products"], &row, &["stock_item_id"], Kind::Scd1, select);
    all.ends_with(&columns, &["1|Item 1|A+c=", "3|Item 3|AcI=", "4|·|AcI="]);
    // The column `name` was dropped before the snapshot, and 4 was deleted after it.
    let all = fixture(&["with-schema/public.products"], &row, &["stock_item_id"], Kind::Scd1, select);
    all.ends_with(&columns, &["1|·|A+c=", "3|·|AcI="]);
}

#[test]
fn a_truncated_table_is_empty() {
    let row = [long("order_line_id"), long("order_id"), long("quantity")];
    let keys = ["order_id", "order_line_id"];
    let lines =
        fixture(&["plain/public.order_lines"], &row, &keys, Kind::Scd1, "order_id, order_line_id, quantity");
    lines.ends_with(&["order_id"], &[]);
    let orders =
        fixture(&["with-schema/public.orders"], &[long("order_id")], &["order_id"], Kind::Scd1, "order_id");
    orders.ends_with(&["order_id"], &[]);
    let orders =
        fixture(&["plain/public.orders"], &[long("order_id")], &["order_id"], Kind::Scd1, "order_id");
    orders.ends_with(&["order_id"], &["1", "3"]);
}

#[test]
fn a_history_keeps_what_a_truncate_ended() {
    let row = [long("order_line_id"), long("order_id"), long("quantity")];
    let keys = ["order_id", "order_line_id"];
    let lines =
        fixture(&["plain/public.order_lines"], &row, &keys, Kind::Scd2, "order_id, order_line_id, quantity");
    let shelf = lines.play(&lines.messages, 2);
    let columns = ["order_id", "order_line_id", "quantity"];
    // Line 11 moved from order 1 to order 2; then everything was truncated.
    assert_eq!(shelf.rows(&columns), ["1|10|3", "1|11|2", "2|11|2"]);
    assert!(texts(&shelf.table, "__END_AT").iter().all(Option::is_some));
}

#[test]
fn a_table_without_a_key_is_a_log_of_events() {
    let row = [text("at"), text("what")];
    let select = "at, what, _op";
    let log = fixture(&["plain/public.events_nokey"], &row, &[], Kind::Append, select);
    let at = "2013-01-04T00:00:00.000000Z|a|c";
    log.ends_with(&["at", "what", "_op"], &[at, at, "·|·|d", "·|·|d"]);
}
