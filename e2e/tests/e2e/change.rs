//! A model is changed: the plan says so, the stage halts until `apply`, then all is as the new SQL says.

use crate::harness::Project;

#[test]
fn a_changed_gold_model_halts_until_it_is_applied_and_then_is_the_new_sql() {
    let project = Project::reference();
    project.run(&["up", "--plain", "--events", "20000", "--seed", "3", "--until-drained"]).ok();
    project.run(&["plan", "--detailed-exitcode"]).ok();
    let path = "models/gold/inventory_status.sql";
    let sql = project.read(path);
    let (select, from) = sql.rsplit_once("\nFROM ").expect("the outermost SELECT comes last");
    let changed = format!("{select}, 42 AS answer\nFROM {from}");
    project.write(path, &changed);
    let plan = project.run(&["plan", "--detailed-exitcode"]).code(4);
    assert!(
        plan.stdout.contains("gold.inventory_status") && plan.stdout.contains("answer"),
        "{}",
        plan.stdout
    );
    let halted = project.run(&["gold", "--until-drained"]).code(5);
    assert!(
        halted.stderr.contains("gold.inventory_status") && halted.stderr.contains("apply"),
        "{}",
        halted.stderr
    );
    project.run(&["apply"]).ok();
    project.run(&["gold", "--until-drained"]).ok();
    let path = "models/silver/cities.sql";
    let sql = project.read(path);
    let changed = sql.replacen("SELECT\n", "SELECT\n    7 AS seven,\n", 1);
    assert_ne!(sql, changed);
    project.write(path, &changed);
    let halted = project.run(&["silver", "--until-drained"]).code(5);
    assert!(halted.stderr.contains("silver.cities") && halted.stderr.contains("apply"), "{}", halted.stderr);
    project.run(&["apply"]).ok();
    project.run(&["silver", "--until-drained"]).ok();
    assert_eq!(project.value("SELECT min(seven) AS n FROM silver.cities").as_i64(), Some(7));
    project.run(&["gold", "--until-drained"]).ok();
    assert_eq!(
        project.value("SELECT count(DISTINCT answer) AS n FROM gold.inventory_status").as_i64(),
        Some(1)
    );
    project.run(&["verify"]).ok();
    project.run(&["plan", "--detailed-exitcode"]).ok();
}
