//! Exit codes of the binary, the same for every verb.

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong arguments.
    Usage = 2,
    /// The project is not valid.
    InvalidProject = 3,
    /// `verify` found a violation, or `plan --detailed-exitcode` has changes.
    Violation = 4,
    /// A stage halted and waits for a person.
    Halted = 5,
}
