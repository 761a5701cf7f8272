//! Engines that nobody here wrote read a finished run, and a notebook draws it: `cargo xtask interop`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Project, binary, until};
use crate::stack::Stack;

const ENGINES: [&str; 5] = ["deltalake", "polars", "duckdb", "trino", "spark"];

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A program of `readers/` over a project, its words on our own output.
fn reader(script: &str, stack: &Stack, project: &Project) -> Command {
    let python = std::env::var_os("LAKEPULSE_E2E_PYTHON").expect("run this by `cargo xtask interop`");
    let mut command = Command::new(python);
    command
        .arg(folder("readers").join(script))
        .args(["--target", "compose", "--endpoint", &format!("http://{}", stack.places().minio)])
        .envs(stack.keys());
    command.arg("--json").arg(project.dir.path().join(script).with_extension("json"));
    command
}
fn report(script: &str, project: &Project) -> Value {
    let text = project.read(&Path::new(script).with_extension("json").to_string_lossy());
    serde_json::from_str(&text).expect("JSON")
}

/// Commits after which an upserted table was compacted and has checkpoints.
const COMMITS: usize = 75;

/// A run with everything in it that a reader may get wrong. How many commits a stage makes of the same events
/// depends on the machine, so it goes on until there are enough.
fn finished(stack: &Arc<Stack>) -> Project {
    let project = Project::reference_with(&folder("interop/models"), stack);
    let settings = project.read("lakepulse.yaml");
    assert!(settings.contains("interval: 1s"), "{settings}");
    project.write("lakepulse.yaml", &settings.replace("interval: 1s", "interval: 200ms"));
    let simulated = ["--seed", "7", "--rate", "60", "--schema-change", "2000"];
    let injected = ["--disorder", "1%", "--duplicates", "1%", "--poison", "0.1%"];
    let up = project.start(&[&["up", "--plain"], &simulated[..], &injected[..]].concat());
    let upserted = ["silver/orders", "silver/orders_by_month"];
    let mut asked: Option<Instant> = None;
    until("upserted tables have versions enough", Duration::from_secs(1800), || {
        // A listing of the store is work that the pipeline would lack.
        let due = asked.is_none_or(|at| at.elapsed() > Duration::from_secs(5));
        if due {
            asked = Some(Instant::now());
        }
        due && upserted.iter().all(|table| project.commits(table) >= COMMITS)
    });
    up.interrupt();
    assert_eq!(up.wait(Duration::from_secs(60)), Some(0), "up stops when asked");
    project.run(&["up", "--plain", "--no-sources", "--until-drained"]).ok();
    project.run(&["verify"]).ok();
    project
}

#[test]
#[ignore = "needs Trino, Spark and Python: `cargo xtask interop`"]
fn every_engine_reads_every_table_as_query_does() {
    let stack = Stack::own();
    stack.up("trino");
    let project = finished(&stack);

    let mut agree = reader("agree.py", &stack, &project);
    agree.args(["--engines", &ENGINES.join(","), "--trino", &stack.trino()]);
    let agreed = agree.arg(binary()).arg(project.dir.path()).status().expect("python runs");
    assert!(agreed.success(), "engines differ");
    let said = report("agree.py", &project);
    for shape in ["vectors", "evolved", "compacted", "checkpoint", "partitioned", "copied", "feed", "escaped"]
    {
        assert!(said["shapes"][shape].as_u64() > Some(0), "no table with {shape}: {}", said["shapes"]);
    }
    assert!(said["shapes"]["compacted_vectors"].as_u64() > Some(0), "{}", said["shapes"]);
    let tables = said["tables"].as_u64().expect("a number");
    let done = |engine: &str, check: &str| {
        let checks = said["checks"].as_array().expect("a list").iter();
        checks.filter(|done| done["engine"] == engine && done["check"] == check).count() as u64
    };
    for engine in ENGINES {
        let read = tables - done(engine, "refuses");
        assert_eq!(read < tables, engine == "polars", "{engine} reads {read} of {tables} tables");
        assert_eq!(done(engine, "now"), read, "{engine}");
        assert_eq!(done(engine, "then"), if engine == "duckdb" { 0 } else { read }, "{engine}");
    }
    assert_eq!(Some(done("spark", "feed")), said["shapes"]["feed"].as_u64());

    let mut notebook = reader("notebook.py", &stack, &project);
    let drawn = notebook.arg(binary()).arg(project.dir.path()).status().expect("python runs");
    assert!(drawn.success(), "the notebook does not draw what is there");
    let said = report("notebook.py", &project);
    assert!(said["figures"].as_array().is_some_and(|figures| figures.len() >= 5), "{said}");
}
