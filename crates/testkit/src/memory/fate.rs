//! What happens at each step of a client, as a test decides it.
//!
//! A step is where a process meets the cluster. Between two steps nothing outside of the process changes, so a
//! crash between any two of them is a crash at one of them, before it took effect or after.

use stream::{Error, Result};

/// A client's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A topic is asked about or changed.
    Ask,
    /// A producer of transactions begins, and shuts its predecessors out.
    Open,
    /// A transaction begins.
    Begin,
    /// A record is sent.
    Send,
    /// All that was sent is acknowledged.
    Flush,
    /// A transaction is committed.
    Commit,
    /// A transaction is dropped.
    Abort,
    /// The next event is read.
    Read,
}

/// Before a step takes effect, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing has happened.
    Before,
    /// It has happened, and the client does not know it yet.
    After,
}

/// What a test decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Go,
    /// The client gets an error that leaves the outcome open.
    Fail,
    /// The process is dead: nothing of it goes on.
    Die,
}

/// Decides what happens to a process at each of its steps.
pub trait Fate: Send + Sync {
    /// Asked twice a step.
    fn at(&self, step: Step, moment: Moment) -> Verdict;
}

/// Everything goes on.
impl Fate for () {
    fn at(&self, _: Step, _: Moment) -> Verdict {
        Verdict::Go
    }
}

/// Asks, and does what was decided. A dead process waits for ever; whoever runs it drops it.
pub(super) async fn pass(fate: &dyn Fate, step: Step, moment: Moment, action: &'static str) -> Result<()> {
    match fate.at(step, moment) {
        Verdict::Go => Ok(()),
        Verdict::Fail => Err(failed(step, action)),
        Verdict::Die => std::future::pending().await,
    }
}

/// The error that a client gives for a step that failed.
pub(super) fn failed(step: Step, action: &'static str) -> Error {
    let reason = "the test lets it fail".to_owned();
    match step {
        Step::Ask | Step::Read | Step::Open => Error::Unreachable { action, reason },
        Step::Begin | Step::Send | Step::Flush | Step::Commit | Step::Abort => {
            Error::Indefinite { action, reason }
        }
    }
}
