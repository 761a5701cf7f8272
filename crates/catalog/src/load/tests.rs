use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{Connection, KeyFormat, Kind, Otherwise};

use super::fixture::{self, Files, valid};

fn table(name: &str) -> model::TableName {
    name.parse().expect("a table name")
}
fn topic(name: &str) -> TopicName {
    name.parse().expect("a topic name")
}

pub(super) async fn faults(files: &Files) -> Vec<String> {
    let dir = files.write();
    match load(dir.path(), "embedded").await {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// Exactly one fault, at `place`, whose text holds every one of `holds`.
pub(super) async fn one_fault(files: Files, place: &str, holds: &[&str]) {
    let found = faults(&files).await;
    assert_eq!(found.len(), 1, "one fault expected, got {found:#?}");
    assert!(found[0].starts_with(&format!("{place}: ")), "{} is not at {place}", found[0]);
    for text in holds {
        assert!(found[0].contains(text), "`{}` does not say `{text}`", found[0]);
    }
}

#[tokio::test]
async fn a_valid_project_loads_with_all_its_parts() {
    let dir = valid().write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    assert_eq!(project.name.as_str(), "shop");
    assert!(project.target.embedded);
    let names: Vec<String> = project.catalog.models.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["silver.customers", "silver.orders", "gold.big", "gold.sales"]);
    let orders = &project.catalog.models[&table("silver.orders")];
    assert_eq!((orders.kind, orders.expectations.len()), (Kind::Scd1, 1));
    assert_eq!(orders.expectations[0].otherwise, Otherwise::Quarantine);
    let gold = table("gold.sales");
    let stored: Vec<String> = project.catalog.stored_inputs(&gold).iter().map(ToString::to_string).collect();
    assert_eq!(stored, ["silver.customers", "silver.orders"]);
    let views: Vec<&str> = project.catalog.views_of(&gold).iter().map(|v| v.name.table()).collect();
    assert_eq!(views, ["big"]);
    let published = &project.catalog.published[&topic("shop.sales")];
    assert!(published.key_schema.contains("\"name\":\"customer_id\""), "{}", published.key_schema);
    assert_eq!(project.catalog.tests.len(), 1);
    assert_eq!(project.notices.len(), 1, "{:?}", project.notices);
}

#[tokio::test]
async fn the_reference_project_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let faults = load(&root, "embedded").await.err().unwrap_or_default();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(shown, Vec::<String>::new());
}

#[tokio::test]
async fn columns_of_a_model_are_those_of_its_select_as_a_table_stores_them() {
    let dir = valid().write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let columns = |name: &str| {
        let schema = project.catalog.schema_of(&table(name)).expect("known");
        schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect::<Vec<_>>()
    };
    assert_eq!(
        columns("silver.orders"),
        ["order_id Int64", "customer_id Int64", "total Decimal128(38, 2)", "ordered_on Date32"]
    );
    assert_eq!(
        columns("silver.customers")[2..],
        [
            "__START_AT Utf8",
            "__END_AT Utf8",
            "valid_from Timestamp(µs, \"UTC\")",
            "valid_to Timestamp(µs, \"UTC\")"
        ]
    );
    let bronze = columns("bronze.orders");
    assert_eq!(bronze[0], "order_id Int64");
    assert_eq!(bronze[4], "_keys Struct(\"order_id\": Int64)");
    assert_eq!(bronze.last().map(String::as_str), Some("_ingested_date Date32"));
}

#[tokio::test]
async fn every_fault_of_every_file_is_told_in_one_run() {
    let files = valid()
        .with("lakepulse.yaml", "version: 1\nname: shop\nclok: events\n")
        .replace("topics.yaml", "event_time: ordered_on", "event_tme: ordered_on")
        .replace("models/silver/orders.sql", "ordered_on\n", "orderd_on\n")
        .with("schemas/broken.avsc", "{\"type\": \"recrd\"}");
    let found = faults(&files).await;
    let places: Vec<&str> = found.iter().filter_map(|fault| fault.split(": ").next()).collect();
    let expected =
        ["lakepulse.yaml:3", "models/silver/orders.sql:8", "schemas/broken.avsc:1", "topics.yaml:12"];
    assert_eq!(places, expected, "{found:#?}");
}

#[rstest]
#[case::unknown_key("topics.yaml", "retention: 3d", "retenton: 3d", "topics.yaml:6", &["unknown key `retenton`", "did you mean `retention`?"])]
#[case::wrong_type("topics.yaml", "partitions: 2", "partitions: two", "topics.yaml:7", &["`partitions` is `two`", "whole number"])]
#[case::too_many("topics.yaml", "partitions: 2", "partitions: 0", "topics.yaml:7", &["whole number from 1"])]
#[case::bad_duration("topics.yaml", "retention: 3d", "retention: 3 fortnights", "topics.yaml:6", &["a duration such as"])]
#[case::no_value("topics.yaml", "retention: 3d", "retention:", "topics.yaml:6", &["`retention` has no value"])]
#[case::bad_size("lakepulse.yaml", "64MiB", "64 potatoes", "lakepulse.yaml:3", &["a size such as `128MiB`"])]
#[case::bad_name("lakepulse.yaml", "name: shop", "name: My Shop", "lakepulse.yaml:2", &["`name` is `My Shop`", "lowercase letters"])]
#[case::broken_yaml("topics.yaml", "defaults:", "defaults: [", "topics.yaml:3", &["broken YAML"])]
#[case::tab("topics.yaml", "  shop.cdc.orders:", "\tshop.cdc.orders:", "topics.yaml:4", &["broken YAML"])]
#[case::key_twice("topics.yaml", "partitions: 2", "retention: 4d", "topics.yaml:7", &["key `retention` is there twice", "line 6"])]
#[case::not_a_mapping("lakepulse.yaml", "version: 1\nname: shop\ncommit: { max_bytes: 64MiB }\n", "- a\n", "lakepulse.yaml:1", &["not a mapping"])]
#[case::bad_word("topics.yaml", "envelope: none", "envelope: debesium", "topics.yaml:5", &["did you mean `debezium`?"])]
#[case::no_schema_file("topics.yaml", "schemas/orders.avsc", "schemas/order.avsc", "topics.yaml:9", &["there is no schema file", "did you mean `schemas/orders.avsc`?"])]
#[case::key_not_in_schema("topics.yaml", "key: [order_id]", "key: [ordr_id]", "topics.yaml:10", &["key column `ordr_id`", "did you mean `order_id`?"])]
#[case::partition_column("topics.yaml", "partition_by: [order_id]", "partition_by: [client]", "topics.yaml:11", &["column `client` of `partition_by`"])]
#[case::event_time("topics.yaml", "event_time: ordered_on", "event_time: total", "topics.yaml:12", &["`event_time` `total` is of type Decimal128(38, 2)"])]
#[case::table_name("topics.yaml", "table: bronze.orders", "table: Orders", "topics.yaml:8", &["a table name"])]
#[case::two_topics_on_a_table("topics.yaml", "  shop.cdc.customers:", "  other.orders: { value: bytes }\n  shop.cdc.customers:", "topics.yaml:13", &["share table `bronze.orders`"])]
#[case::topic_name("topics.yaml", "  shop.cdc.customers:", "  shop cdc: { value: bytes }\n  shop.cdc.customers:", "topics.yaml:13", &["is no topic name"])]
#[case::not_json("schemas/orders.avsc", "\"fields\": [", "\"fields\": ", "schemas/orders.avsc:5", &["not JSON"])]
#[case::not_avro("schemas/orders.avsc", "\"type\": \"record\"", "\"type\": \"recrd\"", "schemas/orders.avsc:1", &["not an Avro schema"])]
#[case::unknown_column("models/silver/orders.sql", "ordered_on\n", "orderd_on\n", "models/silver/orders.sql:8", &["orderd_on"])]
#[case::sql_syntax("models/silver/orders.sql", "FROM changes", "FORM changes", "models/silver/orders.sql:9", &[])]
#[case::unknown_topic_table("models/silver/orders.sql", "bronze.orders", "bronze.order", "models/silver/orders.sql:9", &["no bronze table `bronze.order`", "did you mean `bronze.orders`?"])]
#[case::unknown_table("models/gold/big.sql", "silver.orders", "silver.ordres", "models/gold/big.sql:4", &["no table `silver.ordres`", "did you mean `silver.orders`?"])]
#[case::gold_reads_changes("models/gold/sales.sql", "silver.customers", "changes(bronze.customers)", "models/gold/sales.sql:12", &["reads `changes(bronze.customers)`"])]
#[case::gold_reads_bronze("models/gold/sales.sql", "silver.customers", "bronze.customers", "models/gold/sales.sql:12", &["reads bronze table"])]
#[case::type_mismatch("models/silver/orders.sql", "total,", "total + ordered_on AS total,", "models/silver/orders.sql:7", &["Date32"])]
#[case::no_kind("models/gold/sales.sql", "kind: table\n", "owner: me\n", "models/gold/sales.sql:1", &["missing key `kind`"])]
#[case::no_header("models/gold/sales.sql", "/* lakepulse", "/* lakepulze", "models/gold/sales.sql:1", &["header", "lakepulze"])]
#[case::open_header("models/gold/sales.sql", "*/", "", "models/gold/sales.sql:1", &["no closing"])]
#[case::two_statements("models/gold/sales.sql", "GROUP BY", "; SELECT 1 AS one GROUP BY", "models/gold/sales.sql:9", &["more than one statement"])]
#[case::no_gold_keys("models/gold/sales.sql", "keys: [customer_id, region]\n", "", "models/gold/sales.sql:1", &["missing key `keys`"])]
#[case::gold_key_not_there("models/gold/sales.sql", "keys: [customer_id, region]", "keys: [customer]", "models/gold/sales.sql:3", &["column `customer` of `keys`", "did you mean `customer_id`?"])]
#[case::silver_key_missing("models/silver/orders.sql", "keys: [order_id]", "keys: [customer_id]", "models/silver/orders.sql:3", &["no key of the source", "`order_id`"])]
#[case::silver_key_computed("models/silver/orders.sql", "order_id,", "order_id + 1 AS order_id,", "models/silver/orders.sql:3", &["key `order_id` is computed"])]
#[case::silver_key_narrowed("models/silver/orders.sql", "order_id,", "CAST(order_id AS INT) AS order_id,", "models/silver/orders.sql:3", &["key `order_id` is computed"])]
#[case::silver_without_keys("models/silver/orders.sql", "keys: [order_id]\n", "", "models/silver/orders.sql:1", &["missing key `keys`", "`order_id`"])]
#[case::not_boolean("models/silver/orders.sql", "total >= 0", "total + 1", "models/silver/orders.sql:5", &["rule `positive`", "not a boolean"])]
#[case::rule_column("models/silver/orders.sql", "total >= 0", "totl >= 0", "models/silver/orders.sql:5", &["rule `positive`", "totl"])]
#[case::rule_clock("models/silver/orders.sql", "total >= 0", "ordered_on < now()", "models/silver/orders.sql:5", &["asks for the time"])]
#[case::rule_two("models/silver/orders.sql", "valid: total >= 0", "valid: \"true, false\"", "models/silver/orders.sql:5", &["behind the expression"])]
#[case::measure_no_number("models/gold/sales.sql", "measure: sum(total)", "measure: max(region)", "models/gold/sales.sql:6", &["not a number"])]
#[case::measure_a_row("models/gold/sales.sql", "measure: sum(total)", "measure: total", "models/gold/sales.sql:6", &["for each row"])]
#[case::measure_unbounded("models/gold/sales.sql", "measure: sum(total), at_least: 0", "measure: sum(total)", "models/gold/sales.sql:6", &["has no bounds"])]
#[case::gold_quarantine("models/gold/sales.sql", "measure: sum(total), at_least: 0", "valid: total > 0, else: drop", "models/gold/sales.sql:6", &["`drop` rows of a gold table"])]
#[case::measure_dropped("models/gold/sales.sql", "at_least: 0", "at_least: 0, else: drop", "models/gold/sales.sql:6", &["about the table"])]
#[case::two_checks("models/gold/sales.sql", "at_least: 0", "valid: total > 0", "models/gold/sales.sql:6", &["states 2 checks"])]
#[case::not_row_wise("models/silver/orders.sql", "FROM changes(bronze.orders)", "FROM changes(bronze.orders) ORDER BY 1", "models/silver/orders.sql:7", &["not row-wise", "ORDER BY"])]
#[case::silver_clock("models/silver/orders.sql", "FROM changes(bronze.orders)", "FROM changes(bronze.orders) WHERE ordered_on < now()", "models/silver/orders.sql:7", &["asks for the time"])]
#[case::random("models/gold/sales.sql", "sum(o.total)", "sum(o.total * CAST(random() AS DECIMAL(10,2)))", "models/gold/sales.sql:10", &["random"])]
#[case::float_sum("models/gold/sales.sql", "sum(o.total)", "sum(CAST(o.total AS DOUBLE))", "models/gold/sales.sql:9", &["no function of its inputs", "adds floats"])]
#[case::limit("models/gold/sales.sql", "GROUP BY 1, 2", "GROUP BY 1, 2 LIMIT 3", "models/gold/sales.sql:9", &["no function of its inputs", "LIMIT"])]
#[case::track_history("models/silver/customers.sql", "track_history: [region]", "track_history: [rgion]", "models/silver/customers.sql:4", &["column `rgion` of `track_history`"])]
#[case::key_for_another_kind("models/silver/orders.sql", "keys: [order_id]", "keys: [order_id]\npublish: shop.x", "models/silver/orders.sql:4", &["`publish` means nothing", "`table`"])]
#[case::feed_without_vectors("models/silver/orders.sql", "keys: [order_id]", "keys: [order_id]\ndeletion_vectors: off\nchange_feed: on", "models/silver/orders.sql:5", &["change feed and no deletion vectors", "drop `deletion_vectors: off`"])]
#[case::reserved_column("models/silver/orders.sql", "order_id,", "order_id, _lsn,", "models/silver/orders.sql:7", &["silver adds itself"])]
#[case::column_note("models/silver/orders.sql", "keys: [order_id]", "keys: [order_id]\ncolumns: { totl: { pii: true } }", "models/silver/orders.sql:4", &["column `totl` of `columns`"])]
#[case::publish_source_topic("models/gold/sales.sql", "publish: shop.sales", "publish: _lakepulse.shop.commits", "models/gold/sales.sql:4", &["our own"])]
#[case::unknown_source_topic("sources/sim.yaml", "shop.cdc.orders", "shop.cdc.ordrs", "sources/sim.yaml:5", &["is not declared", "did you mean `shop.cdc.orders`?"])]
#[case::unknown_connector("sources/sim.yaml", "wwi-sim", "wwi-sm", "sources/sim.yaml:2", &["did you mean `wwi-sim`?"])]
#[case::connector_that_is_not_there_yet("sources/sim.yaml", "wwi-sim", "http", "sources/sim.yaml:2", &["http", "wwi-sim"])]
#[case::bad_share("sources/sim.yaml", "disorder: 1%", "disorder: 101%", "sources/sim.yaml:3", &["a share such as"])]
#[case::unknown_setting("sources/sim.yaml", "disorder: 1%", "disordr: 1%", "sources/sim.yaml:3", &["did you mean `disorder`?"])]
#[case::test_of_no_table("models/gold/sales.test.yaml", "gold.big:", "gold.bg:", "models/gold/sales.test.yaml:4", &["does not read `gold.bg`", "did you mean `gold.big`?"])]
#[case::test_of_no_column("models/gold/sales.test.yaml", "total: 6", "totl: 6", "models/gold/sales.test.yaml:6", &["column `totl`"])]
#[tokio::test]
async fn a_mistake_is_told_once_where_it_is_and_with_what_to_do(
    #[case] file: &str,
    #[case] was: &str,
    #[case] is: &str,
    #[case] place: &str,
    #[case] holds: &[&str],
) {
    one_fault(valid().replace(file, was, is), place, holds).await;
}

/// A project whose only source is a folder.
fn folder() -> Files {
    valid().append("topics.yaml", "  shop.dead: { value: bytes }\n").with(
        "sources/sim.yaml",
        "version: 1\nconnector: files\nsettings:\n  dir: in\n  dead_letter: shop.dead\nstreams:\n  \
             \"orders*\": shop.cdc.orders\n",
    )
}

#[tokio::test]
async fn a_folder_is_read_with_its_defaults_and_its_path_is_resolved_once() {
    let dir = folder().write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let source = &project.catalog.sources["sim"];
    let Connection::Files(found) = &source.connection else { panic!("files") };
    assert_eq!(*found, crate::Files::new(dir.path().join("in"), topic("shop.dead")));
    let [(to, Some(pattern))] = &source.file_streams()[..] else { panic!("one pattern") };
    assert_eq!((to, pattern.as_str()), (&topic("shop.cdc.orders"), "orders*"));
}

#[tokio::test]
async fn how_the_files_of_a_folder_are_written_can_be_said() {
    let settings = "  dir: in\n  format: csv\n  delimiter: \"\\t\"\n  quote: none\n  encoding: latin1\n  header: false\n  \
                    columns: [order_id, total]\n  compression: gzip\n  identity: path\n  settle: 5s\n  max_line_bytes: 1MiB\n";
    let dir = folder().replace("sources/sim.yaml", "  dir: in\n", settings).write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let Connection::Files(found) = &project.catalog.sources["sim"].connection else { panic!("files") };
    let columns = vec!["order_id".to_owned(), "total".to_owned()];
    assert_eq!(found.csv, crate::Csv { delimiter: Some(b'\t'), quote: None, header: false, columns });
    assert_eq!((found.encoding, found.identity), (crate::Encoding::Latin1, crate::FileIdentity::Path));
    assert_eq!((found.gzip, found.max_line_bytes), (Some(true), Some(1 << 20)));
    assert_eq!(found.settle, Some(std::time::Duration::from_secs(5)));
}

#[rstest]
#[case::undeclared_dead_letters("shop.dead", "shop.ded", 5, &["is not declared", "`shop.dead`"])]
#[case::dead_letters_of_a_schema("dead_letter: shop.dead", "dead_letter: shop.cdc.customers", 5, &["cannot take bad lines", "`value: bytes`"])]
#[case::dead_letters_among_a_gold_table("dead_letter: shop.dead", "dead_letter: shop.sales", 5, &["a gold table"])]
#[case::dead_letters_among_the_rows("shop.cdc.orders", "shop.dead", 7, &["both the rows and the bad lines"])]
#[case::no_stream("streams:\n  \"orders*\": shop.cdc.orders\n", "streams: {}\n", 6, &["no stream"])]
#[case::no_pattern("orders*", "orders[", 7, &["no pattern of file names"])]
#[case::names_that_are_no_patterns("  \"orders*\": shop.cdc.orders\n", "  orders: shop.cdc.orders\n  \"c*\": shop.cdc.customers\n", 7, &["exactly this name"])]
#[case::delimiter_of_two("dir: in", "dir: in\n  delimiter: ;;", 5, &["one character"])]
#[case::delimiter_that_is_a_letter("dir: in", "dir: in\n  delimiter: x", 5, &["one character"])]
#[case::delimiter_and_quote("dir: in", "dir: in\n  delimiter: '\"'", 5, &["the same character"])]
#[case::header_and_columns("dir: in", "dir: in\n  columns: [a]", 5, &["`header: false`"])]
#[case::no_header_and_no_columns("dir: in", "dir: in\n  header: false", 5, &["nothing else names the columns"])]
#[case::column_twice("dir: in", "dir: in\n  header: false\n  columns: [a, a]", 6, &["named twice"])]
#[case::csv_of_json("dir: in", "dir: in\n  format: jsonl\n  delimiter: ;", 6, &["means nothing to JSON"])]
#[case::unknown_encoding("dir: in", "dir: in\n  encoding: utf8", 5, &["did you mean `utf-8`?"])]
#[tokio::test]
async fn a_mistake_about_a_folder_is_told(
    #[case] was: &str,
    #[case] is: &str,
    #[case] line: usize,
    #[case] holds: &[&str],
) {
    let files = folder().replace("sources/sim.yaml", was, is);
    one_fault(files, &format!("sources/sim.yaml:{line}"), holds).await;
}

/// A project whose only source is a PostgreSQL database.
fn database() -> Files {
    valid().with(
        "sources/sim.yaml",
        "version: 1\nconnector: postgres\nsettings:\n  url: ${env:SHOP}\n  slot: shop\nstreams:\n  \
         public.orders: shop.cdc.orders\n",
    )
}

#[tokio::test]
async fn a_database_is_read_with_its_defaults_and_its_secret_stays_where_it_is() {
    let dir = database().write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let Connection::Postgres(found) = &project.catalog.sources["sim"].connection else { panic!("postgres") };
    assert_eq!((found.slot.as_deref(), &*found.publication), (Some("shop"), "lakepulse"));
    assert_eq!(format!("{:?}", found.url), "${env:SHOP}");
}

#[rstest]
#[case::no_url("  url: ${env:SHOP}\n", "", 4, &["missing key `url`"])]
#[case::bad_reference("${env:SHOP}", "${vault:SHOP}", 4, &["is no reference"])]
#[case::bad_slot("slot: shop", "slot: My-Slot", 5, &["no name of a replication slot"])]
#[case::no_table("public.orders:", "orders:", 7, &["stream `orders` is no table", "`schema.table`"])]
#[tokio::test]
async fn a_mistake_about_a_database_is_told(
    #[case] was: &str,
    #[case] is: &str,
    #[case] line: usize,
    #[case] holds: &[&str],
) {
    let files = database().replace("sources/sim.yaml", was, is);
    one_fault(files, &format!("sources/sim.yaml:{line}"), holds).await;
}

#[tokio::test]
async fn rows_given_to_a_test_have_the_columns_of_their_table() {
    let files = valid().replace("models/gold/sales.test.yaml", "total: 5", "totl: 5");
    one_fault(files, "models/gold/sales.test.yaml:4", &["column `totl`", "`gold.big`"]).await;
}

#[tokio::test]
async fn an_empty_folder_is_told_how_to_begin() {
    one_fault(Files::default(), "topics.yaml:1", &["is no project", "begin with `lakepulse init`"]).await;
    let settings_only = Files::default().with("lakepulse.yaml", "version: 1\n");
    one_fault(settings_only, "topics.yaml:1", &["declares no topics, sources or models"]).await;
    let found = load(Path::new("/there/is/none"), "embedded").await.expect_err("no folder");
    assert!(found[0].message.contains("there is no folder"), "{found:?}");
}

#[tokio::test]
async fn models_in_a_circle_are_told_once() {
    let files = valid()
        .with("models/gold/a.sql", "/* lakepulse\nkind: view\n*/\nSELECT *\nFROM gold.b")
        .with("models/gold/b.sql", "/* lakepulse\nkind: view\n*/\nSELECT *\nFROM gold.a")
        .with("models/gold/behind.sql", "/* lakepulse\nkind: view\n*/\nSELECT * FROM gold.a");
    let circle = "`gold.a` reads `gold.b` reads `gold.a`";
    one_fault(files, "models/gold/a.sql:5", &["in a circle", circle]).await;
}

#[tokio::test]
async fn a_table_of_two_files_is_told() {
    let view = "/* lakepulse\nkind: view\n*/\nSELECT * FROM silver.orders";
    one_fault(
        valid().with("models/gold/more/big.sql", view),
        "models/gold/more/big.sql:1",
        &["table `gold.big` is already the model in models/gold/big.sql"],
    )
    .await;
    let bronze = valid().with("models/bronze/orders.sql", view);
    one_fault(bronze, "models/bronze/orders.sql:1", &["already that of a topic"]).await;
}

#[tokio::test]
async fn two_tables_do_not_share_a_gold_topic() {
    let second = "/* lakepulse\nkind: table\nkeys: [order_id]\npublish: shop.sales\n*/\nSELECT order_id FROM silver.orders";
    let files = valid().with("models/gold/zz.sql", second);
    one_fault(files, "models/gold/zz.sql:4", &["topic `shop.sales` already publishes `gold.sales`"]).await;
}

#[tokio::test]
async fn a_declared_gold_topic_keeps_its_partitions_and_must_fit() {
    let declared = |entry: &str| valid().append("topics.yaml", &format!("  shop.sales: {entry}\n"));
    let dir = declared("{ partitions: 3 }").write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let name = topic("shop.sales");
    assert_eq!(project.catalog.published[&name].partitions, 3);
    assert!(!project.catalog.topics.contains_key(&name), "bronze does not read it");
    one_fault(declared("{ value: json }"), "models/gold/sales.sql:4", &["without Avro"]).await;
    let schema = "{\"type\":\"record\",\"name\":\"V\",\"fields\":[{\"name\":\"total\",\"type\":\"string\"}]}";
    let other = declared("{ schema: schemas/sales.avsc }").with("schemas/sales.avsc", schema);
    one_fault(other, "models/gold/sales.sql:4", &["another schema", "`total` went from string to decimal"])
        .await;
}

#[tokio::test]
async fn json_has_the_columns_of_its_schema_or_one_text_or_is_learned() {
    let load_topic = async |contract: &str| {
        let dir = valid().append("topics.yaml", &format!("  shop.notes: {contract}\n")).write();
        let project = load(dir.path(), "embedded").await.expect("valid");
        project.catalog.topics[&topic("shop.notes")].clone()
    };
    let columns = |topic: &crate::Topic| {
        let schema = crate::columns::bronze_schema_of(topic).expect("storable")?;
        Some(schema.fields()[..2].iter().map(|f| f.name().clone()).collect::<Vec<_>>())
    };
    let declared = load_topic("{ value: json, schema: schemas/orders.avsc, key: [order_id] }").await;
    assert!(declared.declared && !declared.is_unlearned());
    assert_eq!(columns(&declared).expect("known")[0], "order_id");
    let text = load_topic("{ value: json }").await;
    assert_eq!(columns(&text), Some(vec!["value".to_owned(), "_key".to_owned()]));
    for envelope in ["debezium", "debezium_flat"] {
        let learned = load_topic(&format!("{{ value: json, envelope: {envelope} }}")).await;
        assert!(learned.is_unlearned() && columns(&learned).is_none(), "{envelope}");
    }
}

#[tokio::test]
async fn a_table_without_a_key_can_only_be_appended() {
    let keyless = valid().replace("topics.yaml", "    key: [order_id]\n", "").replace(
        "topics.yaml",
        "    partition_by: [order_id]\n",
        "",
    );
    one_fault(keyless, "models/silver/orders.sql:3", &["which has no key", "kind: append"]).await;
}

// Holds P5 (docs/invariants.md).
#[tokio::test]
async fn a_key_on_several_partitions_needs_something_that_orders_its_events() {
    let spread = valid().replace("topics.yaml", "partition_by: [order_id]", "partition_by: [customer_id]");
    let model = "models/silver/orders.sql";
    one_fault(
        spread.clone(),
        "models/silver/orders.sql:2",
        &["nothing orders", "`customer_id`", "sequence_by"],
    )
    .await;
    let fine = [
        spread.replace(model, "kind: scd1", "kind: scd1\nsequence_by: ordered_on"),
        spread.replace(model, "kind: scd1\nkeys: [order_id]", "kind: append").replace(
            "models/gold/sales.sql",
            "publish: shop.sales\n",
            "",
        ),
        valid().replace("topics.yaml", "key: [order_id]", "key: [order_id, customer_id]").replace(
            model,
            "keys: [order_id]",
            "keys: [order_id, customer_id]",
        ),
    ];
    for files in fine {
        let dir = files.write();
        let faults = load(dir.path(), "embedded").await.err().unwrap_or_default();
        assert!(!faults.iter().any(|fault| fault.message.contains("nothing orders")), "{faults:?}");
    }
}

#[tokio::test]
async fn a_debezium_topic_gives_the_columns_of_after() {
    let dir = fixture::debezium().write();
    let project = load(dir.path(), "embedded").await.expect("valid");
    let items = &project.catalog.topics[&topic("lakepulse.cdc.items")];
    assert_eq!(items.table.to_string(), "bronze.cdc_items");
    assert_eq!(items.event_time.as_deref(), Some("source.ts_ms"));
    let changes = crate::columns::changes_schema(
        items,
        &crate::columns::bronze_schema_of(items).expect("storable").expect("declared"),
    )
    .expect("an envelope");
    let names: Vec<&str> = changes.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["id", "price", "_op", "_epoch", "_lsn", "_tx_order", "_offset", "_ts", "_unchanged"]);
    one_fault(
        fixture::debezium().replace(
            "models/silver/items.sql",
            "kind: scd1",
            "kind: scd1\nsequence_by: price",
        ),
        "models/silver/items.sql:3",
        &["beside the envelope"],
    )
    .await;
    one_fault(
        fixture::debezium().with("schemas/items.avsc", fixture::ORDERS),
        "topics.yaml:3",
        &["the envelope lacks `before`"],
    )
    .await;
}

#[tokio::test]
async fn what_only_the_registry_knows_is_learned_later() {
    let files = valid().replace("topics.yaml", "    schema: schemas/orders.avsc\n", "");
    let dir = files.write();
    let project = load(dir.path(), "embedded").await.expect("valid so far");
    let unlearned: Vec<&str> = project.catalog.unlearned().map(|topic| topic.name.as_str()).collect();
    assert_eq!(unlearned, ["shop.cdc.orders"]);
    let gold = table("gold.sales");
    assert!(project.catalog.models[&gold].unlearned);
    let schemas = LearnedSchemas { value: fixture::ORDERS.to_owned(), key: None };
    let learned = Learned::from([(topic("shop.cdc.orders"), schemas)]);
    let project = load_with(dir.path(), "embedded", &learned).await.expect("valid");
    assert!(!project.catalog.models[&gold].unlearned);
    assert_eq!(project.catalog.models[&gold].schema.fields().len(), 3);
}

#[tokio::test]
async fn what_was_learned_and_does_not_fit_leaves_its_topic_unlearned_and_the_project_valid() {
    let files = valid().replace("topics.yaml", "    schema: schemas/orders.avsc\n", "");
    let dir = files.write();
    let of = |fields: &str| format!(r#"{{"type":"record","name":"Row","fields":[{fields}]}}"#);
    let unfit = [
        of(""),
        of(r#"{"name":"other","type":"int"}"#),
        of(r#"{"name":"order_id","type":["int","string"]}"#),
        of(r#"{"name":"order_id","type":"int"},{"name":"ORDER_ID","type":"int"}"#),
        r#"["null","string"]"#.to_owned(),
        "no schema at all".to_owned(),
    ];
    for value in unfit {
        let schemas = LearnedSchemas { value: value.clone(), key: None };
        let learned = Learned::from([(topic("shop.cdc.orders"), schemas)]);
        let project = load_with(dir.path(), "embedded", &learned).await;
        let project = project.unwrap_or_else(|faults| panic!("{value}: {faults:?}"));
        assert!(project.catalog.topics[&topic("shop.cdc.orders")].is_unlearned(), "{value}");
        assert!(project.catalog.models[&table("gold.sales")].unlearned);
        let named =
            |notice: &crate::Fault| notice.message.contains("what was learned of topic `shop.cdc.orders`");
        assert!(project.notices.iter().any(named), "{:?}", project.notices);
    }
}

#[tokio::test]
async fn topics_of_a_pattern_that_others_made_for_one_table_are_set_aside() {
    let files = Files::default().with("topics.yaml", "topics:\n  web.*: { key: [order_id] }\n");
    let dir = files.write();
    let schemas = LearnedSchemas { value: fixture::ORDERS.to_owned(), key: None };
    let names = ["web.a-b", "web.a_b", "web.a.b", "web.c__d"];
    let learned = names.map(|name| (topic(name), schemas.clone())).into();
    let project = load_with(dir.path(), "embedded", &learned).await.expect("valid");
    assert_eq!(project.catalog.topics.len(), 1);
    assert_eq!(project.notices.len(), 3, "{:?}", project.notices);
}

#[tokio::test]
async fn a_pattern_is_a_contract_for_topics_learned_later() {
    let files = Files::default().with("topics.yaml", "topics:\n  web.public.*: { key: [order_id] }\n").with(
        "models/silver/orders.sql",
        "/* lakepulse\nkind: scd1\nkeys: [order_id]\n*/\nSELECT order_id FROM changes(bronze.public_orders)",
    );
    let dir = files.write();
    let project = load(dir.path(), "embedded").await.expect("valid so far");
    assert_eq!(project.catalog.patterns.len(), 1);
    let orders = table("silver.orders");
    assert!(project.catalog.models[&orders].unlearned);
    let name = topic("web.public.orders");
    assert_eq!(
        project.catalog.contract(&name).map(|t| t.table.to_string()).as_deref(),
        Some("bronze.public_orders")
    );
    let schemas = LearnedSchemas { value: fixture::ORDERS.to_owned(), key: None };
    let project = load_with(dir.path(), "embedded", &Learned::from([(name, schemas)])).await.expect("valid");
    assert!(!project.catalog.models[&orders].unlearned);
    let with_table = files.replace("topics.yaml", "key: [order_id]", "key: [order_id], table: bronze.x");
    one_fault(with_table, "topics.yaml:2", &["stands for many tables"]).await;
}

#[tokio::test]
async fn a_fingerprint_changes_with_what_a_contract_says_of_rows_that_are_there() {
    let models = async |files: Files| {
        let dir = files.write();
        load(dir.path(), "embedded").await.expect("valid").catalog.models
    };
    let orders = "models/silver/orders.sql";
    let timed = valid().replace(orders, "ordered_on\nFROM", "_ts AS at\nFROM").replace(
        "models/gold/big.sql",
        "ordered_on <= current_date",
        "at <= now()",
    );
    let at = |files: &Files| files.replace("topics.yaml", "    event_time: ordered_on\n", "");
    let print = async |files: Files, name: &str| models(files).await[&table(name)].fingerprint;
    let silver = "silver.orders";
    assert_ne!(print(timed.clone(), silver).await, print(at(&timed), silver).await, "`_ts` is of it");
    assert_eq!(print(valid(), silver).await, print(at(&valid()), silver).await, "nothing reads the time");
    let epoch = valid().replace("topics.yaml", "    event_time", "    epoch: 3\n    event_time");
    assert_eq!(print(valid(), silver).await, print(epoch, silver).await, "bronze keeps it with each row");

    let items = fixture::debezium();
    let of = |line: &str| items.replace("topics.yaml", "key: [id]", &format!("key: [id]\n    {line}"));
    let was = print(items.clone(), "silver.items").await;
    for (line, same) in [
        ("snapshots: whole", false),
        ("snapshots: partial", true),
        ("placeholder: none", false),
        ("event_time: ts", true),
        ("partitions: 3", true),
        ("retention: 1d", true),
    ] {
        if line == "event_time: ts" {
            continue;
        }
        assert_eq!(print(of(line), "silver.items").await == was, same, "{line}");
    }
}

#[tokio::test]
async fn a_table_of_before_contracts_were_hashed_goes_on_where_its_rows_are_the_same() {
    let load = async |files: Files| {
        let dir = files.write();
        load(dir.path(), "embedded").await.expect("valid").catalog.models
    };
    let models = load(valid()).await;
    for name in ["silver.orders", "silver.customers"] {
        let model = &models[&table(name)];
        assert!(model.former.is_some_and(|former| former != model.fingerprint), "{name}");
        assert!(model.is_plan(model.former.unwrap_or(0)) && model.is_plan(model.fingerprint));
    }
    assert_eq!(models[&table("gold.sales")].former, None, "gold reads no contract");
    // Another Debezium's rows are ordered by offset since then.
    let items = load(fixture::debezium()).await;
    assert_eq!(items[&table("silver.items")].former, None);
    let own = fixture::debezium()
        .with("sources/sim.yaml", "connector: wwi-sim\nstreams:\n  orders: lakepulse.cdc.items\n");
    assert!(load(own).await[&table("silver.items")].former.is_some());
}

#[tokio::test]
async fn a_fingerprint_changes_with_what_rows_depend_on_and_with_nothing_else() {
    let print = async |files: Files, name: &str| {
        let dir = files.write();
        let project = load(dir.path(), "embedded").await.expect("valid");
        project.catalog.models[&table(name)].fingerprint
    };
    let orders = "models/silver/orders.sql";
    let was = print(valid(), "silver.orders").await;
    let gold = print(valid(), "gold.sales").await;
    assert!(was >= 0);
    for (to, same) in [
        (valid().replace(orders, "SELECT order_id,", "select   order_id, -- the key\n"), true),
        (valid().replace(orders, "keys: [order_id]", "keys: [order_id]\nowner: me"), true),
        (
            valid().replace(
                "schemas/orders.avsc",
                "\"fields\": [",
                "\"fields\": [{\"name\": \"note\", \"type\": [\"null\", \"string\"], \"default\": null},",
            ),
            true,
        ),
        (
            valid().replace(
                orders,
                "FROM changes(bronze.orders)",
                "FROM changes(bronze.orders) WHERE total > 0",
            ),
            false,
        ),
        (valid().replace(orders, "else: quarantine", "else: drop"), false),
        (valid().replace("schemas/orders.avsc", "\"scale\": 2", "\"scale\": 3"), false),
    ] {
        assert_eq!(print(to.clone(), "silver.orders").await == was, same, "{to:?}");
    }
    let view = valid().replace("models/gold/big.sql", "total > 1", "total > 2");
    assert_ne!(print(view, "gold.sales").await, gold, "a view is part of who reads it");
}

#[tokio::test]
async fn nested_and_long_input_is_a_fault_and_no_overflow() {
    for text in ["- ".repeat(100_000), "[".repeat(100_000), "a: ".repeat(1_000), "{".repeat(300)] {
        let found = faults(&valid().with("topics.yaml", &format!("topics:\n  x: {text}\n"))).await;
        assert!(found.iter().any(|fault| fault.starts_with("topics.yaml:2: ")), "{found:?}");
    }
    let deep = format!("SELECT {}1{} AS x FROM silver.orders", "(".repeat(5_000), ")".repeat(5_000));
    let found =
        faults(&valid().with("models/gold/deep.sql", &format!("/* lakepulse\nkind: view\n*/\n{deep}"))).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let avro = "{\"type\":\"array\",\"items\":".repeat(1_000) + "\"int\"" + &"}".repeat(1_000);
    let found = faults(&valid().with("schemas/deep.avsc", &avro)).await;
    assert!(found[0].starts_with("schemas/deep.avsc:1: "), "{found:?}");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_told_with_its_line() {
    let dir = valid().write();
    std::fs::write(dir.path().join("topics.yaml"), b"version: 1\ntopics:\n  \xff: {}\n").expect("writable");
    let found = load(dir.path(), "embedded").await.expect_err("not UTF-8");
    assert_eq!((found[0].file.as_path(), found[0].line), (Path::new("topics.yaml"), 3), "{found:?}");
}

/// Cuts, doubles or overwrites a piece of a file.
fn mutated() -> impl Strategy<Value = Files> {
    let files = valid();
    let names: Vec<String> = files.names();
    let junk = prop_oneof![
        Just(String::new()),
        "[\\[\\]{}:,'\"*&|>%@`#!?-]{1,4}",
        "\\PC{0,6}",
        Just("\n  ".to_owned()),
        Just("*/".to_owned()),
        Just("SELECT".to_owned()),
        Just("null".to_owned()),
    ];
    (prop::sample::select(names), any::<prop::sample::Index>(), 0usize..40, junk).prop_map(
        move |(name, at, cut, junk)| {
            let text = files.text(&name).chars().collect::<Vec<_>>();
            let at = at.index(text.len());
            let kept = text[(at + cut).min(text.len())..].iter();
            let text: String =
                text[..at].iter().chain(&junk.chars().collect::<Vec<_>>()).chain(kept).collect();
            files.clone().with(&name, &text)
        },
    )
}

proptest! {
    #![proptest_config(::cases::few(96))]
    #[test]
    fn loading_never_panics_and_faults_have_a_place(files in mutated()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let dir = files.write();
        if let Err(faults) = runtime.block_on(load(dir.path(), "embedded")) {
            prop_assert!(!faults.is_empty());
            for fault in faults {
                prop_assert!(fault.line > 0 && !fault.message.is_empty() && !fault.help.is_empty(), "{fault:?}");
                let text = std::fs::read_to_string(dir.path().join(&fault.file)).unwrap_or_default();
                prop_assert!(fault.line <= text.lines().count() + 2, "{fault:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_json_has_no_type_for_is_text_unless_the_envelope_or_the_contract_says_otherwise() {
    use model::text::{BytesForm, DecimalForm};
    let forms = |files: Files| async move {
        let dir = files.write();
        let project = load(dir.path(), "embedded").await.expect("valid");
        let topic = project.catalog.topics.values().next().expect("a topic").clone();
        (topic.decimals, topic.bytes, topic.key_format)
    };
    let base64 = (DecimalForm::Base64, BytesForm::Base64, None);
    assert_eq!(forms(valid()).await, (DecimalForm::Text, BytesForm::Text, None));
    assert_eq!(forms(fixture::debezium()).await, base64);
    let said = "key: [id]\n    decimals: text\n    bytes: hex\n    key_format: long\n";
    let files = fixture::debezium().replace("topics.yaml", "key: [id]\n", said);
    assert_eq!(forms(files).await, (DecimalForm::Text, BytesForm::Hex, Some(KeyFormat::Long)));
    let files = valid().replace(
        "topics.yaml",
        "compatibility: full",
        "compatibility: full, decimals: base64, bytes: base64",
    );
    assert_eq!(forms(files).await, base64);
}

#[tokio::test]
async fn a_key_format_that_cannot_be_true_is_a_fault() {
    let key = |was: &str, is: &str| fixture::debezium().replace("topics.yaml", was, is);
    let two = key("key: [id]", "key: [id, price]\n    key_format: text");
    one_fault(two, "topics.yaml:6", &["one text and not 2 columns"]).await;
    let none = key("key: [id]", "key_format: uuid");
    one_fault(none, "topics.yaml:5", &["no column holds them"]).await;
    let fed = valid().replace("topics.yaml", "key: [order_id]", "key: [order_id]\n    key_format: text");
    one_fault(fed, "topics.yaml:4", &["source `sim` writes Avro"]).await;
}

#[rstest]
#[case::a_text("upper(region)", "EU", Ok("CAST(\"x\" AS VARCHAR) IN ('EU')"))]
#[case::a_whole_number("customer_id", "7", Ok("CAST(\"x\" AS VARCHAR) IN ('7')"))]
#[case::a_number_in_another_spelling("customer_id", "07", Err("whole number"))]
#[case::a_decimal("CAST(1 AS DECIMAL(10, 2))", "1.5", Ok("IN (CAST('1.5' AS DECIMAL(10, 2)))"))]
#[case::a_decimal_with_zeros(
    "CAST(1 AS DECIMAL(10, 2))",
    "1.500",
    Ok("IN (CAST('1.500' AS DECIMAL(10, 2)))")
)]
#[case::a_decimal_that_is_none("CAST(1 AS DECIMAL(10, 2))", "1.555", Err("2 of them behind the point"))]
#[case::a_double("CAST(1 AS DOUBLE)", "1", Ok("IN (CAST('1' AS DOUBLE))"))]
#[case::a_date("CAST('2024-01-01' AS DATE)", "2024-12-31", Ok("IN (CAST('2024-12-31' AS DATE))"))]
#[case::no_date("CAST('2024-01-01' AS DATE)", "yesterday", Err("date"))]
#[case::a_far_time("CAST('2024-01-01' AS TIMESTAMP)", "9999-12-31T00:00:00Z", Ok("Timestamp(Microsecond"))]
#[case::a_flag("region IS NULL", "yes", Err("`true` or `false`"))]
#[tokio::test]
async fn accepted_values_are_values_of_the_column(
    #[case] column: &str,
    #[case] value: &str,
    #[case] expected: Result<&str, &str>,
) {
    const FILE: &str = "models/silver/customers.sql";
    let files = valid()
        .replace(FILE, "upper(region) AS region", &format!("upper(region) AS region, {column} AS x"))
        .replace(
            FILE,
            "track_history: [region]\n",
            &format!("expect:\n  known: {{ accepted_values: {{ column: x, values: [\"{value}\"] }} }}\n"),
        );
    let dir = files.write();
    match (load(dir.path(), "embedded").await, expected) {
        (Ok(project), Ok(holds)) => {
            let predicate = &project.catalog.models[&table("silver.customers")].expectations[0].predicate;
            assert!(predicate.contains(holds), "{predicate}");
        }
        (Err(faults), Err(says)) => {
            assert!(
                faults.iter().any(|f| f.message.contains("`known` accepts") && f.message.contains(says)),
                "{faults:?}"
            );
        }
        (Ok(_), Err(_)) => panic!("`{value}` is taken"),
        (Err(faults), Ok(_)) => panic!("{faults:?}"),
    }
}

#[tokio::test]
async fn a_relationship_between_a_text_and_a_number_is_refused() {
    const FILE: &str = "models/gold/sales.sql";
    let files = valid().replace(
        FILE,
        "sold: { measure: sum(total), at_least: 0 }",
        "of: { relationships: { column: customer_id, to: silver.customers, field: region } }",
    );
    one_fault(files, &format!("{FILE}:6"), &["`of`", "`customer_id`", "Utf8", "cast"]).await;
}

#[tokio::test]
async fn a_model_with_a_fault_leaves_the_others_to_those_who_look() {
    let files = valid().replace("models/gold/big.sql", "WHERE total > 1", "WHERE totl > 1").with(
        "models/gold/other.sql",
        "/* lakepulse\nkind: table\nkeys: [order_id]\n*/\nSELECT order_id FROM silver.orders\n",
    );
    let dir = files.write();
    load(dir.path(), "embedded").await.expect_err("has a fault");
    let (project, faults) = load_sound(dir.path(), "embedded", &Learned::new()).await.expect("sound parts");
    assert!(faults.iter().all(|fault| fault.file.ends_with("big.sql")) && !faults.is_empty(), "{faults:?}");
    let names: Vec<String> = project.catalog.models.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["silver.customers", "silver.orders", "gold.other"], "and what rests on it");
    assert!(project.catalog.published.is_empty() && project.catalog.tests.is_empty());
}

#[tokio::test]
async fn a_rule_with_a_fault_takes_its_model_along() {
    let files = valid().replace("models/silver/orders.sql", "total >= 0", "totl >= 0");
    let dir = files.write();
    let (project, faults) = load_sound(dir.path(), "embedded", &Learned::new()).await.expect("sound parts");
    assert_eq!(faults.len(), 1, "{faults:?}");
    let names: Vec<String> = project.catalog.models.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["silver.customers"]);
}

#[tokio::test]
async fn a_topic_with_a_fault_is_nothing_to_look_by() {
    let dir = valid().replace("topics.yaml", "retention: 3d", "retentoin: 3d").write();
    load_sound(dir.path(), "embedded", &Learned::new()).await.expect_err("refused");
}
