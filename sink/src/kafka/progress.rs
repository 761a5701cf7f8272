//! Progress in Kafka: one record per table on the project's progress topic.
//!
//! Key: the table's id. Value: JSON with `table`, `topic`, `version`, `last_key` (base64 of the framed key),
//! `last` (the version is complete) and `whole` (the version is published as the whole table, not as a
//! difference). Draining and `verify` use [`progress`].

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{ProjectName, TableId, TableName, TopicName, Version};
use serde::{Deserialize, Serialize};
use stream::Kafka;

use super::error::unread;
use crate::Progress;
use crate::error::{Error, Result};

/// The record's value.
#[derive(Debug, Serialize, Deserialize)]
struct Value {
    table: TableName,
    topic: String,
    version: u64,
    last_key: Option<String>,
    last: bool,
    #[serde(default)]
    whole: bool,
}

/// The record's key.
pub(super) fn key_of(progress: &Progress) -> &[u8] {
    progress.id.as_str().as_bytes()
}

/// The record: key and value.
pub(super) fn encode(progress: &Progress) -> (Vec<u8>, Vec<u8>) {
    let value = Value {
        table: progress.table.clone(),
        topic: progress.destination.clone(),
        version: progress.version.0,
        last_key: progress.last_key.as_ref().map(|key| STANDARD.encode(key)),
        last: progress.last,
        whole: progress.whole,
    };
    let value = serde_json::to_vec(&value).expect("strings, numbers and flags are JSON");
    (key_of(progress).to_vec(), value)
}

/// Decodes a record.
fn decode(key: &[u8], value: &[u8]) -> Result<Progress> {
    let bad = |fault: String| Error::BadProgress { id: String::from_utf8_lossy(key).into_owned(), fault };
    let id = std::str::from_utf8(key).map_err(|e| bad(e.to_string()))?;
    let id = id.parse().map_err(|e: model::BadName| bad(e.to_string()))?;
    let value: Value = serde_json::from_slice(value).map_err(|e| bad(e.to_string()))?;
    let topic: TopicName = value.topic.parse().map_err(|e: model::BadName| bad(e.to_string()))?;
    let last_key = value.last_key.map(|key| STANDARD.decode(key)).transpose();
    Ok(Progress {
        id,
        table: value.table,
        destination: topic.to_string(),
        version: Version(value.version),
        last_key: last_key.map_err(|e| bad(e.to_string()))?,
        last: value.last,
        whole: value.whole,
    })
}

/// The current records of the progress topic, by key.
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<u8>>);
impl Records {
    /// Every table's progress.
    pub fn decoded(&self) -> Result<Vec<Progress>> {
        self.0.iter().map(|(key, value)| decode(key, value)).collect()
    }
}

/// Reads the progress topic.
pub(super) async fn read(kafka: &Kafka, project: &ProjectName) -> stream::Result<Records> {
    stream::latest(kafka, &stream::internal::progress(project)).await.map(Records)
}

/// Every progress record of the project.
pub async fn all_progress(kafka: &Kafka, project: &ProjectName) -> Result<Vec<Progress>> {
    read(kafka, project).await.map_err(unread)?.decoded()
}

/// Progress of the table with this id. `None` if nothing of it was published. A table is published up to
/// version *v* if its progress is `last` and no version between that and *v* changed a row.
pub async fn progress(kafka: &Kafka, project: &ProjectName, table: &TableId) -> Result<Option<Progress>> {
    let Records(all) = read(kafka, project).await.map_err(unread)?;
    let key = table.as_str().as_bytes();
    all.get(key).map(|value| decode(key, value)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes on the topic must stay readable in every release.
    #[test]
    fn the_record_is_what_it_was_in_the_first_release() {
        let progress = Progress {
            id: "0b5e".parse().expect("valid"),
            table: "gold.t".parse().expect("valid"),
            destination: "gold.t.v1".to_owned(),
            version: Version(7),
            last_key: Some(vec![0, 255]),
            last: false,
            whole: true,
        };
        let (key, value) = encode(&progress);
        let golden = r#"{"table":"gold.t","topic":"gold.t.v1","version":7,"last_key":"AP8=","last":false,"whole":true}"#;
        assert_eq!((key.as_slice(), std::str::from_utf8(&value)), (b"0b5e".as_slice(), Ok(golden)));
        assert_eq!(decode(&key, &value).expect("read back"), progress);
    }

    #[test]
    fn a_record_of_another_kind_is_an_error_that_names_the_table() {
        let error = decode(b"0b5e", b"{}").expect_err("refused");
        assert!(error.to_string().contains("0b5e"), "{error}");
    }
}
