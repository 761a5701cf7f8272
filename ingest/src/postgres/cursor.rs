//! How far a database was read: one record on the cursors topic, in the same transaction as what was read.

use std::collections::{BTreeMap, BTreeSet};

use model::TopicId;
use pgwire_replication::Lsn;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Version of the cursor's JSON.
const VERSION: u32 = 1;

/// Identifies a database. Another database of the same name has another history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// The cluster's system identifier.
    pub system: String,
    /// Its timeline, which changes when a standby takes over.
    pub timeline: u32,
    /// Name of the database.
    pub database: String,
}

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCursor {
    /// Version of this format.
    version: u32,
    /// The database that was read.
    pub incarnation: Incarnation,
    /// The number of that incarnation, in header `lp.epoch` of every record.
    pub epoch: i64,
    /// Every transaction that committed before this position is on the topics.
    pub lsn: u64,
    /// Tables whose rows as of some position at or before `lsn` are on the topics.
    pub tables: BTreeSet<String>,
    /// Ids of the topics by table: a topic that was created again has none of the rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, String>,
}
impl DatabaseCursor {
    /// At the start of an incarnation: nothing is on the topics.
    pub fn begin(incarnation: Incarnation, epoch: i64) -> Self {
        Self {
            version: VERSION,
            incarnation,
            epoch,
            lsn: 0,
            tables: BTreeSet::new(),
            topics: BTreeMap::new(),
        }
    }
    /// The source's cursor among all records of the cursors topic.
    pub fn find(source: &str, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Option<Self>, Error> {
        let key = key(source);
        let Some(value) = records.get(key.as_bytes()) else { return Ok(None) };
        let bad = |why: String| Error::BadCursor { key: key.clone(), why };
        let cursor: Self = serde_json::from_slice(value).map_err(|error| bad(error.to_string()))?;
        if cursor.version != VERSION {
            return Err(bad(format!("its version is {}, this program knows {VERSION}", cursor.version)));
        }
        Ok(Some(cursor))
    }
    /// The value of its record.
    pub fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }
    /// Forgets the tables whose topic was created again, and returns them. Older cursors have no topic ids;
    /// then the current topic is assumed.
    pub fn hold_against(&mut self, topics: &BTreeMap<String, TopicId>) -> Vec<String> {
        let mut gone = Vec::new();
        for (table, id) in topics {
            let was = self.topics.insert(table.clone(), id.as_str().to_owned());
            if was.is_some_and(|was| was != id.as_str()) && self.tables.remove(table) {
                gone.push(table.clone());
            }
        }
        gone
    }
    /// The position at which to continue.
    pub fn lsn(&self) -> Lsn {
        Lsn(self.lsn)
    }
}

/// Key of a source's cursor.
pub fn key(source: &str) -> String {
    format!("postgres/{source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(value: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        BTreeMap::from([(key("shop").into_bytes(), value.to_vec())])
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_written() {
        let incarnation = Incarnation { system: "7".to_owned(), timeline: 1, database: "shop".to_owned() };
        let mut cursor = DatabaseCursor::begin(incarnation, 2);
        cursor.lsn = 77;
        cursor.tables.insert("public.orders".to_owned());
        assert_eq!(DatabaseCursor::find("shop", &records(&cursor.value())).expect("read"), Some(cursor));
        assert_eq!(DatabaseCursor::find("other", &records(b"{}")).expect("not ours"), None);
    }

    #[test]
    fn a_table_whose_topic_was_made_again_is_to_be_read_again() {
        let incarnation = Incarnation { system: "7".to_owned(), timeline: 1, database: "shop".to_owned() };
        let mut cursor = DatabaseCursor::begin(incarnation, 1);
        cursor.tables = ["public.a".to_owned(), "public.b".to_owned()].into();
        let topics = |b: &str| {
            let id = |text: &str| text.parse::<TopicId>().expect("an id");
            BTreeMap::from([("public.a".to_owned(), id("1")), ("public.b".to_owned(), id(b))])
        };
        assert_eq!(cursor.hold_against(&topics("2")), [""; 0], "no cursor said which topics they were");
        assert_eq!(cursor.hold_against(&topics("2")), [""; 0]);
        assert_eq!(cursor.hold_against(&topics("3")), ["public.b"]);
        assert_eq!(cursor.tables.iter().collect::<Vec<_>>(), ["public.a"]);
        assert_eq!(DatabaseCursor::find("shop", &records(&cursor.value())).expect("read"), Some(cursor));
    }

    #[test]
    fn key_and_bytes_of_version_1_stay_as_they_are() {
        let incarnation = Incarnation { system: "7".to_owned(), timeline: 1, database: "shop".to_owned() };
        let mut cursor = DatabaseCursor::begin(incarnation, 2);
        (cursor.lsn, cursor.tables) = (77, ["public.orders".to_owned()].into());
        let written = |cursor: &DatabaseCursor| String::from_utf8(cursor.value()).expect("JSON");
        let golden = r#"{"version":1,"incarnation":{"system":"7","timeline":1,"database":"shop"},"epoch":2,"lsn":77,"tables":["public.orders"]}"#;
        assert_eq!(key("shop"), "postgres/shop");
        assert_eq!(written(&cursor), golden);
        cursor.topics.insert("public.orders".to_owned(), "id1".to_owned());
        let golden = golden.replace("]}", r#"],"topics":{"public.orders":"id1"}}"#);
        assert_eq!(written(&cursor), golden);
    }

    #[test]
    fn the_format_of_version_1_is_read_and_a_later_one_is_not_guessed_at() {
        let golden = r#"{"version":1,"incarnation":{"system":"7","timeline":1,"database":"shop"},"epoch":1,"lsn":9,"tables":["public.orders"]}"#;
        let read = DatabaseCursor::find("shop", &records(golden.as_bytes())).expect("read").expect("there");
        assert_eq!((read.lsn, read.epoch), (9, 1));
        let later = golden.replace("\"version\":1", "\"version\":2");
        assert!(DatabaseCursor::find("shop", &records(later.as_bytes())).is_err());
    }
}
