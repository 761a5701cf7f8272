//! Finds the ends of values in a JSON text without parsing them.

use super::text::Charset;

/// Where a value ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Beyond these bytes.
    More,
    /// After this many bytes.
    Whole(usize),
    /// At the end of the file, without a bracket or quote that closes it: more of it may follow.
    ToEnd,
    /// A bracket closes another kind of bracket.
    Broken,
}

/// Whether a unit may stand between the values of a JSON text.
pub(crate) fn is_blank(unit: u16) -> bool {
    [b' ', b'\t', b'\r', b'\n'].map(u16::from).contains(&unit)
}

/// The number of bytes of blanks at the beginning.
pub(crate) fn blanks(charset: Charset, bytes: &[u8]) -> usize {
    charset.units(bytes).take_while(|unit| is_blank(*unit)).count() * charset.width()
}

/// The extent of the value at the beginning: up to its closing bracket or, without brackets, up to a comma, a
/// bracket or a blank. Its parser decides whether it is valid.
pub(crate) fn extent(charset: Charset, bytes: &[u8], is_all: bool) -> Extent {
    let width = charset.width();
    let (mut open, mut in_text, mut at) = (Vec::new(), false, 0);
    while at + width <= bytes.len() {
        let unit = u8::try_from(charset.unit(bytes, at)).unwrap_or(0xff);
        match unit {
            b'\\' if in_text => at += width,
            b'"' => {
                in_text = !in_text;
                if !in_text && open.is_empty() {
                    return Extent::Whole(at + width);
                }
            }
            _ if in_text => {}
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' if !open.is_empty() => {
                if open.pop() != Some(unit) {
                    return Extent::Broken;
                }
                if open.is_empty() {
                    return Extent::Whole(at + width);
                }
            }
            b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if open.is_empty() && at > 0 => {
                return Extent::Whole(at);
            }
            _ => {}
        }
        at += width;
    }
    if is_all && open.is_empty() && !in_text { Extent::ToEnd } else { Extent::More }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::object(r#"{"a":"}","b":[1,{}]},x"#, 20)]
    #[case::escaped_quote(r#"{"a":"\"}"} "#, 11)]
    #[case::text(r#""a,b",1"#, 5)]
    #[case::number("12.5e3]", 6)]
    #[case::word("null\n", 4)]
    fn a_value_ends_where_its_brackets_do(#[case] text: &str, #[case] bytes: usize) {
        assert_eq!(extent(Charset::Utf8, text.as_bytes(), true), Extent::Whole(bytes));
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(extent(Charset::Utf16 { big: false }, &wide, true), Extent::Whole(2 * bytes));
    }

    #[test]
    fn what_is_not_closed_needs_more() {
        for text in ["{\"a\":1", "[", "\"a", "{\"}\""] {
            assert_eq!(extent(Charset::Utf8, text.as_bytes(), true), Extent::More, "{text}");
        }
        assert_eq!(extent(Charset::Utf8, b"12", false), Extent::More);
        assert_eq!(extent(Charset::Utf8, b"12", true), Extent::ToEnd);
        assert_eq!(extent(Charset::Utf8, b"{\"a\":[1}]", true), Extent::Broken);
    }
}
