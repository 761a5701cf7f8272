//! Upkeep between two runs: what nobody needs goes, and nobody notices.

use std::path::Path;
use std::time::Duration;

use crate::happy::matches_oracle;
use crate::harness::Project;

/// Makes everything in a folder eight days older.
fn age(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = std::fs::File::options().append(true).open(path).expect("a file");
            let written = file.metadata().and_then(|file| file.modified()).expect("a time");
            file.set_modified(written - Duration::from_secs(8 * 24 * 3600)).expect("is ours");
        }
    }
}

#[test]
fn a_project_goes_on_and_verifies_after_a_week_and_its_upkeep() {
    let project = Project::reference();
    // A table's log is cleaned behind a checkpoint, and there is one every 25 versions.
    let settings = project.read("lakepulse.yaml").replace("interval: 1s", "interval: 50ms");
    project.write("lakepulse.yaml", &settings);
    let up = |events: &str, summary: &str| {
        // Not as fast as it can: a table needs its versions.
        let workload = ["--events", events, "--rate", "3000", "--seed", "7", "--summary", summary];
        project.run(&[&["up", "--plain", "--until-drained"], &workload[..]].concat()).ok();
    };
    let maintain = || {
        age(&project.dir.path().join(".lakepulse/lake"));
        let done = project.run(&["maintain", "--json"]).ok();
        let lines: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        let sum =
            |key: &str| lines.as_array().expect("lines").iter().filter_map(|l| l[key].as_u64()).sum::<u64>();
        (sum("files"), sum("entries"))
    };
    up("15000", "a.json");
    let (files, _) = maintain();
    assert!(files > 0, "vectors and rows that were replaced are a week old");
    up("40000", "b.json");
    let (files, entries) = maintain();
    assert!(files > 0 && entries > 0, "{files} files, {entries} entries");
    project.run(&["verify"]).ok();
    up("50000", "c.json");
    matches_oracle(&project, "c.json");
    project.run(&["verify"]).ok();
}
