//! Files of a folder, each line once, whatever happens to the process that publishes them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::harness::{Project, until};
use crate::other_project::iot;

const LINES: usize = 120_000;
/// One line in this many cannot be read.
const BAD: usize = 1_000;

#[test]
fn killed_in_the_middle_of_a_file_every_line_of_it_is_published_once() {
    let project = iot();
    let mut text = String::new();
    for line in 0..LINES {
        if line % BAD == 7 {
            text.push_str("{ no json\n");
        } else {
            let (device, at) = (line % 50, line % 60);
            let _ = writeln!(
                text,
                r#"{{"device_id":"d{device}","celsius":{}.5,"at":"2026-01-03T00:00:{at:02}Z"}}"#,
                line % 60
            );
        }
    }
    project.write("many/readings.jsonl", &text);
    // The broker has a process of its own, which is not killed.
    let host = project.start(&["up", "--plain"]);
    let state = project.dir.path().join(".lakepulse");
    until("the broker", Duration::from_secs(120), || state.join("broker.json").exists());
    let log = state.join("broker/log");
    let feed = [
        "ingest",
        "files",
        "many",
        "--topic",
        "iot.readings",
        "--dead-letters",
        "iot.dead",
        "--until-drained",
    ];
    let mut kills = 0;
    for round in 1..=6 {
        let before = bytes(&log);
        let mut ingest = project.start(&feed);
        // Further into the file from round to round, told by what is in the log and not by a clock.
        until("some more lines, or the end", Duration::from_secs(120), || {
            !ingest.alive() || bytes(&log) > before + round * 400_000
        });
        if !ingest.alive() {
            break;
        }
        ingest.kill();
        kills += 1;
    }
    assert!(kills >= 3, "the file was published after {kills} kills: it is too short");
    project.run(&feed).ok();
    let again = project.run(&feed).ok();
    assert!(again.stdout.starts_with("0 files, 0 rows published"), "{}", again.stdout);
    host.interrupt();
    assert_eq!(host.wait(Duration::from_secs(30)), Some(0));
    project.run(&["up", "--plain", "--until-drained"]).ok();

    let (good, bad) = (LINES - LINES / BAD, LINES / BAD);
    let count = |sql: &str| project.value(sql).as_u64();
    assert_eq!(count("SELECT count(*) AS n FROM bronze.readings"), Some(good as u64));
    assert_eq!(count("SELECT count(*) AS n FROM silver.readings"), Some(good as u64));
    assert_eq!(count("SELECT count(*) AS n FROM bronze.dead"), Some(bad as u64));
    let distinct = "SELECT count(DISTINCT encode(h['value'], 'hex')) AS n \
                    FROM (SELECT unnest(_headers) AS h FROM bronze.dead) WHERE h['key'] = 'lp.line'";
    assert_eq!(count(distinct), Some(bad as u64), "each bad line once, with its own line number");
    project.run(&["verify"]).ok();
}

/// A project whose one source feeds an `append` table, so that whatever comes twice is there twice.
fn watched() -> Project {
    let project = Project::empty();
    project
        .write("lakepulse.yaml", "version: 1\nname: watched\nclock: events\ncommit: { interval: 200ms }\n");
    project.write(
        "topics.yaml",
        "version: 1\ntopics:\n  w.rows: { schema: schemas/row.avsc, key: [id], partitions: 1 }\n  \
         w.json: { schema: schemas/row.avsc, key: [id], partitions: 1, value: json }\n  \
         w.dead: { value: bytes, partitions: 1 }\n",
    );
    project.write(
        "schemas/row.avsc",
        r#"{"type":"record","name":"Row","namespace":"w","fields":[{"name":"id","type":"long"},
            {"name":"v","type":["null","string"],"default":null},
            {"name":"amount","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":9}],"default":null}]}"#,
    );
    project.write(
        "sources/rows.yaml",
        "version: 1\nconnector: files\nsettings: { dir: in, dead_letter: w.dead, poll: 100ms }\n\
         streams: { \"r-*\": w.rows, \"j-*\": w.json }\n",
    );
    for table in ["rows", "json"] {
        project.write(
            &format!("models/silver/{table}.sql"),
            &format!("/* lakepulse\nkind: append\nkeys: [id]\n*/\nSELECT id, v, amount FROM changes(bronze.{table})"),
        );
    }
    std::fs::create_dir(project.dir.path().join("in")).expect("created");
    project
}

#[test]
fn a_folder_below_a_relative_project_is_read_and_one_that_is_not_there_is_an_error() {
    let project = watched();
    project.write("in/r-1.csv", "id,v\n1,a\n2,\"never closed\n3,\"closed\"\n4,\"b\" c\n");
    let (parent, name) = (project.dir.path().parent().expect("a parent"), project.dir.path().file_name());
    let drain = |project: &Project| {
        let mut command = std::process::Command::new(crate::harness::binary());
        command.args(["up", "--plain", "--until-drained", "--project"]).arg(name.expect("a name"));
        let ran = command.current_dir(parent).output().expect("the binary starts");
        assert_eq!(project.dir.path().file_name(), name);
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    assert_eq!(drain(&project).0, Some(0));
    assert_eq!(ids(&project, "rows"), [1, 3]);
    let dead = project.query("SELECT arrow_cast(value, 'Utf8') AS line FROM bronze.dead ORDER BY 1");
    let lines: Vec<_> = dead.iter().filter_map(|row| row["line"].as_str()).collect();
    assert_eq!(lines, ["2,\"never closed", "4,\"b\" c"], "each bad line has its own bytes");
    std::fs::rename(project.dir.path().join("in"), project.dir.path().join("elsewhere")).expect("renamed");
    let (code, stderr) = drain(&project);
    assert!(code != Some(0) && stderr.contains("in") && stderr.contains("dir"), "{code:?} {stderr}");
}

#[test]
fn files_that_grow_are_copied_renamed_or_misnamed_publish_every_line_once() {
    let project = watched();
    let dir = project.dir.path().join("in");
    let drain = || project.run(&["up", "--plain", "--until-drained"]).ok();
    project.write("in/r-1.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    project.write("in/j-1.jsonl", "{\"id\":1,\"amount\":12345678901234567.123456789}\n");
    project.write("in/j-2.csv", "id,amount\n2,99999999999999999999.5\n");
    std::os::unix::fs::symlink(".", dir.join("r-loop")).expect("linked");
    std::process::Command::new("mkfifo").arg(dir.join("r-pipe.jsonl")).status().expect("`mkfifo` runs");
    project.write("in/neither.csv", "id\n9\n");
    let said = drain().stderr;
    assert!(
        said.contains("r-loop") && said.contains("r-pipe.jsonl") && said.contains("neither.csv"),
        "{said}"
    );
    // A copy, and growth behind it; a rename, and growth.
    std::fs::copy(dir.join("r-1.jsonl"), dir.join("r-copy.jsonl")).expect("copied");
    project.write("in/r-1.jsonl", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
    drain();
    std::fs::rename(dir.join("r-1.jsonl"), dir.join("r-old.jsonl")).expect("renamed");
    drain();
    let rows = std::fs::OpenOptions::new().append(true).open(dir.join("r-old.jsonl"));
    std::io::Write::write_all(&mut rows.expect("opened"), b"{\"id\":4}\n").expect("written");
    drain();
    assert_eq!(ids(&project, "rows"), [1, 2, 3, 4]);
    assert_eq!(ids(&project, "json"), [1, 2]);
    let exact = "SELECT count(*) AS n FROM silver.json WHERE amount IN \
                 (CAST('12345678901234567.123456789' AS DECIMAL(38,9)), CAST('99999999999999999999.5' AS DECIMAL(38,9)))";
    assert_eq!(project.value(exact).as_u64(), Some(2), "no digit is rounded away");
    project.run(&["verify"]).ok();
}

#[test]
fn a_file_that_grows_while_it_is_read_and_the_source_is_killed_publishes_every_line_once() {
    let project = watched();
    let path = project.dir.path().join("in/r-1.jsonl");
    let line = |id: usize| format!("{{\"id\":{id},\"v\":\"{:0>200}\"}}\n", id);
    let text: String = (0..40_000).map(line).collect();
    project.write("in/r-1.jsonl", &text);
    let host = project.start(&["up", "--plain", "--no-sources"]);
    let state = project.dir.path().join(".lakepulse");
    until("the broker", Duration::from_secs(120), || state.join("broker.json").exists());
    let feed = ["ingest", "files", "in", "--topic", "w.rows", "--dead-letters", "w.dead", "--until-drained"];
    let log = state.join("broker/log");
    let mut lines = 40_000;
    for _ in 0..4 {
        let before = bytes(&log);
        let mut ingest = project.start(&feed);
        until("some more lines, or the end", Duration::from_secs(120), || {
            !ingest.alive() || bytes(&log) > before + 500_000
        });
        // It grows under the eyes of its reader, by half a line at the end.
        let more: String = (lines..lines + 1_000).map(line).collect();
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        std::io::Write::write_all(&mut file.expect("opened"), more.as_bytes()).expect("written");
        lines += 1_000;
        ingest.kill();
    }
    let last = project.run(&feed).ok();
    assert!(last.stdout.contains(" 0 lines to the dead letters"), "{}", last.stdout);
    host.interrupt();
    assert_eq!(host.wait(Duration::from_secs(30)), Some(0));
    project.run(&["up", "--plain", "--until-drained", "--no-sources"]).ok();
    let counted = project.query("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM silver.rows");
    assert_eq!(counted, [serde_json::json!({"n": lines, "ids": lines})]);
}

/// The `id`s of a silver table in order, those that are there twice twice.
fn ids(project: &Project, table: &str) -> Vec<i64> {
    let rows = project.query(&format!("SELECT id FROM silver.{table} ORDER BY id"));
    rows.iter().filter_map(|row| row["id"].as_i64()).collect()
}

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.len()),
    };
    entries.flatten().map(size).sum()
}

/// A command that hosts the broker itself takes it away at its end, and its own clients are no news then.
#[test]
fn a_feed_that_hosts_its_broker_ends_without_a_warning() {
    let project = iot();
    project.write("few/readings.jsonl", r#"{"device_id":"d1","celsius":1.5,"at":"2026-01-03T00:00:00Z"}"#);
    let feed = [
        "ingest",
        "files",
        "few",
        "--topic",
        "iot.readings",
        "--dead-letters",
        "iot.dead",
        "--until-drained",
    ];
    for _ in 0..5 {
        let fed = project.run(&feed).ok();
        assert!(!fed.stderr.contains("WARN"), "{}", fed.stderr);
    }
}
