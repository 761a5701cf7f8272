//! Why an operation failed, and who has to act.

use catalog::Fault;
use model::{Exit, Reaction};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. The variant says who has to act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The project's files have faults. No service was contacted.
    #[error("{}", faults(.0))]
    Invalid(Vec<Fault>),
    /// The request does not fit this project, for example a table that it does not have.
    #[error("{0}")]
    Usage(String),
    /// It continues once a person has acted; the text says how.
    #[error(transparent)]
    Halted(anyhow::Error),
    /// It failed; another try may succeed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}
impl Error {
    /// Wraps an error of a stage that has this reaction.
    pub fn of(reaction: Reaction, error: impl Into<anyhow::Error>) -> Self {
        if reaction == Reaction::Halt { Self::Halted(error.into()) } else { Self::Failed(error.into()) }
    }
    /// The exit code of a process that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid(_) => Exit::InvalidProject,
            Self::Usage(_) => Exit::Usage,
            Self::Halted(_) => Exit::Halted,
            Self::Failed(_) => Exit::Failed,
        }
    }
}
impl From<stream::Error> for Error {
    fn from(error: stream::Error) -> Self {
        Self::Failed(error.into())
    }
}
impl From<lake::Error> for Error {
    fn from(error: lake::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// One line per fault, and their number.
fn faults(faults: &[Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    format!("{lines}{} fault{} found", faults.len(), if faults.len() == 1 { "" } else { "s" })
}
