//! Whether a table exists if its input has rows, and whether it keeps up with the input.
//!
//! Being behind is no fault: a stage may be at work, or stopped for the night. It is a fault if the input's
//! next version is old, or if the next step cannot be computed, which [`super::gold`] tries.

use anyhow::Result;
use lake::Table;
use model::{ClockMs, TableName, Version};

use super::Finding;

/// A running stage needs seconds. A table that has not moved for this long has halted, or its stage does not
/// run.
const LONG_MS: i64 = 10 * 60 * 1000;

/// The number of rows in a table.
pub async fn rows(table: &Table) -> Result<u64> {
    match table.rows() {
        Some(rows) => Ok(rows),
        None => count(table).await,
    }
}

/// Counts the rows of a table one by one.
pub async fn count(table: &Table) -> Result<u64> {
    let frame = query::session().read_table(table.provider()?)?;
    Ok(frame.count().await? as u64)
}

/// How far one table has read another.
#[derive(Debug)]
pub enum Standing {
    /// It has read everything.
    UpToDate,
    /// These versions of the input changed rows and have not been read.
    Behind {
        /// Their number.
        versions: usize,
        /// When the first of them was committed, in milliseconds.
        since: i64,
    },
    /// The log no longer has the versions to read next; the first missing one.
    Lost(u64),
}
impl Standing {
    /// The state of a follower at version `at` of `input`.
    pub async fn of(input: &Table, at: Option<Version>) -> Result<Self> {
        match input.changes(at, input.version()).await {
            Ok(changes) => Ok(match changes.first() {
                None => Self::UpToDate,
                Some(first) => Self::Behind { versions: changes.len(), since: first.entry().timestamp_ms },
            }),
            Err(lake::Error::LogGone { version, .. }) => Ok(Self::Lost(version)),
            Err(error) => Err(error.into()),
        }
    }

    /// Reports the state. Returns `true` if the table has work to do.
    pub fn say(&self, input: &TableName, at: Option<Version>, now: ClockMs, finding: &mut Finding) -> bool {
        let place = at.map_or_else(|| "nothing".to_owned(), |at| format!("version {at}"));
        match self {
            Self::UpToDate => return false,
            Self::Behind { versions, since } => {
                let age = now.0.saturating_sub(*since).max(0);
                let minutes = age / 60_000;
                let text =
                    format!("it has read {place} of `{input}`, and {versions} newer with rows are not");
                if age > LONG_MS {
                    finding.fault(format!(
                        "{text}, the oldest for {minutes} minutes: the stage has halted or does not run"
                    ));
                } else {
                    finding.leave_out(format!("{text} yet: those are not checked"));
                }
            }
            // A table that has read nothing will read the newest version instead.
            Self::Lost(_) if at.is_none() => {
                finding.leave_out(format!("it has read nothing of `{input}` yet"));
            }
            Self::Lost(version) => finding.fault(format!(
                "it has read {place} of `{input}`, whose version {version} is gone from the log"
            )),
        }
        true
    }
}

/// The finding about a table that does not exist: a fault if its input has rows.
pub fn missing(name: &TableName, inputs: &[(TableName, u64)]) -> Finding {
    let mut finding = Finding::new(name);
    let full: Vec<String> = inputs
        .iter()
        .filter(|(_, rows)| *rows > 0)
        .map(|(input, rows)| format!("`{input}` holds {rows} rows"))
        .collect();
    if full.is_empty() {
        finding.leave_out("there is no such table, and nothing to make it of yet");
    } else {
        finding.fault(format!("the table is missing, and {}", full.join(", ")));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> TableName {
        name.parse().expect("a name")
    }

    #[test]
    fn a_table_is_missed_only_where_its_input_holds_rows() {
        let inputs = [(named("silver.a"), 0), (named("silver.b"), 3)];
        let finding = missing(&named("gold.t"), &inputs);
        assert!(finding.faults[0].contains("`silver.b` holds 3 rows"), "{finding:?}");
        let finding = missing(&named("gold.t"), &inputs[..1]);
        assert!(finding.is_empty() && finding.unchecked.len() == 1, "{finding:?}");
    }

    #[test]
    fn to_be_behind_is_said_and_to_stand_still_is_a_fault() {
        let behind = Standing::Behind { versions: 2, since: 0 };
        let mut finding = Finding::new("t");
        behind.say(&named("silver.a"), Some(Version(3)), ClockMs(LONG_MS), &mut finding);
        assert!(finding.faults.is_empty() && finding.unchecked.len() == 1, "{finding:?}");
        behind.say(&named("silver.a"), Some(Version(3)), ClockMs(LONG_MS + 1), &mut finding);
        assert_eq!(finding.faults.len(), 1, "{finding:?}");
    }
}
