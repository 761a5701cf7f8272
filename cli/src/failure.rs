//! How a verb ends when it does not end well: an error and an exit code.

use model::{Exit, Reaction};

/// An error and how the process ends because of it.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened; its chain is printed. `None` when everything has been printed already.
    pub error: Option<anyhow::Error>,
}
impl Failure {
    /// Ends with `exit`, everything having been printed.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, error: None }
    }
    /// Ends with `exit` because of `error`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: Some(error.into()) }
    }
    /// Ends because of an error that a stage reacts to in that way.
    pub fn of(reaction: Reaction, error: impl Into<anyhow::Error>) -> Self {
        Self::new(if reaction == Reaction::Halt { Exit::Halted } else { Exit::Failed }, error)
    }
}
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error)
    }
}
