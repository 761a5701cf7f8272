//! The run itself: up, confined, seen, killed, restarted, drained, proven.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::confined;
use super::engine::until;
use super::project::{Container, Project};
use super::report::Report;

/// How long rows may take to come.
const PATIENCE: Duration = Duration::from_secs(600);

/// Rows of bronze that have to come after something was done to a stage: more than were on their way by then.
const MORE: u64 = 2_000;

/// Every stage, in the order in which they are restarted, with the containers it has.
const STAGES: [(&str, usize); 4] = [("bronze-1", 1), ("bronze-2", 2), ("silver", 1), ("gold", 1)];

/// Does all of it on a project where nothing runs yet.
pub fn all(project: &Project<'_>, events: u64, report: &mut Report) -> Result<()> {
    report.step("up");
    project.up()?;
    report.holds("healthy", states(&project.containers()?));
    report.holds("confined", confined::check(project)?);
    report.holds("Prometheus reaches", targets(project)?);
    let rows = more_rows(project, 0)?;
    report.holds("rows come", format!("{rows} rows of bronze"));

    report.step("two of three bronze killed");
    report.holds("two of three killed", killed(project)?);

    report.step("every stage restarted, one after another");
    report.holds("restarted in turn", restarted(project)?);

    report.step("to the end");
    let summary = ended(project, events)?;
    report.holds("changes sent", format!("{} in all, the last {events} at once", summary["events"]));
    project.lakepulse(&["gold", "--until-drained"]).context("not everything reached gold")?;
    report.holds("drained", "every record is in bronze, silver, gold and on the gold topics");
    report.holds("verify", verified(project)?);
    report.holds("as the simulator says", compared(project, &summary)?);
    Ok(())
}

/// A line for how many containers are in which state.
fn states(containers: &[Container]) -> String {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let state = &container.facts()["State"];
        let state = state["Health"]["Status"].as_str().or(state["Status"].as_str()).unwrap_or_default();
        names.entry(state).or_default().push(container.service());
    }
    let lines: Vec<String> =
        names.into_iter().map(|(state, names)| format!("{state}: {}", names.join(", "))).collect();
    lines.join("\n")
}

/// Waits until Prometheus has reached everything that its settings name.
fn targets(project: &Project<'_>) -> Result<String> {
    let prometheus = project.of("prometheus")?;
    let prometheus = prometheus.first().context("a container")?;
    until("targets of Prometheus", PATIENCE, || {
        let url = "http://127.0.0.1:9090/api/v1/targets?state=active";
        let answer: Value =
            serde_json::from_str(&project.within(prometheus, &["wget", "-q", "-O", "-", url])?)?;
        let mut up = Vec::new();
        for target in answer["data"]["activeTargets"].as_array().into_iter().flatten() {
            let address = target["labels"]["instance"].as_str().unwrap_or_default();
            if target["health"] != "up" {
                return Ok(Err(format!("{address}: {} {}", target["health"], target["lastError"])));
            }
            up.push(address);
        }
        up.sort_unstable();
        Ok(if up.is_empty() { Err("it has none".to_owned()) } else { Ok(up.join(" ")) })
    })
}

/// Rows in all tables of bronze.
fn rows(project: &Project<'_>) -> Result<u64> {
    let silver = project.of("silver")?;
    let command = ["lakepulse", "status", "--json"];
    let tables: Value =
        serde_json::from_str(&project.within(silver.first().context("a container")?, &command)?)?;
    let bronze = tables.as_array().into_iter().flatten().filter(|table| table["kind"] == "bronze");
    Ok(bronze.filter_map(|table| table["rows"].as_u64()).sum())
}

/// Waits until bronze has more rows than it had, by enough that they cannot have been on their way.
fn more_rows(project: &Project<'_>, than: u64) -> Result<u64> {
    until("rows of bronze", PATIENCE, || {
        let now = rows(project)?;
        Ok(if now >= than + MORE { Ok(now) } else { Err(format!("{now}, wanted {}", than + MORE)) })
    })
}

/// Kills two bronze containers; the third has to go on for all; then the two are back.
fn killed(project: &Project<'_>) -> Result<String> {
    let victims = project.of("bronze-2")?;
    ensure!(victims.len() == 2, "there are {} of bronze-2", victims.len());
    let before = rows(project)?;
    for victim in &victims {
        project.kill(victim)?;
    }
    let after = more_rows(project, before)?;
    let dead =
        project.of("bronze-2")?.iter().all(|victim| victim.exit_code() == Some(137) && !victim.is_running());
    ensure!(dead, "a killed container came back by itself, so the third was not alone");
    for victim in &victims {
        project.start(victim)?;
    }
    Ok(format!("the third went on from {before} to {after} rows alone, then the two came back healthy"))
}

/// Stops each container of each stage, which has to end well, and starts it again before the next.
fn restarted(project: &Project<'_>) -> Result<String> {
    let mut names = Vec::new();
    for (stage, count) in STAGES {
        let containers = project.of(stage)?;
        ensure!(containers.len() == count, "there are {} of {stage}", containers.len());
        for container in containers {
            let code = project.stop(&container)?;
            ensure!(code == Some(0), "{} ended with {code:?} when it was asked to", container.name());
            project.start(&container)?;
            names.push(stage);
        }
    }
    let rows = more_rows(project, rows(project)?)?;
    Ok(format!("{}: each ended with 0 and came back healthy; {rows} rows then", names.join(", ")))
}

/// Stops the simulator where it is and sends so many changes more. Gives what the tables must hold by then.
fn ended(project: &Project<'_>, events: u64) -> Result<Value> {
    let simulator = project.of("sim")?;
    let simulator = simulator.first().context("a container")?;
    let code = project.stop(simulator)?;
    ensure!(code == Some(0), "the simulator ended with {code:?} when it was asked to");
    let so_far = last_object(&project.output(simulator)?)?;
    let so_far = so_far["events"].as_u64().context("the simulator does not say how far it is")?;
    last_object(&project.lakepulse(&["sim", "--events", &(so_far + events).to_string()])?)
}

/// The last JSON object of a text that may have lines before it.
fn last_object(text: &str) -> Result<Value> {
    let begin = text.rfind("\n{\n").map(|at| at + 1).or_else(|| text.starts_with('{').then_some(0));
    let begin = begin.with_context(|| format!("the simulator gave no summary: {text}"))?;
    Ok(serde_json::from_str(&text[begin..])?)
}

/// `verify` fails by itself when a claim does not hold; that it had topics to look at is seen here.
fn verified(project: &Project<'_>) -> Result<String> {
    let findings: Vec<Value> = serde_json::from_str(&project.lakepulse(&["verify", "--json"])?)?;
    let faults: usize = findings.iter().map(|finding| finding["faults"].as_array().map_or(1, Vec::len)).sum();
    ensure!(faults == 0, "verify found faults: {findings:?}");
    let topics =
        findings.iter().filter(|finding| finding["name"].as_str().is_some_and(|n| n.ends_with("(topic)")));
    let topics: Vec<&str> = topics.filter_map(|topic| topic["checked"].as_str()).collect();
    ensure!(!topics.is_empty() && topics.iter().all(|topic| !topic.is_empty()), "gold topics: {topics:?}");
    Ok(format!("{} checked, no faults; gold topics:\n{}", findings.len(), topics.join("\n")))
}

/// Compares rows and the revenue with the simulator's own account.
fn compared(project: &Project<'_>, summary: &Value) -> Result<String> {
    let tables = summary["tables"].as_object().context("the summary has tables")?;
    let mut counts: Vec<(String, String)> = Vec::new();
    for (table, state) in tables {
        counts.push((format!("SELECT count(*) FROM silver.{table}"), state["live_rows"].to_string()));
    }
    let revenue = summary["totals"]["revenue"].as_str().context("the summary has a revenue")?;
    counts.push((
        "SELECT CAST(sum(quantity * unit_price) AS DECIMAL(18, 2)) FROM silver.order_lines".to_owned(),
        revenue.to_owned(),
    ));
    let asked: Vec<String> =
        counts.iter().enumerate().map(|(n, (query, _))| format!("({query}) AS a{n}")).collect();
    let answer = project.lakepulse(&["query", "--format", "csv", &format!("SELECT {}", asked.join(", "))])?;
    let answer: Vec<&str> = answer.lines().last().unwrap_or_default().split(',').collect();
    for ((query, expected), seen) in counts.iter().zip(&answer) {
        ensure!(expected == seen, "{query}: {seen}, but the simulator says {expected}");
    }
    ensure!(answer.len() == counts.len(), "the query gave {answer:?}");
    Ok(format!("rows of {} silver tables, and a revenue of {revenue}", tables.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_behind_what_was_written_before() {
        let text = "{\n \"events\": 1\n}\n{\n \"events\": {\n  \"x\": 2 }\n}\n";
        assert_eq!(last_object(text).expect("an object")["events"]["x"], 2);
        assert_eq!(last_object("{\n \"events\": 1\n}").expect("an object")["events"], 1);
        assert!(last_object("nothing").is_err());
    }
}
