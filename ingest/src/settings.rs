//! What an operator may change about reading sources.

use serde::Deserialize;

/// Settings of the file source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct Settings {
    /// Lines of one transaction at most.
    pub batch_lines: usize,
    /// Bytes of one transaction at most; one line may exceed it.
    pub batch_bytes: usize,
    /// A longer line is a bad one.
    pub max_line_bytes: usize,
}
impl Default for Settings {
    fn default() -> Self {
        Self { batch_lines: 5_000, batch_bytes: 4 << 20, max_line_bytes: 8 << 20 }
    }
}
