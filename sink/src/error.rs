//! Errors that stop a publisher, and how the loop reacts.

use lake::BoxError;
use model::{Reaction, TableName};
use runtime::{Failure, TRIES};

use crate::seam::Destination;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error while a table is published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake failed.
    #[error("table `{table}`: the lake failed")]
    Lake {
        /// The table.
        table: TableName,
        /// The lake's error.
        source: Box<lake::Error>,
    },
    /// The sink's system failed.
    #[error(transparent)]
    System(#[from] SystemError),
    /// The rows of a version do not have the same columns.
    #[error("rows of `{table}` cannot be put together by key")]
    Rows {
        /// The table.
        table: TableName,
        /// Arrow's error.
        source: arrow::error::ArrowError,
    },
    /// The destination is ahead of the table.
    #[error(
        "{destination} has version {published} of `{table}`, whose newest is {newest}: an older lake was restored; rebuild the {} under another name",
        destination.kind
    )]
    Ahead {
        /// The table.
        table: TableName,
        /// The destination.
        destination: Destination,
        /// The published version.
        published: u64,
        /// Newest version of the table.
        newest: u64,
    },
    /// The destination was published from another table with this name.
    #[error(
        "{destination} was published from another `{table}` (id `{published}`, this one is `{id}`): the table was recreated; publish it on a {} of another name",
        destination.kind
    )]
    OfAnother {
        /// The table.
        table: TableName,
        /// The destination.
        destination: Destination,
        /// Id of the table that was published.
        published: String,
        /// Id of the table.
        id: String,
    },
    /// The destination holds something else.
    #[error(
        "{destination} holds {holds}, not those of `{table}`: run `plan` to see what becomes of them, then `apply`, or publish on a {} of another name",
        destination.kind
    )]
    Holds {
        /// The table.
        table: TableName,
        /// The destination.
        destination: Destination,
        /// What it holds.
        holds: String,
    },
    /// A progress record cannot be read.
    #[error("progress of table id `{id}` cannot be read: {fault}")]
    BadProgress {
        /// The record's key.
        id: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The catalog does not describe the destination.
    #[error("table `{table}` is to be published on `{on}`, which the catalog does not describe")]
    NoContract {
        /// The table.
        table: TableName,
        /// Name of the destination.
        on: String,
    },
}

/// An error of the system that a sink writes to, with what the loop has to know of it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SystemError {
    /// What failed, with the table.
    pub what: String,
    /// How the loop reacts.
    pub reaction: Reaction,
    /// True if another writer has taken the destination over.
    pub fenced: bool,
    /// True if the system answered, and may give the same answer each time: tried a few times, then it halts.
    pub answered: bool,
    /// The system's error.
    pub source: BoxError,
}

impl Error {
    /// True if another writer has taken the destination over.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::System(error) if error.fenced)
    }
}

impl Failure for Error {
    fn reaction(&self) -> Reaction {
        match self {
            // Files and log entries are deleted once nothing needs them.
            Self::Lake { source, .. } => source.reaction(),
            Self::System(error) => error.reaction,
            Self::Rows { .. }
            | Self::Ahead { .. }
            | Self::OfAnother { .. }
            | Self::Holds { .. }
            | Self::BadProgress { .. }
            | Self::NoContract { .. } => Reaction::Halt,
        }
    }

    fn patience(&self) -> Option<u32> {
        match self {
            // Rows do not fit the table's columns; those of another version may.
            Self::Lake { source, .. } if source.reaction() == Reaction::Reload => Some(TRIES),
            Self::System(error) if error.answered => Some(TRIES),
            _ => None,
        }
    }
}

/// Adds the table to an error of a library.
pub(crate) trait OfTable<T> {
    /// Wraps the error.
    fn of(self, table: &TableName) -> Result<T>;
}
impl<T> OfTable<T> for Result<T, lake::Error> {
    fn of(self, table: &TableName) -> Result<T> {
        self.map_err(|source| Error::Lake { table: table.clone(), source: Box::new(source) })
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

    use rstest::rstest;
    use runtime::{After, Retry};

    use super::*;

    fn name() -> TableName {
        "gold.t".parse().expect("a name")
    }
    fn failed(reaction: Reaction, answered: bool) -> Error {
        let (what, source) = (format!("`{}` cannot be written", name()), "no".into());
        SystemError { what, reaction, fenced: false, answered, source }.into()
    }

    #[rstest]
    #[case::ahead(
        Error::Ahead { table: name(), destination: topic(), published: 6, newest: 5 },
        "topic `gold.t.v1` has version 6 of `gold.t`, whose newest is 5: an older lake was restored; rebuild the topic under another name"
    )]
    #[case::of_another(
        Error::OfAnother { table: name(), destination: topic(), published: "a".to_owned(), id: "b".to_owned() },
        "topic `gold.t.v1` was published from another `gold.t` (id `a`, this one is `b`): the table was recreated; publish it on a topic of another name"
    )]
    #[case::holds(
        Error::Holds { table: name(), destination: topic(), holds: "3 keys".to_owned() },
        "topic `gold.t.v1` holds 3 keys, not those of `gold.t`: run `plan` to see what becomes of them, then `apply`, or publish on a topic of another name"
    )]
    fn a_halt_says_what_is_there_and_what_to_do(#[case] error: Error, #[case] text: &str) {
        assert_eq!((error.to_string().as_str(), error.reaction()), (text, Reaction::Halt));
    }
    fn topic() -> Destination {
        Destination { kind: "topic", name: "gold.t.v1".to_owned() }
    }

    #[test]
    fn what_a_system_never_takes_halts_after_a_few_tries() {
        let mut retry = Retry::new(Duration::from_millis(1));
        let mut after = || retry.after(&failed(Reaction::Retry, true));
        assert!((1..TRIES).all(|_| after() == After::Retry));
        assert!(matches!(after(), After::Halt { reason } if reason.contains("after 5 attempts: `gold.t`")));
    }

    #[test]
    fn a_system_that_does_not_answer_is_waited_for() {
        let mut retry = Retry::new(Duration::from_millis(1));
        assert!((0..1000).all(|_| retry.after(&failed(Reaction::Retry, false)) == After::Retry));
    }
}
