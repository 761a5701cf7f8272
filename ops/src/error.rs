//! Why an operation did not end well.

use catalog::Fault;
use model::{Exit, Reaction};

/// An operation's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not end well. The kind says whose turn it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The project's files have faults. Nothing was asked of any service.
    #[error("{}", faults(.0))]
    Invalid(Vec<Fault>),
    /// What was asked for makes no sense for this project: a table that it does not have.
    #[error("{0}")]
    Usage(String),
    /// It goes on once a person has acted; the text says how.
    #[error(transparent)]
    Halted(anyhow::Error),
    /// It did not work. Another try may.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}
impl Error {
    /// An error that a stage reacts to in that way.
    pub fn of(reaction: Reaction, error: impl Into<anyhow::Error>) -> Self {
        if reaction == Reaction::Halt { Self::Halted(error.into()) } else { Self::Failed(error.into()) }
    }
    /// How a process ends because of it.
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

/// A line a fault, and how many there are.
fn faults(faults: &[Fault]) -> String {
    let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    format!("{lines}{} fault{} found", faults.len(), if faults.len() == 1 { "" } else { "s" })
}
