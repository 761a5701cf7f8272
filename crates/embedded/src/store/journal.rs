//! What the broker knows beside the records: a file of changes, one JSON line each.
//!
//! A change is written before it is acted on or answered, so a restarted broker folds the file and
//! goes on. A torn last line was never answered and is cut off. The file is rewritten as the state it
//! folds to when the broker starts and when it has grown: beside, synced, then renamed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A partition by name, as transactions and offsets refer to it.
pub(super) type Place = (String, i32);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A topic came into being.
    Topic { name: String, id: Uuid, partitions: i32, replication: i16, config: BTreeMap<String, String> },
    /// Its configuration is now this.
    Config { name: String, config: BTreeMap<String, String> },
    /// It is gone.
    Dropped { name: String },
    /// Records below this offset are gone.
    Start { name: String, partition: i32, offset: i64 },
    /// A group's offsets, added to those it has.
    Offsets { group: String, offsets: Vec<(Place, i64)> },
    /// A group is gone.
    Group { dropped: String },
    /// Producer ids below this one are given away.
    Producers { next: i64 },
    /// A transactional id has this producer id and epoch, and no open transaction.
    Producer { txn: String, producer: i64, epoch: i16, timeout_ms: i32 },
    /// Its transaction may write to these partitions.
    Writes { txn: String, places: Vec<Place> },
    /// Its transaction will commit these offsets.
    Promises { txn: String, group: String, offsets: Vec<(Place, i64)> },
    /// It is decided; markers are being written.
    Decided { txn: String, commit: bool },
    /// Every marker is written.
    Ended { txn: String },
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    rewritten: u64,
}

/// Rewritten when it has this many bytes, and four times what the last rewriting left.
const GROWN: u64 = 8 << 20;

impl Journal {
    /// Opens the file, empty if there is none; all changes in it, in order.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Change>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        let mut changes = Vec::new();
        for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            changes.push(serde_json::from_slice(line).map_err(|error| {
                let text = format!("line {} of `{}` is no change: {error}", number + 1, path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?);
        }
        let bytes = whole as u64;
        Ok((Self { path: path.to_owned(), file, bytes, rewritten: bytes }, changes))
    }

    /// Writes one change.
    pub(super) fn append(&mut self, change: &Change) -> io::Result<()> {
        let line = line(change)?;
        if let Err(error) = self.file.write_all_at(&line, self.bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Whether rewriting is worth it.
    pub(super) fn is_grown(&self) -> bool {
        self.bytes > GROWN && self.bytes / 4 > self.rewritten
    }

    /// Replaces the file by one that holds `changes`.
    pub(super) fn rewrite(&mut self, changes: &[Change]) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut text = Vec::new();
        for change in changes {
            text.extend(line(change)?);
        }
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        (self.file, self.bytes, self.rewritten) = (file, text.len() as u64, text.len() as u64);
        Ok(())
    }

    /// The file, for waiting for the disk without holding up changes.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn line(change: &Change) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(change)?;
    line.push(b'\n');
    Ok(line)
}
