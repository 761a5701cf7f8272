//! A file that somebody dropped: CSV, or JSON Lines.

use crate::project::{self, EVERY_TYPE};

/// The first byte says which; the rest is the file.
pub fn run(data: &[u8]) {
    let Some((kind, file)) = data.split_first() else { return };
    let format = if kind % 2 == 0 { catalog::FileFormat::Csv } else { catalog::FileFormat::JsonLines };
    ingest::files::replay(format, project::topic("fuzz.json"), EVERY_TYPE, file);
}
