//! `lakepulse doctor`: good services pass, and each fault is named by the check it belongs to.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use testkit::bad_store::{self, Flaw};

use crate::harness::{Project, Ran, binary};
use crate::services::Services;

/// Verdicts by check; of a check that was made of many, the worst.
pub fn verdicts(ran: &Ran) -> BTreeMap<String, String> {
    let checks: Vec<Value> =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", ran.stdout));
    let rank = |verdict: &str| ["ok", "warn", "fail"].iter().position(|word| *word == verdict);
    let mut found = BTreeMap::<String, String>::new();
    for check in checks {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let (name, verdict) = (text("check"), text("verdict"));
        assert!(!text("seen").is_empty() && (verdict == "ok" || !text("todo").is_empty()), "{check}");
        let worst = found.entry(name).or_insert_with(|| verdict.clone());
        if rank(&verdict) > rank(worst) {
            *worst = verdict;
        }
    }
    found
}

/// Checks that failed.
fn failed(ran: &Ran) -> Vec<String> {
    verdicts(ran).into_iter().filter(|(_, verdict)| verdict == "fail").map(|(check, _)| check).collect()
}

#[test]
fn the_embedded_services_pass_and_nothing_is_left_behind() {
    let project = Project::reference();
    let ran = project.run(&["doctor", "--json"]).ok();
    let found = verdicts(&ran);
    for check in [
        "kafka.reach",
        "kafka.transactions",
        "kafka.read_committed",
        "kafka.fencing",
        "kafka.clock",
        "kafka.group",
        "topic.absent",
        "registry.reach",
        "registry.mode",
        "registry.compatibility",
        "lake.reach",
        "lake.conditional_put",
        "lake.list_after_write",
        "lake.clock",
    ] {
        assert_eq!(found.get(check).map(String::as_str), Some("ok"), "{check}: {}", ran.stdout);
    }
    for check in ["machine.open_files", "machine.disk"] {
        assert!(found.contains_key(check), "{check}: {}", ran.stdout);
    }
    let probes = project.dir.path().join(".lakepulse/lake/_lakepulse");
    let left = std::fs::read_dir(&probes).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "{}", probes.display());
    // With topics and records: nothing of them loses records either, and changes have their transaction.
    project.run(&["up", "--plain", "--until-drained", "--events", "300"]).ok();
    let ran = project.run(&["doctor"]).ok();
    for line in ["ok    topic.settings", "ok    debezium.transaction", " 0 failed"] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
}

#[test]
fn topics_and_subjects_that_would_lose_records_are_named() {
    let services = Services::start();
    let (kafka, registry) = (&services.kafka, &services.registry);
    let project = Project::empty();
    project.write(
        "lakepulse.yaml",
        &format!(
            "version: 1\nname: shop\nlag_budget: 2d\ntargets:\n  real:\n    kafka: {{ bootstrap: \"{kafka}\" }}\n    \
             registry: {{ url: \"{registry}\" }}\n"
        ),
    );
    let topics = |level: &str, config: &str| {
        format!(
            "version: 1\ndefaults: {{ compatibility: {level} }}\ntopics:\n  \
             shop.orders: {{ schema: order.avsc, key: [id], {config} }}\n"
        )
    };
    project
        .write("order.avsc", r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#);
    project.write(
        "topics.yaml",
        &topics("none", "retention: 1d, config: { unclean.leader.election.enable: true }"),
    );
    project.run(&["apply", "--target", "real"]).ok();
    project.write("topics.yaml", &topics("full", "retention: 1d"));
    let ran = project.run(&["doctor", "--json", "--target", "real"]).code(1);
    assert_eq!(
        failed(&ran),
        ["registry.compatibility", "topic.retention", "topic.unclean_election"],
        "{}",
        ran.stdout
    );
    let said = project.run(&["doctor", "--target", "real"]).code(1).stdout;
    for line in [
        "fail  topic.retention        shop.orders: keeps records for 1day, less than the lag budget of 2days; raise",
        "fail  registry.compatibility shop.orders-value: NONE; topics.yaml says FULL; a schema that breaks readers",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[test]
fn services_that_are_away_or_break_their_promises_are_named() {
    let project = Project::reference();
    let own = project.read("lakepulse.yaml");
    let own = own.split("targets:").next().expect("there is one before it");
    let store = |name: &str, flaw: Flaw| {
        let endpoint = bad_store::start(flaw).expect("a store");
        format!(
            "  {name}:\n    lake: {{ url: \"s3://lake\", endpoint: \"{endpoint}\", access_key: \"${{env:KEY}}\", \
             secret_key: \"${{env:KEY}}\" }}\n"
        )
    };
    let targets = [
        store("unconditional", Flaw::IgnoresConditions),
        store("forgetful", Flaw::ListsLate),
        store("closed", Flaw::Denies),
        "  nowhere:\n    kafka: { bootstrap: \"127.0.0.1:1\" }\n    registry: { url: \"http://127.0.0.1:1\" }\n".to_owned(),
        "  unset:\n    kafka: { bootstrap: \"${env:NO_SUCH_BROKER}\" }\n    registry: { url: \"http://127.0.0.1:1\" }\n".to_owned(),
    ];
    project.write("lakepulse.yaml", &format!("{own}targets:\n{}", targets.concat()));
    for (target, expected, says) in [
        ("unconditional", &["lake.conditional_put"][..], "ignores conditional writes"),
        ("forgetful", &["lake.list_after_write"], "were missing from a listing"),
        ("closed", &["lake.reach"], "InvalidAccessKeyId"),
        ("nowhere", &["kafka.reach", "registry.reach"], "Connection refused"),
        ("unset", &["settings"], "NO_SUCH_BROKER"),
    ] {
        let ran = project.run_with(&["doctor", "--json", "--target", target], &[("KEY", "a-key")]).code(1);
        assert_eq!(failed(&ran), expected, "{target}: {}", ran.stdout);
        assert!(ran.stdout.contains(says), "{target}: {}", ran.stdout);
    }
}

#[test]
fn too_few_open_files_are_named() {
    let project = Project::reference();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 400; exec \"$0\" \"$@\""]).arg(binary()).args([
        "doctor",
        "--json",
        "--project",
    ]);
    let output = limited.arg(project.dir.path()).process_group(0).output().expect("`sh` runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let ran = Ran {
        args: "doctor".to_owned(),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
    .code(1);
    assert_eq!(failed(&ran), ["machine.open_files"], "{}", ran.stdout);
}
