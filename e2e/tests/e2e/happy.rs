//! From changes to gold, with and without disorder, duplicates and poison.

use std::collections::BTreeMap;

use cdc_sim::oracle::{Dialect, checksum_sql, revenue_sql};
use cdc_sim::tables::SourceTable;
use serde_json::Value;

use crate::harness::Project;

/// Events of a run in tests: enough for several commits of every stage.
const EVENTS: &str = "60000";

/// Silver's rows and checksums, revenue and orders are what the simulator says they must be.
#[track_caller]
pub fn matches_oracle(project: &Project, summary: &str) {
    assert_eq!(differences(project, summary), Vec::<String>::new());
}

/// What is not yet, or not any more, as the simulator says it must be.
pub fn differences(project: &Project, summary: &str) -> Vec<String> {
    let oracle: Value = serde_json::from_str(&project.read(summary)).expect("the summary is JSON");
    let tables = oracle["tables"].as_object().expect("tables");
    assert_eq!(tables.len(), SourceTable::ALL.len(), "{tables:?}");
    let mut expected = BTreeMap::new();
    let mut figures = Vec::new();
    let mut compare = |what: String, sql: String, value: &Value| {
        figures.push(format!("SELECT '{what}' AS what, CAST(({sql}) AS VARCHAR) AS value"));
        expected.insert(what, text(value));
    };
    for table in SourceTable::ALL {
        let (name, of) = (table.name(), &tables[table.name()]);
        let rows = format!("SELECT count(*) FROM silver.{name}");
        compare(format!("rows of silver.{name}"), rows, &of["live_rows"]);
        compare(
            format!("checksum of silver.{name}"),
            checksum_sql(table, Dialect::DataFusion),
            &of["checksum"],
        );
    }
    compare("revenue to the cent".to_owned(), revenue_sql().to_owned(), &oracle["totals"]["revenue"]);
    let orders = "SELECT count(*) FROM silver.orders".to_owned();
    compare("orders".to_owned(), orders, &oracle["totals"]["orders"]);
    // All of them in one process.
    let rows = project.query(&figures.join(" UNION ALL "));
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    let found = rows.iter().map(|row| (text(&row["what"]), text(&row["value"])));
    found
        .filter(|(what, value)| expected.get(what) != Some(value))
        .map(|(what, value)| format!("{what}: {value} instead of {:?}", expected.get(&what)))
        .collect()
}

/// Numbers and texts alike: decimals come as text or number, by format.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

// Holds P7 (docs/invariants.md).
#[test]
fn every_change_reaches_gold_and_verify_proves_it() {
    let project = Project::reference();
    project
        .run(&["up", "--plain", "--events", EVENTS, "--seed", "7", "--until-drained", "--summary", "s.json"])
        .ok();
    matches_oracle(&project, "s.json");
    let verified = project.run(&["verify"]).ok();
    for table in
        ["bronze.cdc_orders", "silver.orders", "silver.customers_history", "gold.daily_sales_metrics"]
    {
        assert!(verified.stdout.contains(table), "{}", verified.stdout);
    }
    assert!(project.query("SELECT count(*) AS n FROM gold.customer_analytics")[0]["n"].as_i64() > Some(0));
    // Everything again changes nothing.
    project
        .run(&["up", "--plain", "--events", EVENTS, "--seed", "7", "--until-drained", "--summary", "t.json"])
        .ok();
    matches_oracle(&project, "t.json");
}

// Holds P6 (docs/invariants.md).
#[test]
fn disorder_duplicates_and_poison_do_not_change_the_tables() {
    let project = Project::reference();
    let faults = ["--disorder", "1%", "--duplicates", "1%", "--poison", "0.1%"];
    let base =
        ["up", "--plain", "--events", EVENTS, "--seed", "11", "--until-drained", "--summary", "s.json"];
    project.run(&[&base[..], &faults[..]].concat()).ok();
    matches_oracle(&project, "s.json");
    project.run(&["verify"]).ok();
    let oracle: Value = serde_json::from_str(&project.read("s.json")).expect("JSON");
    for fault in ["duplicates", "disordered", "poison"] {
        assert!(oracle["injected"][fault].as_u64() > Some(0), "{fault}: {}", oracle["injected"]);
    }
    let tables = project.query(
        "SELECT count(*) AS n, count(_error) AS reasons, count(DISTINCT _error) AS kinds FROM bronze.cdc_orders \
         WHERE _error IS NOT NULL",
    );
    assert!(tables[0]["n"].as_u64() > Some(0) && tables[0]["n"] == tables[0]["reasons"], "{tables:?}");
}
