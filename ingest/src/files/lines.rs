//! Files to rows, line by line. Pure but for the reader they are given.
//!
//! Numbers count lines of the file from 1, a CSV header included; a CSV record that spans lines has the
//! number of its first. Resuming reads over what came before: the same bytes give the same numbers.

use std::io::{BufRead, Read};

use catalog::FileFormat;
use serde_json::{Map, Value};

/// Why a line is no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Not UTF-8.
    #[error("the line is not valid UTF-8")]
    Utf8,
    /// More bytes than a line may have.
    #[error("the line is longer than {0} bytes")]
    TooLong(usize),
    /// Not a JSON object.
    #[error("the line is no JSON object: {0}")]
    Json(String),
    /// The same name twice, so that one value would be lost.
    #[error("column `{0}` is there twice")]
    Twice(String),
    /// More or fewer fields than the header.
    #[error("the line has {has} fields, the header {header}")]
    Fields {
        /// Fields of the line.
        has: usize,
        /// Fields of the header.
        header: usize,
    },
    /// What the CSV parser says.
    #[error("the line is no CSV: {0}")]
    Csv(String),
    /// A row that the topic's schema does not take.
    #[error(transparent)]
    Row(#[from] crate::shape::BadRow),
}

/// One line that is not blank.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// From 1.
    pub number: u64,
    /// Its bytes; of CSV, its fields joined by commas.
    pub raw: Vec<u8>,
    /// Its columns.
    pub row: Result<Map<String, Value>, BadLine>,
    /// Whether it is JSON.
    pub is_json: bool,
}

/// What the ending of a name says.
pub(crate) fn format_of(name: &str) -> Option<FileFormat> {
    match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
        "csv" => Some(FileFormat::Csv),
        "jsonl" | "ndjson" | "json" => Some(FileFormat::JsonLines),
        _ => None,
    }
}

/// Lines of one file.
pub(crate) enum Lines<R: Read> {
    Csv { reader: Box<csv::Reader<R>>, header: Option<Vec<String>>, longest: usize },
    Json { reader: R, number: u64, longest: usize },
}

impl<R: BufRead> Lines<R> {
    pub fn new(format: FileFormat, reader: R, longest: usize) -> Self {
        match format {
            FileFormat::Csv => {
                let mut builder = csv::ReaderBuilder::new();
                // By default a carriage return alone ends a record, but is no line: two records would
                // have one number.
                builder.flexible(true).has_headers(false).terminator(csv::Terminator::Any(b'\n'));
                let reader = builder.from_reader(reader);
                Self::Csv { reader: Box::new(reader), header: None, longest }
            }
            FileFormat::JsonLines => Self::Json { reader, number: 0, longest },
        }
    }

    /// The next line. `None` at the end of the file.
    pub fn next(&mut self) -> std::io::Result<Option<Line>> {
        match self {
            Self::Csv { reader, header, longest } => next_csv(reader, header, *longest),
            Self::Json { reader, number, longest } => next_json(reader, number, *longest),
        }
    }
}

fn next_csv<R: Read>(
    reader: &mut csv::Reader<R>,
    header: &mut Option<Vec<String>>,
    longest: usize,
) -> std::io::Result<Option<Line>> {
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(error) => {
                let number = error.position().map_or(0, csv::Position::line);
                return match error.into_kind() {
                    csv::ErrorKind::Io(error) => Err(error),
                    other => {
                        let row = Err(BadLine::Csv(format!("{other:?}")));
                        Ok(Some(Line { number, raw: Vec::new(), row, is_json: false }))
                    }
                };
            }
        }
        let number = record.position().map_or(0, csv::Position::line);
        let Some(header) = header else {
            // What a spreadsheet puts before the first name.
            let name = |name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned();
            *header = Some(fields(&record).map(name).collect());
            continue;
        };
        let raw = fields(&record).collect::<Vec<_>>().join(&b',');
        let row = csv_row(&record, header, &raw, longest);
        return Ok(Some(Line { number, raw, row, is_json: false }));
    }
}

/// The fields, without the carriage return of the line's end.
fn fields(record: &csv::ByteRecord) -> impl Iterator<Item = &[u8]> {
    let last = record.len().saturating_sub(1);
    record.iter().enumerate().map(move |(at, field)| match field.strip_suffix(b"\r") {
        Some(bare) if at == last => bare,
        _ => field,
    })
}

fn csv_row(
    record: &csv::ByteRecord,
    header: &[String],
    raw: &[u8],
    longest: usize,
) -> Result<Map<String, Value>, BadLine> {
    if raw.len() > longest {
        return Err(BadLine::TooLong(longest));
    }
    if record.len() != header.len() {
        return Err(BadLine::Fields { has: record.len(), header: header.len() });
    }
    let mut row = Map::new();
    for (name, field) in header.iter().zip(fields(record)) {
        let text = str::from_utf8(field).map_err(|_| BadLine::Utf8)?;
        if row.insert(name.clone(), Value::String(text.to_owned())).is_some() {
            return Err(BadLine::Twice(name.clone()));
        }
    }
    Ok(row)
}

fn next_json(reader: &mut impl BufRead, number: &mut u64, longest: usize) -> std::io::Result<Option<Line>> {
    loop {
        let mut raw = Vec::new();
        let taken = reader.by_ref().take(longest as u64 + 2).read_until(b'\n', &mut raw)?;
        if taken == 0 {
            return Ok(None);
        }
        *number += 1;
        let ended = raw.ends_with(b"\n");
        while raw.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            raw.pop();
        }
        if raw.len() > longest {
            if !ended {
                skip_line(reader)?;
            }
            raw.truncate(longest);
            return Ok(Some(Line {
                number: *number,
                raw,
                row: Err(BadLine::TooLong(longest)),
                is_json: true,
            }));
        }
        if raw.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row = json_row(&raw);
        return Ok(Some(Line { number: *number, raw, row, is_json: true }));
    }
}

fn json_row(raw: &[u8]) -> Result<Map<String, Value>, BadLine> {
    let text = str::from_utf8(raw).map_err(|_| BadLine::Utf8)?;
    match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => Err(BadLine::Json("it is another value".to_owned())),
        Err(error) => Err(BadLine::Json(error.to_string())),
    }
}

/// Reads over what is left of a line.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(format: FileFormat, text: &[u8]) -> Vec<(u64, Result<Value, BadLine>)> {
        let mut lines = Lines::new(format, text, 60);
        let mut all = Vec::new();
        while let Some(line) = lines.next().expect("memory does not fail") {
            all.push((line.number, line.row.map(Value::Object)));
        }
        all
    }

    #[test]
    fn csv_fields_are_named_by_the_header_and_numbered_by_their_first_line() {
        let text = b"\xef\xbb\xbfid,note\r\n1,plain\n2,\"two\nlines, quoted\"\n3\n4,last";
        assert_eq!(
            read(FileFormat::Csv, text),
            [
                (2, Ok(json!({"id": "1", "note": "plain"}))),
                (3, Ok(json!({"id": "2", "note": "two\nlines, quoted"}))),
                (5, Err(BadLine::Fields { has: 1, header: 2 })),
                (6, Ok(json!({"id": "4", "note": "last"}))),
            ]
        );
    }

    #[test]
    fn a_bad_json_line_leaves_its_neighbours_whole() {
        let text = b"{\"a\":1}\n\n[1]\n{\"a\":\n\xff\n{\"a\":2}";
        let rows = read(FileFormat::JsonLines, text);
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
        assert_eq!(rows[0].1, Ok(json!({"a": 1})));
        assert!(matches!(rows[1].1, Err(BadLine::Json(_))) && matches!(rows[2].1, Err(BadLine::Json(_))));
        assert_eq!(rows[3].1, Err(BadLine::Utf8));
        assert_eq!(rows[4].1, Ok(json!({"a": 2})));
    }

    #[test]
    fn a_line_without_end_is_one_bad_line() {
        let mut text = vec![b'x'; 10_000];
        text.extend(b"\n{\"a\":1}\n");
        let rows = read(FileFormat::JsonLines, &text);
        assert_eq!(rows, [(1, Err(BadLine::TooLong(60))), (2, Ok(json!({"a": 1})))]);
    }

    #[test]
    fn a_column_named_twice_is_bad() {
        assert_eq!(read(FileFormat::Csv, b"a,a\n1,2\n"), [(2, Err(BadLine::Twice("a".to_owned())))]);
    }

    #[test]
    fn an_ending_says_the_format() {
        assert_eq!(format_of("x/y.CSV"), Some(FileFormat::Csv));
        assert_eq!(format_of("y.jsonl"), Some(FileFormat::JsonLines));
        assert_eq!(format_of("y.parquet"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_lines_with_rising_numbers(bytes in prop::collection::vec(any::<u8>(), 0..400), csv in any::<bool>()) {
            let format = if csv { FileFormat::Csv } else { FileFormat::JsonLines };
            let numbers: Vec<u64> = read(format, &bytes).into_iter().map(|(number, _)| number).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        }
    }
}
