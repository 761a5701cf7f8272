//! Each kind of damage that `verify` claims to find, applied to a finished project.
//!
//! | module | what is damaged |
//! | --- | --- |
//! | here | a table: its log, its rows, what is beside it |
//! | [`published`] | the topic of a gold table, and its publisher's progress |
//! | [`evaluated`] | what another engine makes of a gold table |
//!
//! The mutants of `e2e` (docs/verify.md) are tables and topics as a faulty stage would have left them.

mod evaluated;
mod finished;
mod published;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::array::{
    Array as _, AsArray as _, BinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use model::{AppId, TableName, Version};
use rstest::rstest;
use serde_json::{Value, json};
use testkit::{mutants, sabotage};

use self::finished::{Project, block_on};
use super::{Finding, guarded};
use crate::wiring::Wiring;

/// The faults that `verify` finds, each with the name of its table or topic.
fn faults(findings: &[Finding]) -> Vec<String> {
    let named =
        |of: &Finding| of.faults.iter().map(|fault| format!("{}: {fault}", of.name)).collect::<Vec<_>>();
    findings.iter().flat_map(named).collect()
}

/// Our part of a commit's `commitInfo`.
fn info(actions: &mut [Value]) -> Option<&mut Value> {
    let info = actions.iter_mut().find_map(|action| action.get_mut("commitInfo"))?;
    info.get_mut("lakepulse").filter(|said| said.is_object())
}

/// Changes the newest offset range that a bronze commit states.
fn stated(project: &Project, change: impl FnOnce(&mut Value)) {
    edit(
        project,
        "bronze.items",
        |said| said["ranges"].as_array().is_some_and(|all| !all.is_empty()),
        |said| {
            change(&mut said["ranges"][0]);
        },
    );
}

/// Changes the `commitInfo` of the newest commit that `pick` accepts.
fn edit(project: &Project, table: &str, pick: impl Fn(&Value) -> bool, change: impl FnOnce(&mut Value)) {
    for version in (0..project.versions(table)).rev() {
        let mut actions = project.actions(table, version);
        let Some(said) = info(&mut actions).filter(|said| pick(said)) else { continue };
        change(said);
        return project.write(table, version, &actions);
    }
    panic!("no commit of {table} is picked");
}

/// Changes a table's newest position with an id that `pick` accepts; `None` removes all such positions.
fn position(project: &Project, table: &str, pick: impl Fn(&str) -> bool, to: Option<i64>) {
    let is = |action: &Value| action["txn"]["appId"].as_str().is_some_and(&pick);
    for version in (0..project.versions(table)).rev() {
        let mut actions = project.actions(table, version);
        if !actions.iter().any(is) {
            continue;
        }
        match to {
            None => actions.retain(|action| !is(action)),
            Some(to) => {
                actions
                    .iter_mut()
                    .filter(|action| is(action))
                    .for_each(|action| action["txn"]["version"] = to.into());
                return project.write(table, version, &actions);
            }
        }
        project.write(table, version, &actions);
    }
}

/// Appends a version.
fn append(project: &Project, table: &str, actions: &[Value]) {
    let mut all = vec![json!({ "commitInfo": { "timestamp": 0, "operation": "WRITE" } })];
    all.extend_from_slice(actions);
    project.write(table, project.versions(table), &all);
}

/// Replaces all rows of a table, by a commit that looks like a stage's.
fn rows(project: &Project, table: &str, other: impl FnOnce(RecordBatch) -> Result<Vec<RecordBatch>>) {
    block_on(mutants::edit(&project.lake(), table, |_, _| true, other)).expect("edited");
}

/// Replaces a row of bronze as if its own commit had contained the others.
fn record(project: &Project, other: impl Fn(&RecordBatch) -> Result<Vec<RecordBatch>>) {
    block_on(project.with(async |wiring: &Wiring| {
        let table = table(wiring, "bronze.items").await;
        sabotage::restate(&project.lake(), &table, &|_| true, other).await.expect("restated");
    }));
}

async fn table(wiring: &Wiring, name: &str) -> lake::Table {
    let name: TableName = name.parse().expect("a name");
    wiring.lake.table(&name).await.expect("opened").expect("it exists")
}

fn offset(range: &mut Value, field: &str, by: i64) {
    range[field] = (range[field].as_i64().expect("a number") + by).into();
}

/// Whether it is a position of an input: a table, or a topic's partition.
fn of_an_input(app: &str) -> bool {
    !["lp/plan", "lp/as_of", "lp/compaction"].contains(&app)
}

type Damage = fn(&Project);

// Holds P7 (docs/invariants.md).
#[rstest]
#[case::a_range_is_in_no_commit("bronze.items", "are in no commit", |p: &Project| stated(p, |range| offset(range, "from", 1)))]
#[case::a_row_is_in_no_range("bronze.items", "is in no commit's range", |p: &Project| stated(p, |range| offset(range, "from", 1)))]
#[case::a_range_is_in_two_commits("bronze.items", "are in two commits", |p: &Project| stated(p, |range| offset(range, "from", -1)))]
#[case::commits_end_elsewhere("bronze.items", "the table's position is", |p: &Project| stated(p, |range| offset(range, "to", 1)))]
#[case::a_count_is_wrong("bronze.items", "rows where its commit states", |p: &Project| stated(p, |range| offset(range, "rows", 1)))]
#[case::a_digest_is_wrong("bronze.items", "a value differs from what was committed", |p: &Project| stated(p, |range| {
    range["digest"] = json!("00000000000000000000000000000001");
}))]
#[case::a_commit_states_nothing("bronze.items", "states no offset range", |p: &Project| {
    edit(p, "bronze.items", |said| said["ranges"].as_array().is_some_and(|all| !all.is_empty()), |said| said["ranges"] = json!([]));
})]
#[case::a_commit_cannot_be_read("bronze.items", "version 1 says of itself what cannot be read", |p: &Project| {
    let mut actions = p.actions("bronze.items", 1);
    info(&mut actions).expect("ours")["ranges"] = json!("none");
    p.write("bronze.items", 1, &actions);
})]
#[case::a_position_without_a_commit("bronze.items", "has no commit that states a range", |p: &Project| {
    append(p, "bronze.items", &[json!({ "txn": { "appId": "lp/4f5b9bd2-0c55-4f4a-8c0a-3a2f0e6d0b7e/0", "version": 3 } })]);
})]
#[case::a_position_set_back("silver.items", "back to", |p: &Project| {
    let mut last = p.actions("silver.items", p.versions("silver.items") - 1);
    last.retain(|action| action["txn"]["appId"].as_str().is_some_and(of_an_input));
    last.iter_mut().for_each(|action| action["txn"]["version"] = 1.into());
    append(p, "silver.items", &last);
})]
#[case::a_foreign_commit("silver.items", "changed rows and is no stage's", |p: &Project| {
    for version in (0..p.versions("silver.items")).rev() {
        let mut actions = p.actions("silver.items", version);
        if actions.iter().any(|action| action["add"]["dataChange"] == json!(true)) {
            for action in &mut actions {
                if let Some(said) = action.get_mut("commitInfo") {
                    said.as_object_mut().expect("an object").remove("lakepulse");
                }
            }
            return p.write("silver.items", version, &actions);
        }
    }
    panic!("no version has rows");
})]
#[case::a_record_has_no_row("bronze.items", "have no row", |p: &Project| record(p, |_| Ok(vec![])))]
#[case::a_record_has_two_rows("bronze.items", "have a second row", |p: &Project| {
    record(p, |row| Ok(vec![row.clone(), row.clone()]));
})]
#[case::a_key_is_anothers("bronze.items", "`_key` is not the record's key", |p: &Project| {
    record(p, |row| Ok(vec![mutants::with(row, "_key", Arc::new(BinaryArray::from(vec![b"other".as_slice()])))?]));
})]
#[case::a_time_is_anothers("bronze.items", "`_timestamp` is", |p: &Project| record(p, |row| {
    let at = row["_timestamp"].as_primitive::<TimestampMicrosecondType>();
    let later: TimestampMicrosecondArray = at.unary(|micros| micros + 1_000);
    Ok(vec![mutants::with(row, "_timestamp", Arc::new(later.with_data_type(at.data_type().clone())))?])
}))]
#[case::silver_lacks_a_row("silver.items", "1 rows missing, 0 too many, 0 with another value", |p: &Project| {
    rows(p, "silver.items", |rows| Ok(vec![rows.slice(1, rows.num_rows() - 1)]));
})]
#[case::a_row_put_aside_is_gone("silver.items", "`silver.items__quarantine` lacks the row of partition", |p: &Project| {
    rows(p, "silver.items__quarantine", |_| Ok(vec![]));
})]
#[case::a_row_was_put_aside_for_another_reason("silver.items", "(other), which must not be there", |p: &Project| {
    rows(p, "silver.items__quarantine", |row| Ok(vec![mutants::say(&row, "_reason", "other")?]));
})]
#[case::a_row_kept_out_is_forgotten("silver.items", "that was kept out at", |p: &Project| {
    rows(p, "silver.items__deleted", |_| Ok(vec![]));
})]
#[case::a_row_was_never_kept_out("silver.items", "no row of the key (id=5) is kept out at", |p: &Project| {
    rows(p, "silver.items__deleted", |note| {
        let other = mutants::with(&note, "id", Arc::new(Int64Array::from(vec![5; note.num_rows()])))?;
        Ok(vec![note, other])
    });
})]
#[case::a_key_was_never_deleted("silver.items", "no change deletes the key (id=4) at", |p: &Project| {
    rows(p, "silver.items__deleted", |note| Ok(vec![mutants::say(&note, "_kind", "gone")?, note]));
})]
#[case::nothing_was_truncated("silver.items", "no truncate is at", |p: &Project| {
    rows(p, "silver.items__deleted", |note| Ok(vec![mutants::say(&note, "_kind", "truncated")?, note]));
})]
#[case::silver_has_no_position("silver.items", "no position says where they come from", |p: &Project| {
    position(p, "silver.items", of_an_input, None);
})]
#[case::a_silver_commit_cannot_be_read("silver.items", "says of itself what cannot be read", |p: &Project| {
    edit(p, "silver.items", |said| said["outcomes"].is_object(), |said| said["input"] = json!("none"));
})]
#[case::a_file_is_gone("gold.totals", "cannot be checked: ", |p: &Project| {
    for file in std::fs::read_dir(p.table("gold.totals")).expect("a folder") {
        let file = file.expect("an entry").path();
        if file.extension().is_some_and(|extension| extension == "parquet") {
            std::fs::remove_file(file).expect("removed");
        }
    }
})]
#[case::gold_lacks_a_row("gold.totals", "1 rows missing, 0 too many, 0 with another value", |p: &Project| {
    rows(p, "gold.totals", |rows| Ok(vec![rows.slice(1, rows.num_rows() - 1)]));
})]
#[case::outcomes_do_not_add_up("silver.items", "accounts for", |p: &Project| {
    edit(p, "silver.items", |said| said["outcomes"].is_object(), |said| {
        let outcomes = said["outcomes"].as_object_mut().expect("an object");
        let (_, first) = outcomes.iter_mut().next().expect("one");
        *first = (first.as_u64().expect("a count") + 7).into();
    });
})]
#[case::a_step_was_left_out("silver.items", "goes on from version", |p: &Project| {
    edit(p, "silver.items", |said| said["outcomes"].is_object(), |said| said["input"]["from"] = json!(0));
})]
#[case::a_commit_names_another_end("silver.items", "says it read up to", |p: &Project| {
    edit(p, "silver.items", |said| said["outcomes"].is_object(), |said| {
        let to = said["input"]["to"].as_u64().expect("a version");
        said["input"]["to"] = (to - 1).into();
    });
})]
#[case::more_was_read_than_there_is("silver.items", "which ends at", |p: &Project| position(p, "silver.items", of_an_input, Some(99)))]
#[case::an_input_is_gone("silver.items", "which they come from, is missing", |p: &Project| {
    std::fs::remove_dir_all(p.table("bronze.items")).expect("removed");
})]
#[case::bronze_is_gone("bronze.items", "the table is missing", |p: &Project| {
    std::fs::remove_dir_all(p.table("bronze.items")).expect("removed");
})]
#[case::a_quarantine_is_gone("silver.items", "`silver.items__quarantine` is missing", |p: &Project| {
    std::fs::remove_dir_all(p.table("silver.items__quarantine")).expect("removed");
})]
#[case::a_pin_beyond_the_end("gold.totals", "which ends at", |p: &Project| position(p, "gold.totals", of_an_input, Some(99)))]
#[case::no_pins("gold.totals", "no position says where they come from", |p: &Project| position(p, "gold.totals", of_an_input, None))]
#[case::what_gold_is_made_of_is_gone("gold.totals", "a table that it is made of does not exist", |p: &Project| {
    std::fs::remove_dir_all(p.table("silver.items")).expect("removed");
})]
#[case::gold_is_gone("gold.totals", "the table is missing", |p: &Project| {
    std::fs::remove_dir_all(p.table("gold.totals")).expect("removed");
})]
#[case::more_was_published_than_there_is("d.totals", "it was published up to version", |p: &Project| p.pop("gold.totals"))]
fn damage_is_found_where_it_is(#[case] of: &str, #[case] says: &str, #[case] damage: Damage) {
    let project = Project::copy();
    damage(&project);
    let findings = block_on(project.verify());
    let found =
        findings.iter().find(|finding| finding.name.split(' ').next() == Some(of)).expect("looked at");
    assert!(found.faults.iter().any(|fault| fault.contains(says)), "{findings:#?}");
}

#[test]
fn a_log_with_a_gap_is_a_fault_of_its_table() {
    let project = Project::copy();
    block_on(project.with(async |wiring: &Wiring| {
        table(wiring, "gold.totals").await.checkpoint().await.expect("written");
    }));
    project.remove("gold.totals", 1);
    let findings = block_on(project.verify());
    let gone = "version 1 of table `gold.totals` is gone from its log; start again from the current table";
    assert_eq!(faults(&findings), [format!("gold.totals: cannot be checked: {gone}")]);
}

#[test]
fn a_version_that_a_table_has_yet_to_read_and_that_is_gone_is_a_fault() {
    let project = Project::copy();
    let checkpoint = async |wiring: &Wiring, at: Option<Version>| {
        let table = table(wiring, "silver.items").await;
        let table = table.at(at.unwrap_or(table.version())).await.expect("it has the version");
        table.checkpoint().await.expect("written");
    };
    let read = block_on(project.with(async |wiring: &Wiring| {
        let input = AppId::table(table(wiring, "silver.items").await.id());
        let read = table(wiring, "gold.totals").await.positions().get(&input).expect("it was read");
        let read = Version(u64::try_from(read).expect("a version"));
        checkpoint(wiring, Some(read)).await;
        read
    }));
    append(&project, "silver.items", &[]);
    append(&project, "silver.items", &[]);
    let last = project.versions("silver.items") - 1;
    block_on(project.with(async |wiring: &Wiring| checkpoint(wiring, None).await));
    (0..last).for_each(|version| project.remove("silver.items", version));
    let findings = block_on(project.verify());
    let gone = format!("whose version {} is gone from the log", read.next());
    let fault = format!("gold.totals: it has read version {read} of `silver.items`, {gone}");
    assert_eq!(faults(&findings), [fault], "{findings:#?}");
}

#[test]
fn a_table_that_is_behind_and_cannot_go_on_is_a_fault() {
    let project = Project::copy();
    project.pop("gold.totals");
    project.declare(
        "models/gold/totals.sql",
        "/* lakepulse\nkind: table\nkeys: [name]\nexpect:\n  few: { valid: \"n < 2\", else: fail }\n*/\n\
         SELECT name, count(*) AS n FROM silver.items GROUP BY name\n",
    );
    let findings = block_on(project.verify());
    let fault = "gold.totals: it cannot be computed from the newest versions of its inputs: \
                 the expectation `few` does not hold, and halts the table";
    assert_eq!(faults(&findings), [fault], "{findings:#?}");
}

#[test]
fn a_note_of_an_unknown_kind_is_a_fault() {
    let project = Project::copy();
    rows(&project, "silver.items__deleted", |note| Ok(vec![mutants::say(&note, "_kind", "other")?, note]));
    let findings = block_on(project.verify());
    let fault = "silver.items: `silver.items__deleted` has a note of the kind Some(\"other\")";
    assert_eq!(faults(&findings), [fault], "{findings:#?}");
}

#[test]
fn a_finished_project_has_no_fault_and_every_table_was_looked_at() {
    let findings = block_on(Project::copy().verify());
    let named: Vec<&str> = findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(named, ["bronze.items", "silver.items", "gold.totals", "d.totals (topic)"]);
    for Finding { name, checked, unchecked, faults } in &findings {
        assert!(!checked.is_empty() && unchecked.is_empty() && faults.is_empty(), "{name}: {findings:#?}");
    }
}

#[test]
fn a_stage_that_stands_still_is_a_fault_of_its_table() {
    let project = Project::copy();
    block_on(async {
        let wiring = project.open().await;
        let table = "silver.items".parse().expect("a name");
        stage::halts::note(&wiring.lake, "silver", &table, "a column is gone".to_owned(), Default::default())
            .await;
        wiring.close().await;
    });
    let findings = block_on(project.verify());
    let faults: Vec<&String> = findings.iter().flat_map(|finding| &finding.faults).collect();
    assert_eq!(faults, ["it has halted, no newer version comes: a column is gone"]);
    assert!(findings.iter().any(|finding| finding.name == "silver.items" && !finding.faults.is_empty()));
}

#[tokio::test]
async fn a_check_that_panics_could_not_be_made_and_says_why() {
    let broken = guarded(async { panic!("row {} of none", 7) });
    assert_eq!(broken.await.expect_err("it panicked").to_string(), "the check panicked: row 7 of none");
    let failed: Result<Finding> = guarded(async { Err(anyhow!("no such column")) }).await;
    assert_eq!(failed.expect_err("it failed").to_string(), "no such column");
}
