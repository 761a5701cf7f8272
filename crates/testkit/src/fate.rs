//! What happens at each step of a process, as a test decides it.
//!
//! A step is where a process meets what is outside of it: the cluster, the registry, the store. Between two steps
//! nothing outside changes, so a crash between any two of them is a crash at one of them, before it took effect or
//! after.

use std::time::Duration;

use stream::{Error, Result};

/// A step.
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
    /// A schema is registered, or a level of compatibility set.
    Register,
    /// The registry is asked.
    Lookup,
    /// An object is written.
    Put,
    /// An object is created unless it exists.
    Create,
    /// An object is deleted.
    Delete,
    /// Objects are read or listed.
    Get,
}

/// Before a step takes effect, or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing has happened.
    Before,
    /// It has happened, and the process does not know it yet.
    After,
}

/// What a test decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Go,
    /// It gets an error that leaves the outcome open.
    Fail,
    /// The process is dead: nothing of it goes on.
    Die,
}

/// Decides what happens to a process at each of its steps.
pub trait Fate: Send + Sync {
    /// Asked twice a step; of [`Step::Send`], [`Step::Read`] and [`Step::Get`] some only before. `of` is the topic,
    /// subject or path, as far as it is known.
    fn at(&self, step: Step, moment: Moment, of: &str) -> Verdict;

    /// How much later an object is written although its process died before that, or got an error: the request was on
    /// its way. `None`: it never is.
    fn lands_after(&self, _step: Step, _of: &str) -> Option<Duration> {
        None
    }
}

/// Everything goes on.
impl Fate for () {
    fn at(&self, _: Step, _: Moment, _: &str) -> Verdict {
        Verdict::Go
    }
}

/// Asks, and does what was decided. A dead process waits for ever; whoever runs it drops it.
pub(crate) async fn pass(
    fate: &dyn Fate,
    step: Step,
    moment: Moment,
    of: &str,
    action: &'static str,
) -> Result<()> {
    match fate.at(step, moment, of) {
        Verdict::Go => Ok(()),
        Verdict::Fail => Err(failed(step, action)),
        Verdict::Die => std::future::pending().await,
    }
}

/// The error that a client of the cluster gives for a step that failed.
pub(crate) fn failed(step: Step, action: &'static str) -> Error {
    let reason = "the test lets it fail".to_owned();
    match step {
        Step::Ask | Step::Read | Step::Open => Error::Unreachable { action, reason },
        Step::Begin | Step::Send | Step::Flush | Step::Commit | Step::Abort => {
            Error::Indefinite { action, reason }
        }
        Step::Register | Step::Lookup | Step::Put | Step::Create | Step::Delete | Step::Get => {
            unreachable!("the cluster has no such step")
        }
    }
}
