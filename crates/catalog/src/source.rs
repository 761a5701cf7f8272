//! A source: where records come from, and the topics of its streams.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use model::TopicName;

use crate::{Location, Setting};

/// One file of `sources/`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name without extension.
    pub name: String,
    /// The connector that pulls it: `wwi-sim`, `files`, …
    pub connector: String,
    /// What it is about.
    pub description: Option<String>,
    /// `settings:` as written.
    pub settings: serde_json::Value,
    /// `settings:`, parsed for its connector.
    pub connection: Connection,
    /// Stream to topic, in the file's order. The connector defines what a stream is.
    pub streams: IndexMap<String, TopicName>,
    /// Where it is declared.
    pub location: Location,
}

impl Source {
    /// Whether its records carry the position of their commit, marked as such. True for databases that
    /// LakePulse reads itself.
    pub fn gives_commits(&self) -> bool {
        match self.connection {
            Connection::WwiSim(_) | Connection::Postgres(_) => true,
            Connection::Files(_) => false,
        }
    }
}

/// Settings of a connector.
#[derive(Debug, Clone, PartialEq)]
pub enum Connection {
    /// The simulated source database.
    WwiSim(WwiSim),
    /// A watched folder.
    Files(Files),
    /// A PostgreSQL database.
    Postgres(Postgres),
}

/// How the simulated source database behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct WwiSim {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Stop after this many events. `None`: never.
    pub events: Option<u64>,
    /// Events per second. `None`: as fast as possible.
    pub rate: Option<f64>,
    /// How events are spread over time.
    pub pattern: Pattern,
    /// Share of records sent late, 0 to 1.
    pub disorder: f64,
    /// Share of records sent twice, 0 to 1.
    pub duplicates: f64,
    /// Share of records that cannot be decoded, 0 to 1.
    pub poison: f64,
    /// Change the schema at this event. `None`: never.
    pub schema_change_at: Option<u64>,
}
impl Default for WwiSim {
    fn default() -> Self {
        Self {
            seed: 7,
            events: None,
            rate: Some(500.0),
            pattern: Pattern::Trickle,
            disorder: 0.0,
            duplicates: 0.0,
            poison: 0.0,
            schema_change_at: None,
        }
    }
}

/// How events are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pattern {
    /// Evenly.
    #[default]
    Trickle,
    /// As fast as possible.
    Bulk,
    /// In bursts with pauses between them.
    Burst,
}

/// A PostgreSQL database whose changes go to topics. Its streams are tables, `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`.
    pub url: Setting,
    /// Name of the replication slot. `None`: derived from the names of project and source.
    pub slot: Option<String>,
    /// Name of the publication.
    pub publication: String,
    /// How often the slot advances while no table changes.
    pub heartbeat: Duration,
}

/// A folder whose files go to topics, each once. Its streams are patterns of file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The watched folder as a complete path.
    pub dir: PathBuf,
    /// The format of the files. `None`: by file name extension.
    pub format: Option<FileFormat>,
    /// The CSV dialect.
    pub csv: Csv,
    /// The encoding of text.
    pub encoding: Encoding,
    /// Whether files are compressed with gzip. `None`: by file name extension.
    pub gzip: Option<bool>,
    /// When two files count as the same.
    pub identity: FileIdentity,
    /// The topic for bad lines, with file and line number.
    pub dead_letter: TopicName,
    /// How often the folder is listed.
    pub poll: Duration,
    /// How long a file must be unchanged before it is read. `None`: from one listing to the next.
    pub settle: Option<Duration>,
    /// A longer line is a bad line. `None`: the source's default limit.
    pub max_line_bytes: Option<u64>,
}
impl Files {
    /// A folder with defaults for everything but the topic for bad lines.
    pub fn new(dir: PathBuf, dead_letter: TopicName) -> Self {
        Self {
            dir,
            format: None,
            csv: Csv::default(),
            encoding: Encoding::default(),
            gzip: None,
            identity: FileIdentity::default(),
            dead_letter,
            poll: Duration::from_secs(1),
            settle: None,
            max_line_bytes: None,
        }
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Fields separated by a delimiter.
    Csv,
    /// As CSV, with tabs unless the source sets a delimiter.
    Tsv,
    /// One JSON object per line.
    JsonLines,
    /// One JSON array of objects, or a sequence of objects.
    Json,
}

/// A CSV dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The delimiter between fields. `None`: by format.
    pub delimiter: Option<u8>,
    /// The character that encloses a field. `None`: none.
    pub quote: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The names of columns, if there is no header line.
    pub columns: Vec<String>,
}
impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: None, quote: Some(b'"'), header: true, columns: Vec::new() }
    }
}

/// The encoding of a file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO 8859-1: each byte is the code point of its character.
    Latin1,
    /// Windows' code page of western Europe.
    Windows1252,
    /// UTF-16 with a byte order mark.
    Utf16,
    /// UTF-16, little endian.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
}

/// When two files count as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileIdentity {
    /// The same bytes, under any name.
    #[default]
    Content,
    /// The same path.
    Path,
}

/// A stream of a `files` source: a pattern that selects files for its topic.
#[derive(Debug, Clone)]
pub struct FilePattern {
    text: String,
    glob: globset::GlobMatcher,
}
impl FilePattern {
    /// A pattern with a slash matches paths relative to the folder; any other pattern matches names. `*` and
    /// `?` match anything but a slash, `**` matches folders.
    pub fn parse(text: &str) -> Result<Self, String> {
        let glob = globset::GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { text: text.to_owned(), glob })
    }
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Whether a file belongs to this stream. `path` is relative to the folder, with slashes.
    pub fn matches(&self, path: &str) -> bool {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        self.glob.is_match(if self.text.contains('/') { path } else { name })
    }
}
impl Source {
    /// The topics of a `files` source, each with the files it takes. `None` takes all: the only stream has a
    /// name that is not a pattern.
    pub fn file_streams(&self) -> Vec<(TopicName, Option<FilePattern>)> {
        let alone = self.streams.len() == 1;
        let stream = |(name, topic): (&String, &TopicName)| {
            if alone && !is_pattern(name) {
                return Some((topic.clone(), None));
            }
            FilePattern::parse(name).ok().map(|pattern| (topic.clone(), Some(pattern)))
        };
        self.streams.iter().filter_map(stream).collect()
    }
}
/// Whether a stream's name is a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_a_slash_is_one_of_names_and_with_one_of_paths() {
        let matches =
            |pattern: &str, path: &str| FilePattern::parse(pattern).expect("a pattern").matches(path);
        assert!(matches("a*", "a-1.jsonl") && matches("a*", "below/a-1.jsonl") && !matches("a*", "b/x"));
        assert!(
            matches("a/*.csv", "a/x.csv") && !matches("a/*.csv", "a/b/x.csv") && matches("a/**", "a/b/x")
        );
        assert!(matches("*.{csv,tsv}", "x.tsv") && !matches("?.csv", "xy.csv"));
        assert!(FilePattern::parse("[").is_err());
    }
}
