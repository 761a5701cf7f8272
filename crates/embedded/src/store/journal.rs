//! The broker's state beside the records: a file of changes, one JSON line each.
//!
//! A change is written before it takes effect or is answered, so a restarted broker folds the file and goes on.
//! A torn last line was never answered and is cut off. The file is rewritten as the state it folds to, when the
//! broker starts and when the file has grown: into a file beside, synced, then renamed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A partition by topic name and number, as transactions and offsets refer to it.
pub(super) type Place = (String, i32);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JournalEntry {
    /// A topic was created.
    Topic { name: String, id: Uuid, partitions: i32, replication: i16, config: BTreeMap<String, String> },
    /// The new configuration of a topic.
    Config { name: String, config: BTreeMap<String, String> },
    /// A topic was deleted.
    Dropped { name: String },
    /// Records below this offset were deleted.
    Start { name: String, partition: i32, offset: i64 },
    /// Offsets of a group, added to those it has.
    Offsets { group: String, offsets: Vec<(Place, i64)> },
    /// A group was deleted.
    Group { dropped: String },
    /// Producer ids below this one may have been assigned.
    Producers { next: i64 },
    /// A transactional id has this producer id and epoch, and no open transaction.
    Producer { txn: String, producer: i64, epoch: i16, timeout_ms: i32 },
    /// The transaction of an id may write to these partitions.
    Writes { txn: String, places: Vec<Place> },
    /// The transaction of an id will commit these offsets.
    Promises { txn: String, group: String, offsets: Vec<(Place, i64)> },
    /// The transaction's outcome is decided; markers are being written.
    Decided { txn: String, commit: bool },
    /// All markers of the transaction are written.
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

/// The journal is rewritten when it has this many bytes and is four times as large as after the last rewrite.
const GROWN: u64 = 8 << 20;

impl Journal {
    /// Opens the file, creating it if needed. Also returns all changes in it, in order.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<JournalEntry>)> {
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
    pub(super) fn append(&mut self, change: &JournalEntry) -> io::Result<()> {
        let line = line(change)?;
        if let Err(error) = self.file.write_all_at(&line, self.bytes) {
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Whether a rewrite is worth it.
    pub(super) fn is_grown(&self) -> bool {
        self.bytes > GROWN && self.bytes / 4 > self.rewritten
    }

    /// Replaces the file's contents by `changes`.
    pub(super) fn rewrite(&mut self, changes: &[JournalEntry]) -> io::Result<()> {
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

    /// A handle for syncing without blocking changes.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn line(change: &JournalEntry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(change)?;
    line.push(b'\n');
    Ok(line)
}
