//! What a person is told: pipes that close, selections that leave something out, tables that halt while others
//! go on, errors that say a thing once.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::harness::{Project, until};

/// How long a small pipeline may take on a loaded machine.
const SOON: Duration = Duration::from_secs(120);

/// Two topics fed from files, a table over each, and gold over one.
fn shop() -> Project {
    let project = Project::empty();
    project.write("lakepulse.yaml", "version: 1\nname: told\ncommit: { interval: 200ms }\n");
    project.write(
        "topics.yaml",
        "version: 1
defaults: { partitions: 1 }
topics:
  told.good: { schema: schemas/row.avsc, key: [id] }
  told.bad: { schema: schemas/row.avsc, key: [id] }
  told.dead: { value: bytes }
",
    );
    let schema = r#"{"type":"record","name":"Row","fields":[{"name":"id","type":"long"},{"name":"v","type":"string"}]}"#;
    project.write("schemas/row.avsc", schema);
    for table in ["good", "bad"] {
        project.write(
            &format!("sources/{table}.yaml"),
            &format!(
                "version: 1\nconnector: files\nsettings: {{ dir: in/{table}, dead_letter: told.dead, poll: 200ms }}\n\
                 streams: {{ {table}: told.{table} }}\n"
            ),
        );
        model(&project, table, "drop");
        put(&project, table, 1, "x");
    }
    project.write(
        "models/gold/all_good.sql",
        "/* lakepulse\nkind: table\nkeys: [v]\n*/\nSELECT v, count(*) AS n FROM silver.good GROUP BY v",
    );
    project
}

/// A silver table that calls `v = 'bad'` invalid.
fn model(project: &Project, table: &str, otherwise: &str) {
    project.write(
        &format!("models/silver/{table}.sql"),
        &format!(
            "/* lakepulse\nkind: scd1\nkeys: [id]\nexpect:\n  ok: {{ valid: \"v <> 'bad'\", else: {otherwise} }}\n*/\n\
             SELECT id, v FROM changes(bronze.{table})"
        ),
    );
}

/// A file with one row.
fn put(project: &Project, table: &str, id: u32, v: &str) {
    project.write(&format!("in/{table}/{id}.jsonl"), &format!("{{\"id\":{id},\"v\":\"{v}\"}}\n"));
}

/// Rows of a table; none while it is not there.
fn count(project: &Project, table: &str) -> u64 {
    let ran = project.run(&["query", &format!("SELECT count(*) AS n FROM {table}"), "--format", "csv"]);
    ran.stdout.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// The command with both outputs in pipes.
fn piped(project: &Project, args: &[&str]) -> Child {
    project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

#[test]
fn a_reader_that_goes_away_changes_no_commands_end() {
    let project = shop();
    project.run(&["up", "--plain", "--until-drained"]).ok();
    let verbs: &[&[&str]] = &[
        &["validate"],
        &["plan"],
        &["status"],
        &["status", "--json"],
        &["verify"],
        &["explain", "silver.good"],
        &["register", "--engine", "spark"],
        &["query", "SELECT a.id, b.v FROM silver.good a CROSS JOIN silver.good b"],
        &["query", "SELECT * FROM silver.good", "--format", "csv"],
    ];
    for verb in verbs {
        let mut child = piped(&project, verb);
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        let ended = child.wait().expect("our own child");
        assert_eq!((ended.code(), said.as_str()), (Some(0), ""), "{verb:?}");
        // Nor of standard error, whatever there is to say.
        let mut child = piped(&project, &[&["--target", "nowhere"][..], *verb].concat());
        drop((child.stdout.take(), child.stderr.take()));
        let ended = child.wait().expect("our own child").code();
        assert!(ended.is_some_and(|code| code != 0 && code != 101), "{verb:?}: {ended:?}");
    }
}

#[test]
fn a_pipeline_goes_on_when_nobody_reads_what_it_says() {
    let project = shop();
    let mut child = project
        .command(&["up", "--plain"])
        .env("LAKEPULSE_LOG", "debug")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // As `| head -1` does.
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("text");
    assert!(!first.is_empty());
    drop(child.stderr.take());
    until("the first rows arrive", SOON, || count(&project, "silver.good") == 1);
    put(&project, "good", 2, "y");
    until("rows that come later arrive", SOON, || count(&project, "silver.good") == 2);
    assert!(matches!(child.try_wait(), Ok(None)), "it goes on");
    child.kill().expect("killed");
    child.wait().expect("our own child");
}

#[test]
fn a_log_that_nobody_empties_stops_no_pipeline() {
    let project = shop();
    let mut child = project
        .command(&["up", "--plain", "--until-drained"])
        .env("LAKEPULSE_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // Its pipe stays open and fills.
    let said = child.stderr.take().expect("piped");
    let mut ended = None;
    until("it drains", SOON, || {
        ended = child.try_wait().expect("our own child");
        ended.is_some()
    });
    drop(said);
    assert_eq!(ended.and_then(|ended| ended.code()), Some(0));
    assert_eq!(count(&project, "silver.good"), 1);
}

#[test]
fn what_halts_stops_nothing_but_itself_and_one_start_after_the_repair_is_enough() {
    let project = shop();
    project.run(&["up", "--plain", "--until-drained"]).ok();
    model(&project, "bad", "fail");
    project.run(&["apply"]).ok();
    put(&project, "bad", 2, "bad");
    put(&project, "bad", 3, "fine");
    for id in 2..=5 {
        put(&project, "good", id, "x");
    }
    let ran = project.run(&["up", "--plain", "--until-drained"]).code(5);
    assert!(ran.stderr.contains("silver.bad"), "{}", ran.stderr);
    // What is not behind it came to its end.
    assert_eq!((count(&project, "bronze.bad"), count(&project, "silver.good")), (3, 5));
    assert_eq!(project.value("SELECT n FROM gold.all_good"), 5);
    model(&project, "bad", "drop");
    project.run(&["up", "--plain", "--until-drained"]).ok();
    assert_eq!(count(&project, "silver.bad"), 2);
    project.run(&["verify"]).ok();
}

#[test]
fn behind_a_table_that_halted_elsewhere_draining_ends() {
    let project = shop();
    // Nobody fills bronze any more.
    project.run(&["up", "--plain", "--until-drained"]).ok();
    put(&project, "good", 2, "y");
    let feed = ["ingest", "files", "in/good", "--topic", "told.good", "--dead-letters", "told.dead"];
    project.run(&[&feed[..], &["--until-drained"]].concat()).ok();
    let ran = project.run(&["silver", "--until-drained"]).code(5);
    assert!(ran.stderr.contains("`bronze.good` has not moved"), "{}", ran.stderr);
}

#[test]
fn a_selection_says_what_it_leaves_out_and_ends() {
    let project = shop();
    // On a project in which nothing has run yet.
    for select in ["gold.all_good", "silver.good"] {
        let ran = project.run(&["up", "--plain", "--until-drained", "--select", select]).ok();
        assert!(ran.stderr.contains("leaves out") && ran.stderr.contains(select), "{}", ran.stderr);
    }
    let ran = project.run(&["up", "--plain", "--until-drained", "--select", "+gold.all_good"]).ok();
    assert!(!ran.stderr.contains("leaves out"), "{}", ran.stderr);
    assert_eq!(project.value("SELECT n FROM gold.all_good"), 1);
    for (verb, select) in [("gold", "silver.good"), ("bronze", "gold.*"), ("up", "nothing.*")] {
        let ran = project.run(&[verb, "--select", select]).code(2);
        assert!(ran.stderr.contains(select.trim_end_matches(".*")), "{}", ran.stderr);
    }
}

#[test]
fn an_error_says_a_thing_once_and_no_backtrace_unless_asked() {
    let project = shop();
    project.run(&["up", "--plain", "--until-drained"]).ok();
    let ran =
        project.run_with(&["query", "SELECT colour FROM silver.good"], &[("RUST_BACKTRACE", "1")]).code(1);
    assert_eq!(ran.stderr.matches("alid fields are").count(), 1, "{}", ran.stderr);
    assert!(!ran.stderr.contains("   0: "), "{}", ran.stderr);
}
