//! What can go wrong between a SQL text and its rows.

use std::fmt;

use model::Reaction;

/// Where a SQL text is wrong, and what to do about it. Lines and columns count from 1; a fault
/// without a place has 0 in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the text given to [`crate::sql::parse`].
    pub line: usize,
    /// Column in that line.
    pub column: usize,
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// What to do; empty when the message says it.
    pub help: String,
}
impl Fault {
    /// A fault whose place is unknown.
    pub(crate) fn nowhere(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line: 0, column: 0, message: message.into(), help: help.into() }
    }
}
impl fmt::Display for Fault {
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
    /// The text is no SQL that LakePulse takes.
    #[error("{0}")]
    Sql(Fault),
    /// An expression, a model or a query was refused, with every reason.
    #[error("{0}")]
    Refused(crate::plan::Refusal),
    /// Batches did not have the shape they were promised to have.
    #[error("cannot bring a column to the type the table stores: {what}")]
    Shape {
        /// Column and types.
        what: String,
        /// What arrow said.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// A refresh met an input it was not given.
    #[error("table `{table}` is read by the query but was not given to it")]
    MissingInput {
        /// The input.
        table: String,
    },
    /// Planning or running failed in the engine.
    #[error("cannot {doing}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// The engine's own error.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
}
impl Error {
    /// What a loop does next. The engine fails for want of memory or of an answer from the store:
    /// the same call may work later. Everything else needs another text.
    pub fn reaction(&self) -> Reaction {
        match self {
            Self::Engine { .. } => Reaction::Retry,
            Self::Sql(_) | Self::Refused(_) | Self::Shape { .. } | Self::MissingInput { .. } => {
                Reaction::Halt
            }
        }
    }
}

/// Names the step an engine error belongs to.
pub(crate) trait Doing<T> {
    /// Wraps the error.
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}
impl<T> Doing<T> for Result<T, datafusion::error::DataFusionError> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Engine { doing, source: Box::new(source) })
    }
}
