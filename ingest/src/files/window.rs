//! A window that moves through a file, with a digest of everything before it.

use std::io::Read;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The beginning of a file's content: its length, and half of its SHA-256 in hexadecimal.
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

/// Bytes per read.
const CHUNK: usize = 64 << 10;

/// The part of a file that is in memory.
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
    /// Bytes that were read and not skipped.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.from..]
    }
    /// Whether [`Self::bytes`] extends to the end of the file.
    pub fn is_all(&self) -> bool {
        self.is_all
    }
    /// Reads at least one byte more, unless the file ends.
    pub fn more(&mut self) -> std::io::Result<()> {
        if self.is_all {
            return Ok(());
        }
        self.buffer.drain(..self.from);
        self.from = 0;
        // Double the size: then bytes that are examined from the start again are examined only a few times.
        let more = self.buffer.len().clamp(CHUNK, 16 * CHUNK);
        self.buffer.reserve(more);
        let read = self.reader.by_ref().take(more as u64).read_to_end(&mut self.buffer)?;
        self.is_all = read < more;
        Ok(())
    }
    /// Reads until there are this many bytes, or all.
    pub fn fill(&mut self, bytes: usize) -> std::io::Result<()> {
        while self.bytes().len() < bytes && !self.is_all {
            self.more()?;
        }
        Ok(())
    }
    /// Moves past the first `bytes`.
    pub fn skip(&mut self, bytes: usize) {
        self.hasher.update(&self.buffer[self.from..self.from + bytes]);
        self.from += bytes;
        self.behind += bytes as u64;
    }
    /// Moves to this position of the file, or to its end.
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
    /// Length and digest of everything before the window.
    pub fn mark(&self) -> Mark {
        Mark::of(self.behind, &self.hasher)
    }
    /// The digest of everything before the window, to be continued.
    pub fn hasher(&self) -> Sha256 {
        self.hasher.clone()
    }
    /// The number of bytes before the window.
    pub fn behind(&self) -> u64 {
        self.behind
    }
}
