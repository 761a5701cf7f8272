//! How a verb ends when it does not end well: an error and an exit code.

use std::fmt::Write as _;

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

/// An error and its causes in one line. Some libraries repeat a cause in their own message: what has been
/// said is not said again.
pub fn chain(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.trim();
        if said.contains(text) {
            continue;
        }
        let between = if said.is_empty() { "" } else { ": " };
        let _ = write!(said, "{between}{text}");
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn a_cause_that_has_been_said_is_not_said_again() {
        let inner = anyhow!("no field named x, valid fields are a, b");
        let library = Err::<(), _>(inner).context("schema error: no field named x, valid fields are a, b");
        let ours = library.context("cannot plan the query").expect_err("an error");
        assert_eq!(
            chain(&ours),
            "cannot plan the query: schema error: no field named x, valid fields are a, b"
        );
        let three = Err::<(), _>(anyhow!("connection refused")).context("cannot reach kafka");
        assert_eq!(chain(&three.expect_err("an error")), "cannot reach kafka: connection refused");
    }
}
