//! What a real Debezium wrote for `silver/tests-data/debezium/workload.sql`, put on topics as it stands and
//! taken through bronze and silver: the tables end as PostgreSQL's own, but for what the messages lost.

mod recording;

use serde_json::{Value, json};

use crate::harness::{Project, until};
use recording::{SOON, envelope, field, recordings, replay};

fn drain(project: &Project) {
    project.run(&["up", "--plain", "--no-sources", "--until-drained"]).ok();
    project.run(&["verify"]).ok();
}

/// Rows as text, `·` for null.
fn rows(project: &Project, sql: &str, columns: &[&str]) -> Vec<String> {
    let cell = |value: &Value| match value {
        Value::Null => "·".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of = |row: Value| columns.iter().map(|c| cell(&row[*c])).collect::<Vec<_>>().join("|");
    project.query(sql).into_iter().map(of).collect()
}

fn model(project: &Project, table: &str, kind: &str, keys: &[&str], select: &str) {
    let keys = if keys.is_empty() { String::new() } else { format!("keys: [{}]\n", keys.join(", ")) };
    project.write(
        &format!("models/silver/{table}.sql"),
        &format!("/* lakepulse\nkind: {kind}\n{keys}*/\n{select}"),
    );
}

const CUSTOMER: &str = "customer_id, customer_name, credit_limit, phone, segment, length(notes) AS noted, notes, tags, \
                        standing, ratio, ext, local_ts, hours, big, free";
const CUSTOMER_COLUMNS: [&str; 12] = [
    "customer_id",
    "customer_name",
    "credit_limit",
    "phone",
    "segment",
    "noted",
    "tags",
    "standing",
    "ext",
    "local_ts",
    "hours",
    "free",
];
/// What PostgreSQL holds of a customer that nobody changed but for these.
fn customer(id: u32, name: u32, limit: &str, phone: &str, segment: &str, noted: &str) -> String {
    format!(
        "{id}|Customer {name}|{limit}|{phone}|{segment}|{noted}|[\"a\",\"b\"]|good|\
         00000000-0000-0000-0000-00000000000{name}|2013-01-01T12:34:56.789012Z|93784000000|\
         12345678901234567890.123456789"
    )
}

#[test]
fn json_without_a_schema_part_is_read_by_the_declared_schema() {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: plain\n");
    let mut topics =
        "version: 1\ndefaults: { partitions: 1, value: json, envelope: debezium }\ntopics:\n".to_owned();
    let mut declare = |table: &str, key: &[&str], fields: &[(&str, &str)]| {
        let fields: Vec<Value> = fields.iter().map(|(name, kind)| field(name, kind)).collect();
        project.write(&format!("schemas/{table}.avsc"), &envelope(&fields));
        let key = if key.is_empty() { String::new() } else { format!(", key: [{}]", key.join(", ")) };
        let more = "epoch: 1, table: bronze";
        topics += &format!("  dbz.public.{table}: {{ schema: schemas/{table}.avsc, {more}.{table}{key} }}\n");
    };
    declare(
        "customers",
        &["customer_id"],
        // Declared as the message has them, `infinity` is kept: in a date it is an odd number, in an instant text.
        &[
            ("customer_id", "int"),
            ("customer_name", "string"),
            ("credit_limit", "money"),
            ("phone", "string"),
            ("delivery", "string"),
            ("tags", "texts"),
            ("standing", "string"),
            ("notes", "string"),
            ("valid_from", "string"),
            ("opened", "int"),
            ("ratio", "double"),
            ("ext", "string"),
            ("blob", "bytes"),
            ("local_ts", "timestamp"),
            ("hours", "long"),
            ("big", "long"),
            ("free", "numeric"),
            ("segment", "string"),
        ],
    );
    // `total` became numeric(20,4) under way: a scale that the messages do not have, so it is left out.
    let orders = [("order_id", "int"), ("customer_id", "int"), ("order_date", "date"), ("picked", "boolean")];
    declare("orders", &["order_id"], &orders);
    let lines = [
        ("order_line_id", "int"),
        ("order_id", "int"),
        ("stock_item_id", "int"),
        ("quantity", "int"),
        ("unit_price", "money"),
    ];
    declare("order_lines", &["order_id", "order_line_id"], &lines);
    declare(
        "products",
        &["stock_item_id"],
        &[("stock_item_id", "int"), ("name", "string"), ("price", "money")],
    );
    declare("events_nokey", &[], &[("at", "timestamp"), ("what", "string")]);
    project.write("topics.yaml", &topics);
    model(
        &project,
        "customers",
        "scd1",
        &["customer_id"],
        &format!("SELECT {CUSTOMER}, valid_from, opened FROM changes(bronze.customers)"),
    );
    model(
        &project,
        "orders",
        "scd1",
        &["order_id"],
        "SELECT order_id, customer_id, order_date, picked FROM changes(bronze.orders)",
    );
    model(
        &project,
        "order_lines",
        "scd1",
        &["order_id", "order_line_id"],
        "SELECT order_id, order_line_id, quantity, unit_price FROM changes(bronze.order_lines)",
    );
    model(
        &project,
        "products",
        "scd1",
        &["stock_item_id"],
        "SELECT stock_item_id, name, price FROM changes(bronze.products)",
    );
    model(&project, "events", "append", &[], "SELECT at, what, _op AS op FROM changes(bronze.events_nokey)");
    project.run(&["validate"]).ok();
    project.run(&["apply"]).ok();
    let tables = ["customers", "orders", "order_lines", "products", "events_nokey"];
    replay(&project, &recordings("dbz", "plain", &tables));
    drain(&project);

    let of = |sql: &str, columns: &[&str]| rows(&project, sql, columns);
    let customers = of("SELECT * FROM silver.customers ORDER BY customer_id", &CUSTOMER_COLUMNS);
    let mut expected = vec![
        customer(1, 1, "100.25", "(01) 555-0100", "vip", "·"),
        customer(2, 2, "200.5", "(09) 555-0199", "·", "6400"),
        customer(3, 3, "300.75", "(03) 555-0100", "·", "6401"),
        customer(50, 5, "501.25", "(05) 555-0100", "·", "6400"),
    ];
    // PostgreSQL has NaN in `free` of 60: the message has null.
    expected.push("60|Ünïcødé 客户 \u{1}|·|·|·|·|·|good|·|·|·|·".to_owned());
    expected.push("61||-0.01|·|·|·|·|good|·|·|·|0".to_owned());
    assert_eq!(customers, expected);
    let kept = of(
        "SELECT valid_from, opened FROM silver.customers WHERE customer_id = 60",
        &["valid_from", "opened"],
    );
    assert_eq!(kept, ["-infinity|-2147472692"]);
    assert_eq!(
        of(
            "SELECT * FROM silver.orders ORDER BY order_id",
            &["order_id", "customer_id", "order_date", "picked"]
        ),
        ["1|1|2013-01-02|true", "3|3|2013-01-05|·"]
    );
    assert_eq!(project.value("SELECT count(*) AS n FROM silver.order_lines"), json!(0));
    assert_eq!(
        of("SELECT * FROM silver.products ORDER BY stock_item_id", &["stock_item_id", "name", "price"]),
        ["1|Item 1|9.99", "3|Item 3|4.5", "4|·|4.5"]
    );
    let at = "2013-01-04T00:00:00Z|a|c";
    let events = of("SELECT at, what, op FROM silver.events ORDER BY op, what", &["at", "what", "op"]);
    assert_eq!(events, [at, at, "·|·|d", "·|·|d"]);
    // What no column took is there all the same.
    assert_eq!(project.value("SELECT count(*) AS n FROM bronze.orders WHERE _raw IS NOT NULL"), json!(3));
    assert_eq!(
        project.value("SELECT count(*) AS n FROM bronze.customers WHERE _error IS NOT NULL"),
        json!(0)
    );
}

#[test]
fn json_with_its_schema_part_needs_no_declaration_at_all() {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: learned\n");
    project.write(
        "topics.yaml",
        "version: 1\ntopics:\n  dbzs.public.*: { value: json, envelope: debezium, epoch: 1 }\n",
    );
    model(
        &project,
        "customers",
        "scd1",
        &["customer_id"],
        &format!("SELECT {CUSTOMER}, valid_from, opened FROM changes(bronze.public_customers)"),
    );
    model(
        &project,
        "orders",
        "scd1",
        &["order_id"],
        "SELECT order_id, total FROM changes(bronze.public_orders)",
    );
    model(
        &project,
        "products",
        "scd1",
        &["stock_item_id"],
        "SELECT stock_item_id, price FROM changes(bronze.public_products)",
    );
    project.run(&["validate"]).ok();
    let mut topics = recordings("dbzs", "with-schema", &["customers", "orders", "products"]);
    // The last message of each comes later: an update, a delete with its tombstone, a truncate.
    let later: Vec<(String, Vec<Value>)> = topics
        .iter_mut()
        .map(|(name, messages)| {
            let first = messages
                .iter()
                .position(|m| !m["payload"].as_str().unwrap_or_default().contains("\"op\":\"r\""));
            (name.clone(), messages.split_off(first.expect("something came behind the snapshot")))
        })
        .collect();
    replay(&project, &topics);
    drain(&project);
    let of = |sql: &str, columns: &[&str]| rows(&project, sql, columns);
    let orders = || of("SELECT order_id, total FROM silver.orders ORDER BY order_id", &["order_id", "total"]);
    assert_eq!(orders(), ["1|100.1", "3|12345678.1234"]);
    // By now the columns come from the table.
    replay(&project, &later);
    drain(&project);
    assert_eq!(orders(), Vec::<String>::new());
    let customers = of("SELECT * FROM silver.customers ORDER BY customer_id", &CUSTOMER_COLUMNS);
    let expected = [
        customer(1, 1, "100.25", "(01) 555-0100", "vip", "·"),
        customer(2, 2, "200.5", "(09) 555-0199", "·", "6400"),
        customer(3, 3, "300.75", "x", "·", "6401"),
        customer(50, 5, "501.25", "(05) 555-0100", "·", "6400"),
        "61||-0.01|·|·|·|·|good|·|·|·|0".to_owned(),
    ];
    assert_eq!(customers, expected);
    let times = of(
        "SELECT valid_from, opened FROM silver.customers ORDER BY customer_id DESC LIMIT 2",
        &["valid_from", "opened"],
    );
    assert_eq!(times, ["9999-12-31T23:59:59.999999Z|0001-01-01", "2013-01-01T00:00:00.123456Z|2013-01-01"]);
    let products = of(
        "SELECT stock_item_id, price FROM silver.products ORDER BY stock_item_id",
        &["stock_item_id", "price"],
    );
    assert_eq!(products, ["1|9.99", "3|4.5"]);
    // Customer 60 opened at `infinity`, valid from `-infinity`: no date or time of any table.
    let refused = of("SELECT _error FROM bronze.public_customers WHERE _error IS NOT NULL", &["_error"]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with("time_out_of_range"), "{refused:?}");
}

#[test]
fn columns_are_learned_when_the_first_record_comes_while_everything_runs() {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: late\ncommit: { interval: 200ms }\n");
    project.write(
        "topics.yaml",
        "version: 1\ndefaults: { value: json, envelope: debezium }\ntopics:\n  \
         dbzs.public.orders: { epoch: 1, partitions: 1 }\n  dbzs.public.p*: { epoch: 1 }\n",
    );
    let orders = "SELECT order_id, total FROM changes(bronze.public_orders)";
    model(&project, "orders", "scd1", &["order_id"], orders);
    let products = "SELECT stock_item_id, price FROM changes(bronze.public_products)";
    model(&project, "products", "scd1", &["stock_item_id"], products);
    let all = project.start(&["up", "--plain", "--no-sources"]);
    let said = || project.read("started-up.err");
    until("it says which topic holds nothing", SOON, || said().contains("holds nothing to learn"));
    replay(&project, &recordings("dbzs", "with-schema", &["orders", "products"]));
    let table = |name: &str| project.dir.path().join(".lakepulse/lake/silver").join(name).exists();
    until("silver has both tables", SOON, || table("orders") && table("products"));
    let there = || {
        let ran = project.run(&["query", "SELECT count(*) AS n FROM silver.products", "--format", "json"]);
        ran.code == Some(0) && ran.stdout.contains("2")
    };
    until("silver has the rows", SOON, there);
    all.interrupt();
    assert_eq!(all.wait(SOON), Some(0), "{}", said());
    assert_eq!(said().matches("holds nothing to learn").count(), 1, "{}", said());
    assert!(!said().contains("halts"), "{}", said());
    drain(&project);
    let of = |sql: &str, columns: &[&str]| rows(&project, sql, columns);
    let products = "SELECT stock_item_id, price FROM silver.products ORDER BY stock_item_id";
    assert_eq!(of(products, &["stock_item_id", "price"]), ["1|9.99", "3|4.5"]);
}

/// Replays one run of the connector over all three tables.
fn replayed(prefix: &str, folder: &str, contract: &str) -> Project {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: replayed\n");
    project.write("topics.yaml", &format!("version: 1\ntopics:\n  {prefix}.public.*: {contract}\n"));
    model(
        &project,
        "customers",
        "scd1",
        &["customer_id"],
        &format!("SELECT {CUSTOMER} FROM changes(bronze.public_customers)"),
    );
    let lines = "SELECT order_id, order_line_id, quantity FROM changes(bronze.public_order_lines)";
    model(&project, "order_lines", "scd1", &["order_id", "order_line_id"], lines);
    let products = "SELECT stock_item_id, price FROM changes(bronze.public_products)";
    model(&project, "products", "scd1", &["stock_item_id"], products);
    replay(&project, &recordings(prefix, folder, &["customers", "order_lines", "products"]));
    drain(&project);
    let customers = rows(&project, "SELECT * FROM silver.customers ORDER BY customer_id", &CUSTOMER_COLUMNS);
    let expected = [
        customer(1, 1, "100.25", "(01) 555-0100", "vip", "·"),
        customer(2, 2, "200.5", "(09) 555-0199", "·", "6400"),
        customer(3, 3, "300.75", "x", "·", "6401"),
        customer(50, 5, "501.25", "(05) 555-0100", "·", "6400"),
        "61||-0.01|·|·|·|·|good|·|·|·|0".to_owned(),
    ];
    assert_eq!(customers, expected, "{folder}");
    let products = "SELECT stock_item_id, price FROM silver.products ORDER BY stock_item_id";
    let products = rows(&project, products, &["stock_item_id", "price"]);
    assert_eq!(products, ["1|9.99", "3|4.5"], "{folder}");
    project
}

fn lines(project: &Project) -> Vec<String> {
    let sql = "SELECT order_id, order_line_id, quantity FROM silver.order_lines ORDER BY order_id";
    rows(project, sql, &["order_id", "order_line_id", "quantity"])
}

#[test]
fn without_transaction_metadata_the_offset_decides() {
    let contract = "{ value: json, envelope: debezium, epoch: 1 }";
    let project = replayed("notx", "no-transactions", contract);
    assert_eq!(lines(&project), Vec::<String>::new());
}

#[test]
fn flattened_topics_end_as_in_postgresql_but_for_the_truncate_they_lost() {
    let contract = "{ value: json, envelope: debezium_flat, epoch: 1 }";
    for (prefix, folder) in [("flat", "flat"), ("tomb", "flat-tombstones")] {
        let project = replayed(prefix, folder, contract);
        // PostgreSQL's table is empty: the transform keeps no truncate.
        assert_eq!(lines(&project), ["1|10|3", "2|11|2"], "{folder}");
    }
}

#[test]
fn json_in_an_envelope_that_says_nothing_of_its_types_is_not_guessed_at() {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: bare\n");
    project.write(
        "topics.yaml",
        "version: 1\ntopics:\n  dbz.public.orders: { value: json, envelope: debezium, partitions: 1 }\n",
    );
    project.run(&["apply"]).ok();
    replay(&project, &recordings("dbz", "plain", &["orders"]));
    let bronze = project.start(&["bronze"]);
    until("it says what is missing", SOON, || project.read("started-bronze.err").contains("carry no schema"));
    bronze.kill();
    assert!(project.read("started-bronze.err").contains("schemas.enable=true"));
}

/// A change as Connect's JSON converter writes it: `fields` are of the row, as its own JSON has them.
fn change(fields: &[Value], partition: i32, lsn: i64, row: &Value) -> Value {
    let with_name = |kind: Value, name: &str| {
        let mut kind = kind;
        kind["field"] = json!(name);
        kind
    };
    let image = |name: &str| json!({ "type": "struct", "fields": fields, "optional": true, "field": name, "name": "t.Value" });
    let source = [
        ("version", "string"),
        ("connector", "string"),
        ("name", "string"),
        ("ts_ms", "int64"),
        ("schema", "string"),
        ("table", "string"),
        ("txId", "int64"),
        ("lsn", "int64"),
    ];
    let source: Vec<Value> =
        source.iter().map(|(name, kind)| json!({ "type": kind, "optional": true, "field": name })).collect();
    let schema = json!({ "type": "struct", "name": "t.Envelope", "optional": false, "fields": [
        image("before"),
        image("after"),
        with_name(json!({ "type": "struct", "fields": source, "optional": false, "name": "t.Source" }), "source"),
        with_name(json!({ "type": "string", "optional": false }), "op"),
        with_name(json!({ "type": "int64", "optional": true }), "ts_ms"),
    ] });
    let payload = json!({
        "before": null, "after": row, "op": "c", "ts_ms": 1_700_000_000_000_i64,
        "source": {
            "version": "3.3.1.Final", "connector": "postgresql", "name": "t", "ts_ms": 1_700_000_000_000_i64,
            "schema": "public", "table": "t", "txId": lsn, "lsn": lsn,
        },
    });
    let key = json!({
        "schema": { "type": "struct", "optional": false, "name": "t.Key",
            "fields": [{ "type": "int32", "optional": false, "field": "id" }] },
        "payload": { "id": row["id"] },
    });
    let value = json!({ "schema": schema, "payload": payload }).to_string();
    json!({ "partition": partition, "key": key.to_string(), "payload": value })
}

/// PostgreSQL says nothing of the rows that a new column gives its default: the schema carries it, and what it
/// was at first stays true of them when it changes.
#[test]
fn a_column_added_with_a_default_is_in_old_rows_too() {
    let typed = |name: &str, kind: &str| json!({ "type": kind, "optional": true, "field": name });
    let id = json!({ "type": "int32", "optional": false, "field": "id" });
    let given = |name: &str, kind: &str, default: Value| {
        let mut field = typed(name, kind);
        field["default"] = default;
        field
    };
    let price = |default: Value| {
        json!({ "type": "bytes", "optional": true, "field": "price", "default": default, "version": 1,
            "name": "org.apache.kafka.connect.data.Decimal", "parameters": { "scale": "2" } })
    };
    let old = vec![id.clone(), typed("name", "string")];
    // 12.34, and a list of nothing.
    let tags = json!({ "type": "array", "optional": true, "field": "tags", "default": [],
        "items": { "type": "string", "optional": true } });
    let new: Vec<Value> = old
        .iter()
        .cloned()
        .chain([
            given("c", "string", json!("old")),
            given("n", "int64", json!(7)),
            price(json!("BNI=")),
            tags,
        ])
        .collect();
    let mut later = new.clone();
    later[2] = given("c", "string", json!("another"));
    let first: Vec<Value> = (1..=4)
        .map(|id| change(&old, id % 2, id.into(), &json!({ "id": id, "name": format!("n{id}") })))
        .collect();
    let row = |id: i32, c: Value| json!({ "id": id, "name": "new", "c": c, "n": null, "price": "ew==", "tags": ["t"] });
    let second = vec![
        change(&new, 0, 10, &row(10, json!("y"))),
        change(&new, 0, 11, &row(11, Value::Null)),
        // One that is late: its partition has none yet whose writer knows the column.
        change(&old, 1, 12, &json!({ "id": 12, "name": "late" })),
        // On the partition of the first schema with the column: which of two partitions is read first is open.
        change(&later, 0, 13, &row(13, Value::Null)),
        // As after a column was dropped: its writer knows it no more.
        change(&old, 0, 14, &json!({ "id": 14, "name": "later" })),
    ];
    let expected = [
        "1|n1|old|7|12.34|[]",
        "2|n2|old|7|12.34|[]",
        "3|n3|old|7|12.34|[]",
        "4|n4|old|7|12.34|[]",
        "10|new|y|·|1.23|[\"t\"]",
        "11|new|·|·|1.23|[\"t\"]",
        "12|late|old|7|12.34|[]",
        "13|new|·|·|1.23|[\"t\"]",
        "14|later|·|·|·|·",
    ];
    let wide = ["id", "name", "c", "n", "price", "tags"];
    let select = format!("SELECT {} FROM changes(bronze.public_t)", wide.join(", "));
    let project = |name: &str| {
        let project = Project::empty();
        project.write("lakepulse.yaml", &format!("version: 1\nname: {name}\n"));
        project.write(
            "topics.yaml",
            "version: 1\ntopics:\n  x.public.*: { value: json, envelope: debezium, epoch: 1 }\n",
        );
        project
    };
    let there = |project: &Project| rows(project, "SELECT * FROM silver.t ORDER BY id", &wide);

    // The column comes while there is a table.
    let grown = project("grown");
    model(&grown, "t", "scd1", &["id"], "SELECT id, name FROM changes(bronze.public_t)");
    replay(&grown, &[("x.public.t".to_owned(), first.clone())]);
    drain(&grown);
    replay(&grown, &[("x.public.t".to_owned(), second.clone())]);
    drain(&grown);
    model(&grown, "t", "scd1", &["id"], &select);
    drain(&grown);
    assert_eq!(there(&grown), expected);
    // What was written is what was written: bronze's files are another matter than what they mean.
    grown.run(&["maintain"]).ok();
    model(&grown, "t", "scd1", &["id"], &format!("{select} WHERE id > 0"));
    drain(&grown);
    assert_eq!(there(&grown), expected);

    // All of it is there before the first start.
    let late = project("late");
    model(&late, "t", "scd1", &["id"], &select);
    replay(&late, &[("x.public.t".to_owned(), first.into_iter().chain(second).collect())]);
    drain(&late);
    assert_eq!(there(&late), expected);
}
