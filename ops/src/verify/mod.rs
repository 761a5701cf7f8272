//! Proves from the data alone that nothing was lost, doubled or falsified.
//!
//! It uses none of the stages' own counters: it computes offsets, rows, hashes, folds and query results again
//! from the stored data, and compares. Where the stages have their own code (decoding, folding, the engine's
//! optimiser), it uses other code. There is one finding per table or topic; each fault names the offsets,
//! keys or versions that break the claim. Nothing here prints.
//!
//! | module | claim |
//! | --- | --- |
//! | [`bronze`] | every offset range is there, once, with the rows and the digest its commit stated; a sample of the records, decoded by another library, has the stored values |
//! | [`silver`], [`refold`], [`siblings`] | every bronze row is accounted for, and the table and its siblings are the fold of bronze |
//! | [`gold`], [`engine`] | the table equals its SQL over the versions it pins, evaluated without the optimiser |
//! | [`duckdb`] | the same, evaluated by another engine on request |
//! | [`topic`] | the compacted topic equals the table, key by key |
//! | [`follow`] | a table exists if its input has rows, and keeps up with it |
//! | [`decoded`], [`value`], [`json`] | decode records again and compare values with stored ones |
//! | [`compare`] | compares two sets of rows by key |

pub mod bronze;
pub mod compare;
pub mod decoded;
pub mod duckdb;
pub mod engine;
pub mod follow;
pub mod gold;
pub mod json;
pub mod refold;
pub mod siblings;
pub mod silver;
pub mod topic;
pub mod value;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;

use anyhow::{Result, bail};
use catalog::Project;
use futures::FutureExt as _;
use lake::Lake;
use model::{ClockMs, TableName};
use serde::Serialize;
use stream::{Kafka, Registry};

use crate::wiring::Wiring;

/// What to verify, and how thoroughly.
pub struct Scope<'a> {
    /// Declares the topics and models.
    pub project: &'a Project,
    /// Holds the tables.
    pub lake: &'a Lake,
    /// Holds the topics.
    pub kafka: &'a Kafka,
    /// Holds the topics' schemas.
    pub registry: &'a Registry,
    /// The current time; used only to tell how long a table has stood still.
    pub now: ClockMs,
    /// Decode every record again instead of a sample.
    pub deep: bool,
    /// Evaluate gold with this engine, too.
    pub with: Option<&'a duckdb::DuckDb>,
    /// The tables to check. Empty: all.
    pub select: &'a [TableName],
}
impl<'a> Scope<'a> {
    /// All tables of an open project, with a sample of the records.
    pub fn of(wiring: &'a Wiring) -> Self {
        Self {
            project: &wiring.project,
            lake: &wiring.lake,
            kafka: &wiring.kafka,
            registry: &wiring.registry,
            now: wiring.clock.now(),
            deep: false,
            with: None,
            select: &[],
        }
    }
}

/// The result for one table or topic.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Name of the table or topic.
    pub name: String,
    /// What was compared, in one line. Empty: nothing was, and `unchecked` says why.
    pub checked: String,
    /// What was not compared, each with the reason.
    pub unchecked: Vec<String>,
    /// Claims that do not hold. Empty: proven, as far as it was checked.
    pub faults: Vec<String>,
}
impl Finding {
    /// A finding about `name` without faults.
    pub fn new(name: impl ToString) -> Self {
        Self { name: name.to_string(), checked: String::new(), unchecked: Vec::new(), faults: Vec::new() }
    }
    /// A finding about data that cannot be read.
    pub fn unreadable(name: impl ToString, error: &anyhow::Error) -> Self {
        let mut finding = Self::new(name);
        finding.fault(format!("cannot be checked: {error:#}"));
        finding
    }
    /// Adds a fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }
    /// Adds something that was not compared, with the reason.
    pub fn leave_out(&mut self, what: impl Into<String>) {
        self.unchecked.push(what.into());
    }
    /// True if there was nothing to check and nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.checked.is_empty()
    }
}

/// Checks every table and topic of the project, even after faults. Passes each finding to `each` at once, and
/// returns all of them.
pub async fn run(scope: &Scope<'_>, mut each: impl FnMut(&Finding)) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut take = |name: &dyn ToString, found: Result<Finding>| {
        let finding = found.unwrap_or_else(|error| Finding::unreadable(name.to_string(), &error));
        each(&finding);
        findings.push(finding);
    };
    let wanted = |name: &TableName| scope.select.is_empty() || scope.select.contains(name);
    let catalog = &scope.project.catalog;
    for declared in catalog.topics.values().filter(|topic| wanted(&topic.table)) {
        let mut found = guarded(bronze::check(scope, declared)).await;
        standing(scope.lake, "bronze", &declared.table, &mut found).await;
        take(&declared.table, found);
    }
    for model in catalog.models.values().filter(|model| wanted(&model.name)) {
        if model.kind.is_silver() {
            let mut found = guarded(silver::check(scope, model)).await;
            standing(scope.lake, "silver", &model.name, &mut found).await;
            take(&model.name, found);
        }
        if model.kind.is_gold() {
            let mut found = guarded(gold::check(scope, model)).await;
            standing(scope.lake, "gold", &model.name, &mut found).await;
            take(&model.name, found);
            if let Some(name) = &model.publish {
                let mut found = guarded(topic::check(scope, model, name)).await;
                standing(scope.lake, "publish", &model.name, &mut found).await;
                take(&format!("{name} (topic)"), found);
            }
        }
    }
    findings
}

/// Runs a check and turns a panic into an error, so that the others go on.
async fn guarded(check: impl Future<Output = Result<Finding>>) -> Result<Finding> {
    match AssertUnwindSafe(check).catch_unwind().await {
        Ok(found) => found,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            bail!("the check panicked: {text}")
        }
    }
}

/// Adds a fault if the stage has halted this table, which then stays at its last version.
async fn standing(lake: &lake::Lake, stage: &str, table: &model::TableName, found: &mut Result<Finding>) {
    let holds = async {
        let held = lake.table(table).await?;
        Ok::<_, lake::Error>(lake.halted(stage, table).await?.filter(|halt| halt.holds(held.as_ref())))
    };
    let fault = match holds.await {
        Ok(None) => return,
        Ok(Some(halt)) => format!("it has halted, no newer version comes: {}", halt.reason),
        Err(error) => format!("cannot tell whether it has halted: {error}"),
    };
    if let Ok(found) = found {
        found.fault(fault);
    }
}

/// Adds a difference to a finding.
fn report(difference: &compare::Difference, finding: &mut Finding) {
    if difference.is_empty() {
        return;
    }
    finding.fault(format!(
        "{} rows missing, {} too many, {} with another value",
        difference.missing, difference.extra, difference.changed
    ));
    for named in &difference.named {
        finding.fault(named.clone());
    }
}

/// Checks that positions rise from version to version, and that a stage wrote every version that changed rows.
/// Returns the log's entries, which follow each other: a log with a gap cannot be read.
async fn never_falls(table: &lake::Table, finding: &mut Finding) -> Result<Vec<lake::LogEntry>> {
    let mut held = model::Positions::default();
    let log = table.log(None, table.version()).await?;
    for entry in &log {
        for (app, position) in entry.positions.0.iter().filter(|(app, _)| **app != model::AppId::plan()) {
            if held.get(app).is_some_and(|earlier| earlier > *position) {
                finding.fault(format!("version {} sets position `{app}` back to {position}", entry.version));
            }
        }
        let is_ours = !matches!(stage::CommitInfo::parse(entry), Ok(None));
        if entry.data_change && entry.version.0 > 0 && !is_ours {
            finding.fault(format!("version {} changed rows and is no stage's", entry.version));
        }
        held = held.then(&entry.positions);
    }
    Ok(log)
}
