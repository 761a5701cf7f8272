//! Errors of silver, and how its loop reacts.

use arrow::error::ArrowError;
use model::{Reaction, TableName};
use runtime::{Failure, TRIES};

/// An error of a table's pipeline. A bad row is not an error but an outcome, counted and kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake failed.
    #[error("table `{table}`: the lake failed")]
    Lake {
        /// The silver table.
        table: TableName,
        /// The cause.
        source: Box<lake::Error>,
    },
    /// The model's SQL does not compile or does not run.
    #[error("model `{table}` cannot run")]
    Query {
        /// The model.
        table: TableName,
        /// The cause.
        source: Box<query::Error>,
    },
    /// Columns do not have the expected shape.
    #[error("table `{table}`: rows do not fit: {what}")]
    Rows {
        /// The silver table.
        table: TableName,
        /// Which rows.
        what: &'static str,
        /// The cause.
        source: ArrowError,
    },
    /// The bronze table lacks what the model's kind needs.
    #[error("table `{table}` cannot be made of `{bronze}`: {fault}")]
    Unfit {
        /// The silver table.
        table: TableName,
        /// Its bronze table.
        bronze: TableName,
        /// What is wrong, and what to do.
        fault: Box<str>,
    },
    /// The table holds rows of another plan.
    #[error(
        "table `{table}` was made by plan {found}, the model's is {expected}: run `lakepulse plan`, then `lakepulse apply`"
    )]
    OtherPlan {
        /// The silver table.
        table: TableName,
        /// Fingerprint in the table.
        found: String,
        /// Fingerprint of the model.
        expected: i64,
    },
    /// The table has read another bronze table than the one that exists.
    #[error(
        "table `{table}` has read `{found}`, but `{bronze}` has another id: it was recreated or restored; rebuild `{table}`"
    )]
    OtherInput {
        /// The silver table.
        table: TableName,
        /// Its bronze table.
        bronze: TableName,
        /// The app id found.
        found: Box<str>,
    },
    /// The table is ahead of its input.
    #[error(
        "table `{table}` has read version {position} of `{bronze}`, whose newest is {newest}: an older lake was restored"
    )]
    AheadOfInput {
        /// The silver table.
        table: TableName,
        /// Its bronze table.
        bronze: TableName,
        /// Version consumed.
        position: i64,
        /// The newest version.
        newest: u64,
    },
    /// A row breaks an expectation with `fail`.
    #[error(
        "table `{table}`: expectation `{expectation}` fails at {place}: correct the source or the expectation"
    )]
    ExpectationFailed {
        /// The silver table.
        table: TableName,
        /// The expectation.
        expectation: String,
        /// Topic id, partition and offset of the first such row.
        place: String,
    },
    /// A measure with `fail` is out of its bounds.
    #[error("table `{table}`: measure `{measure}` is {value} after version {version}, outside its bounds")]
    MeasureFailed {
        /// The silver table.
        table: TableName,
        /// The measure.
        measure: String,
        /// What was measured.
        value: f64,
        /// The version that was measured.
        version: u64,
    },
    /// A column mixes a value that the source left out with other values.
    #[error(
        "table `{table}`: `{column}` mixes `{unchanged}`, which the source left out as unchanged, with other columns: set REPLICA IDENTITY FULL on the source table, or give `{unchanged}` a column of its own"
    )]
    MixesUnchanged {
        /// The silver table.
        table: TableName,
        /// Output column, or the WHERE.
        column: String,
        /// The source column.
        unchanged: String,
    },
    /// Kafka does not report the owners of tables any more.
    #[error("cannot learn which tables this process owns")]
    Owners {
        /// The cause.
        source: stream::Error,
    },
    /// Another writer moved the table's positions.
    #[error("table `{table}` was moved on by another writer")]
    Moved {
        /// The table or sibling.
        table: TableName,
    },
    /// Tables that are halted until a person acts.
    #[error("{} table(s) halted: {}", .tables.len(), .tables.join(", "))]
    Halted {
        /// Their names with the reasons.
        tables: Vec<String>,
    },
}

impl Failure for Error {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Lake { source, .. } => source.reaction(),
            Self::Query { source, .. } => source.reaction(),
            Self::Owners { source } => source.reaction(),
            Self::Moved { .. } => Reaction::Reload,
            Self::Rows { .. }
            | Self::Unfit { .. }
            | Self::OtherPlan { .. }
            | Self::OtherInput { .. }
            | Self::AheadOfInput { .. }
            | Self::ExpectationFailed { .. }
            | Self::MeasureFailed { .. }
            | Self::MixesUnchanged { .. }
            | Self::Halted { .. } => Reaction::Halt,
        }
    }

    fn patience(&self) -> Option<u32> {
        match self {
            Self::Query { source, .. } => source.patience(),
            // Rows do not fit the table's columns; those of another version may.
            Self::Lake { source, .. } if source.reaction() == Reaction::Reload => Some(TRIES),
            // The store has to answer, or another writer moved the table.
            _ => None,
        }
    }
}

/// Result of a silver step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds the table to an error.
pub(crate) trait OfTable<T> {
    /// Wraps the error.
    fn of(self, table: &TableName) -> Result<T>;
}
impl<T> OfTable<T> for lake::Result<T> {
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

/// Adds the rows that did not fit to an error.
pub(crate) trait Fitting<T> {
    /// Wraps the error.
    fn fitting(self, table: &TableName, what: &'static str) -> Result<T>;
}
impl<T> Fitting<T> for Result<T, ArrowError> {
    fn fitting(self, table: &TableName, what: &'static str) -> Result<T> {
        self.map_err(|source| Error::Rows { table: table.clone(), what, source })
    }
}
