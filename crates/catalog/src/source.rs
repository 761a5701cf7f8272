//! A source: where records come from, and the topics its streams go to.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use model::TopicName;

use crate::{Location, Setting};

/// One file of `sources/`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the file without its ending.
    pub name: String,
    /// Which connector pulls it: `wwi-sim`, `files`, …
    pub connector: String,
    /// What it is about.
    pub description: Option<String>,
    /// `settings:` as written.
    pub settings: serde_json::Value,
    /// `settings:` of the connectors this version runs.
    pub connection: Connection,
    /// Stream to topic, in the file's order. What a stream is, the connector says.
    pub streams: IndexMap<String, TopicName>,
    /// Where it is declared.
    pub location: Location,
}

impl Source {
    /// Whether its records carry the position of their commit and say so: a database that LakePulse reads
    /// itself.
    pub fn gives_commits(&self) -> bool {
        matches!(self.connection, Connection::WwiSim(_) | Connection::Postgres(_))
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
    /// Events a second. `None`: as fast as they are taken.
    pub rate: Option<f64>,
    /// How they are spread over time.
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
    /// As fast as they are taken.
    Bulk,
    /// In heaps with pauses between.
    Burst,
}

/// A PostgreSQL database whose changes are published. Its streams are tables, `schema.table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`.
    pub url: Setting,
    /// Name of the replication slot. `None`: from the project's name and the source's.
    pub slot: Option<String>,
    /// Name of the publication.
    pub publication: String,
    /// How often the slot moves on while no table changes.
    pub heartbeat: Duration,
}

/// A folder whose files are published, each once. Its streams are patterns of file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The watched folder, resolved: whoever opens it adds nothing.
    pub dir: PathBuf,
    /// What the files hold. `None`: their ending says.
    pub format: Option<FileFormat>,
    /// How CSV is written.
    pub csv: Csv,
    /// How text is encoded.
    pub encoding: Encoding,
    /// Whether files are compressed by gzip. `None`: their ending says.
    pub gzip: Option<bool>,
    /// What makes two files one.
    pub identity: FileIdentity,
    /// Bad lines go here, with file and line number.
    pub dead_letter: TopicName,
    /// How often the folder is looked at.
    pub poll: Duration,
    /// How long a file must not have changed before it is taken. `None`: from one look to the next.
    pub settle: Option<Duration>,
    /// A longer line is a bad one. `None`: the source's own limit.
    pub max_line_bytes: Option<u64>,
}
impl Files {
    /// A folder of which nothing is said but where bad lines go.
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

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// Fields with a delimiter between.
    Csv,
    /// The same, with tabs between unless the source says otherwise.
    Tsv,
    /// One JSON object a line.
    JsonLines,
    /// One JSON array of objects, or objects one behind the other.
    Json,
}

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// What is between two fields. `None`: the format says.
    pub delimiter: Option<u8>,
    /// What encloses a field. `None`: nothing does.
    pub quote: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Their names, where no line does.
    pub columns: Vec<String>,
}
impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: None, quote: Some(b'"'), header: true, columns: Vec::new() }
    }
}

/// How the text of a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO 8859-1: each byte is the character of that number.
    Latin1,
    /// Windows' code page of western Europe.
    Windows1252,
    /// UTF-16, in the order that the byte order mark says.
    Utf16,
    /// UTF-16, little end first.
    Utf16Le,
    /// UTF-16, big end first.
    Utf16Be,
}

/// What makes two files one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileIdentity {
    /// The same bytes, under whatever name.
    #[default]
    Content,
    /// The same path.
    Path,
}

/// A stream of a `files` source: which files of the folder go to its topic.
#[derive(Debug, Clone)]
pub struct FilePattern {
    text: String,
    glob: globset::GlobMatcher,
}
impl FilePattern {
    /// A pattern with a slash is one of paths below the folder, any other one of names. `*` and `?` stand
    /// for no slash, `**` for folders.
    pub fn parse(text: &str) -> Result<Self, String> {
        let glob = globset::GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| error.kind().to_string())?.compile_matcher();
        Ok(Self { text: text.to_owned(), glob })
    }
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Whether a file is of this stream. `path` is the one below the folder, with slashes.
    pub fn matches(&self, path: &str) -> bool {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        self.glob.is_match(if self.text.contains('/') { path } else { name })
    }
}
impl Source {
    /// The topics of a `files` source with the files that each takes. `None` takes all: the only stream,
    /// under a name that is no pattern.
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
/// Whether a stream's name stands for other names than itself.
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
