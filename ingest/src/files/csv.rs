//! One record of CSV, strictly by the rules of RFC 4180.
//!
//! A field is either enclosed by quotes or has none. The quotes are at its very ends; inside, two quotes mean
//! one, and every other byte belongs to the value, line ends included. `\n` and `\r\n` end a record; a lone
//! carriage return is only allowed between quotes. Everything else is refused: a parser that guesses may
//! shift the bounds of every following record.

use std::borrow::Cow;
use std::ops::Range;

use super::text::Charset;

/// The delimiter, quote and encoding of a CSV file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    pub charset: Charset,
    pub delimiter: u8,
    pub quote: Option<u8>,
}

/// The position of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its bytes, without enclosing quotes.
    pub bytes: Range<usize>,
    /// Whether it was enclosed: then two quotes mean one.
    pub quoted: bool,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCsv {
    /// `"a" b`
    #[error("there is text behind a closing quote")]
    AfterQuote,
    /// `a"b`
    #[error("there is a quote in a field that none encloses; it is written twice, between quotes")]
    BareQuote,
    /// `"a` and then the end of the file.
    #[error("its quote is never closed")]
    OpenQuote,
    /// A carriage return that does not end a line.
    #[error("there is a carriage return outside quotes that no line feed follows")]
    BareReturn,
}

/// What the bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// An incomplete record: more bytes are needed.
    More,
    /// A record of this many bytes, including its line end.
    Record(usize),
    /// Not a record.
    Bad(BadCsv),
}

/// Finds the record at the beginning of `bytes`, and its fields. `is_all`: there are no more bytes.
pub(crate) fn scan(dialect: Dialect, bytes: &[u8], is_all: bool, fields: &mut Vec<Field>) -> Scan {
    fields.clear();
    match dialect.charset {
        Charset::Utf16 { big: true } => scan_units(dialect, bytes, is_all, fields, 2, |bytes, at| {
            u16::from_be_bytes([bytes[at], bytes[at + 1]])
        }),
        Charset::Utf16 { big: false } => scan_units(dialect, bytes, is_all, fields, 2, |bytes, at| {
            u16::from_le_bytes([bytes[at], bytes[at + 1]])
        }),
        _ => scan_units(dialect, bytes, is_all, fields, 1, |bytes, at| u16::from(bytes[at])),
    }
}

#[inline(always)]
fn scan_units(
    dialect: Dialect,
    bytes: &[u8],
    is_all: bool,
    fields: &mut Vec<Field>,
    width: usize,
    unit: impl Fn(&[u8], usize) -> u16,
) -> Scan {
    const LF: u16 = b'\n' as u16;
    const CR: u16 = b'\r' as u16;
    let (delimiter, quote) = (u16::from(dialect.delimiter), dialect.quote.map(u16::from));
    // Half a code unit at the end of a file belongs to the last field, whose decoding refuses it.
    let end = bytes.len() - bytes.len() % width;
    let mut at = 0;
    'field: loop {
        let quoted = at < end && Some(unit(bytes, at)) == quote;
        if at == end && !is_all {
            return Scan::More;
        }
        if quoted {
            at += width;
        }
        let from = at;
        if quoted {
            loop {
                if at == end {
                    return if is_all { Scan::Bad(BadCsv::OpenQuote) } else { Scan::More };
                }
                if Some(unit(bytes, at)) == quote {
                    if at + width == end && !is_all {
                        return Scan::More;
                    }
                    if at + width == end || Some(unit(bytes, at + width)) != quote {
                        break;
                    }
                    at += width;
                }
                at += width;
            }
            fields.push(Field { bytes: from..at, quoted });
            at += width;
        }
        // Find the end of an unquoted field. A quoted field has just ended here, or the record is bad.
        loop {
            let close = |fields: &mut Vec<Field>, to: usize| {
                if !quoted {
                    fields.push(Field { bytes: from..to, quoted });
                }
            };
            if at == end {
                if !is_all {
                    return Scan::More;
                }
                if quoted && end < bytes.len() {
                    return Scan::Bad(BadCsv::AfterQuote);
                }
                close(fields, bytes.len());
                return Scan::Record(bytes.len());
            }
            let here = unit(bytes, at);
            if here == delimiter {
                close(fields, at);
                at += width;
                continue 'field;
            }
            if here == LF {
                close(fields, at);
                return Scan::Record(at + width);
            }
            if here == CR {
                if at + width == end && !is_all {
                    return Scan::More;
                }
                // The carriage return is the last byte of the file: the line feed was cut off.
                if at + width == end && end == bytes.len() {
                    close(fields, at);
                    return Scan::Record(end);
                }
                if at + width < end && unit(bytes, at + width) == LF {
                    close(fields, at);
                    return Scan::Record(at + 2 * width);
                }
                return Scan::Bad(if quoted { BadCsv::AfterQuote } else { BadCsv::BareReturn });
            }
            if quoted {
                return Scan::Bad(BadCsv::AfterQuote);
            }
            if Some(here) == quote {
                return Scan::Bad(BadCsv::BareQuote);
            }
            at += width;
        }
    }
}

/// The characters of a field. `None`: its bytes are invalid.
pub(crate) fn text<'a>(dialect: Dialect, bytes: &'a [u8], field: &Field) -> Option<Cow<'a, str>> {
    let text = dialect.charset.decode(&bytes[field.bytes.clone()])?;
    match dialect.quote.map(char::from) {
        Some(quote) if field.quoted && text.contains(quote) => {
            Some(text.replace(&format!("{quote}{quote}"), &quote.to_string()).into())
        }
        _ => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const PLAIN: Dialect = Dialect { charset: Charset::Utf8, delimiter: b',', quote: Some(b'"') };

    fn read(dialect: Dialect, text: &[u8]) -> Result<(usize, Vec<String>), BadCsv> {
        let mut fields = Vec::new();
        match scan(dialect, text, true, &mut fields) {
            Scan::Record(length) => {
                let texts =
                    fields.iter().map(|field| super::text(dialect, text, field).expect("UTF-8").into_owned());
                Ok((length, texts.collect()))
            }
            Scan::Bad(why) => Err(why),
            Scan::More => panic!("there is no more"),
        }
    }

    #[rstest]
    #[case::plain("1,two\n3", 6, &["1", "two"])]
    #[case::windows_line_end("1,two\r\n3", 7, &["1", "two"])]
    #[case::no_line_end("1,two", 5, &["1", "two"])]
    #[case::empty_fields(",\n", 2, &["", ""])]
    #[case::empty_in_quotes("\"\"\n", 3, &[""])]
    #[case::delimiter_and_quote_inside("\"a,\"\"b\"\"\",c\n", 12, &["a,\"b\"", "c"])]
    #[case::line_ends_inside("\"a\nb\r\nc\r\",d\n", 12, &["a\nb\r\nc\r", "d"])]
    #[case::carriage_return_before_the_closing_quote("1,\"x\r\"\n", 7, &["1", "x\r"])]
    #[case::line_feed_that_was_cut("1,x\r", 4, &["1", "x"])]
    fn records_are_read_as_the_standard_says(
        #[case] text: &str,
        #[case] length: usize,
        #[case] fields: &[&str],
    ) {
        let fields = fields.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(read(PLAIN, text.as_bytes()), Ok((length, fields)));
    }

    #[rstest]
    #[case::text_behind("1,\"a\"b\n", BadCsv::AfterQuote)]
    #[case::space_behind("\"a\" ,b\n", BadCsv::AfterQuote)]
    #[case::quote_inside("1,a\"b\n", BadCsv::BareQuote)]
    #[case::space_before("1, \"a\"\n", BadCsv::BareQuote)]
    #[case::never_closed("1,\"a\n2,b\n", BadCsv::OpenQuote)]
    #[case::closed_by_a_pair("\"a\"\"", BadCsv::OpenQuote)]
    #[case::bare_return("a\rb\n", BadCsv::BareReturn)]
    #[case::return_behind_a_quote("\"a\"\rb\n", BadCsv::AfterQuote)]
    fn what_is_not_well_formed_is_refused(#[case] text: &str, #[case] why: BadCsv) {
        assert_eq!(read(PLAIN, text.as_bytes()), Err(why));
    }

    fn dialects() -> impl Strategy<Value = Dialect> {
        let charset = prop_oneof![
            Just(Charset::Utf8),
            Just(Charset::Utf16 { big: false }),
            Just(Charset::Utf16 { big: true })
        ];
        (charset, prop::sample::select(b",;|\t".to_vec()), prop::sample::select(b"\"'".to_vec()))
            .prop_map(|(charset, delimiter, quote)| Dialect { charset, delimiter, quote: Some(quote) })
    }
    fn encoded(dialect: Dialect, text: &str) -> Vec<u8> {
        match dialect.charset {
            Charset::Utf16 { big: true } => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Charset::Utf16 { big: false } => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            _ => text.as_bytes().to_vec(),
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            dialect in dialects(),
            values in prop::collection::vec("[a-z,;|\t\"'\r\n \u{e9}\u{1f600}]{0,6}", 1..5),
            enclose in any::<bool>(),
            behind in "[a-z\"\n]{0,5}",
        ) {
            let quote = char::from(dialect.quote.expect("quoted"));
            let special = [quote, char::from(dialect.delimiter), '\r', '\n'];
            let written: Vec<String> = values.iter().map(|value| match enclose || value.contains(special) {
                true => format!("{quote}{}{quote}", value.replace(quote, &format!("{quote}{quote}"))),
                false => value.clone(),
            }).collect();
            let record = written.join(&char::from(dialect.delimiter).to_string()) + "\n";
            let bytes = encoded(dialect, &(record.clone() + behind.as_str()));
            let mut fields = Vec::new();
            let length = encoded(dialect, &record).len();
            prop_assert_eq!(scan(dialect, &bytes, true, &mut fields), Scan::Record(length));
            let read: Vec<_> = fields.iter().map(|field| super::text(dialect, &bytes, field).expect("text").into_owned()).collect();
            prop_assert_eq!(read, values);
            // For every shorter input the answer is that more bytes are needed.
            for cut in 0..length {
                prop_assert_eq!(scan(dialect, &bytes[..cut], false, &mut fields), Scan::More);
            }
        }

        #[test]
        fn more_bytes_never_change_the_answer(bytes in prop::collection::vec(prop::sample::select(b"a,\"\r\n".to_vec()), 0..24), cut in 0_usize..24) {
            let (mut few, mut all) = (Vec::new(), Vec::new());
            let cut = cut.min(bytes.len());
            match scan(PLAIN, &bytes[..cut], false, &mut few) {
                Scan::More => {}
                answer => {
                    prop_assert_eq!(answer, scan(PLAIN, &bytes, true, &mut all));
                    prop_assert_eq!(few, all);
                }
            }
        }
    }
}
