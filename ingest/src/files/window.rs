//! What is being looked at of a file: a stretch that moves on, and a digest of all that lies behind it.

use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The beginning of a file's content: how long it is, and half of its SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub bytes: u64,
    pub digest: String,
}
impl Mark {
    pub fn of(bytes: u64, hasher: &Sha256) -> Self {
        Self { bytes, digest: hex::encode(&hasher.clone().finalize()[..16]) }
    }
}

/// Bytes that one read asks for.
const CHUNK: usize = 64 << 10;

/// A stretch of a file, all of it that is in memory.
pub(crate) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    from: usize,
    is_all: bool,
    behind: u64,
    hasher: Sha256,
}
impl<R: Read> Window<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), from: 0, is_all: false, behind: 0, hasher: Sha256::new() }
    }
    /// What was read and not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..]
    }
    /// Whether nothing comes behind [`Self::bytes`].
    pub fn is_all(&self) -> bool {
        self.is_all
    }
    /// Reads on: at least one byte, unless the file ends.
    pub fn more(&mut self) -> std::io::Result<()> {
        if self.is_all {
            return Ok(());
        }
        self.buffer.drain(..self.from);
        self.from = 0;
        // As much again: what must be looked at from its start is looked at a few times only.
        let more = self.buffer.len().clamp(CHUNK, 16 * CHUNK);
        self.buffer.reserve(more);
        let read = self.reader.by_ref().take(more as u64).read_to_end(&mut self.buffer)?;
        self.is_all = read < more;
        Ok(())
    }
    /// Reads on until there are that many bytes, or all.
    pub fn fill(&mut self, bytes: usize) -> std::io::Result<()> {
        while self.bytes().len() < bytes && !self.is_all {
            self.more()?;
        }
        Ok(())
    }
    /// Moves on behind the first `bytes`.
    pub fn skip(&mut self, bytes: usize) {
        self.hasher.update(&self.buffer[self.from..self.from + bytes]);
        self.from += bytes;
        self.behind += bytes as u64;
    }
    /// Moves on to this place of the file, or to its end.
    pub fn skip_to(&mut self, place: u64) -> std::io::Result<()> {
        while self.behind < place && !(self.is_all && self.bytes().is_empty()) {
            if self.bytes().is_empty() {
                self.more()?;
            }
            let left = usize::try_from(place - self.behind).unwrap_or(usize::MAX);
            self.skip(left.min(self.bytes().len()));
        }
        Ok(())
    }
    /// All that lies behind.
    pub fn mark(&self) -> Mark {
        Mark::of(self.behind, &self.hasher)
    }
    /// How many bytes lie behind.
    pub fn behind(&self) -> u64 {
        self.behind
    }
}
