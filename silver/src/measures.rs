//! Numbers about a table after a commit.
//!
//! A measure reads its columns of the whole table, so it is taken at most every few seconds, however
//! often the table is committed; what was committed in between is measured once the time has come. It
//! never undoes a commit: `warn` says so, `fail` halts the table behind it. A table that starts is
//! measured as it is, so one that halted does not go on unnoticed. The time in a measure is the
//! project's: the wall clock's, or with `clock: events` that of the newest event the table has seen,
//! floored to the model's `tick`.

use catalog::project::ClockKind;
use catalog::{Model, Otherwise};
use lake::{Lake, Table};
use model::{ClockMs, Millis, TableName, Version};
use query::expectations::{Bounds, measure};
use runtime::Meter;
use stage::CommitInfo;

use crate::error::{Error, OfTable as _, Result};

/// Commits whose events say how late it is. Events are late by minutes, not by this many commits.
const COMMITS: u64 = 100;

/// The time in the measures of `model`, whose table is this version.
pub async fn as_of(clock: ClockKind, now: ClockMs, model: &Model, table: &Table) -> Result<ClockMs> {
    let timed = |query: &str| query::sql::parse(query).is_ok_and(|parsed| parsed.uses_as_of);
    if !model.measures.iter().any(|rule| timed(&rule.query)) {
        return Ok(ClockMs(0));
    }
    let time = match clock {
        ClockKind::Wall => now,
        ClockKind::Events => {
            let from = table.version().0.checked_sub(COMMITS).map(Version);
            let entries = match table.log(from, table.version()).await {
                Err(lake::Error::LogGone { .. }) => Vec::new(),
                entries => entries.of(&model.name)?,
            };
            let said: Vec<CommitInfo> = entries.iter().filter_map(CommitInfo::said).collect();
            let event = said.iter().filter_map(CommitInfo::newest_event_ms).max();
            // Records without a time of their own have that of their arrival.
            let newest = event.or_else(|| said.iter().filter_map(CommitInfo::newest_arrival_ms).max());
            newest.map_or(ClockMs(0), Millis::on_clock)
        }
    };
    let tick = i64::try_from(model.tick.as_millis()).unwrap_or(i64::MAX).max(1);
    Ok(ClockMs(time.0.div_euclid(tick).saturating_mul(tick)))
}

/// Takes every measure of `model` over this version of its table, at this time.
pub async fn take(lake: &Lake, model: &Model, table: &Table, as_of: ClockMs, meter: &Meter) -> Result<()> {
    if model.measures.is_empty() {
        return Ok(());
    }
    let name = &model.name;
    let ctx = query::session();
    query::session::register(&ctx, name, table.provider().of(name)?).of(name)?;
    let mut missing: Vec<&TableName> = Vec::new();
    for input in model.measures.iter().flat_map(|m| &m.inputs).filter(|input| *input != name) {
        match lake.table(input).await.of(name)? {
            Some(other) => query::session::register(&ctx, input, other.provider().of(name)?).of(name)?,
            None => missing.push(input),
        }
    }
    // A table that is not there yet says nothing about this one.
    let can = |rule: &&catalog::Measure| !rule.inputs.iter().any(|input| missing.contains(&input));
    for rule in model.measures.iter().filter(can) {
        let value = match measure(&ctx, &rule.query, as_of).await {
            Ok(value) => value,
            Err(error) if rule.otherwise == Otherwise::Warn && error.patience().is_some() => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(table = %name, measure = rule.name, error, "measure cannot be taken");
                continue;
            }
            Err(error) => return Err(error).of(name),
        };
        if let Some(value) = value {
            meter.measured(&rule.name, value);
        }
        let bounds = Bounds { at_least: rule.at_least, at_most: rule.at_most };
        if bounds.hold(value) {
            continue;
        }
        let (version, value) = (table.version().0, value.unwrap_or(f64::NAN));
        if rule.otherwise == Otherwise::Fail {
            return Err(Error::MeasureFailed {
                table: name.clone(),
                measure: rule.name.clone(),
                value,
                version,
            });
        }
        tracing::warn!(table = %name, measure = rule.name, value, version, "measure out of bounds");
    }
    Ok(())
}
