//! What a loop does after an error.

/// What a loop does after an error. Every loop matches all variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Apply the same effect again after a pause.
    Retry,
    /// Drop the state in memory and go on from the position in the output.
    Reload,
    /// Stop this pipeline for a person. Other pipelines go on.
    Halt,
}
