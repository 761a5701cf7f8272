//! Errors that stop a gold table, and how the loop reacts.

use model::{Reaction, TableName};
use runtime::{Failure, TRIES};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a gold table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake failed.
    #[error("table `{table}`: the lake failed")]
    Lake {
        /// The gold table.
        table: TableName,
        /// The lake's error.
        source: Box<lake::Error>,
    },
    /// The query failed.
    #[error("table `{table}`: its query failed{}", if source.is_of_memory() {
        ", because the queries of this process may not take more memory together; if it stays so, make it narrower, or split it into two models"
    } else {
        ""
    })]
    Query {
        /// The gold table.
        table: TableName,
        /// The engine's error.
        source: Box<query::Error>,
    },
    /// Kafka failed while it distributed the tables.
    #[error("kafka failed while gold tables were shared out")]
    Owners {
        /// The client's error.
        source: Box<stage::OwnersError>,
    },
    /// The event time of an input's commit cannot be read.
    #[error("table `{table}`: the newest event of its input `{input}` is not known")]
    InputUnreadable {
        /// The gold table.
        table: TableName,
        /// The input.
        input: TableName,
        /// Which commit.
        source: stage::info::Unreadable,
    },
    /// No commit that is left says what time it is, for a query that uses the time.
    #[error(
        "table `{table}` uses the time of events, and no commit that the log of `{input}` still has says one; it goes on with the next event"
    )]
    TimeGone {
        /// The gold table.
        table: TableName,
        /// An input whose log was cleaned up.
        input: TableName,
    },
    /// Rows cannot be compared or converted.
    #[error("rows of `{table}` cannot be compared")]
    Rows {
        /// The gold table.
        table: TableName,
        /// Arrow's error.
        source: arrow::error::ArrowError,
    },
    /// The project has no such model, or gold does not run it.
    #[error("`{table}` is no gold table of the project")]
    NoModel {
        /// The name.
        table: TableName,
    },
    /// The columns of an input are not known yet.
    #[error(
        "table `{table}`: columns of its inputs are not known yet; load the project with the registry's schema"
    )]
    Unlearned {
        /// The gold table.
        table: TableName,
    },
    /// An input does not exist yet.
    #[error("table `{table}` waits for its input `{input}`, which does not exist yet")]
    NoInput {
        /// The gold table.
        table: TableName,
        /// The input.
        input: TableName,
    },
    /// The table does not exist.
    #[error("table `{table}` does not exist; `apply` creates it")]
    NoTable {
        /// The gold table.
        table: TableName,
    },
    /// The table was computed by another plan.
    #[error(
        "table `{table}` was computed by plan {held:016x} but its model is {wanted:016x}; run `plan` to see what changed, then `apply`"
    )]
    PlanChanged {
        /// The gold table.
        table: TableName,
        /// Fingerprint in the table; 0 if there is none.
        held: i64,
        /// Fingerprint of the model.
        wanted: i64,
    },
    /// An input is not the table that was pinned.
    #[error(
        "table `{table}` pins no version of `{input}` (id `{id}`): that table was recreated or another lake was restored; rebuild `{table}`"
    )]
    InputRecreated {
        /// The gold table.
        table: TableName,
        /// The input.
        input: TableName,
        /// Its id.
        id: String,
    },
    /// A pin is ahead of its input.
    #[error(
        "table `{table}` pins version {pin} of `{input}`, whose newest is {newest}: an older lake was restored; rebuild `{table}`"
    )]
    PinAhead {
        /// The gold table.
        table: TableName,
        /// The input.
        input: TableName,
        /// The pin.
        pin: u64,
        /// Its newest version.
        newest: u64,
    },
    /// The query gives two rows for one key.
    #[error(
        "the query of `{table}` gives more than one row for the key {key}; add columns to `keys` or aggregate"
    )]
    KeyTwice {
        /// The gold table.
        table: TableName,
        /// The key, as text.
        key: String,
    },
    /// The query fails for one row.
    #[error(
        "table `{table}`: its query fails for the row {key}; correct the row in its source, or the query"
    )]
    RowFails {
        /// The gold table.
        table: TableName,
        /// The key, as text.
        key: String,
        /// The engine's error.
        source: Box<query::Error>,
    },
    /// A partition column cannot hold a value.
    #[error(
        "table `{table}` is partitioned by `{column}`, and the row {key} cannot be stored: {why}; give it another value in the query, or leave `{column}` out of `partition_by`"
    )]
    PartitionValue {
        /// The gold table.
        table: TableName,
        /// The partition column.
        column: String,
        /// The key, as text.
        key: String,
        /// What is wrong with the value.
        why: &'static str,
    },
    /// A row breaks an expectation with `fail`.
    #[error(
        "table `{table}`: expectation `{expectation}` fails for the row {key}, so its version is not committed: correct the source, the query or the expectation"
    )]
    ExpectationFailed {
        /// The gold table.
        table: TableName,
        /// The expectation.
        expectation: String,
        /// The key of the first such row, as text.
        key: String,
    },
    /// A measure with `fail` is out of its bounds.
    #[error("table `{table}`: measure `{measure}` is {value} after version {version}, outside its bounds")]
    MeasureFailed {
        /// The gold table.
        table: TableName,
        /// The measure.
        measure: String,
        /// What was measured.
        value: f64,
        /// The version that was measured.
        version: u64,
    },
    /// A follower of the table is halted until a person acts.
    #[error(transparent)]
    Beside(lake::BoxError),
    /// Some tables halted; the others went on.
    #[error("halted: {}", tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Halted {
        /// These.
        tables: Vec<TableName>,
    },
}

impl Failure for Error {
    fn reaction(&self) -> Reaction {
        match self {
            // Files and log entries are deleted once nothing needs them; a table whose pin fell behind is
            // read again.
            Self::Lake { source, .. } => source.reaction(),
            Self::Query { source, .. } => source.reaction(),
            Self::Owners { source } => source.reaction(),
            Self::NoInput { .. } | Self::TimeGone { .. } => Reaction::Retry,
            Self::Rows { .. }
            | Self::InputUnreadable { .. }
            | Self::NoModel { .. }
            | Self::Unlearned { .. }
            | Self::NoTable { .. }
            | Self::PlanChanged { .. }
            | Self::InputRecreated { .. }
            | Self::PinAhead { .. }
            | Self::KeyTwice { .. }
            | Self::RowFails { .. }
            | Self::PartitionValue { .. }
            | Self::ExpectationFailed { .. }
            | Self::MeasureFailed { .. }
            | Self::Beside(_)
            | Self::Halted { .. } => Reaction::Halt,
        }
    }

    fn patience(&self) -> Option<u32> {
        match self {
            Self::Query { source, .. } => source.patience(),
            // Rows do not fit the table's columns; those of another version may.
            Self::Lake { source, .. } if source.reaction() == Reaction::Reload => Some(TRIES),
            _ => None,
        }
    }
}

impl Error {
    /// True if other versions of the inputs may fix it: the table then waits for them, so that a person can
    /// correct a row. Any other error needs a person at the table itself.
    pub fn is_about_rows(&self) -> bool {
        match self {
            Self::Query { .. }
            | Self::Rows { .. }
            | Self::KeyTwice { .. }
            | Self::RowFails { .. }
            | Self::PartitionValue { .. }
            | Self::ExpectationFailed { .. }
            | Self::MeasureFailed { .. } => true,
            Self::Lake { source, .. } => {
                matches!(**source, lake::Error::BadRows { .. } | lake::Error::BadPartitionValue { .. })
            }
            _ => false,
        }
    }
}

/// Adds the gold table to an error of a library.
pub(crate) trait OfTable<T> {
    /// Wraps the error.
    fn of(self, table: &TableName) -> Result<T>;
}
impl<T> OfTable<T> for Result<T, lake::Error> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| Error::Lake { table: table.clone(), source: Box::new(source) })
    }
}
impl<T> OfTable<T> for Result<T, query::Error> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| Error::Query { table: table.clone(), source: Box::new(source) })
    }
}
impl<T> OfTable<T> for Result<T, stage::measures::Error> {
    fn of(self, table: &TableName) -> Result<T> {
        match self {
            Ok(taken) => Ok(taken),
            Err(stage::measures::Error::Lake(source)) => Err(source).of(table),
            Err(stage::measures::Error::Query(source)) => Err(source).of(table),
            Err(stage::measures::Error::OutOfBounds { measure, value, version }) => {
                Err(Error::MeasureFailed { table: table.clone(), measure, value, version })
            }
        }
    }
}
impl<T> OfTable<T> for Result<T, arrow::error::ArrowError> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| Error::Rows { table: table.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::{After, Retry};

    use super::*;

    fn name() -> TableName {
        "gold.t".parse().expect("a name")
    }
    fn memory() -> Error {
        let source = datafusion::error::DataFusionError::ResourcesExhausted("1 GiB".to_owned());
        let source = query::Error::Engine { doing: "run a refresh", source: Box::new(source) };
        Error::Query { table: name(), source: Box::new(source) }
    }

    #[test]
    fn what_always_fails_for_memory_halts_after_a_few_tries_and_says_what_to_do() {
        let mut retry = Retry::new(Duration::from_millis(1));
        assert!((1..8).all(|_| retry.after(&memory()) == After::Retry));
        let After::Halt { reason } = retry.after(&memory()) else { panic!("it is tried again") };
        assert!(memory().is_about_rows());
        assert!(
            reason.contains("8 attempts") && reason.contains("more memory") && reason.contains("1 GiB"),
            "{reason}"
        );
        retry.reset();
        assert_eq!(retry.after(&memory()), After::Retry);
    }

    #[test]
    fn what_waits_for_an_answer_is_tried_for_ever() {
        let away = Error::NoInput { table: name(), input: name() };
        let mut retry = Retry::new(Duration::from_millis(1));
        assert!((0..1000).all(|_| retry.after(&away) == After::Retry));
    }
}
