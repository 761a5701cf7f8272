//! Splits a file's content into pieces: rows, bad lines, and the rest (header, blanks, brackets).
//!
//! All pieces together are the content, byte for byte. If a CSV record is bad or too long, the physical line
//! where it begins is one bad line, and reading continues at the next line: a quote that is never closed
//! costs only its own line. Memory holds only one record, of at most the longest allowed line.
//!
//! Line numbers count from 1 and include a header. A CSV record of several lines has the number of its first.
//! In a JSON text of several lines, the numbers count its objects. Either way they rise, and the same bytes
//! give the same numbers wherever reading begins.

use std::io::Read;
use std::sync::Arc;

use catalog::{Encoding, FileFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Digest as _;

use super::array::{self, Extent};
use super::csv::{self, BadCsv, Dialect, Field, Scan};
use super::text::{self, Charset};
use super::window::{Mark, Window};

/// Why a line is not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Bytes that are invalid in the file's encoding.
    #[error("the line is not valid {0}")]
    Text(&'static str),
    /// Longer than a line may be.
    #[error("the line, or the record that begins on it, is longer than {0} bytes")]
    TooLong(usize),
    /// Not a JSON object.
    #[error("the line is no JSON object: {0}")]
    Json(String),
    /// The same name twice, so one value would be lost.
    #[error("column `{0}` is there twice")]
    Twice(String),
    /// More or fewer fields than columns.
    #[error("the line has {has} fields, and there are {columns} columns")]
    Fields {
        /// Fields of the line.
        has: usize,
        /// Columns of the file.
        columns: usize,
    },
    /// Not well-formed CSV.
    #[error("the line is no CSV: {0}")]
    Csv(#[from] BadCsv),
    /// A file none of whose lines can be interpreted.
    #[error("no line of the file can be read: {0}")]
    File(String),
    /// A row that the topic's schema does not accept.
    #[error(transparent)]
    Row(#[from] crate::shape::BadRow),
}

/// The format of a file.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub format: FileFormat,
    pub encoding: Encoding,
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// Names of the columns if the file has no header.
    pub columns: Option<Arc<[String]>>,
    /// Maximum number of bytes in a line.
    pub longest: usize,
}
impl Written {
    fn is_csv(&self) -> bool {
        matches!(self.format, FileFormat::Csv | FileFormat::Tsv)
    }
}

/// A position between two lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Length and digest of everything before it.
    #[serde(flatten)]
    pub mark: Mark,
    /// Number of the last row or bad line before it.
    pub line: u64,
    /// Number of the next line.
    pub next: u64,
    /// State inside a JSON text.
    #[serde(default, skip_serializing_if = "Within::is_start")]
    pub within: Within,
}
impl Place {
    /// The beginning of a file.
    pub fn start() -> Self {
        Self { mark: Mark { bytes: 0, digest: String::new() }, line: 0, next: 1, within: Within::Start }
    }
}

/// Columns of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileRow {
    pub columns: Map<String, Value>,
    /// The row's text, if it is JSON.
    pub json: Option<String>,
}

impl FileRow {
    /// The row as input for the topic's schema.
    pub fn given(&self) -> crate::shape::RawRow<'_> {
        match &self.json {
            Some(text) => crate::shape::RawRow::Json(text),
            None => crate::shape::RawRow::Cells(&self.columns),
        }
    }
}

/// A section of the content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    /// Its bytes, including its line end; only the first bytes of a line that is too long.
    pub bytes: Vec<u8>,
    /// Its full length.
    pub length: u64,
    /// A row or a bad line. `None`: neither.
    pub line: Option<Line>,
}

/// A row or a bad line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub number: u64,
    /// Its bytes without the line end.
    pub raw: Vec<u8>,
    /// The full length if `raw` was cut.
    pub cut_of: Option<u64>,
    pub row: Result<FileRow, BadLine>,
}

/// The state of the reader in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Within {
    /// Before its first value, or in a file of lines.
    #[default]
    Start,
    /// In an array, before a value.
    Value,
    /// In an array, after a value.
    Comma,
    /// In an array, after something bad that extends to the end of its line.
    Lost,
    /// Between objects that follow one another without an array.
    Loose,
    /// After the array.
    End,
}

impl Within {
    fn is_start(&self) -> bool {
        *self == Self::Start
    }
}

/// Reads one file.
pub(crate) struct Lines<R> {
    window: Window<R>,
    written: Written,
    charset: Charset,
    begun: bool,
    columns: Option<Arc<[String]>>,
    /// Why no line of the file can be interpreted.
    unusable: Option<String>,
    within: Within,
    fields: Vec<Field>,
    /// Number of the line at the beginning of the window.
    next: u64,
    /// Number of the last row or bad line.
    last: u64,
    /// The place before the last line, if that has no end.
    before_open: Option<Place>,
    /// The place where more of the file is read if that is not the end of what was read: after the last value
    /// of a JSON text, once something else follows, or before a blank line or header without end.
    goes_on: Option<Place>,
}

impl<R: Read> Lines<R> {
    pub fn new(written: Written, reader: R) -> Self {
        Self {
            window: Window::new(reader),
            charset: Charset::Utf8,
            begun: false,
            columns: written.columns.clone(),
            unusable: None,
            within: Within::Start,
            fields: Vec::new(),
            next: 1,
            last: 0,
            before_open: None,
            goes_on: None,
            written,
        }
    }

    /// The current position.
    pub fn place(&self) -> Place {
        Place { mark: self.window.mark(), line: self.last, next: self.next, within: self.within }
    }
    /// The end of what was read. More may be added before the closing bracket of an array, and to a blank line
    /// or header without end: then it is the place before them.
    pub fn end(&self) -> Place {
        self.goes_on.clone().unwrap_or_else(|| self.place())
    }
    /// The place before the last line of the file, if it was read and has no end. Of a JSON text: before its
    /// last bad line.
    pub fn before_open(&self) -> Option<&Place> {
        self.before_open.as_ref()
    }

    /// Continues at an earlier place. `false`: the bytes before it have changed.
    pub fn resume(&mut self, at: &Place) -> std::io::Result<bool> {
        if at.mark.bytes == 0 {
            return Ok(true);
        }
        self.begin()?;
        // Read the start of the file again, because byte order mark and header apply to the rest.
        let csv = self.written.is_csv();
        let is_known = !self.is_document() || at.within != Within::Start;
        while self.window.behind() < at.mark.bytes
            && self.unusable.is_none()
            && if csv { self.columns.is_none() } else { !is_known && self.within == Within::Start }
        {
            let (from, before) = (self.window.behind(), self.window.hasher());
            let Some(piece) = self.next()? else { break };
            if self.window.behind() > at.mark.bytes {
                // The place is in a header that has become longer. A bad header was published without its
                // end, and the lines of one whose quote was still open as bad lines; they stay published.
                let known = piece.bytes.get(..(at.mark.bytes - from) as usize);
                let is_same = known
                    .is_some_and(|known| Mark::of(at.mark.bytes, &before.chain_update(known)) == at.mark);
                let is_published = |line: Line| self.unusable.is_some() && line.number <= at.line;
                let is_behind = piece.line.is_none_or(is_published);
                (self.next, self.last) = (self.next.max(at.next), at.line);
                (self.before_open, self.goes_on) = (None, None);
                return Ok(is_same && is_behind);
            }
        }
        self.window.skip_to(at.mark.bytes)?;
        (self.next, self.last) = (at.next, at.line);
        (self.before_open, self.goes_on) = (None, None);
        if self.is_document() && at.within != Within::Start {
            self.within = at.within;
        }
        Ok(self.window.mark() == at.mark)
    }

    /// The next piece. `None` at the end of the file.
    pub fn next(&mut self) -> std::io::Result<Option<Piece>> {
        if !self.begun
            && let Some(mark) = self.begin()?
        {
            return Ok(Some(mark));
        }
        if self.window.bytes().is_empty() {
            self.window.more()?;
            if self.window.bytes().is_empty() {
                return Ok(None);
            }
        }
        if let Some(why) = &self.unusable {
            let why = BadLine::File(why.clone());
            return self.physical(Err(why)).map(Some);
        }
        let piece = match self.written.format {
            FileFormat::Csv | FileFormat::Tsv => self.csv()?,
            FileFormat::JsonLines => self.physical(Ok(()))?,
            FileFormat::Json => self.document()?,
        };
        Ok(Some(piece))
    }

    fn is_document(&self) -> bool {
        self.written.format == FileFormat::Json
    }

    /// Examines the first bytes. The byte order mark becomes a separate piece.
    fn begin(&mut self) -> std::io::Result<Option<Piece>> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(None);
        }
        self.window.fill(text::HEAD)?;
        let begin = text::begin(self.written.encoding, self.window.bytes());
        self.charset = begin.charset;
        self.unusable = begin.refused.map(str::to_owned);
        if begin.mark == 0 {
            return Ok(None);
        }
        Ok(Some(self.nothing(begin.mark)))
    }

    /// Takes bytes that are neither row nor bad line.
    fn nothing(&mut self, bytes: usize) -> Piece {
        let bytes = self.taken(bytes);
        Piece { length: bytes.len() as u64, bytes, line: None }
    }
    fn taken(&mut self, bytes: usize) -> Vec<u8> {
        let taken = self.window.bytes()[..bytes].to_vec();
        self.window.skip(bytes);
        self.next += self.charset.line_ends(&taken);
        taken
    }
    /// Takes a blank line, or the header. If it has no end, more of it may follow.
    fn blank(&mut self, bytes: usize) -> Piece {
        if self.is_open(bytes) {
            self.goes_on = Some(self.place());
        }
        self.nothing(bytes)
    }
    /// Whether these bytes extend to the end of the file and have no line end.
    fn is_open(&self, bytes: usize) -> bool {
        let all = self.window.bytes();
        self.window.is_all() && bytes == all.len() && self.charset.line_end(all, false) == 0
    }
    /// Takes a record or line with this many bytes, including its line end.
    fn record(&mut self, bytes: usize, row: Result<FileRow, BadLine>) -> Piece {
        let is_last = self.window.is_all() && bytes == self.window.bytes().len();
        self.before_open = self.is_open(bytes).then(|| self.place());
        let number = self.next;
        let bytes = self.taken(bytes);
        self.last = number;
        let raw = bytes[..bytes.len() - self.charset.line_end(&bytes, is_last)].to_vec();
        let line = Line { number, raw, cut_of: None, row };
        Piece { length: bytes.len() as u64, bytes, line: Some(line) }
    }

    /// The physical line at the beginning of the window: parsed as JSON if `Ok`, else a bad line.
    fn physical(&mut self, as_json: Result<(), BadLine>) -> std::io::Result<Piece> {
        let mut looked = 0;
        loop {
            let bytes = self.window.bytes();
            let found = self.charset.line(&bytes[looked..]).map(|end| looked + end);
            let whole = found.or_else(|| self.window.is_all().then_some(bytes.len()));
            if let Some(whole) = whole {
                let end =
                    self.charset.line_end(&bytes[..whole], self.window.is_all() && whole == bytes.len());
                if whole - end > self.written.longest {
                    return self.too_long();
                }
                let row = match as_json {
                    Err(why) => Err(why),
                    Ok(()) => match self.json(&bytes[..whole - end]) {
                        Some(row) => row,
                        None => return Ok(self.blank(whole)),
                    },
                };
                return Ok(self.record(whole, row));
            }
            if bytes.len() > self.written.longest + 2 * self.charset.width() {
                return self.too_long();
            }
            looked = bytes.len() - bytes.len() % self.charset.width();
            self.window.more()?;
        }
    }

    /// Skips a line of any length and keeps its first bytes.
    fn too_long(&mut self) -> std::io::Result<Piece> {
        let (longest, before) = (self.written.longest, self.place());
        let bytes = self.window.bytes();
        let first = bytes[..bytes.len().min(longest)].to_vec();
        let mut length = 0;
        loop {
            let bytes = self.window.bytes();
            let end = self.charset.line(bytes);
            // Do not split a code unit.
            let whole = bytes.len() - bytes.len() % self.charset.width();
            let used = end.unwrap_or(if self.window.is_all() { bytes.len() } else { whole });
            length += used as u64;
            self.window.skip(used);
            if end.is_some() || self.window.is_all() && self.window.bytes().is_empty() {
                let number = self.next;
                self.before_open = end.is_none().then_some(before);
                (self.next, self.last) = (self.next + u64::from(end.is_some()), number);
                let row = Err(BadLine::TooLong(longest));
                let line = Line { number, raw: first.clone(), cut_of: Some(length), row };
                return Ok(Piece { bytes: first, length, line: Some(line) });
            }
            self.window.more()?;
        }
    }

    /// Parses a line as a row. `None`: it is blank.
    fn json(&self, bytes: &[u8]) -> Option<Result<FileRow, BadLine>> {
        if self.charset.width() == 1 && bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let Some(text) = self.charset.decode(bytes) else {
            return Some(Err(BadLine::Text(self.charset.name())));
        };
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return None;
        }
        let columns = super::json::object(&text);
        Some(columns.map(|columns| FileRow { columns, json: Some(text.into_owned()) }))
    }

    fn csv(&mut self) -> std::io::Result<Piece> {
        let dialect =
            Dialect { charset: self.charset, delimiter: self.written.delimiter, quote: self.written.quote };
        loop {
            let bytes = self.window.bytes();
            match csv::scan(dialect, bytes, self.window.is_all(), &mut self.fields) {
                Scan::More if bytes.len() > self.written.longest + 2 * self.charset.width() => {
                    return self.bad_record(BadLine::TooLong(self.written.longest));
                }
                Scan::More => self.window.more()?,
                Scan::Bad(why) => return self.bad_record(why.into()),
                Scan::Record(length) => {
                    let is_last = self.window.is_all() && length == bytes.len();
                    let end = self.charset.line_end(&bytes[..length], is_last);
                    if length - end > self.written.longest {
                        return self.bad_record(BadLine::TooLong(self.written.longest));
                    }
                    if let [only] = &self.fields[..]
                        && !only.quoted
                        && only.bytes.is_empty()
                    {
                        return Ok(self.blank(length));
                    }
                    let Some(columns) = self.columns.clone() else {
                        return match header(dialect, bytes, &self.fields) {
                            Ok(columns) => {
                                self.columns = Some(columns);
                                Ok(self.blank(length))
                            }
                            Err(why) => self.bad_record(BadLine::File(why)),
                        };
                    };
                    let row = row(dialect, bytes, &self.fields, &columns);
                    return Ok(self.record(length, row));
                }
            }
        }
    }

    /// The bad line where a bad record begins. If it is the header, no other line can be interpreted.
    fn bad_record(&mut self, why: BadLine) -> std::io::Result<Piece> {
        let why = match why {
            why if self.columns.is_some() => why,
            BadLine::File(why) => BadLine::File(why),
            why => BadLine::File(format!("its header is bad: {why}")),
        };
        if let BadLine::File(why) = &why {
            self.unusable = Some(why.clone());
        }
        self.physical(Err(why))
    }

    fn document(&mut self) -> std::io::Result<Piece> {
        let (charset, width) = (self.charset, self.charset.width());
        self.window.fill(width)?;
        let blank = array::blanks(charset, self.window.bytes());
        if self.last > 0 && self.goes_on.is_none() {
            self.goes_on = Some(self.place());
        }
        if blank > 0 {
            return Ok(self.nothing(blank));
        }
        let bytes = self.window.bytes();
        if bytes.len() < width {
            return self.counted(BadLine::Text(charset.name()));
        }
        let first = charset.unit(bytes, 0);
        let is = |character: u8| first == u16::from(character);
        match self.within {
            Within::Start if is(b'[') => {
                self.within = Within::Value;
                return Ok(self.nothing(width));
            }
            Within::Start => self.within = Within::Loose,
            Within::Value | Within::Comma | Within::Lost if is(b']') => {
                self.within = Within::End;
                return Ok(self.nothing(width));
            }
            Within::Comma | Within::Lost if is(b',') => {
                self.within = Within::Value;
                return Ok(self.nothing(width));
            }
            Within::Comma => return self.rest_of_line("there is no comma before it"),
            Within::Value if is(b',') => return self.rest_of_line("there is no value before the comma"),
            Within::End => return self.rest_of_line("there is text behind the end of the array"),
            Within::Value | Within::Lost | Within::Loose => {}
        }
        loop {
            let bytes = self.window.bytes();
            match array::extent(charset, bytes, self.window.is_all()) {
                Extent::Whole(length) if length <= self.written.longest => {
                    let row = match self.json(&bytes[..length]) {
                        Some(row) => row,
                        None => Err(BadLine::Json("it is blank".to_owned())),
                    };
                    if self.within != Within::Loose {
                        self.within = Within::Comma;
                    }
                    let taken = self.taken(length);
                    (self.last, self.goes_on) = (self.last + 1, None);
                    let line = Line { number: self.last, raw: taken.clone(), cut_of: None, row };
                    return Ok(Piece { length: taken.len() as u64, bytes: taken, line: Some(line) });
                }
                Extent::ToEnd if bytes.len() <= self.written.longest => {
                    let why = match self.json(bytes) {
                        Some(Err(why)) => why,
                        _ => BadLine::Json("it is another value".to_owned()),
                    };
                    return self.counted(why);
                }
                Extent::More if bytes.len() <= self.written.longest && !self.window.is_all() => {
                    self.window.more()?;
                }
                Extent::More if self.window.is_all() && bytes.len() <= self.written.longest => {
                    return self.rest_of_line("the file ends before it does");
                }
                Extent::Broken => return self.rest_of_line("a bracket closes what another opened"),
                _ => return self.counted(BadLine::TooLong(self.written.longest)),
            }
        }
    }

    fn rest_of_line(&mut self, why: &str) -> std::io::Result<Piece> {
        self.counted(BadLine::Json(why.to_owned()))
    }
    /// The rest of the physical line as a bad line, numbered like a value.
    fn counted(&mut self, why: BadLine) -> std::io::Result<Piece> {
        let number = self.last + 1;
        let mut piece = self.physical(Err(why))?;
        (self.last, self.goes_on) = (number, None);
        if matches!(self.within, Within::Value | Within::Comma) {
            self.within = Within::Lost;
        }
        if let Some(line) = &mut piece.line {
            line.number = number;
        }
        Ok(piece)
    }
}

/// The column names in a header.
fn header(dialect: Dialect, bytes: &[u8], fields: &[Field]) -> Result<Arc<[String]>, String> {
    let mut names: Vec<String> = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let name = csv::text(dialect, bytes, field);
        let name = name.ok_or_else(|| format!("its header is not valid {}", dialect.charset.name()))?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err(format!("column {} of its header has no name", at + 1));
        }
        if names.contains(&name) {
            return Err(format!("its header has column `{name}` twice"));
        }
        names.push(name);
    }
    Ok(names.into())
}

fn row(dialect: Dialect, bytes: &[u8], fields: &[Field], columns: &[String]) -> Result<FileRow, BadLine> {
    if fields.len() != columns.len() {
        return Err(BadLine::Fields { has: fields.len(), columns: columns.len() });
    }
    let mut row = Map::new();
    for (name, field) in columns.iter().zip(fields) {
        let text = csv::text(dialect, bytes, field).ok_or(BadLine::Text(dialect.charset.name()))?;
        row.insert(name.clone(), Value::String(text.into_owned()));
    }
    Ok(FileRow { columns: row, json: None })
}

#[cfg(test)]
mod tests;
