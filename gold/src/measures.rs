//! Numbers about a table after a commit.
//!
//! A measure reads its columns of the whole table, so it is taken at most every few seconds, however
//! often the table is committed; what was committed in between is measured once the time has come. It
//! never undoes a commit: `warn` says so, `fail` halts the table behind it. A table that starts is
//! measured as it is, so one that halted does not go on unnoticed. The time in a measure is the `as_of`
//! that the table's rows were computed at.

use catalog::{Model, Otherwise};
use lake::{Lake, Table};
use model::{AppId, ClockMs, TableName};
use query::expectations::{Bounds, measure};
use runtime::Meter;

use crate::error::{Error, OfTable as _, Result};

/// Takes every measure of `model` over this version of its table.
pub async fn take(lake: &Lake, model: &Model, table: &Table, meter: &Meter) -> Result<()> {
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
    let as_of = ClockMs(table.positions().get(&AppId::as_of()).unwrap_or_default());
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
            let (table, measure) = (name.clone(), rule.name.clone());
            return Err(Error::MeasureFailed { table, measure, value, version });
        }
        tracing::warn!(table = %name, measure = rule.name, value, version, "measure out of bounds");
    }
    Ok(())
}
