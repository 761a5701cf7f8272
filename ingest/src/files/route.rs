//! Finds a file's stream and format by its name.

use std::sync::Arc;

use catalog::{FileFormat, FilePattern};

use super::Feed;
use super::lines::Written;
use crate::Settings;

/// Which files of a folder belong to a stream.
#[derive(Debug, Clone)]
pub struct Route {
    /// The patterns of all streams of the source. `None` matches every file.
    streams: Arc<[Option<FilePattern>]>,
    pub(super) mine: usize,
}
impl Route {
    /// The route of a single stream with every file.
    pub fn all() -> Self {
        Self { streams: [None].into(), mine: 0 }
    }
    /// The routes of all streams of a source.
    pub fn of(streams: Vec<Option<FilePattern>>) -> Vec<Self> {
        let streams: Arc<[_]> = streams.into();
        (0..streams.len()).map(|mine| Self { streams: streams.clone(), mine }).collect()
    }
    /// Whether a file belongs to this stream. An error means that no stream takes it; only the first stream
    /// reports why.
    pub(super) fn takes(&self, name: &str) -> Result<bool, Option<String>> {
        let matching = (0..self.streams.len())
            .filter(|at| self.streams[*at].as_ref().is_none_or(|pattern| pattern.matches(name)));
        let matching: Vec<usize> = matching.collect();
        let patterns = |of: &[usize]| {
            let texts = of.iter().filter_map(|at| self.streams[*at].as_ref().map(FilePattern::as_str));
            texts.collect::<Vec<_>>().join("`, `")
        };
        let why = match &matching[..] {
            [one] => return Ok(*one == self.mine),
            [] => "no stream of the source takes files of its name".to_owned(),
            several => {
                format!("streams `{}` of the source all take it, and it goes to one", patterns(several))
            }
        };
        Err((self.mine == 0).then_some(why))
    }
}

/// The format of a file, from the source's settings, else from its name. `None`: neither tells.
pub(super) fn written(settings: &Settings, feed: &Feed, name: &str) -> Option<(Written, bool)> {
    let files = &feed.files;
    let lower = name.to_ascii_lowercase();
    let (gzip, lower) = match lower.strip_suffix(".gz") {
        Some(inner) => (files.gzip.unwrap_or(true), inner),
        None => (files.gzip.unwrap_or(false), lower.as_str()),
    };
    let by_name = match lower.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => Some(FileFormat::Csv),
        Some("tsv" | "tab") => Some(FileFormat::Tsv),
        Some("jsonl" | "ndjson" | "json") => Some(FileFormat::JsonLines),
        // Any text: if a delimiter is set, it is CSV.
        _ => files.csv.delimiter.map(|_| FileFormat::Csv),
    };
    let format = files.format.or(by_name)?;
    let delimiter = files.csv.delimiter.unwrap_or(if format == FileFormat::Tsv { b'\t' } else { b',' });
    let longest = files.max_line_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX / 4));
    let columns = (!files.csv.header).then(|| files.csv.columns.clone().into());
    let written = Written {
        format,
        encoding: files.encoding,
        delimiter,
        quote: files.csv.quote,
        columns,
        longest: longest.unwrap_or(settings.max_line_bytes),
    };
    Some((written, gzip))
}

/// Whether a file that begins with a bracket is one JSON array.
pub(super) fn is_json_by_name(feed: &Feed, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    feed.files.format.is_none() && name.strip_suffix(".gz").unwrap_or(&name).ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_goes_to_the_one_stream_whose_pattern_it_matches() {
        let pattern = |text: &str| Some(FilePattern::parse(text).expect("a pattern"));
        let routes = Route::of(vec![pattern("a*"), pattern("*b.csv")]);
        assert_eq!(routes[0].takes("a-1.csv"), Ok(true));
        assert_eq!(routes[1].takes("a-1.csv"), Ok(false));
        assert_eq!(routes[1].takes("below/b.csv"), Ok(true));
        let none = routes[0].takes("c.csv").expect_err("no stream").expect("told once");
        assert!(none.contains("no stream"), "{none}");
        let two = routes[0].takes("ab.csv").expect_err("two streams").expect("told once");
        assert!(two.contains("`a*`, `*b.csv`"), "{two}");
        assert_eq!(routes[1].takes("ab.csv"), Err(None), "the first tells");
        assert_eq!(Route::all().takes("whatever"), Ok(true));
    }
}
