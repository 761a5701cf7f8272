//! What is said of a running pipeline: metrics, rules and dashboards, logs, health.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Project, until};
use crate::services::free_address;

fn compose() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("compose")
}

/// What a server answers to one GET; `None` while it does not.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// The native stack, as it was started.
struct Stack {
    prometheus: String,
    /// Where Prometheus looks for the process under test.
    scraped: String,
    environment: Vec<(String, String)>,
}
impl Stack {
    fn running() -> Self {
        let stack = compose().join("native/stack");
        let status = Command::new(&stack).arg("status").args(Self::NEEDED).output().expect("bash runs");
        assert!(
            status.status.success(),
            "this test needs `compose/native/stack up`\n{}",
            String::from_utf8_lossy(&status.stdout)
        );
        let secrets = Command::new(&stack).arg("env").output().expect("bash runs");
        let secrets = String::from_utf8(secrets.stdout).expect("text");
        let secrets = secrets.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        Self {
            prometheus: format!("127.0.0.1:{}", port("PROMETHEUS_PORT", "9090")),
            scraped: std::env::var("LAKEPULSE_STACK_SCRAPE").unwrap_or_else(|_| "127.0.0.1:9464".to_owned()),
            environment: secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }
    const NEEDED: [&'static str; 5] = ["kafka", "registry", "minio", "alertmanager", "prometheus"];

    /// How many series an expression gives; the error where Prometheus cannot compute it.
    fn series(&self, expr: &str) -> Result<usize, String> {
        let encoded: String = expr
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        let answer = get(&self.prometheus, &format!("/api/v1/query?query={encoded}"));
        let answer: Value = serde_json::from_str(&answer.ok_or("no answer")?).map_err(|e| e.to_string())?;
        match answer["data"]["result"].as_array() {
            Some(series) => {
                // A number that is none is no data either: a division by zero shows nothing.
                let shows = |one: &&Value| one["value"][1].as_str() != Some("NaN");
                Ok(series.iter().filter(shows).count())
            }
            None => Err(answer["error"].as_str().unwrap_or("no result").to_owned()),
        }
    }
}

fn port(variable: &str, default: &str) -> String {
    std::env::var(format!("LAKEPULSE_STACK_{variable}")).unwrap_or_else(|_| default.to_owned())
}

/// Every expression of every panel of every dashboard, with where it is.
fn panels() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(compose().join("grafana/dashboards")).expect("a folder") {
        let path = file.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let board: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            let place = format!("{} / {title}", board["title"].as_str().expect("a title"));
            assert!(ids.insert(panel["id"].as_i64().expect("an id")), "{place}: its id is taken");
            let at = &panel["gridPos"];
            assert!(places.insert((at["x"].as_i64(), at["y"].as_i64())), "{place}: lies on another panel");
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "prometheus", "{place}");
                let expr = target["expr"].as_str().expect("an expression");
                assert!(!expr.contains('$'), "{place}: nobody fills in `{expr}`");
                found.push((place.clone(), expr.to_owned()));
            }
            assert!(panel["type"] == "row" || !panel["targets"].as_array().expect("targets").is_empty());
        }
    }
    found
}

/// Metrics that an expression names: those of ours and of the services we scrape.
fn metrics(expr: &str) -> BTreeSet<String> {
    let ours = [
        "lakepulse_",
        "lakepulse:",
        "stage:",
        "stage_table:",
        "table_expectation:",
        "kafka_",
        "minio_",
        "prometheus_",
    ];
    expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| *word == "up" || ours.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_metrics_of_a_rule_are_found() {
    let expr =
        "sum by (job) (up{job=\"lakepulse\"}) and stage:a_b:sum > 0.5 * minio_x{y=\"up\"} unless on (z) ups";
    assert_eq!(metrics(expr), ["minio_x", "stage:a_b:sum", "up"].map(str::to_owned).into());
}

/// Every expression of a panel, and of a recording rule, has data in the real Prometheus while the
/// reference project runs on the real services. An alert gives data when it fires, so of an alert it is the
/// metrics that have to be there.
#[test]
#[ignore = "needs `compose/native/stack up`, which takes minutes on a bare machine; docs/observability.md says how"]
fn every_panel_and_every_rule_has_data_while_the_pipeline_runs() {
    let stack = Stack::running();
    let project = Project::reference();
    let name = format!("observe{}", std::process::id());
    let read = |path: &str| std::fs::read_to_string(project.dir.path().join(path)).expect("of the project");
    let settings = read("lakepulse.yaml")
        .replace("name: wwi", &format!("name: {name}"))
        .replace("localhost:9092", &format!("127.0.0.1:{}", port("KAFKA_PORT", "9092")))
        .replace("localhost:8081", &format!("127.0.0.1:{}", port("REGISTRY_PORT", "8081")))
        .replace("localhost:9000", &format!("127.0.0.1:{}", port("MINIO_PORT", "9000")))
        .replace("s3://lake", &format!("s3://lake/{name}"));
    project.write("lakepulse.yaml", &settings);
    // Topics of its own, on a Kafka that others may use.
    for path in ["topics.yaml", "sources/wwi.yaml"].into_iter().map(str::to_owned).chain(
        ["customer_analytics", "daily_sales_metrics", "inventory_status"]
            .map(|m| format!("models/gold/{m}.sql")),
    ) {
        let text = read(&path)
            .replace("lakepulse.cdc.", &format!("{name}.cdc."))
            .replace("lakepulse.gold.", &format!("{name}.gold."));
        project.write(&path, &text);
    }
    let run = |args: &[&str]| {
        let mut command = project.command(&[&["--target", "compose"], args].concat());
        command.envs(stack.environment.iter().cloned());
        command
    };
    let applied = run(&["apply"]).output().expect("the binary starts");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let log = std::fs::File::create(project.dir.path().join("up.log")).expect("created");
    let faults = ["--poison", "1%", "--disorder", "1%", "--duplicates", "1%", "--schema-change", "2000"];
    let mut command = run(&["up", "--plain", "--rate", "300", "--listen", &stack.scraped]);
    let up = command.args(faults).stdout(std::process::Stdio::null()).stderr(log).spawn();
    let mut up = Killed(up.expect("the binary starts"));

    let panels = panels();
    assert!(panels.len() > 50, "{}", panels.len());
    let mut empty: Vec<(String, String)> = panels.clone();
    let rules: Value =
        serde_json::from_str(&get(&stack.prometheus, "/api/v1/rules").expect("an answer")).expect("JSON");
    let rules: Vec<Value> = rules["data"]["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default())
        .collect();
    assert!(rules.len() > 60, "{}", rules.len());
    for rule in &rules {
        let (kind, name) =
            (rule["type"].as_str().unwrap_or_default(), rule["name"].as_str().unwrap_or_default());
        if kind == "recording" {
            empty.push((format!("rule {name}"), name.to_owned()));
        }
        let query = rule["query"].as_str().unwrap_or_default();
        empty.extend(metrics(query).into_iter().map(|metric| (format!("rule {name}"), metric)));
    }
    let asked = empty.len();
    let deadline = std::time::Instant::now() + Duration::from_secs(300);
    until("Prometheus has answered all of it", Duration::from_secs(320), || {
        assert!(up.alive(), "{}", read("up.log"));
        empty.retain(|(_, expr)| stack.series(expr).map_or(true, |series| series == 0));
        empty.is_empty() || std::time::Instant::now() > deadline
    });
    let why: Vec<String> =
        empty.iter().map(|(place, expr)| format!("{place}: {expr}: {:?}", stack.series(expr))).collect();
    assert!(empty.is_empty(), "{} of {asked} have no data:\n{}", empty.len(), why.join("\n"));
    println!("{} expressions of panels, {} rules: all have data", panels.len(), rules.len());
    let rules: Value =
        serde_json::from_str(&get(&stack.prometheus, "/api/v1/rules").expect("an answer")).expect("JSON");
    for rule in rules["data"]["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|g| g["rules"].as_array().cloned().unwrap_or_default())
    {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

struct Killed(std::process::Child);
impl Killed {
    fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}
impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn health_asks_the_process_that_runs_and_fails_when_there_is_none() {
    let project = Project::reference();
    let address = free_address();
    let listen = ["--listen", address.as_str()];
    let none = project.run(&[&["health"], &listen[..]].concat()).code(1);
    assert!(none.stderr.contains(&address), "{}", none.stderr);
    let unsaid = project.run(&["health"]).code(2);
    assert!(unsaid.stderr.contains("--listen"), "{}", unsaid.stderr);
    let all = project.start(&[&["up", "--plain", "--no-sources"], &listen[..]].concat());
    until("it is ready", Duration::from_secs(90), || {
        project.run(&[&["health"], &listen[..]].concat()).code == Some(0)
    });
    let ready = project.run(&[&["health"], &listen[..]].concat()).ok();
    for stage in ["bronze", "silver", "gold"] {
        assert!(
            ready.stdout.lines().any(|line| line.contains(stage) && line.contains("up")),
            "{}",
            ready.stdout
        );
    }
    let json = project.run(&[&["health", "--json"], &listen[..]].concat()).ok();
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["ready"], true);
    all.interrupt();
    assert_eq!(all.wait(Duration::from_secs(20)), Some(0));
}

/// Lines of the log that say `message`.
fn said(log: &[Value], message: &str, table: &str) -> Vec<Value> {
    log.iter().filter(|line| line["message"] == message && line["table"] == table).cloned().collect()
}

/// The record's coordinates are its id: from the log alone one finds the commits that carried it.
#[test]
fn a_record_is_followed_through_the_log_from_its_coordinates_to_gold() {
    let project = Project::reference();
    let mut command =
        project.command(&["up", "--plain", "--events", "3000", "--seed", "7", "--until-drained"]);
    command.args(["--log-format", "json"]).env("LAKEPULSE_LOG", "info,kafka=error");
    let output = command.output().expect("the binary starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{text}");
    let log: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &log {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }

    // One order as silver has it: its coordinates are the newest record of its key.
    let orders =
        project.query("SELECT order_id, _partition, _offset FROM silver.orders ORDER BY order_id LIMIT 1");
    let (partition, offset) =
        (orders[0]["_partition"].as_i64(), orders[0]["_offset"].as_i64().expect("an offset"));
    let covers = |line: &&Value| {
        let ranges = line["ranges"].as_str().unwrap_or_default();
        ranges.split(", ").any(|range| {
            let (place, span) = range.split_once('[').expect("coordinates");
            let (from, to) = span.trim_end_matches(')').split_once(',').expect("from and to");
            place == format!("lakepulse.cdc.orders/{}", partition.expect("a partition"))
                && (from.parse::<i64>().expect("a number")..to.parse().expect("a number")).contains(&offset)
        })
    };
    let bronze: Vec<Value> =
        said(&log, "bronze committed", "bronze.cdc_orders").iter().filter(covers).cloned().collect();
    let [bronze] = bronze.as_slice() else { panic!("not one commit, but {bronze:?}") };
    let version = bronze["version"].as_i64().expect("a version");

    let takes = |line: &&Value| {
        line["from"].as_i64().unwrap_or(-1) < version && version <= line["to"].as_i64().expect("a version")
    };
    let silver: Vec<Value> =
        said(&log, "silver committed", "silver.orders").iter().filter(takes).cloned().collect();
    let [silver] = silver.as_slice() else { panic!("not one commit, but {silver:?}") };
    assert_eq!(silver["input"], "bronze.cdc_orders");
    let version = silver["version"].as_i64().expect("a version");

    let pinned = |line: &&Value| {
        let pins = line["pins"].as_str().unwrap_or_default();
        let pin = pins.split(", ").find_map(|pin| pin.strip_prefix("silver.orders@"));
        pin.and_then(|pin| pin.parse::<i64>().ok()) >= Some(version)
    };
    let gold = said(&log, "gold committed", "gold.daily_sales_metrics");
    let gold = gold.iter().find(pinned).expect("a gold commit has the order");
    let published = said(&log, "version published", "gold.daily_sales_metrics");
    assert!(
        published.iter().any(|line| line["version"].as_i64() >= gold["version"].as_i64()),
        "{published:?}"
    );

    // Each is named by the id that its table's log has, too.
    for (commit, table) in
        [(bronze, "bronze/cdc_orders"), (silver, "silver/orders"), (gold, "gold/daily_sales_metrics")]
    {
        let entry = format!(
            ".lakepulse/lake/{table}/_delta_log/{:020}.json",
            commit["version"].as_u64().expect("a version")
        );
        let op = commit["op"].as_str().expect("an id");
        assert_eq!(op.len(), 26, "{op}");
        assert!(project.read(&entry).contains(op), "{op} is not in {entry}");
    }
}
