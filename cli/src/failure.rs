//! The unsuccessful end of a verb: an error and an exit code.

use std::fmt::Write as _;

use anyhow::anyhow;
use model::Exit;
use ops::drain::{Behind, Drained};

/// An error and the exit code that it causes.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What happened; printed with its causes. `None`: everything has been printed already.
    pub error: Option<anyhow::Error>,
}
impl Failure {
    /// Ends with `exit`; everything has been printed already.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, error: None }
    }
    /// Ends with `exit` because of `error`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: Some(error.into()) }
    }
}
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = error.downcast_ref::<ops::Error>().map_or(Exit::Failed, ops::Error::exit);
        Self { exit, error: Some(error) }
    }
}

/// The result of a process that waited for a drain. Halted parts have reported themselves.
pub fn drained(drained: Drained) -> Result<Exit, Failure> {
    let Drained::Done(behind) = drained else { return Ok(Exit::Done) };
    let still: Vec<String> = behind
        .iter()
        .filter(|table| matches!(table, Behind::Still { .. }))
        .map(ToString::to_string)
        .collect();
    match (still.is_empty(), behind.is_empty()) {
        (true, true) => Ok(Exit::Done),
        (true, false) => Err(Failure::silent(Exit::Halted)),
        (false, _) => Err(Failure::new(Exit::Halted, anyhow!("not drained: {}", still.join("; ")))),
    }
}

/// The final message of a process for a person: its error, or every fault of the project.
pub fn last_words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<ops::Error>() {
        Some(faults @ ops::Error::Invalid(_)) => faults.to_string(),
        _ => format!("error: {}", chain(error)),
    }
}

/// An error and its causes in one line. Leaves out a cause whose text is already in an earlier message,
/// because some libraries repeat it.
fn chain(error: &anyhow::Error) -> String {
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
    fn what_is_left_behind_ends_the_process_as_halted_and_is_named() {
        let table = |name: &str| name.parse().expect("a table name");
        assert_eq!(drained(Drained::Done(Vec::new())).expect("done"), Exit::Done);
        assert_eq!(drained(Drained::Stopped).expect("stopped"), Exit::Done);
        let halted = drained(Drained::Done(vec![Behind::Halted(table("gold.t"))])).expect_err("halted");
        assert!(halted.exit == Exit::Halted && halted.error.is_none());
        let still = Behind::Still { table: table("bronze.t"), of: "bronze" };
        let still = drained(Drained::Done(vec![still])).expect_err("it stands still");
        let said = still.error.expect("said").to_string();
        assert!(still.exit == Exit::Halted && said.contains("`bronze.t`"), "{said}");
    }

    #[test]
    fn an_operation_says_how_its_process_ends_and_faults_are_printed_as_they_are() {
        let usage = Failure::from(ops::Error::Usage("no such table".to_owned()));
        assert_eq!(usage.exit, Exit::Usage);
        assert_eq!(last_words(&usage.error.expect("said")), "error: no such table");
        let broken = Failure::from(ops::Error::Failed(anyhow!("refused").context("cannot reach kafka")));
        assert_eq!(broken.exit, Exit::Failed);
        assert_eq!(last_words(&broken.error.expect("said")), "error: cannot reach kafka: refused");
        let faults = Failure::from(ops::Error::Invalid(Vec::new()));
        assert_eq!(faults.exit, Exit::InvalidProject);
        assert_eq!(last_words(&faults.error.expect("said")), "0 faults found");
    }

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
