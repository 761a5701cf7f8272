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

/// A small project with every kind of table, values that are easily spoilt, deletes, bad records and a topic.
fn proof() -> Project {
    let project = Project::empty();
    let write = |path: &str, text: &str| project.write(path, text);
    write("lakepulse.yaml", "version: 1\nname: proof\nclock: events\ncommit: { interval: 200ms }\n");
    write(
        "topics.yaml",
        "version: 1\ntopics:\n  p.items: { schema: schemas/item.avsc, key: [id], partitions: 2 }\n  \
         p.dead: { value: bytes, partitions: 1 }\n",
    );
    write(
        "schemas/item.avsc",
        r#"{"type":"record","name":"item","fields":[{"name":"id","type":"long"},{"name":"op","type":"string"},
           {"name":"seq","type":"long"},{"name":"name","type":["null","string"],"default":null},
           {"name":"note","type":["null","string"],"default":null},{"name":"rate","type":["null","double"],"default":null},
           {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}],"default":null}]}"#,
    );
    write(
        "sources/items.yaml",
        "version: 1\nconnector: files\nsettings: { dir: in, dead_letter: p.dead, poll: 200ms }\n\
         streams: { items: p.items }\n",
    );
    let by_key = "keys: [id]\nsequence_by: seq\ndeletes_when: \"op = 'd'\"";
    let aside = "expect:\n  has_name: { not_null: [name], else: quarantine }";
    let of = "FROM changes(bronze.items)";
    for (name, header, sql) in [
        ("silver/items", format!("kind: scd1\n{by_key}\n{aside}"), format!("SELECT id, name, note, rate, price, seq {of}")),
        ("silver/history", format!("kind: scd2\n{by_key}\ntrack_history: [name]"), format!("SELECT id, name, price, seq {of}")),
        ("silver/log", "kind: append".to_owned(), format!("SELECT id, op, name, seq {of}")),
        (
            "gold/totals",
            "kind: table\nkeys: [name]\npublish: p.totals".to_owned(),
            "SELECT name, count(*) AS n, sum(price) AS price, max(rate) AS rate FROM silver.items GROUP BY name".to_owned(),
        ),
    ] {
        write(&format!("models/{name}.sql"), &format!("/* lakepulse\n{header}\n*/\n{sql}\n"));
    }
    let drain = || drop(project.run(&["up", "--plain", "--until-drained"]).ok());
    let put = |name: &str, lines: &str| {
        write(&format!("in/.{name}"), lines);
        std::fs::rename(
            project.dir.path().join(format!("in/.{name}")),
            project.dir.path().join("in").join(name),
        )
        .expect("renamed");
    };
    put(
        "items-1.jsonl",
        r#"{"id":1,"op":"c","seq":1,"name":"a","note":"","price":"10.25","rate":0.1}
{"id":2,"op":"c","seq":1,"name":"b","note":null,"price":"99.99","rate":0.3}
{"id":3,"op":"c","seq":1,"name":"c","note":"x","price":"7.77","rate":0.7}
{"id":5,"op":"c","seq":1,"name":"b","note":"y","price":"0.01","rate":0.9}
"#,
    );
    drain();
    testkit::mutants::poison(project.dir.path(), "p.items", b"junk").expect("sent");
    put(
        "items-2.jsonl",
        r#"{"id":1,"op":"u","seq":2,"name":"a2","note":"","price":"11.55","rate":0.1}
{"id":3,"op":"d","seq":2,"name":"c"}
{"id":4,"op":"c","seq":1,"note":"no name","price":"1.11","rate":1.5}
"#,
    );
    drain();
    put(
        "items-3.jsonl",
        r#"{"id":1,"op":"u","seq":3,"name":"b","note":"","price":"12.34","rate":0.1}
"#,
    );
    drain();
    project.run(&["verify"]).ok();
    project
}

/// The lines in which `verify` names the faults of a table or topic.
fn faults<'a>(stdout: &'a str, of: &str) -> Vec<&'a str> {
    let mut is_of = false;
    let within = |line: &&str| {
        if !line.starts_with(' ') {
            is_of = line.starts_with("FAULT") && line.split_whitespace().nth(1) == Some(of);
        }
        is_of && !line.trim_start().starts_with("not checked:")
    };
    stdout.lines().filter(within).collect()
}

// Holds P6 (docs/invariants.md).
// Holds P7 (docs/invariants.md).
#[test]
fn what_a_faulty_stage_would_have_left_is_found_and_named() {
    let project = proof();
    let (state, saved) = (project.dir.path().join(".lakepulse"), project.dir.path().join("saved"));
    let mut unseen = Vec::new();
    for mutant in testkit::mutants::ALL {
        clone(&state, &saved);
        testkit::mutants::make(project.dir.path(), mutant.name)
            .unwrap_or_else(|error| panic!("{}: {error:#}", mutant.name));
        let ran = project.run(&["verify"]);
        let is_named = faults(&ran.stdout, mutant.of).iter().any(|fault| fault.contains(mutant.fault));
        if ran.code != Some(4) || !is_named {
            unseen.push(format!(
                "{} (exit {:?}), not told of {} by `{}`:\n{}{}",
                mutant.name, ran.code, mutant.of, mutant.fault, ran.stdout, ran.stderr
            ));
        }
        std::fs::remove_dir_all(&state).expect("removed");
        std::fs::rename(&saved, &state).expect("restored");
    }
    assert!(unseen.is_empty(), "{} not found:\n{}", unseen.len(), unseen.join("\n"));
    project.run(&["verify"]).ok();
}

#[test]
fn a_lake_that_is_gone_while_its_topics_hold_records_is_a_fault_and_a_project_that_never_ran_is_none() {
    let project = Project::reference();
    let ran = project.run(&["verify"]).ok();
    assert!(ran.stdout.contains("nothing to verify"), "{}", ran.stdout);
    project.run(&["up", "--plain", "--events", "2000", "--seed", "9", "--until-drained"]).ok();
    std::fs::remove_dir_all(project.dir.path().join(".lakepulse/lake")).expect("removed");
    let ran = project.run(&["verify"]).code(4);
    assert!(ran.stdout.contains("the table is missing, and topic"), "{}", ran.stdout);
}
