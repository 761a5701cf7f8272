//! The content of a file: its decompressed bytes. Their digest identifies a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::window::Mark;

/// The first `size` bytes of a file, decompressed if it is compressed. Ignores bytes that were added after
/// the look at the file.
pub(crate) fn open(path: &Path, size: u64, gzip: bool) -> Result<Box<dyn Read + Send>> {
    // Do not block if something else, such as a pipe, has replaced the file since it was listed.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let bytes = BufReader::with_capacity(1 << 16, Sized { file, left: size });
    Ok(if gzip { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) })
}

/// A file that ends after a given number of bytes.
struct Sized {
    file: File,
    left: u64,
}
impl Read for Sized {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        if read == 0 && most > 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        Ok(read)
    }
}

/// The properties of a content, found by reading it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Length and digest of all of it.
    pub whole: Mark,
    /// For each requested length: the digest of that many bytes, and whether the bytes after them begin with
    /// the end of a line.
    pub parts: BTreeMap<u64, (String, bool)>,
    /// Number of line feeds.
    pub line_feeds: u64,
    /// Whether its last line has an end.
    pub ends_line: bool,
    /// Whether its last byte that is not blank closes a JSON value.
    pub ends_value: bool,
    /// Whether it begins like a JSON array.
    pub is_array: bool,
}
impl Content {
    /// Whether it begins with the bytes of this mark.
    pub fn begins_with(&self, mark: &Mark) -> bool {
        *mark == self.whole
            || mark.bytes == 0
            || self.parts.get(&mark.bytes).is_some_and(|(digest, _)| *digest == mark.digest)
    }
    /// Whether the end of a line follows this many bytes.
    pub fn has_line_end_at(&self, bytes: u64) -> bool {
        self.parts.get(&bytes).is_some_and(|(_, ended)| *ended)
    }
}

/// Reads a content with `width` bytes per character. Computes the digests of its beginnings with these
/// lengths.
pub(crate) fn read(reader: &mut dyn Read, lengths: &BTreeSet<u64>, width: u64) -> Result<Content> {
    let (mut hasher, mut behind) = (Sha256::new(), 0_u64);
    let mut parts: BTreeMap<u64, (String, bool)> = BTreeMap::new();
    let mut buffer = vec![0; 1 << 16];
    // The part whose next bytes are not known yet, the last bytes, and the first byte that is not blank.
    let (mut open, mut last, mut first) = (None, Vec::new(), None);
    let (mut last_sign, mut line_feeds) = (0, 0);
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = &buffer[..read];
        let sign = |byte: &&u8| !byte.is_ascii_whitespace() && **byte != 0;
        line_feeds += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        // A byte order mark does not count.
        first = first.or_else(|| bytes.iter().find(|byte| sign(byte) && byte.is_ascii()).copied());
        last_sign = bytes.iter().rev().find(sign).copied().unwrap_or(last_sign);
        last.extend_from_slice(&bytes[read.saturating_sub(4)..]);
        last.drain(..last.len().saturating_sub(4));
        while !bytes.is_empty() {
            if let Some(at) = open.take() {
                // A read may cut a character in two; either of its bytes shows a line end.
                let ended = bytes.iter().take(width as usize).any(|byte| matches!(byte, b'\r' | b'\n'));
                parts.entry(at).and_modify(|part: &mut (String, bool)| part.1 = ended);
            }
            let next = lengths.range(behind + 1..).next().copied();
            let step = next.map_or(bytes.len() as u64, |next| (next - behind).min(bytes.len() as u64));
            let (now, rest) = bytes.split_at(step as usize);
            hasher.update(now);
            behind += step;
            if Some(behind) == next {
                parts.insert(behind, (Mark::of(behind, &hasher).digest, false));
                open = Some(behind);
            }
            bytes = rest;
        }
    }
    let whole = Mark::of(behind, &hasher);
    let ends_line = behind == 0 || last.iter().rev().take(width as usize).any(|byte| *byte == b'\n');
    let ends_value = behind == 0 || matches!(last_sign, b']' | b'}');
    Ok(Content { whole, parts, line_feeds, ends_line, ends_value, is_array: first == Some(b'[') })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).expect("memory does not fail");
        encoder.finish().expect("memory does not fail")
    }
    fn text_of(bytes: &[u8], gzip: bool) -> Result<String> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        std::fs::write(&path, bytes).expect("written");
        let mut text = String::new();
        open(&path, bytes.len() as u64, gzip)?.read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        let two = [gzipped(b"a,b\n"), gzipped(b"1,2\n")].concat();
        assert_eq!(text_of(&two, true).expect("gzip"), "a,b\n1,2\n");
    }

    #[test]
    fn a_gzip_file_that_was_cut_is_an_error() {
        let whole = gzipped(&b"a line of many\n".repeat(1_000));
        for cut in [1, 5, whole.len() / 2, whole.len() - 1] {
            assert!(text_of(&whole[..cut], true).is_err(), "cut at {cut}");
        }
        assert!(text_of(b"a,b\n1,2\n", true).is_err(), "it is not compressed at all");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(open(dir.path(), 1, false).is_err());
        assert!(open(Path::new("/dev/zero"), 1, false).is_err());
    }

    #[test]
    fn what_is_behind_the_size_that_was_seen_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x");
        std::fs::write(&path, "1\n2\n3").expect("written");
        let mut text = String::new();
        open(&path, 4, false).expect("opened").read_to_string(&mut text).expect("read");
        assert_eq!(text, "1\n2\n");
        assert!(
            open(&path, 9, false).expect("opened").read_to_string(&mut text).is_err(),
            "it became shorter"
        );
    }

    proptest! {
        #[test]
        fn the_digest_of_a_part_is_that_of_a_file_of_these_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..400), lengths in prop::collection::btree_set(1_u64..400, 0..6),
        ) {
            let content = read(&mut &bytes[..], &lengths, 1).expect("memory does not fail");
            prop_assert_eq!(content.whole.bytes, bytes.len() as u64);
            for length in lengths {
                let Some(part) = bytes.get(..length as usize) else {
                    prop_assert!(!content.parts.contains_key(&length));
                    continue;
                };
                let alone = read(&mut &*part, &BTreeSet::new(), 1).expect("memory does not fail").whole;
                prop_assert!(content.begins_with(&alone));
                let next = bytes.get(length as usize);
                prop_assert_eq!(content.has_line_end_at(length), matches!(next, Some(b'\n' | b'\r')));
                let mut other = part.to_vec();
                other[0] ^= 1;
                let other = read(&mut &other[..], &BTreeSet::new(), 1).expect("memory does not fail").whole;
                prop_assert!(!content.begins_with(&other));
            }
        }
    }
}
