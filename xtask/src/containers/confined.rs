//! Nobody is root, writes to a root file system or has a right: what the engine was told, and what the kernel says.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::project::{Container, Project};

/// Checks every container there is, those that have ended too. Gives a line each.
pub fn check(project: &Project<'_>) -> Result<String> {
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    for container in project.containers()? {
        let mut wrong = told(container.facts());
        let mut user = container.facts()["Config"]["User"].as_str().unwrap_or_default().to_owned();
        if container.is_running() {
            let status = project.within(&container, &["cat", "/proc/1/status"])?;
            wrong.extend(is(&status));
            user = field(&status, "Uid").unwrap_or_default().to_owned();
        }
        faults.extend(wrong.iter().map(|wrong| format!("{} {wrong}", container.name())));
        let wrong = if wrong.is_empty() { "read-only, no capabilities".to_owned() } else { wrong.join(", ") };
        lines.push(format!("{:<32} user {user:<9} {wrong}", short(&container)));
    }
    ensure!(faults.is_empty(), "not confined: {}", faults.join("; "));
    Ok(lines.join("\n"))
}

fn short(container: &Container) -> String {
    format!("{} {}", container.service(), &container.id()[..12.min(container.id().len())])
}

/// What is wrong with what the engine was told.
fn told(facts: &Value) -> Vec<&'static str> {
    let host = &facts["HostConfig"];
    let list = |name: &str| -> Vec<String> {
        let list = host[name].as_array().into_iter().flatten();
        list.filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
    };
    let mut wrong = Vec::new();
    let user = facts["Config"]["User"].as_str().unwrap_or_default();
    if ["", "0", "root"].contains(&user.split(':').next().unwrap_or_default()) {
        wrong.push("is root");
    }
    if host["ReadonlyRootfs"] != Value::Bool(true) {
        wrong.push("may write to its root file system");
    }
    if list("CapDrop") != ["ALL"] || !list("CapAdd").is_empty() {
        wrong.push("has capabilities");
    }
    if host["Privileged"] == Value::Bool(true) {
        wrong.push("is privileged");
    }
    if !list("SecurityOpt")
        .iter()
        .any(|option| option.starts_with("no-new-privileges") && !option.ends_with("false"))
    {
        wrong.push("may gain privileges");
    }
    wrong
}

/// What is wrong with the process, by its `/proc/1/status`.
fn is(status: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if field(status, "Uid").is_none_or(|uid| uid == "0") {
        wrong.push("runs as root");
    }
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        if field(status, set).is_none_or(|set| !set.trim_matches('0').is_empty()) {
            wrong.push("runs with capabilities");
            break;
        }
    }
    if field(status, "NoNewPrivs") != Some("1") {
        wrong.push("runs so that it may gain privileges");
    }
    wrong
}

/// The first word of a field.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CONFINED: &str = "Name:\tx\nUid:\t10001\t10001\t10001\t10001\nCapPrm:\t0000000000000000\n\
                            CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n";

    fn facts(user: &str) -> Value {
        json!({
            "Config": {"User": user},
            "HostConfig": {"ReadonlyRootfs": true, "CapDrop": ["ALL"], "CapAdd": null, "Privileged": false,
                           "SecurityOpt": ["no-new-privileges:true"]},
        })
    }

    #[test]
    fn a_confined_container_has_no_fault_and_each_loosening_is_one() {
        assert_eq!(told(&facts("10001")), Vec::<&str>::new());
        assert_eq!(is(CONFINED), Vec::<&str>::new());
        for root in ["", "0", "root", "0:0", "root:root"] {
            assert_eq!(told(&facts(root)), ["is root"], "{root}");
        }
        let loosened = |name: &str, value: Value| {
            let mut facts = facts("nobody");
            facts["HostConfig"][name] = value;
            told(&facts).len()
        };
        assert_eq!(loosened("ReadonlyRootfs", json!(false)), 1);
        assert_eq!(loosened("CapDrop", json!(null)), 1);
        assert_eq!(loosened("CapAdd", json!(["CHOWN"])), 1);
        assert_eq!(loosened("Privileged", json!(true)), 1);
        assert_eq!(loosened("SecurityOpt", json!(null)), 1);
    }

    #[test]
    fn what_the_kernel_says_counts() {
        assert_eq!(is(&CONFINED.replace("10001\t", "0\t")), ["runs as root"]);
        assert_eq!(is(&CONFINED.replace("CapBnd:\t0000", "CapBnd:\t0001")), ["runs with capabilities"]);
        assert_eq!(is(&CONFINED.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")).len(), 1);
        assert_eq!(is("").len(), 3);
    }
}
