//! How far each file is published: the records of one feed on the cursors topic.
//!
//! A cursor belongs to the topic's id, not its name: a topic that was deleted and created again gets all
//! files again. The cursor is first written before the first line of its file, so that a second attempt uses
//! the same identity, and then in every transaction of lines.

use std::collections::BTreeMap;

use model::{TopicId, TopicName};
use serde::{Deserialize, Serialize};

use super::lines::Place;
use super::window::Mark;
use crate::Error;

/// Version of the cursor's JSON.
const VERSION: u32 = 2;

/// A content that is fully published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// Length and digest of all of it.
    pub whole: Mark,
    /// The place after its last line.
    pub end: Place,
    /// The place before its last line if that has no end, because the line may grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_open: Option<Place>,
}

/// How far a file is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileCursor {
    /// Version of this format.
    version: u32,
    /// Id of the topic with its lines.
    topic_id: String,
    /// Identifies its records: header `lp.file`.
    pub identity: String,
    /// The file's path below the folder.
    pub name: String,
    /// The number of this file among the files of the same name, from 1.
    pub round: u32,
    /// Device and inode of the files that had this content under this path, the newest last.
    pub inodes: Vec<(u64, u64)>,
    /// The content that is being published.
    pub aim: Mark,
    /// Every line before this place is on the topic or the dead-letter topic.
    pub end: Place,
    /// Number of its records on the topic.
    pub records: u64,
    /// Number of its lines on the dead-letter topic.
    pub bad_lines: u64,
    /// Whether `aim` is fully published.
    pub done: bool,
    /// Contents that this file had and that are fully published, the newest last.
    pub published: Vec<Published>,
    /// Only in a cursor of version 1: half of the SHA-256 of the file, whose length is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_digest: Option<String>,
}
/// The most contents and inodes that are kept per file.
const REMEMBERED: usize = 16;
impl FileCursor {
    /// A file without published lines.
    pub fn new(topic: &TopicId, identity: String, name: &str, inode: (u64, u64), aim: Mark) -> Self {
        Self {
            version: VERSION,
            topic_id: topic.as_str().to_owned(),
            identity,
            name: name.to_owned(),
            round: 1,
            inodes: vec![inode],
            aim,
            end: Place::start(),
            records: 0,
            bad_lines: 0,
            done: false,
            published: Vec::new(),
            old_digest: None,
        }
    }
    /// Adds an inode that has this file's content.
    pub fn is_of(&mut self, inode: (u64, u64)) {
        self.inodes.retain(|known| *known != inode);
        self.inodes.push(inode);
        self.inodes.drain(..self.inodes.len().saturating_sub(REMEMBERED));
    }
    /// Marks all of `aim` as published.
    pub fn finish(&mut self, before_open: Option<Place>) {
        self.done = true;
        self.old_digest = None;
        let (whole, end) = (self.aim.clone(), self.end.clone());
        self.published.push(Published { whole, end, before_open });
        self.published.drain(..self.published.len().saturating_sub(REMEMBERED));
    }
}

/// A cursor of version 1; its key has the topic's name and `<path>@<digest>`.
#[derive(Debug, Deserialize)]
struct Old {
    line: u64,
    records: u64,
    bad_lines: u64,
    done: bool,
}

/// The cursors of one feed by identity.
#[derive(Debug, Default)]
pub(crate) struct FileCursors {
    by_identity: BTreeMap<String, FileCursor>,
    /// Identities by contents that are published or being published.
    by_content: BTreeMap<Mark, String>,
    /// Keys of cursors of version 1, which must be rewritten.
    pub outdated: Vec<Vec<u8>>,
}

impl FileCursors {
    /// Finds the cursors of `topic` among all records of the cursors topic.
    pub fn parse(
        topic: &TopicName,
        id: &TopicId,
        records: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Self, Error> {
        let prefix = format!("files/{topic}/");
        let mut cursors = Self::default();
        for (key, value) in records {
            let text = String::from_utf8_lossy(&key).into_owned();
            let Some(identity) = text.strip_prefix(&prefix) else { continue };
            let bad = |why: String| Error::BadCursor { key: text.clone(), why };
            let json: serde_json::Value =
                serde_json::from_slice(&value).map_err(|error| bad(error.to_string()))?;
            match json.get("version").and_then(serde_json::Value::as_u64) {
                Some(1) => {
                    let old = serde_json::from_value(json).map_err(|error| bad(error.to_string()))?;
                    cursors.outdated.push(key);
                    let cursor = adopted(id, identity, old);
                    // A cursor that was rewritten already is more recent.
                    if !cursors.by_identity.contains_key(&cursor.identity) {
                        cursors.set(cursor);
                    }
                }
                Some(version) if version == u64::from(VERSION) => {
                    let cursor: FileCursor =
                        serde_json::from_value(json).map_err(|error| bad(error.to_string()))?;
                    if cursor.topic_id == id.as_str() {
                        cursors.set(cursor);
                    }
                }
                version => {
                    let version =
                        version.map_or_else(|| "no number".to_owned(), |version| version.to_string());
                    return Err(bad(format!("its version is {version}, this program knows 1 and {VERSION}")));
                }
            }
        }
        Ok(cursors)
    }
    /// Replaces a cursor that is on the topic now.
    pub fn set(&mut self, cursor: FileCursor) {
        let contents = cursor.published.iter().map(|published| &published.whole);
        for content in contents.chain((cursor.aim.bytes > 0).then_some(&cursor.aim)) {
            self.by_content.insert(content.clone(), cursor.identity.clone());
        }
        self.by_identity.insert(cursor.identity.clone(), cursor);
    }
    /// Cursors of files that had this path.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a FileCursor> {
        self.by_identity.values().filter(move |cursor| cursor.name == name)
    }
    pub fn all(&self) -> impl Iterator<Item = &FileCursor> {
        self.by_identity.values()
    }
    pub fn get(&self, identity: &str) -> Option<&FileCursor> {
        self.by_identity.get(identity)
    }
    /// The file that has or had this content.
    pub fn of_content(&self, content: &Mark) -> Option<&FileCursor> {
        self.by_content.get(content).and_then(|identity| self.by_identity.get(identity))
    }
}

/// Converts a cursor of version 1. It has no topic id, so the current topic's id is assumed; this is only
/// wrong if the topic was created again before this version first ran here.
fn adopted(topic: &TopicId, identity: &str, old: Old) -> FileCursor {
    let (name, digest) = identity.rsplit_once('@').unwrap_or((identity, ""));
    let aim = Mark { bytes: 0, digest: String::new() };
    let mut cursor = FileCursor::new(topic, identity.to_owned(), name, (0, 0), aim);
    cursor.old_digest = Some(digest.to_owned());
    cursor.end.line = old.line;
    (cursor.records, cursor.bad_lines, cursor.done) = (old.records, old.bad_lines, old.done);
    cursor
}

/// Key of a file's cursor.
pub(crate) fn key(topic: &TopicName, cursor: &FileCursor) -> String {
    format!("files/{topic}/{}/{}", cursor.topic_id, cursor.identity)
}

/// The value of the cursor's record.
pub(crate) fn value(cursor: &FileCursor) -> Vec<u8> {
    serde_json::to_vec(cursor).expect("numbers, texts and flags are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::lines::Within;

    fn topic() -> TopicName {
        "shop.orders".parse().expect("a topic name")
    }
    fn id(text: &str) -> TopicId {
        text.parse().expect("an id")
    }
    fn cursor() -> FileCursor {
        let aim = Mark { bytes: 9, digest: "d9".to_owned() };
        let mut cursor = FileCursor::new(&id("one"), "a.csv@1".to_owned(), "a.csv", (1, 2), aim.clone());
        cursor.end = Place { mark: aim, line: 7, next: 8, within: Within::Start };
        cursor.finish(None);
        cursor
    }
    fn record(cursor: &FileCursor) -> (Vec<u8>, Vec<u8>) {
        (key(&topic(), cursor).into_bytes(), value(cursor))
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_written() {
        let cursors =
            FileCursors::parse(&topic(), &id("one"), BTreeMap::from([record(&cursor())])).expect("a cursor");
        assert_eq!(cursors.get("a.csv@1"), Some(&cursor()));
        assert_eq!(cursors.of_content(&cursor().aim), Some(&cursor()));
    }

    #[test]
    fn a_topic_that_was_made_again_and_one_of_another_name_have_none() {
        let records = BTreeMap::from([record(&cursor())]);
        let again = FileCursors::parse(&topic(), &id("two"), records.clone()).expect("none of ours");
        assert_eq!(again.all().count(), 0);
        let other = "shop.other".parse().expect("a topic name");
        assert_eq!(FileCursors::parse(&other, &id("one"), records).expect("none of ours").all().count(), 0);
    }

    #[test]
    fn the_format_of_version_2_is_read() {
        let golden = br#"{"version":2,"topic_id":"one","identity":"a.csv@1","name":"a.csv","round":1,"inodes":[[1,2]],
            "aim":{"bytes":9,"digest":"d9"},"end":{"bytes":9,"digest":"d9","line":7,"next":8},"records":0,"bad_lines":0,
            "done":true,"published":[{"whole":{"bytes":9,"digest":"d9"},"end":{"bytes":9,"digest":"d9","line":7,"next":8}}]}"#;
        let records = BTreeMap::from([(key(&topic(), &cursor()).into_bytes(), golden.to_vec())]);
        assert_eq!(
            FileCursors::parse(&topic(), &id("one"), records).expect("a cursor").get("a.csv@1"),
            Some(&cursor())
        );
    }

    #[test]
    fn key_and_bytes_of_version_2_stay_as_they_are() {
        let golden = concat!(
            r#"{"version":2,"topic_id":"one","identity":"a.csv@1","name":"a.csv","round":1,"inodes":[[1,2]],"#,
            r#""aim":{"bytes":9,"digest":"d9"},"end":{"bytes":9,"digest":"d9","line":7,"next":8},"#,
            r#""records":0,"bad_lines":0,"done":true,"published":[{"whole":{"bytes":9,"digest":"d9"},"#,
            r#""end":{"bytes":9,"digest":"d9","line":7,"next":8}}]}"#
        );
        assert_eq!(key(&topic(), &cursor()), "files/shop.orders/one/a.csv@1");
        assert_eq!(String::from_utf8(value(&cursor())).expect("JSON"), golden);
    }

    #[test]
    fn the_format_of_version_1_is_read_and_to_be_written_anew() {
        let golden = br#"{"version":1,"line":7,"records":5,"bad_lines":1,"done":false}"#;
        let key = b"files/shop.orders/below/x.csv@d9".to_vec();
        let cursors =
            FileCursors::parse(&topic(), &id("one"), BTreeMap::from([(key.clone(), golden.to_vec())]));
        let cursors = cursors.expect("a cursor");
        let cursor = cursors.named("below/x.csv").next().expect("the file's");
        assert_eq!((cursor.end.line, cursor.records, cursor.done), (7, 5, false));
        assert_eq!((cursor.old_digest.as_deref(), &cursors.outdated[..]), (Some("d9"), &[key][..]));
    }

    #[test]
    fn a_cursor_of_a_later_version_is_not_guessed_at() {
        let value = br#"{"version":3,"line":7,"records":5,"bad_lines":1,"done":false}"#;
        let records = BTreeMap::from([(b"files/shop.orders/x".to_vec(), value.to_vec())]);
        assert!(FileCursors::parse(&topic(), &id("one"), records).is_err());
    }
}
