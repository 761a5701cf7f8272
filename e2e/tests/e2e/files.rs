//! Files of a folder, each line once, whatever happens to the process that publishes them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::harness::until;
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

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.len()),
    };
    entries.flatten().map(size).sum()
}
