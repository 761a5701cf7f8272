//! A file that somebody dropped: CSV, or JSON Lines.

use ingest::files::Replay;

use crate::project::{self, EVERY_TYPE};

thread_local! {
    static REPLAY: Replay = Replay::of(project::topic("fuzz.json"), EVERY_TYPE).expect("a schema of ours");
}

/// The first byte says which; the rest is the file.
pub fn run(data: &[u8]) {
    let Some((kind, file)) = data.split_first() else { return };
    let format = if kind % 2 == 0 { catalog::FileFormat::Csv } else { catalog::FileFormat::JsonLines };
    REPLAY.with(|replay| replay.read(format, file));
}
