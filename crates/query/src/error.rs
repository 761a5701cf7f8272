//! What can go wrong between a SQL text and its rows.

use std::fmt;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use model::Reaction;

/// Tries after running out of memory, because other queries of the process may have used it.
const TRIES_FOR_MEMORY: u32 = 8;
/// Tries after an error that may or may not repeat.
const TRIES: u32 = 3;

/// Where a SQL text is wrong, and what to do. Lines and columns count from 1; a fault without a place has 0
/// in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFault {
    /// Line in the text given to [`crate::sql::parse`].
    pub line: usize,
    /// Column in that line.
    pub column: usize,
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// What to do; empty if the message says it.
    pub help: String,
}
impl SqlFault {
    /// A fault without a place.
    pub(crate) fn nowhere(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into(), help: help.into() }
    }
}
impl fmt::Display for SqlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {} column {}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not SQL that LakePulse accepts.
    #[error("{0}")]
    Sql(SqlFault),
    /// An expression, a model or a query was refused, with every reason.
    #[error("{0}")]
    Refused(crate::plan::Refusal),
    /// A batch does not have the expected columns or types.
    #[error("cannot bring a column to the type the table stores: {what}")]
    Shape {
        /// Column and types.
        what: String,
        /// Arrow's error.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A refresh reads an input that it did not get.
    #[error("table `{table}` is read by the query but was not given to it")]
    MissingInput {
        /// The input.
        table: String,
    },
    /// Planning or running failed in the engine.
    #[error("cannot {doing}")]
    Engine {
        /// What was attempted.
        doing: &'static str,
        /// The engine's own error.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
}
impl Error {
    /// What a loop does next. Only errors of the engine may disappear with another try.
    pub fn reaction(&self) -> Reaction {
        if self.patience() == Some(1) { Reaction::Halt } else { Reaction::Retry }
    }

    /// How many times to try the same call before it is clear that it always fails. `None`: until the store
    /// or disk answers again.
    pub fn patience(&self) -> Option<u32> {
        match self {
            Self::Engine { source, .. } => patience(source),
            Self::Sql(_) | Self::Refused(_) | Self::Shape { .. } | Self::MissingInput { .. } => Some(1),
        }
    }

    /// Whether the query ran out of memory.
    pub fn is_of_memory(&self) -> bool {
        matches!(self, Self::Engine { source, .. } if matches!(source.find_root(), DataFusionError::ResourcesExhausted(_)))
    }
}

/// [`Error::patience`] of an engine error. A failed plan or computation fails again, because plan and rows
/// are the same at the next try.
fn patience(error: &DataFusionError) -> Option<u32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<object_store::Error>().is_some_and(passes)
            || error.downcast_ref::<std::io::Error>().is_some()
        {
            return None;
        }
        cause = error.source();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => Some(TRIES_FOR_MEMORY),
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::SQL(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => Some(1),
        DataFusionError::ArrowError(error, _) => match **error {
            ArrowError::ExternalError(_)
            | ArrowError::IoError(..)
            | ArrowError::MemoryError(_)
            | ArrowError::IpcError(_)
            | ArrowError::ParquetError(_) => Some(TRIES),
            _ => Some(1),
        },
        _ => Some(TRIES),
    }
}

/// Whether the store's error may disappear with time.
fn passes(error: &object_store::Error) -> bool {
    !matches!(
        error,
        object_store::Error::NotFound { .. }
            | object_store::Error::InvalidPath { .. }
            | object_store::Error::NotSupported { .. }
            | object_store::Error::NotImplemented { .. }
    )
}

/// Attaches the failed step to an engine error.
pub(crate) trait Doing<T> {
    /// Wraps the error.
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}
impl<T> Doing<T> for Result<T, datafusion::error::DataFusionError> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Engine { doing, source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(source: DataFusionError) -> Error {
        Error::Engine { doing: "run a refresh", source: Box::new(source) }
    }
    fn unanswered() -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: "connection refused".into() }
    }
    fn gone() -> object_store::Error {
        object_store::Error::NotFound { path: "a.parquet".to_owned(), source: "404".into() }
    }
    fn arrow(error: ArrowError) -> DataFusionError {
        DataFusionError::ArrowError(Box::new(error), None)
    }

    #[rstest]
    #[case::division(arrow(ArrowError::DivideByZero), Some(1))]
    #[case::overflow(arrow(ArrowError::ArithmeticOverflow("x".to_owned())), Some(1))]
    #[case::cast(arrow(ArrowError::CastError("x".to_owned())).context("while"), Some(1))]
    #[case::plan(DataFusionError::Plan("no field".to_owned()).context("rule"), Some(1))]
    #[case::not_built(DataFusionError::NotImplemented("recursion".to_owned()), Some(1))]
    #[case::execution(DataFusionError::Execution("out of range".to_owned()), Some(3))]
    #[case::inside(DataFusionError::Internal("types differ".to_owned()), Some(3))]
    #[case::memory(DataFusionError::ResourcesExhausted("1 GiB".to_owned()), Some(8))]
    #[case::memory_through_arrow(
        arrow(ArrowError::ExternalError(Box::new(DataFusionError::ResourcesExhausted("1 GiB".to_owned())))),
        Some(8)
    )]
    #[case::store(DataFusionError::ObjectStore(Box::new(unanswered())), None)]
    #[case::store_below(DataFusionError::External(Box::new(unanswered())).context("scan"), None)]
    #[case::file_gone(DataFusionError::ObjectStore(Box::new(gone())), Some(3))]
    #[case::disk(DataFusionError::IoError(std::io::Error::other("no space")), None)]
    fn an_error_is_tried_again_as_often_as_it_may_be_another(
        #[case] error: DataFusionError,
        #[case] tries: Option<u32>,
    ) {
        let error = of(error);
        assert_eq!(error.patience(), tries, "{error:?}");
        assert_eq!(error.reaction() == Reaction::Halt, tries == Some(1));
    }
}
