//! Numbers about a table after a commit.
//!
//! A measure reads its columns of the whole table, so it is taken at most every few seconds, however often the
//! table is committed; commits in between are measured at the next turn. It never undoes a commit: `warn` logs,
//! `fail` halts the table after the commit. A table is also measured when it starts, so one that halted does
//! not go on unnoticed.

use catalog::{Measure, Model, Otherwise};
use lake::{Lake, Table};
use model::{ClockMs, TableName};
use query::expectations::{Bounds, measure};
use runtime::Meter;

/// Why measures could not be taken, or the measure that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A table cannot be read.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// A measure cannot be computed.
    #[error(transparent)]
    Query(#[from] query::Error),
    /// A measure with `fail` is out of its bounds.
    #[error("measure `{measure}` is {value} after version {version}, outside its bounds")]
    OutOfBounds {
        /// The measure.
        measure: String,
        /// Its value.
        value: f64,
        /// The measured version of the table.
        version: u64,
    },
}

/// Takes every measure of `model` over this version of its table. `as_of` is the value of `now()`.
pub async fn take(
    lake: &Lake,
    model: &Model,
    table: &Table,
    as_of: ClockMs,
    meter: &Meter,
) -> Result<(), Error> {
    if model.measures.is_empty() {
        return Ok(());
    }
    let name = &model.name;
    let ctx = query::session();
    query::session::register(&ctx, name, table.provider()?)?;
    let mut missing: Vec<&TableName> = Vec::new();
    for input in model.measures.iter().flat_map(|m| &m.inputs).filter(|input| *input != name) {
        match lake.table(input).await? {
            Some(other) => query::session::register(&ctx, input, other.provider()?)?,
            None => missing.push(input),
        }
    }
    // A measure over a missing table is skipped.
    let can = |rule: &&Measure| !rule.inputs.iter().any(|input| missing.contains(&input));
    for rule in model.measures.iter().filter(can) {
        let value = match measure(&ctx, &rule.query, as_of).await {
            Ok(value) => value,
            Err(error) if rule.otherwise == Otherwise::Warn && error.patience().is_some() => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(table = %name, measure = rule.name, error, "measure cannot be taken");
                continue;
            }
            Err(error) => return Err(error.into()),
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
            return Err(Error::OutOfBounds { measure: rule.name.clone(), value, version });
        }
        tracing::warn!(table = %name, measure = rule.name, value, version, "measure out of bounds");
    }
    Ok(())
}
