//! Encodings of text files: code units, by which CSV and lines are split, and characters.
//!
//! Splitting looks at code units and never at decoded text, so the bytes of each record are known.
//! Delimiters, quotes and line ends are ASCII; in every encoding here they are one unit and not part of any
//! other character.
//!
//! A byte may be part of a unit: `\u{10d}` has the byte of a carriage return in UTF-16. So every question about
//! text (line ends, blanks, brackets) is asked here, of whole units, and no other module compares bytes.

use std::borrow::Cow;

use catalog::Encoding;

/// An encoding with a known byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Latin1,
    Windows1252,
    Utf16 { big: bool },
}

/// The start of a file: its encoding and byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The encoding by which the file is split into lines, even if it is refused.
    pub charset: Charset,
    /// Length of the byte order mark in bytes. That of a refused file is part of its first bad line.
    pub mark: usize,
    /// Why no line of the file can be interpreted.
    pub refused: Option<&'static str>,
}

/// Number of bytes that [`begin`] examines.
pub(crate) const HEAD: usize = 4;

/// Examines a file's first [`HEAD`] bytes, or all if it has fewer.
pub(crate) fn begin(encoding: Encoding, head: &[u8]) -> Begin {
    const LITTLE: Charset = Charset::Utf16 { big: false };
    const BIG: Charset = Charset::Utf16 { big: true };
    let marked = match head {
        [0xff, 0xfe, ..] => Some(LITTLE),
        [0xfe, 0xff, ..] => Some(BIG),
        _ => None,
    };
    let accepted = |charset, mark| Begin { charset, mark, refused: None };
    let refused = |charset, why| Begin { charset, mark: 0, refused: Some(why) };
    match (encoding, marked) {
        (Encoding::Utf8, Some(marked)) => {
            refused(marked, "its byte order mark is that of UTF-16; say `encoding: utf-16`")
        }
        (Encoding::Utf8, None) if head.starts_with(b"\xef\xbb\xbf") => accepted(Charset::Utf8, 3),
        (Encoding::Utf8, None) => accepted(Charset::Utf8, 0),
        (Encoding::Latin1, _) => accepted(Charset::Latin1, 0),
        (Encoding::Windows1252, _) => accepted(Charset::Windows1252, 0),
        (Encoding::Utf16, None) => {
            refused(Charset::Utf8, "it has no byte order mark; say `encoding: utf-16le` or `utf-16be`")
        }
        (Encoding::Utf16Le, Some(BIG)) => {
            refused(BIG, "its byte order mark is that of UTF-16, big end first; say `encoding: utf-16`")
        }
        (Encoding::Utf16Be, Some(LITTLE)) => {
            refused(LITTLE, "its byte order mark is that of UTF-16, little end first; say `encoding: utf-16`")
        }
        (Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be, Some(marked)) => accepted(marked, 2),
        (Encoding::Utf16Le, None) => accepted(LITTLE, 0),
        (Encoding::Utf16Be, None) => accepted(BIG, 0),
    }
}

const LF: u16 = b'\n' as u16;
const CR: u16 = b'\r' as u16;

impl Charset {
    /// Bytes per code unit.
    pub fn width(self) -> usize {
        if matches!(self, Self::Utf16 { .. }) { 2 } else { 1 }
    }
    /// The unit at `at`, which must be complete.
    pub fn unit(self, bytes: &[u8], at: usize) -> u16 {
        match self {
            Self::Utf16 { big: true } => u16::from_be_bytes([bytes[at], bytes[at + 1]]),
            Self::Utf16 { big: false } => u16::from_le_bytes([bytes[at], bytes[at + 1]]),
            _ => u16::from(bytes[at]),
        }
    }
    /// Number of bytes up to and including the next line feed.
    pub fn line(self, bytes: &[u8]) -> Option<usize> {
        if self.width() == 1 {
            return bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        }
        let mut at = 0;
        while at + 2 <= bytes.len() {
            if self.unit(bytes, at) == LF {
                return Some(at + 2);
            }
            at += 2;
        }
        None
    }
    /// The number of line ends in these bytes.
    pub fn line_ends(self, bytes: &[u8]) -> u64 {
        if self.width() == 1 {
            return bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.units(bytes).filter(|unit| *unit == LF).count() as u64
    }
    /// The complete units of these bytes.
    pub fn units(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = u16> {
        bytes.chunks_exact(self.width()).map(move |unit| self.unit(unit, 0))
    }
    /// Whether a line that ended with the file at `at`, and was read so, is whole: `\n` or `\r\n` follows, or
    /// the `\n` of a `\r\n` that was cut. Needs the unit before `at` and two units behind it.
    pub fn has_line_end_at(self, bytes: &[u8], at: usize) -> bool {
        let width = self.width();
        let unit = |at: usize| (at + width <= bytes.len()).then(|| self.unit(bytes, at));
        let before = || at.checked_sub(width).and_then(unit);
        // Behind half a unit its other half follows.
        at.is_multiple_of(width)
            && match unit(at) {
                Some(LF) => true,
                Some(CR) => unit(at + width) == Some(LF) && before() != Some(CR),
                _ => false,
            }
    }
    /// Length of the line end (`\n` or `\r\n`) at the end of these bytes. A carriage return that is the last
    /// byte of the file counts as a line end that was cut.
    pub fn line_end(self, bytes: &[u8], is_last: bool) -> usize {
        let width = self.width();
        let unit_before = |end: usize| {
            let at = end.checked_sub(width)?;
            bytes.len().is_multiple_of(width).then(|| self.unit(bytes, at))
        };
        if unit_before(bytes.len()) == Some(LF) {
            let before = bytes.len() - width;
            return if unit_before(before) == Some(CR) { 2 * width } else { width };
        }
        if is_last && unit_before(bytes.len()) == Some(CR) { width } else { 0 }
    }
    /// The characters. `None`: the bytes are invalid in this encoding.
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => str::from_utf8(bytes).ok().map(Cow::Borrowed),
            _ if self.width() == 1 && bytes.is_ascii() => str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Latin1 => Some(bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()),
            Self::Windows1252 => {
                bytes.iter().map(|byte| windows_1252(*byte)).collect::<Option<String>>().map(Into::into)
            }
            Self::Utf16 { .. } if !bytes.len().is_multiple_of(2) => None,
            Self::Utf16 { .. } => {
                let units = bytes.chunks_exact(2).map(|unit| self.unit(unit, 0));
                char::decode_utf16(units).collect::<Result<String, _>>().ok().map(Into::into)
            }
        }
    }
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Latin1 => "Latin-1",
            Self::Windows1252 => "Windows-1252",
            Self::Utf16 { .. } => "UTF-16",
        }
    }
}

/// Five bytes have no character.
fn windows_1252(byte: u8) -> Option<char> {
    const HIGH: [u16; 32] = [
        0x20ac, 0, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,
        0x017d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a,
        0x0153, 0, 0x017e, 0x0178,
    ];
    match byte {
        0x80..=0x9f => match HIGH[usize::from(byte - 0x80)] {
            0 => None,
            unit => char::from_u32(u32::from(unit)),
        },
        _ => Some(char::from(byte)),
    }
}

/// Texts for tests, in every encoding that can hold them.
#[cfg(test)]
pub(super) mod samples {
    use catalog::Encoding;

    use super::Charset;

    /// How a file is declared and written.
    #[derive(Debug, Clone, Copy)]
    pub struct Sample {
        pub encoding: Encoding,
        pub charset: Charset,
        is_marked: bool,
    }
    impl Sample {
        const fn new(encoding: Encoding, charset: Charset, is_marked: bool) -> Self {
            Self { encoding, charset, is_marked }
        }
        /// The bytes of a file with this text.
        pub fn bytes(self, text: &str) -> Vec<u8> {
            let text = if self.is_marked { format!("\u{feff}{text}") } else { text.to_owned() };
            match self.charset {
                Charset::Utf16 { big: true } => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                Charset::Utf16 { big: false } => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                _ => text.into_bytes(),
            }
        }
    }

    const LITTLE: Charset = Charset::Utf16 { big: false };
    const BIG: Charset = Charset::Utf16 { big: true };
    /// UTF-8 without a byte order mark.
    pub const PLAIN: Sample = Sample::new(Encoding::Utf8, Charset::Utf8, false);
    /// Every way to write any text.
    pub const ALL: [Sample; 8] = [
        PLAIN,
        Sample::new(Encoding::Utf8, Charset::Utf8, true),
        Sample::new(Encoding::Utf16, LITTLE, true),
        Sample::new(Encoding::Utf16, BIG, true),
        Sample::new(Encoding::Utf16Le, LITTLE, false),
        Sample::new(Encoding::Utf16Le, LITTLE, true),
        Sample::new(Encoding::Utf16Be, BIG, false),
        Sample::new(Encoding::Utf16Be, BIG, true),
    ];
    /// Characters with bytes, in UTF-16, that are line feeds, carriage returns, quotes, commas, brackets or
    /// blanks in ASCII; some are pairs of units.
    pub const TREACHEROUS: &str = "\u{10a}\u{10d}\u{a05}\u{a0a}\u{d05}\u{d0a}\u{d0d}\u{2028}\u{2029}\u{222c}\u{2c22}\u{5b57}\u{5d7d}\u{7b5b}\u{7d05}\u{20}\u{85}\u{1040a}\u{1f60d}";
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LITTLE: Charset = Charset::Utf16 { big: false };
    const BIG: Charset = Charset::Utf16 { big: true };

    #[rstest]
    #[case::little(Encoding::Utf16, b"\xff\xfea\0", LITTLE, 2)]
    #[case::big(Encoding::Utf16, b"\xfe\xff\0a", BIG, 2)]
    #[case::declared_and_marked(Encoding::Utf16Le, b"\xff\xfea\0", LITTLE, 2)]
    #[case::declared(Encoding::Utf16Be, b"\0a", BIG, 0)]
    #[case::utf_8(Encoding::Utf8, b"\xef\xbb\xbfa", Charset::Utf8, 3)]
    #[case::latin_1_has_none(Encoding::Latin1, b"\xff\xfea", Charset::Latin1, 0)]
    #[case::empty(Encoding::Utf8, b"", Charset::Utf8, 0)]
    fn the_byte_order_mark_says_the_order(
        #[case] encoding: Encoding,
        #[case] head: &[u8],
        #[case] charset: Charset,
        #[case] mark: usize,
    ) {
        assert_eq!(begin(encoding, head), Begin { charset, mark, refused: None });
    }

    #[rstest]
    #[case::none(Encoding::Utf16, b"a\0b\0", Charset::Utf8)]
    #[case::half_a_mark(Encoding::Utf16, b"\xff", Charset::Utf8)]
    #[case::not_utf_8(Encoding::Utf8, b"\xff\xfea\0", LITTLE)]
    #[case::big_not_little(Encoding::Utf16Le, b"\xfe\xff\0a", BIG)]
    #[case::little_not_big(Encoding::Utf16Be, b"\xff\xfea\0", LITTLE)]
    fn a_file_whose_mark_contradicts_its_encoding_is_refused(
        #[case] encoding: Encoding,
        #[case] head: &[u8],
        #[case] charset: Charset,
    ) {
        let begin = begin(encoding, head);
        assert_eq!((begin.charset, begin.mark, begin.refused.is_some()), (charset, 0, true));
    }

    #[rstest]
    #[case::line_feed("a", "\nb", true)]
    #[case::both("a", "\r\nb", true)]
    #[case::both_cut_between("a\r", "\nb", true)]
    #[case::lone_return("a", "\rb", false)]
    #[case::return_at_the_end("a", "\r", false)]
    #[case::second_return("a\r", "\r\n", false)]
    #[case::nothing("a\n", "", false)]
    #[case::latin_c("a", "\u{10d}", false)]
    #[case::gurmukhi_a("a", "\u{a05}", false)]
    #[case::malayalam_uu("a", "\u{d0a}\n", false)]
    #[case::line_separator("a", "\u{2028}", false)]
    #[case::a_pair("a", "\u{1040a}\n", false)]
    fn a_line_end_is_a_line_feed_and_no_byte_of_another_character(
        #[case] before: &str,
        #[case] behind: &str,
        #[case] is_end: bool,
    ) {
        for sample in samples::ALL {
            let (at, all) = (sample.bytes(before).len(), sample.bytes(&format!("{before}{behind}")));
            assert_eq!(sample.charset.has_line_end_at(&all, at), is_end, "{sample:?}");
            if sample.charset.width() == 2 {
                assert!(!sample.charset.has_line_end_at(&all, at - 1), "{sample:?}: a unit was cut");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_characters_are_refused() {
        assert_eq!(LITTLE.decode(b"a\0\xac\x20").as_deref(), Some("a\u{20ac}"));
        assert_eq!(Charset::Utf8.decode(b"\xff"), None);
        assert_eq!(Charset::Windows1252.decode(b"\x81"), None);
        assert_eq!(Charset::Utf16 { big: true }.decode(b"\xd8\x00"), None, "half of a pair");
        assert_eq!(Charset::Utf16 { big: true }.decode(b"\0a\0"), None, "half of a unit");
        assert_eq!(Charset::Windows1252.decode(b"\x80\xe9").as_deref(), Some("\u{20ac}\u{e9}"));
        assert_eq!(Charset::Latin1.decode(b"\x80\xe9").as_deref(), Some("\u{80}\u{e9}"));
    }
}
