//! `verify` can fail: each way of breaking a finished lake is caught and named.
//!
//! The lake is broken from outside, with the lake crate's own commits under a foreign hand.

use std::path::Path;

use crate::harness::Project;

fn finished() -> Project {
    let project = Project::reference();
    project
        .run(&["up", "--plain", "--events", "20000", "--rate", "5000", "--seed", "9", "--until-drained"])
        .ok();
    project.run(&["verify"]).ok();
    project
}

#[test]
fn a_deleted_doubled_or_changed_row_a_dropped_commit_and_a_lowered_pin_are_caught_and_named() {
    let project = finished();
    let lake = project.dir.path().join(".lakepulse/lake");
    let saved = project.dir.path().join("saved");
    for (sabotage, table) in [
        ("delete-row", "silver.customers"),
        ("double-row", "silver.customers"),
        ("change-value", "silver.customers"),
        ("delete-row", "bronze.cdc_orders"),
        ("double-row", "bronze.cdc_orders"),
        ("change-value", "bronze.cdc_orders"),
        ("drop-commit", "bronze.cdc_orders"),
        ("skip-record", "bronze.cdc_orders"),
        ("delete-row", "gold.customer_analytics"),
        ("change-value", "gold.customer_analytics"),
        ("lower-pin", "gold.customer_analytics"),
    ] {
        clone(&lake, &saved);
        testkit::sabotage::run(&lake, sabotage, table)
            .unwrap_or_else(|error| panic!("{sabotage} {table}: {error:#}"));
        let ran = project.run(&["verify"]).code(4);
        assert!(
            ran.stdout.lines().any(|line| line.contains(table) && line.contains("FAULT")),
            "{sabotage} of {table} is not named:\n{}",
            ran.stdout
        );
        std::fs::remove_dir_all(&lake).expect("removed");
        std::fs::rename(&saved, &lake).expect("restored");
    }
    project.run(&["verify"]).ok();
}

fn clone(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}
