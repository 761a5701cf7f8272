//! How far each file was published: the records of the cursors topic that are this feed's.

use std::collections::BTreeMap;

use model::TopicName;
use serde::{Deserialize, Serialize};

use super::folder::Found;
use crate::Error;

/// Version of the cursor's JSON.
const VERSION: u32 = 1;

/// How far a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Version of this format.
    version: u32,
    /// Every line up to this one is on the topic, or on the dead-letter topic.
    pub line: u64,
    /// Records of it on the topic.
    pub records: u64,
    /// Lines of it on the dead-letter topic.
    pub bad_lines: u64,
    /// Whether that was the last.
    pub done: bool,
}

/// Cursors of one feed by the file's identity.
#[derive(Debug, Default)]
pub(crate) struct Cursors(BTreeMap<String, Cursor>);

impl Cursors {
    /// Those of `topic` among all records of the cursors topic.
    pub fn parse(topic: &TopicName, records: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, Error> {
        let prefix = key(topic, "");
        let mut cursors = BTreeMap::new();
        for (key, value) in records {
            let key = String::from_utf8_lossy(&key).into_owned();
            let Some(identity) = key.strip_prefix(&prefix) else { continue };
            let bad = |why: String| Error::BadCursor { key: key.clone(), why };
            let cursor: Cursor = serde_json::from_slice(&value).map_err(|error| bad(error.to_string()))?;
            if cursor.version != VERSION {
                return Err(bad(format!("its version is {}, this program knows {VERSION}", cursor.version)));
            }
            cursors.insert(identity.to_owned(), cursor);
        }
        Ok(Self(cursors))
    }
    /// How far a file is; at its start if it is new.
    pub fn of(&self, file: &Found) -> Cursor {
        let new = || Cursor { version: VERSION, ..Cursor::default() };
        self.0.get(&file.identity).cloned().unwrap_or_else(new)
    }
    pub fn is_done(&self, file: &Found) -> bool {
        self.0.get(&file.identity).is_some_and(|cursor| cursor.done)
    }
    /// The cursor is on the topic.
    pub fn set(&mut self, file: &Found, cursor: Cursor) {
        self.0.insert(file.identity.clone(), cursor);
    }
}

/// Key of a file's cursor.
pub(crate) fn key(topic: &TopicName, identity: &str) -> String {
    format!("files/{topic}/{identity}")
}

/// The cursor as its record's value.
pub(crate) fn value(cursor: &Cursor) -> Vec<u8> {
    serde_json::to_vec(cursor).expect("numbers and a flag are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicName {
        "shop.orders".parse().expect("a topic name")
    }
    fn file(identity: &str) -> Found {
        Found { name: String::new(), path: "".into(), identity: identity.to_owned(), is_still: true }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_written() {
        let cursor = Cursor { version: VERSION, line: 7, records: 5, bad_lines: 1, done: true };
        let record = |topic: &TopicName| (key(topic, "a.csv@1").into_bytes(), value(&cursor));
        let other: TopicName = "shop.other".parse().expect("a topic name");
        let cursors = Cursors::parse(&topic(), BTreeMap::from([record(&topic())])).expect("a cursor");
        assert_eq!(cursors.of(&file("a.csv@1")), cursor);
        assert!(cursors.is_done(&file("a.csv@1")) && !cursors.is_done(&file("a.csv@2")));
        let cursors = Cursors::parse(&topic(), BTreeMap::from([record(&other)])).expect("none of ours");
        assert_eq!(cursors.of(&file("a.csv@1")).line, 0);
    }

    #[test]
    fn the_format_of_version_1_is_read() {
        let golden = br#"{"version":1,"line":7,"records":5,"bad_lines":1,"done":false}"#;
        let records = BTreeMap::from([(key(&topic(), "x").into_bytes(), golden.to_vec())]);
        assert_eq!(Cursors::parse(&topic(), records).expect("a cursor").of(&file("x")).line, 7);
    }

    #[test]
    fn a_cursor_of_a_later_version_is_not_guessed_at() {
        let value = br#"{"version":2,"line":7,"records":5,"bad_lines":1,"done":false}"#;
        let records = BTreeMap::from([(key(&topic(), "x").into_bytes(), value.to_vec())]);
        assert!(Cursors::parse(&topic(), records).is_err());
    }
}
