//! Encodings of text files: code units, by which CSV and lines are split, and characters.
//!
//! Splitting looks at code units and never at decoded text, so the bytes of each record are known.
//! Delimiters, quotes and line ends are ASCII; in every encoding here they are one unit and not part of any
//! other character.

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
    pub charset: Charset,
    /// Length of the byte order mark in bytes.
    pub mark: usize,
}

/// Examines a file's first bytes, at least four if it has as many. `None`: UTF-16 with unknown byte order.
pub(crate) fn begin(encoding: Encoding, head: &[u8]) -> Option<Begin> {
    let (charset, mark): (Charset, &[u8]) = match encoding {
        Encoding::Utf8 => (Charset::Utf8, b"\xef\xbb\xbf"),
        Encoding::Latin1 => (Charset::Latin1, b""),
        Encoding::Windows1252 => (Charset::Windows1252, b""),
        Encoding::Utf16Le => (Charset::Utf16 { big: false }, b"\xff\xfe"),
        Encoding::Utf16Be => (Charset::Utf16 { big: true }, b"\xfe\xff"),
        Encoding::Utf16 if head.starts_with(b"\xff\xfe") => (Charset::Utf16 { big: false }, b"\xff\xfe"),
        Encoding::Utf16 if head.starts_with(b"\xfe\xff") => (Charset::Utf16 { big: true }, b"\xfe\xff"),
        Encoding::Utf16 => return None,
    };
    Some(Begin { charset, mark: if head.starts_with(mark) { mark.len() } else { 0 } })
}

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
            if self.unit(bytes, at) == u16::from(b'\n') {
                return Some(at + 2);
            }
            at += 2;
        }
        None
    }
    /// The number of line ends in these bytes.
    pub fn line_ends(self, bytes: &[u8]) -> u64 {
        let whole = bytes.chunks_exact(self.width());
        whole.filter(|unit| self.unit(unit, 0) == u16::from(b'\n')).count() as u64
    }
    /// Length of the line end (`\n` or `\r\n`) at the end of these bytes. A carriage return that is the last
    /// byte of the file counts as a line end that was cut.
    pub fn line_end(self, bytes: &[u8], is_last: bool) -> usize {
        let width = self.width();
        let unit_before = |end: usize| {
            let at = end.checked_sub(width)?;
            bytes.len().is_multiple_of(width).then(|| self.unit(bytes, at))
        };
        let (lf, cr) = (Some(u16::from(b'\n')), Some(u16::from(b'\r')));
        if unit_before(bytes.len()) == lf {
            let before = bytes.len() - width;
            return if unit_before(before) == cr { 2 * width } else { width };
        }
        if is_last && unit_before(bytes.len()) == cr { width } else { 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_order_mark_says_the_order_and_without_one_nothing_is_guessed() {
        let little = begin(Encoding::Utf16, b"\xff\xfea\0").expect("a mark");
        assert_eq!(little, Begin { charset: Charset::Utf16 { big: false }, mark: 2 });
        assert_eq!(little.charset.decode(b"a\0\xac\x20").as_deref(), Some("a\u{20ac}"));
        assert_eq!(begin(Encoding::Utf16, b"a\0b\0"), None);
        assert_eq!(begin(Encoding::Utf16Be, b"\0a").map(|begin| begin.mark), Some(0));
        assert_eq!(begin(Encoding::Utf8, b"\xef\xbb\xbfa").map(|begin| begin.mark), Some(3));
    }

    #[test]
    fn bytes_that_are_no_characters_are_refused() {
        assert_eq!(Charset::Utf8.decode(b"\xff"), None);
        assert_eq!(Charset::Windows1252.decode(b"\x81"), None);
        assert_eq!(Charset::Utf16 { big: true }.decode(b"\xd8\x00"), None, "half of a pair");
        assert_eq!(Charset::Utf16 { big: true }.decode(b"\0a\0"), None, "half of a unit");
        assert_eq!(Charset::Windows1252.decode(b"\x80\xe9").as_deref(), Some("\u{20ac}\u{e9}"));
        assert_eq!(Charset::Latin1.decode(b"\x80\xe9").as_deref(), Some("\u{80}\u{e9}"));
    }
}
