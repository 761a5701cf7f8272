//! The content of a file: its decompressed bytes. Their digest identifies a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use catalog::Encoding;
use flate2::bufread::MultiGzDecoder;

use super::array;
use super::text::{self, Begin};
use super::window::{Mark, Window};

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
    /// For each requested length: the digest of that many bytes, and whether the end of a line follows them.
    pub parts: BTreeMap<u64, (String, bool)>,
    /// Number of line feeds.
    pub line_feeds: u64,
    /// Whether its last line has an end.
    pub ends_line: bool,
    /// Whether its last character that is not blank closes a JSON value.
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

/// Reads a content in this encoding. Computes the digests of its beginnings with these lengths.
pub(crate) fn read(reader: &mut dyn Read, lengths: &BTreeSet<u64>, encoding: Encoding) -> Result<Content> {
    let mut window = Window::new(reader);
    window.fill(text::HEAD)?;
    let Begin { charset, mark, .. } = text::begin(encoding, window.bytes());
    let width = charset.width();
    let is_sign = |unit: &u16| !array::is_blank(*unit);
    let mut parts = BTreeMap::new();
    let (mut line_feeds, mut ends_line) = (0, true);
    // The first and the last unit that is not blank. The last is unknown if half a unit follows.
    let (mut first, mut last) = (None, None);
    loop {
        window.fill(4 * width)?;
        let (from, bytes) = (window.behind(), window.bytes());
        if bytes.is_empty() {
            break;
        }
        // Whole units, with two more behind them, or the rest of the file.
        let block = if window.is_all() { bytes.len() } else { (bytes.len() / width - 2) * width };
        let to = from + block as u64;
        let within = lengths.range(from + 1..=to);
        let ends = within.map(|length| (*length, charset.has_line_end_at(bytes, (length - from) as usize)));
        let ends: Vec<(u64, bool)> = ends.collect();
        let bytes = &bytes[..block];
        line_feeds += charset.line_ends(bytes);
        ends_line = charset.line_end(bytes, false) > 0;
        let skipped = if from == 0 { mark.min(block) } else { 0 };
        first = first.or_else(|| charset.units(&bytes[skipped..]).find(is_sign));
        last = match block.is_multiple_of(width) {
            true => charset.units(bytes).rev().find(is_sign).or(last),
            false => None,
        };
        for (length, ended) in ends {
            window.skip((length - window.behind()) as usize);
            parts.insert(length, (window.mark().digest, ended));
        }
        window.skip((to - window.behind()) as usize);
    }
    let is = |unit: Option<u16>, byte: u8| unit == Some(u16::from(byte));
    let whole = window.mark();
    let ends_value = whole.bytes == 0 || is(last, b']') || is(last, b'}');
    Ok(Content { whole, parts, line_feeds, ends_line, ends_value, is_array: is(first, b'[') })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::text::samples::{self, TREACHEROUS};
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

    #[test]
    fn line_ends_are_found_wherever_a_read_ends() {
        for sample in samples::ALL {
            let bytes = sample.bytes(&"\u{10d}\u{1040a}\r\n\u{a05}\n".repeat(20_000));
            let near = |at: u64| at - 20..at + 20;
            let lengths: BTreeSet<u64> = near(1 << 16).chain(near(1 << 17)).collect();
            let content = read(&mut &bytes[..], &lengths, sample.encoding).expect("memory does not fail");
            for length in lengths {
                let ended = sample.charset.has_line_end_at(&bytes, length as usize);
                assert_eq!(content.has_line_end_at(length), ended, "{length} in {sample:?}");
            }
            assert_eq!((content.line_feeds, content.ends_line), (40_000, true), "{sample:?}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        let signs: Vec<char> = TREACHEROUS.chars().chain("\n\r\n\r[]{},\"a ".chars()).collect();
        prop::collection::vec(prop::sample::select(signs), 0..20)
            .prop_map(|signs| signs.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_text_has_the_same_properties_in_every_encoding(text in texts()) {
            let blank = [' ', '\t', '\r', '\n'];
            for sample in samples::ALL {
                let bytes = sample.bytes(&text);
                let lengths = (1..=bytes.len() as u64).collect();
                let content = read(&mut &bytes[..], &lengths, sample.encoding).expect("memory does not fail");
                let ends = text.char_indices().filter_map(|(at, _)| {
                    let (before, behind) = text.split_at(at);
                    let both = behind.starts_with("\r\n") && !before.ends_with('\r');
                    (both || behind.starts_with('\n')).then(|| sample.bytes(before).len() as u64)
                });
                let ends: BTreeSet<u64> = ends.filter(|length| *length > 0).collect();
                let found = lengths.iter().copied().filter(|length| content.has_line_end_at(*length));
                prop_assert_eq!(found.collect::<BTreeSet<_>>(), ends, "{:?}", sample);
                prop_assert_eq!(content.line_feeds, text.matches('\n').count() as u64, "{:?}", sample);
                prop_assert_eq!(content.ends_line, bytes.is_empty() || text.ends_with('\n'), "{:?}", sample);
                let closed = text.trim_end_matches(blank).ends_with([']', '}']);
                prop_assert_eq!(content.ends_value, bytes.is_empty() || closed, "{:?}", sample);
                prop_assert_eq!(content.is_array, text.trim_start_matches(blank).starts_with('['), "{:?}", sample);
                if sample.charset.width() == 2 {
                    let half = [&bytes[..], b"\n"].concat();
                    let half = read(&mut &half[..], &BTreeSet::new(), sample.encoding).expect("memory does not fail");
                    prop_assert!(!half.ends_line && !half.ends_value, "half a unit follows: {:?}", sample);
                    prop_assert_eq!(half.line_feeds, content.line_feeds);
                }
            }
        }

        #[test]
        fn the_digest_of_a_part_is_that_of_a_file_of_these_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..400), lengths in prop::collection::btree_set(1_u64..400, 0..6),
        ) {
            let content = read(&mut &bytes[..], &lengths, Encoding::Latin1).expect("memory does not fail");
            prop_assert_eq!(content.whole.bytes, bytes.len() as u64);
            for length in lengths {
                let Some(part) = bytes.get(..length as usize) else {
                    prop_assert!(!content.parts.contains_key(&length));
                    continue;
                };
                let whole = |mut bytes: &[u8]| {
                    let content = read(&mut bytes, &BTreeSet::new(), Encoding::Latin1);
                    content.expect("memory does not fail").whole
                };
                prop_assert!(content.begins_with(&whole(part)));
                let mut other = part.to_vec();
                other[0] ^= 1;
                prop_assert!(!content.begins_with(&whole(&other)));
            }
        }
    }
}
