//! How far a table is published: one record a table on the project's progress topic.
//!
//! Key: the table's id. Value: JSON with `table`, `topic`, `version`, `last_key` (base64 of the framed
//! key), `last` (the version is complete) and `whole` (it is the whole table at that version, not a
//! difference). [`progress`] is what draining and `verify` ask.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{ProjectName, TableId, TableName, TopicName, Version};
use serde::{Deserialize, Serialize};
use stream::Kafka;

use crate::error::{Error, Result};

/// Where a topic is in its table's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Id of the table.
    pub id: TableId,
    /// Its name.
    pub table: TableName,
    /// The topic.
    pub topic: TopicName,
    /// The version published last, or being published.
    pub version: Version,
    /// The key it is published up to; `None` for a version without records.
    pub last_key: Option<Vec<u8>>,
    /// Whether that version is complete.
    pub last: bool,
    /// Whether that version is published as the whole table.
    pub whole: bool,
}

/// The record's value.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    table: TableName,
    topic: TopicName,
    version: u64,
    last_key: Option<String>,
    last: bool,
    #[serde(default)]
    whole: bool,
}

impl Progress {
    /// The record: key and value.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let value = Value {
            table: self.table.clone(),
            topic: self.topic.clone(),
            version: self.version.0,
            last_key: self.last_key.as_ref().map(|key| STANDARD.encode(key)),
            last: self.last,
            whole: self.whole,
        };
        let value = serde_json::to_vec(&value).expect("strings, numbers and flags are JSON");
        (self.id.as_str().as_bytes().to_vec(), value)
    }

    /// The version from which on the publisher still needs the table. A version that was begun as a
    /// whole is read again as it is; one that was begun as a difference, from the version before it.
    pub fn needs(&self) -> Version {
        match (self.last, self.whole) {
            (true, _) | (false, true) => self.version,
            (false, false) => Version(self.version.0.saturating_sub(1)),
        }
    }

    /// A record read back.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self> {
        let bad = |fault: String| Error::BadProgress { id: String::from_utf8_lossy(key).into_owned(), fault };
        let id = std::str::from_utf8(key).map_err(|e| bad(e.to_string()))?;
        let id = id.parse().map_err(|e: model::BadName| bad(e.to_string()))?;
        let value: Value = serde_json::from_slice(value).map_err(|e| bad(e.to_string()))?;
        let last_key =
            value.last_key.map(|key| STANDARD.decode(key)).transpose().map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            id,
            table: value.table,
            topic: value.topic,
            version: Version(value.version),
            last_key,
            last: value.last,
            whole: value.whole,
        })
    }
}

/// Every progress record of the project.
pub async fn all_progress(kafka: &Kafka, project: &ProjectName) -> Result<Vec<Progress>> {
    let all = stream::latest(kafka, &stream::internal::progress(project)).await;
    let all = all.map_err(|source| Error::Owners { source: Box::new(source) })?;
    all.iter().map(|(key, value)| Progress::decode(key, value)).collect()
}

/// Progress of the table with this id. `None`: nothing of it was published. A table is on its topic up
/// to version *v* when its progress is `last` and no version between that and *v* changed a row.
pub async fn progress(kafka: &Kafka, project: &ProjectName, table: &TableId) -> Result<Option<Progress>> {
    let all = stream::latest(kafka, &stream::internal::progress(project)).await;
    let all = all.map_err(|source| Error::Owners { source: Box::new(source) })?;
    let key = table.as_str().as_bytes();
    all.get(key).map(|value| Progress::decode(key, value)).transpose()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at_7(last: bool, whole: bool) -> Progress {
        Progress {
            id: "0b5e".parse().expect("valid"),
            table: "gold.t".parse().expect("valid"),
            topic: "gold.t.v1".parse().expect("valid"),
            version: Version(7),
            last_key: Some(vec![0, 255]),
            last,
            whole,
        }
    }

    #[rstest]
    #[case::complete(true, false, 7)]
    #[case::complete_as_a_whole(true, true, 7)]
    #[case::in_the_middle_of_the_whole(false, true, 7)]
    #[case::in_the_middle_of_a_difference(false, false, 6)]
    fn what_is_still_needed_is_what_a_restart_reads(
        #[case] last: bool,
        #[case] whole: bool,
        #[case] needs: u64,
    ) {
        assert_eq!(at_7(last, whole).needs(), Version(needs));
    }

    /// The bytes on the topic outlive every release.
    #[test]
    fn the_record_is_what_it_was_in_the_first_release() {
        let progress = at_7(false, true);
        let (key, value) = progress.encode();
        let golden = r#"{"table":"gold.t","topic":"gold.t.v1","version":7,"last_key":"AP8=","last":false,"whole":true}"#;
        assert_eq!((key.as_slice(), std::str::from_utf8(&value)), (b"0b5e".as_slice(), Ok(golden)));
        assert_eq!(Progress::decode(&key, &value).expect("read back"), progress);
    }

    #[test]
    fn a_record_of_another_kind_is_an_error_that_names_the_table() {
        let error = Progress::decode(b"0b5e", b"{}").expect_err("refused");
        assert!(error.to_string().contains("0b5e"), "{error}");
    }
}
