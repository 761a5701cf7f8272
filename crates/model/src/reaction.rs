//! What a loop does after an error.

/// Closed: a new variant changes every loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Apply the same effect again after a pause.
    Retry,
    /// Drop what is held in memory and go on from the position the output holds.
    Reload,
    /// Stop this pipeline for a person. Other pipelines go on.
    Halt,
}
