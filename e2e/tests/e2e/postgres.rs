//! A real PostgreSQL as the source: what is in its tables in the end is what silver holds, whatever
//! happens to the reader in between.

use std::path::Path;
use std::time::Duration;

use cdc_sim::field::Kind;
use cdc_sim::tables::SourceTable;
use serde_json::{Value, json};

use crate::database::Database;
use crate::happy::matches_oracle;
use crate::harness::{Project, until};

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(120);

/// The reference project, its source the retailer's database instead of the simulator.
fn reference(database: &Database) -> Project {
    let project = Project::reference();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let source = std::fs::read_to_string(root.join("compose/postgres/wwi.yaml")).expect("the source");
    let url = database.url("lakepulse");
    project.write("sources/wwi.yaml", &source.replace("${env:WWI_POSTGRES}", &url));
    project
}

/// Rows of a table as `key|hash of the row`, in order: by PostgreSQL and by the lake.
fn rows(database: &Database, project: &Project, table: SourceTable) -> (Vec<String>, Vec<String>) {
    let key = table.key();
    let texts = |text: &dyn Fn(&str, Kind) -> String| {
        let columns = table.columns().iter().filter(|c| c.change != cdc_sim::row::ColumnChange::Added);
        let each = columns.map(|column| format!("COALESCE({}, '~')", text(column.name, column.kind)));
        each.collect::<Vec<_>>().join(", ")
    };
    let theirs = texts(&|name, kind| match kind {
        Kind::Instant => format!("(extract(epoch FROM {name}) * 1000000)::bigint::text"),
        _ => format!("{name}::text"),
    });
    let ours = texts(&|name, kind| match kind {
        Kind::Instant => format!("CAST(CAST({name} AS BIGINT) AS VARCHAR)"),
        _ => format!("CAST({name} AS VARCHAR)"),
    });
    let schema = table.schema();
    let name = table.name();
    let theirs = database.sql(&format!(
        "SELECT {key} || '|' || md5(concat_ws('|', {theirs})) FROM {schema}.{name} ORDER BY {key}"
    ));
    let ours = project.query(&format!(
        "SELECT concat(CAST({key} AS VARCHAR), '|', md5(concat_ws('|', {ours}))) AS row FROM silver.{name} \
         ORDER BY {key}"
    ));
    let ours = ours.iter().map(|row| row["row"].as_str().expect("text").to_owned()).collect();
    (theirs.lines().map(str::to_owned).collect(), ours)
}

// Holds P4 (docs/invariants.md).
#[test]
fn a_reader_killed_at_any_moment_loses_and_doubles_nothing() {
    let database = Database::retailer();
    let project = reference(&database);
    let into = database.url("retailer");
    let sim = |events: &'static str| {
        ["sim", "--into", into.as_str(), "--events", events, "--seed", "5", "--summary", "s.json"]
            .map(str::to_owned)
    };
    let run = |args: &[String]| project.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    // Some is there before anybody reads.
    run(&sim("9000"));
    let workload = sim("40000");
    let mut writer = project.start(&workload.iter().map(String::as_str).collect::<Vec<_>>());
    let slot = || {
        database
            .sql("SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE NOT temporary")
    };
    let mut kills = 0;
    for round in 0..10_u64 {
        let reader = project.start(&["ingest", "postgres"]);
        if round == 0 {
            // Amid the first snapshot: the slot is made just before it.
            until("there is a slot", SOON, || !slot().is_empty());
        } else {
            let before: u64 = slot().parse().expect("a position");
            let further = (round * 7) % 5 * 60_000;
            until("the slot moves on, or the workload ends", SOON, || {
                let now: u64 = slot().parse().expect("a position");
                now > before + further || !writer.alive()
            });
        }
        reader.kill();
        kills += 1;
    }
    assert_eq!(kills, 10);
    assert_eq!(writer.wait(SOON), Some(0), "the workload is applied");
    project.run(&["up", "--plain", "--until-drained"]).ok();
    matches_oracle(&project, "s.json");
    for table in SourceTable::ALL {
        let (theirs, ours) = rows(&database, &project, table);
        assert_eq!(theirs, ours, "rows of {}", table.name());
    }
    project.run(&["verify"]).ok();
}

/// A shop with one table of columns that are hard to get right, and one that is emptied.
struct Shop {
    database: Database,
    project: Project,
}
impl Shop {
    fn open() -> Self {
        let database = Database::empty();
        database.role("reader", "REPLICATION");
        database.sql(
            "CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, note text, price numeric(18, 2)); \
             CREATE TABLE baskets (id int PRIMARY KEY, item int NOT NULL); \
             ALTER TABLE baskets REPLICA IDENTITY FULL; \
             GRANT SELECT ON items, baskets TO reader; \
             CREATE PUBLICATION lakepulse FOR TABLE items, baskets",
        );
        let project = Project::empty();
        project.write("lakepulse.yaml", "version: 1\nname: shop\ncommit: { interval: 200ms }\n");
        project.write(
            "topics.yaml",
            "version: 1
defaults: { partitions: 2 }
topics:
  shop.items: { schema: schemas/items.avsc, envelope: debezium, key: [id] }
  shop.baskets: { schema: schemas/baskets.avsc, envelope: debezium, key: [id], replica_identity: full }
",
        );
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}"#;
        let optional =
            |name: &str, kind: &str| format!(r#"{{"name":"{name}","type":["null",{kind}],"default":null}}"#);
        let items = [
            r#"{"name":"id","type":"int"},{"name":"name","type":"string"}"#.to_owned(),
            optional("note", r#""string""#),
            optional("price", decimal),
        ];
        project.write("schemas/items.avsc", &envelope("items", &items.join(",")));
        let baskets = r#"{"name":"id","type":"int"},{"name":"item","type":"int"}"#;
        project.write("schemas/baskets.avsc", &envelope("baskets", baskets));
        for (table, columns) in [("items", "id, name, note, price"), ("baskets", "id, item")] {
            project.write(
                &format!("models/silver/{table}.sql"),
                &format!(
                    "/* lakepulse\nkind: scd1\nkeys: [id]\n*/\nSELECT {columns} FROM changes(bronze.{table})"
                ),
            );
        }
        let shop = Self { database, project };
        shop.read_from("reader");
        shop
    }
    fn read_from(&self, user: &str) {
        let url = self.database.url(user);
        self.project.write(
            "sources/shop.yaml",
            &format!(
                "version: 1\nconnector: postgres\nsettings: {{ url: \"{url}\", heartbeat: 1s }}\n\
                 streams: {{ public.items: shop.items, public.baskets: shop.baskets }}\n"
            ),
        );
    }
    /// Reads what is committed, and brings it to silver.
    fn drain(&self) {
        self.project.run(&["up", "--plain", "--until-drained"]).ok();
    }
    /// Rows of both, as JSON.
    fn items(&self) -> (Vec<Value>, Vec<Value>) {
        let sql = "SELECT id, name, md5(note) AS note, CAST(price AS VARCHAR) AS price FROM";
        let theirs = self.database.sql(&format!("SELECT row_to_json(r) FROM ({sql} items ORDER BY id) r"));
        let theirs = theirs.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (theirs, with_nulls(self.project.query(&format!("{sql} silver.items ORDER BY id"))))
    }
}

/// Rows printed as JSON leave nulls out.
fn with_nulls(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        for column in ["note", "price"] {
            if row.get(column).is_none() {
                row[column] = Value::Null;
            }
        }
    }
    rows
}

fn envelope(table: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"record","name":"Envelope","namespace":"shop.{table}","fields":[
        {{"name":"before","type":["null",{{"type":"record","name":"Value","fields":[{fields}]}}],"default":null}},
        {{"name":"after","type":["null","Value"],"default":null}},
        {{"name":"source","type":{{"type":"record","name":"Source","fields":[
            {{"name":"ts_ms","type":"long"}},{{"name":"snapshot","type":["null","string"],"default":null}},
            {{"name":"lsn","type":["null","long"],"default":null}}]}}}},
        {{"name":"op","type":"string"}},
        {{"name":"transaction","type":["null",{{"type":"record","name":"block","fields":[
            {{"name":"id","type":"string"}},{{"name":"total_order","type":"long"}},
            {{"name":"data_collection_order","type":"long"}}]}}],"default":null}}]}}"#
    )
}

#[test]
fn what_is_hard_about_a_log_ends_in_silver_as_in_the_database() {
    let shop = Shop::open();
    let long = "(SELECT string_agg(md5((g * 7)::text), '') FROM generate_series(1, 300) g)";
    shop.database.sql(&format!(
        "INSERT INTO items SELECT i, 'item ' || i, {long} || i, i * 1.25 FROM generate_series(1, 6) i; \
         INSERT INTO baskets SELECT i, i FROM generate_series(1, 4) i"
    ));
    shop.drain();
    shop.database.sql("UPDATE items SET price = 9.99 WHERE id = 1");
    shop.database.sql("UPDATE items SET id = 70 WHERE id = 2");
    shop.database.sql("DELETE FROM items WHERE id = 3");
    shop.database.sql("BEGIN; INSERT INTO items VALUES (8, 'rolled back', NULL, 1); ROLLBACK");
    shop.database.sql("TRUNCATE baskets; INSERT INTO baskets VALUES (9, 9)");
    shop.database
        .sql("ALTER TABLE items ADD COLUMN segment text; UPDATE items SET segment = 'vip' WHERE id = 4");
    shop.database.sql("UPDATE items SET note = NULL WHERE id = 5");
    shop.drain();
    let (theirs, ours) = shop.items();
    assert_eq!(theirs, ours);
    assert_eq!(theirs.len(), 5, "{theirs:?}");
    assert_eq!(shop.project.query("SELECT id, item FROM silver.baskets"), [json!({ "id": 9, "item": 9 })]);
    let followed = "SELECT count(*) AS n FROM bronze.items WHERE after['segment'] = 'vip'";
    assert_eq!(shop.project.value(followed), 1, "the schema follows the table");
    shop.project.run(&["verify"]).ok();
}

#[test]
fn a_value_that_no_schema_can_hold_is_kept_with_its_reason_and_stops_nothing() {
    let shop = Shop::open();
    shop.database.sql("INSERT INTO items VALUES (1, 'a', NULL, 1), (2, 'b', NULL, 'NaN'), (3, 'c', NULL, 3)");
    shop.drain();
    let ids = shop.project.query("SELECT id FROM silver.items ORDER BY id");
    assert_eq!(ids, [json!({ "id": 1 }), json!({ "id": 3 })]);
    let kept =
        shop.project.query("SELECT CAST(_raw AS VARCHAR) AS raw FROM bronze.items WHERE _error IS NOT NULL");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0]["raw"].as_str().is_some_and(|raw| raw.contains("NaN")), "{kept:?}");
}

#[test]
fn a_snapshot_taken_again_takes_away_what_went_while_nobody_read() {
    let shop = Shop::open();
    shop.database.sql("INSERT INTO items SELECT i, 'item', NULL, i FROM generate_series(1, 5) i");
    shop.drain();
    shop.database.sql("ALTER PUBLICATION lakepulse DROP TABLE items");
    shop.database.sql("DELETE FROM items WHERE id = 2; UPDATE items SET name = 'unseen' WHERE id = 3");
    shop.database.sql("ALTER PUBLICATION lakepulse ADD TABLE items");
    shop.database.sql("UPDATE items SET name = 'seen' WHERE id = 4");
    shop.drain();
    let (theirs, ours) = shop.items();
    assert_ne!(theirs, ours, "the test opens a gap");
    shop.project.run(&["ingest", "postgres", "--snapshot", "public.items", "--until-drained"]).ok();
    shop.drain();
    let (theirs, ours) = shop.items();
    assert_eq!(theirs, ours);
    shop.project.run(&["verify"]).ok();
}

// Holds P5 (docs/invariants.md).
#[test]
fn another_history_halts_until_told_and_is_an_epoch_of_its_own() {
    let shop = Shop::open();
    shop.database.sql("INSERT INTO items SELECT i, 'item', NULL, i FROM generate_series(1, 5) i");
    shop.drain();
    shop.database.sql("SELECT pg_drop_replication_slot('lakepulse_shop_shop')");
    shop.database.sql("DELETE FROM items WHERE id = 2");
    let halted = shop.project.run(&["ingest", "postgres", "--until-drained"]).code(5);
    assert!(halted.stderr.contains("replication slot is gone"), "{}", halted.stderr);
    assert!(halted.stderr.contains("--new-epoch"), "{}", halted.stderr);
    shop.project.run(&["ingest", "postgres", "--new-epoch", "--until-drained"]).ok();
    shop.database.sql("UPDATE items SET name = 'later' WHERE id = 1");
    shop.drain();
    let (theirs, ours) = shop.items();
    assert_eq!(theirs, ours);
    assert_eq!(shop.project.value("SELECT max(_epoch) AS epoch FROM bronze.items"), 2);
    shop.project.run(&["verify"]).ok();
}

#[test]
fn a_database_that_cannot_be_read_is_refused_with_what_to_do() {
    let shop = Shop::open();
    let refused = |words: &[&str]| {
        let ran = shop.project.run(&["ingest", "postgres", "--until-drained"]).code(5);
        for word in words {
            assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("of-this-test-only"), "{}", ran.stderr);
    };
    shop.database.sql("REVOKE SELECT ON items FROM reader");
    refused(&["`reader` may not read \"public\".\"items\"", "GRANT SELECT"]);
    shop.database.sql("GRANT SELECT ON items TO reader; ALTER PUBLICATION lakepulse DROP TABLE baskets");
    refused(&["does not have \"public\".\"baskets\"", "ADD TABLE"]);
    shop.database.sql("ALTER PUBLICATION lakepulse ADD TABLE baskets");
    shop.database.sql("ALTER PUBLICATION lakepulse SET (publish = 'insert')");
    refused(&["leaves out some kinds of changes", "SET (publish"]);
    shop.database.sql("DROP PUBLICATION lakepulse");
    refused(&["no publication `lakepulse`", "CREATE PUBLICATION"]);
    shop.database.role("plain", "");
    shop.read_from("plain");
    refused(&["`plain` may not replicate", "ALTER ROLE"]);
}

#[test]
fn a_server_whose_log_cannot_be_read_is_refused_with_what_to_do() {
    let shop = Shop { database: Database::unprepared(), ..Shop::open() };
    shop.read_from("postgres");
    let ran = shop.project.run(&["ingest", "postgres", "--until-drained"]).code(5);
    assert!(ran.stderr.contains("`wal_level` is `replica`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ALTER SYSTEM SET wal_level = logical"), "{}", ran.stderr);
}
