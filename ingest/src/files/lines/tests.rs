use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn written(format: FileFormat) -> Written {
    let (encoding, quote) = (Encoding::Utf8, Some(b'"'));
    Written { format, encoding, delimiter: b',', quote, columns: None, longest: 60 }
}
/// A reader that returns a few bytes at a time, like a decompressor.
struct Slow<'a>(&'a [u8], usize);
impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}
fn pieces(written: &Written, text: &[u8], chunk: usize) -> Vec<Piece> {
    let mut lines = Lines::new(written.clone(), Slow(text, chunk));
    std::iter::from_fn(|| lines.next().expect("memory does not fail")).collect()
}
fn lines(written: &Written, text: &[u8]) -> Vec<Line> {
    pieces(written, text, 7).into_iter().filter_map(|piece| piece.line).collect()
}
fn rows(written: &Written, text: &[u8]) -> Vec<(u64, Result<Value, BadLine>)> {
    let row = |line: Line| (line.number, line.row.map(|row| Value::Object(row.columns)));
    lines(written, text).into_iter().map(row).collect()
}
/// Numbers of the good lines; numbers and bytes of the bad ones.
fn split(written: &Written, text: &[u8]) -> (Vec<u64>, Vec<(u64, String)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for line in lines(written, text) {
        match line.row {
            Ok(_) => good.push(line.number),
            Err(_) => bad.push((line.number, String::from_utf8_lossy(&line.raw).into_owned())),
        }
    }
    (good, bad)
}

#[test]
fn csv_fields_are_named_by_the_header_and_numbered_by_their_first_line() {
    let text = b"\xef\xbb\xbfid,note\r\n1,plain\n2,\"two\nlines, quoted\"\n\n3\n4,last";
    assert_eq!(
        rows(&written(FileFormat::Csv), text),
        [
            (2, Ok(json!({"id": "1", "note": "plain"}))),
            (3, Ok(json!({"id": "2", "note": "two\nlines, quoted"}))),
            (6, Err(BadLine::Fields { has: 1, columns: 2 })),
            (7, Ok(json!({"id": "4", "note": "last"}))),
        ]
    );
}

#[rstest]
#[case::never_closed("id,t\n1,a\n2,\"oops\n3,b\n4,c\n", &[2, 4, 5], &[(3, "2,\"oops")])]
#[case::closed_in_the_wrong_place("id,t\n1,\"never closed\n2,fine\n3,\"closed\"\n4,ok\n", &[3, 4, 5], &[(2, "1,\"never closed")])]
#[case::text_behind_a_quote("id,t\n1,\"a\" b\n2,b\n", &[3], &[(2, "1,\"a\" b")])]
#[case::bare_quote("id,t\r\n1,5\" wide\r\n2,b\r\n", &[3], &[(2, "1,5\" wide")])]
#[case::longer_than_a_line_may_be(
    "id,t\n1,\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"\n2,b\n",
    &[4],
    &[(2, "1,\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), (3, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"")]
)]
#[case::open_at_the_very_end("id,t\n1,a\n2,\"", &[2], &[(3, "2,\"")])]
fn a_bad_record_costs_the_line_that_it_begins_on(
    #[case] text: &str,
    #[case] good: &[u64],
    #[case] bad: &[(u64, &str)],
) {
    let bad = bad.iter().map(|(number, raw)| (*number, (*raw).to_owned())).collect();
    assert_eq!(split(&written(FileFormat::Csv), text.as_bytes()), (good.to_vec(), bad));
}

#[rstest]
#[case::twice("a,a\n1,2\n", "`a` twice")]
#[case::no_name("a,,b\n1,2,3\n", "column 2")]
#[case::bad_csv("a,\"b\n1,2\n", "never closed")]
#[case::another_encoding("\u{feff}a,b\n1,2\n", "utf-16")]
fn under_a_bad_header_every_line_is_bad_and_keeps_its_bytes(#[case] text: &str, #[case] why: &str) {
    let bytes: Vec<u8> = match why {
        "utf-16" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => text.as_bytes().to_vec(),
    };
    let lines = lines(&written(FileFormat::Csv), &bytes);
    assert!(lines.len() >= 2, "{lines:?}");
    for line in &lines {
        let error = line.row.as_ref().expect_err("bad").to_string();
        assert!(matches!(line.row, Err(BadLine::File(_))) && error.contains(why), "{error}");
    }
    let second = text.lines().nth(1).expect("a second line");
    let second = match why {
        "utf-16" => second.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => second.as_bytes().to_vec(),
    };
    assert_eq!(lines[1].raw, second);
}

#[test]
fn a_file_in_the_other_byte_order_is_refused_and_keeps_its_bytes() {
    for format in [FileFormat::Csv, FileFormat::JsonLines, FileFormat::Json] {
        let text = "\u{feff}a,\u{10d}\n1,\u{a0a}\n";
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (encoding, bytes) in [(Encoding::Utf16Le, big), (Encoding::Utf16Be, little)] {
            let lines = lines(&Written { encoding, ..written(format) }, &bytes);
            assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
            assert!(lines.iter().all(|line| matches!(line.row, Err(BadLine::File(_)))), "{lines:?}");
            assert_eq!((&lines[0].raw[..], &lines[1].raw[..]), (&bytes[..8], &bytes[10..16]));
        }
    }
}

#[test]
fn the_end_of_a_json_text_may_grow_if_it_is_cut() {
    let cut = |encoding: Encoding, text: &[u8]| {
        let mut lines = Lines::new(Written { encoding, ..written(FileFormat::Json) }, text);
        while lines.next().expect("memory does not fail").is_some() {}
        lines.before_open().map(|place| (place.mark.bytes, place.line, place.within))
    };
    assert_eq!(cut(Encoding::Utf8, b"[{\"a\":1},{\"a\":"), Some((9, 1, Within::Value)));
    assert_eq!(cut(Encoding::Utf8, b"[{\"a\":1},nul"), Some((9, 1, Within::Value)));
    assert_eq!(cut(Encoding::Utf16Le, b"[\0{\0}\0,"), Some((6, 1, Within::Comma)), "half a comma");
    assert_eq!(cut(Encoding::Utf16Be, b"\xfe\xff\0"), Some((2, 0, Within::Start)), "half a bracket");
    for whole in [&b"[{\"a\":1}"[..], b"[{\"a\":1},", b"[{\"a\":1}]", b"{\"a\":1,\"a\":2}"] {
        assert_eq!(cut(Encoding::Utf8, whole), None);
    }
}

#[test]
fn columns_may_be_named_by_the_source() {
    let columns = Some(["id".to_owned(), "note".to_owned()].into());
    let written = Written { columns, delimiter: b'\t', quote: None, ..written(FileFormat::Tsv) };
    let expected = [(1, Ok(json!({"id": "1", "note": "a \"b\""}))), (2, Ok(json!({"id": "2", "note": "c"})))];
    assert_eq!(rows(&written, b"1\ta \"b\"\n2\tc\n"), expected);
}

#[rstest]
#[case::latin1(Encoding::Latin1, b"id,n\n1,caf\xe9\n")]
#[case::windows(Encoding::Windows1252, b"id,n\n1,caf\xe9\n")]
#[case::utf16_marked(Encoding::Utf16, b"\xff\xfei\0d\0,\0n\0\n\x001\0,\0c\0a\0f\0\xe9\0\n\0")]
#[case::utf16_big(Encoding::Utf16Be, b"\0i\0d\0,\0n\0\n\x001\0,\0c\0a\0f\0\xe9\0\n")]
fn text_of_other_encodings_is_read_and_its_bytes_are_kept(#[case] encoding: Encoding, #[case] text: &[u8]) {
    let written = Written { encoding, ..written(FileFormat::Csv) };
    assert_eq!(rows(&written, text), [(2, Ok(json!({"id": "1", "n": "caf\u{e9}"})))]);
    let raw = &lines(&written, text)[0].raw;
    assert!(text.windows(raw.len()).any(|window| window == raw) && !raw.contains(&b'\n'), "{raw:?}");
}

#[test]
fn a_bad_json_line_leaves_its_neighbours_whole() {
    let text = b"{\"a\":1}\n\n[1]\n{\"a\":\n\xff\n{\"a\":2,\"a\":3}\n{\"a\":2}";
    let rows = rows(&written(FileFormat::JsonLines), text);
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7]);
    assert_eq!(rows[0].1, Ok(json!({"a": 1})));
    assert!(matches!(rows[1].1, Err(BadLine::Json(_))) && matches!(rows[2].1, Err(BadLine::Json(_))));
    assert_eq!(rows[3].1, Err(BadLine::Text("UTF-8")));
    assert_eq!(rows[4].1, Err(BadLine::Twice("a".to_owned())));
    assert_eq!(rows[5].1, Ok(json!({"a": 2})));
}

#[test]
fn the_text_of_a_json_line_stays_as_it_is() {
    let text = "{ \"a\" : 12345678901234567.123456789, \"b\":\"\\u00e9\" }";
    let lines = lines(&written(FileFormat::JsonLines), format!("{text}\r\n").as_bytes());
    assert_eq!(lines[0].row.as_ref().expect("a row").json.as_deref(), Some(text));
    assert_eq!(lines[0].raw, text.as_bytes());
}

#[test]
fn a_line_without_end_is_one_bad_line_of_which_the_first_bytes_are_held() {
    for format in [FileFormat::JsonLines, FileFormat::Csv] {
        let mut text = if format == FileFormat::Csv { b"a\n".to_vec() } else { Vec::new() };
        let number = if format == FileFormat::Csv { 2 } else { 1 };
        text.extend(vec![b'x'; 10_000]);
        text.extend(b"\n{\"a\":1}\n");
        let lines = lines(&written(format), &text);
        assert_eq!(lines[0].row, Err(BadLine::TooLong(60)));
        assert_eq!((lines[0].number, lines[0].raw.len(), lines[0].cut_of), (number, 60, Some(10_001)));
        assert_eq!((lines[1].number, lines.len()), (number + 1, 2));
    }
}

#[test]
fn an_array_is_read_object_by_object() {
    let text = b" [ {\"a\":1},\n  {\"a\": [2, {}],\n \"b\": \"],\"} , 3, {\"a\":4,\"a\":5} ,{\"a\":6}]\n";
    let rows = rows(&written(FileFormat::Json), text);
    assert_eq!(rows[0], (1, Ok(json!({"a": 1}))));
    assert_eq!(rows[1], (2, Ok(json!({"a": [2, {}], "b": "],"}))));
    assert!(matches!(rows[2], (3, Err(BadLine::Json(_)))) && matches!(rows[3], (4, Err(BadLine::Twice(_)))));
    assert_eq!(rows[4], (5, Ok(json!({"a": 6}))));
    assert_eq!(rows.len(), 5);
}

#[test]
fn objects_one_behind_the_other_are_rows_too() {
    let text = b"{\n \"a\": 1\n}\n{\"a\":2} {\"a\":3}";
    let rows = rows(&written(FileFormat::Json), text);
    let expected: Vec<_> = (1..=3).map(|n| (n, Ok(json!({"a": n})))).collect();
    assert_eq!(rows, expected);
}

#[rstest]
#[case::missing_comma("[{\"a\":1} {\"a\":2}\n,{\"a\":3}]", &[1, 3])]
#[case::text_behind_the_end("[{\"a\":1}]\nmore\n", &[1])]
#[case::object_never_closed("[{\"a\":1},\n{\"b\":\n{\"a\":3}]", &[1, 3])]
fn what_is_wrong_in_an_array_is_bad_to_the_end_of_its_line(#[case] text: &str, #[case] good: &[u64]) {
    let (read, bad) = split(&written(FileFormat::Json), text.as_bytes());
    assert_eq!((read, bad.len()), (good.to_vec(), 1), "{bad:?}");
}

/// Mostly bytes that influence the bounds of records.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(b"a1,\"\r\n{}[]: \\\0\xff\xfe".to_vec());
    let bytes = prop_oneof![9 => special, 1 => any::<u8>()];
    let word = prop_oneof![
        4 => bytes.prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec![&b"\"a\""[..], b"\r\n", b"{\"a\":1}", b",\"\"", b"\xef\xbb\xbf", b"1,2\n"])
            .prop_map(<[u8]>::to_vec),
        1 => (prop::sample::select(b"ab\"".to_vec()), 55_usize..90).prop_map(|(byte, n)| vec![byte; n]),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}
fn any_written() -> impl Strategy<Value = Written> {
    let formats = [FileFormat::Csv, FileFormat::Tsv, FileFormat::JsonLines, FileFormat::Json];
    let encodings = [
        Encoding::Utf8,
        Encoding::Latin1,
        Encoding::Windows1252,
        Encoding::Utf16,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
    ];
    let named = prop::option::of(Just(["x".to_owned(), "y".to_owned()].into()));
    (prop::sample::select(formats.to_vec()), prop::sample::select(encodings.to_vec()), named, any::<bool>())
        .prop_map(|(format, encoding, columns, quoted)| Written {
            format,
            encoding,
            columns,
            delimiter: b',',
            quote: quoted.then_some(b'"'),
            longest: 60,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_is_in_one_piece_and_numbers_rise(
        content in contents(), written in any_written(), chunk in 1_usize..80,
    ) {
        let pieces = pieces(&written, &content, chunk);
        let mut at = 0;
        let mut last = 0;
        for piece in &pieces {
            let length = usize::try_from(piece.length).expect("short");
            let own = &content[at..at + length];
            match piece.line.as_ref().and_then(|line| line.cut_of) {
                Some(_) => prop_assert!(own.starts_with(&piece.bytes) && length > piece.bytes.len()),
                None => prop_assert_eq!(own, &piece.bytes[..]),
            }
            at += length;
            let Some(line) = &piece.line else { continue };
            prop_assert!(line.number > last, "{} behind {last}", line.number);
            last = line.number;
            prop_assert!(piece.bytes.starts_with(&line.raw));
            let end = &piece.bytes[line.raw.len()..];
            prop_assert!(end.iter().all(|byte| b"\r\n\0".contains(byte)) && end.len() <= 4, "{end:?}");
            if line.row.is_ok() {
                prop_assert!(line.raw.len() <= 60);
            }
        }
        prop_assert_eq!(at, content.len());
        // Pieces between rows and bad lines do not matter.
        if written.format == FileFormat::JsonLines && written.encoding == Encoding::Latin1 {
            let blank = |piece: &&Piece| piece.line.is_none();
            prop_assert!(pieces.iter().filter(blank).all(|piece| piece.bytes.iter().all(u8::is_ascii_whitespace)));
        }
    }

    #[test]
    fn reading_goes_on_at_any_place_with_the_same_lines(
        content in contents(), written in any_written(), chunk in 1_usize..80,
    ) {
        let mut whole = Lines::new(written.clone(), Slow(&content, chunk));
        let (mut all, mut places) = (Vec::new(), Vec::new());
        while let Some(piece) = whole.next().expect("memory does not fail") {
            if let Some(line) = piece.line {
                all.push(line);
                places.push((all.len(), whole.place()));
            }
        }
        for (done, place) in places {
            let mut rest = Lines::new(written.clone(), Slow(&content, chunk));
            prop_assert!(rest.resume(&place).expect("memory does not fail"));
            let lines: Vec<_> = std::iter::from_fn(|| rest.next().expect("memory does not fail"))
                .filter_map(|piece| piece.line)
                .collect();
            prop_assert_eq!(&lines[..], &all[done..]);
        }
    }
}
