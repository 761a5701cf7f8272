//! The topic `_schemas`, accessed directly: broker and registry are in one process.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tansu_sans_io::record::Record;

use crate::Error;
use crate::store::{Refusal, Store, now, single};

const NAME: &str = "_schemas";
const READ: usize = 1 << 20;

/// SchemaKey of a record, as Confluent writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "keytype")]
pub(super) enum SchemaKey {
    /// A version of a subject.
    #[serde(rename = "SCHEMA")]
    Schema { subject: String, version: u32, magic: u8 },
    /// A compatibility level: of a subject, or the global one.
    #[serde(rename = "CONFIG")]
    Config { subject: Option<String>, magic: u8 },
    /// All versions of a subject up to one are deleted.
    #[serde(rename = "DELETE_SUBJECT")]
    DeleteSubject { subject: String, magic: u8 },
    /// Any other record of a real registry. It has no effect here.
    #[serde(other, rename = "NOOP")]
    Noop,
}

/// SchemaValue of a record. A tombstone removes the record for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum SchemaValue {
    /// Of [`SchemaKey::Schema`].
    Schema(SchemaVersion),
    /// Of [`SchemaKey::Config`].
    #[serde(rename_all = "camelCase")]
    Config { compatibility_level: String },
    /// Of [`SchemaKey::DeleteSubject`].
    DeleteSubject { subject: String, version: u32 },
}

/// A version of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SchemaVersion {
    pub subject: String,
    pub version: u32,
    pub id: u32,
    pub schema: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    #[serde(default)]
    pub deleted: bool,
}

/// A name in a schema that stands for the schema of another subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reference {
    pub name: String,
    pub subject: String,
    pub version: u32,
}

/// The topic `_schemas`.
pub(super) struct SchemaTopic {
    store: Store,
}

impl SchemaTopic {
    /// Opens the topic, and creates it if it does not exist.
    pub(super) fn open(store: &Store) -> Result<Self, Error> {
        if store.topic(NAME).is_none() {
            let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
            store.create(NAME, 1, 1, config).map_err(|refusal| broken(format!("{refusal:?}")))?;
        }
        Ok(Self { store: store.clone() })
    }

    /// All records, in order.
    pub(super) fn records(&self) -> Result<Vec<(SchemaKey, Option<SchemaValue>)>, Error> {
        let topic = self.store.topic(NAME).ok_or_else(|| broken("it is gone".to_owned()))?;
        let partition = topic.partition(0).ok_or_else(|| broken("it has no partition".to_owned()))?;
        let mut records = Vec::new();
        let mut offset = partition.start();
        loop {
            let read = partition.read(offset, true, READ, true).map_err(|error| broken(error.to_string()))?;
            let Some(last) = read.batches.last() else { return Ok(records) };
            offset = last.max_offset() + 1;
            for batch in read.batches.into_iter().filter(|batch| !batch.is_control()) {
                let base = batch.base_offset;
                let batch: Vec<Record> = batch.try_into().map_err(|error| broken(format!("{error:?}")))?;
                for record in batch {
                    let at = base + i64::from(record.offset_delta);
                    records.push(parse(record).map_err(|error| broken(format!("offset {at}: {error}")))?);
                }
            }
        }
    }

    /// Appends a record. When it returns, the record survives the death of this process.
    pub(super) fn append(&self, key: &SchemaKey, value: Option<&SchemaValue>) -> Result<(), Refusal> {
        let json = |error: serde_json::Error| Refusal::Disk(error.into());
        let key = Bytes::from(serde_json::to_vec(key).map_err(json)?);
        let value = value.map(serde_json::to_vec).transpose().map_err(json)?.map(Bytes::from);
        let batch = single(key, value, now());
        let batch = batch.map_err(|error| Refusal::Disk(std::io::Error::other(error)))?;
        let topic = self.store.topic(NAME).ok_or(tansu_sans_io::ErrorCode::UnknownTopicOrPartition)?;
        self.store.produce(&topic, 0, batch).map(drop)
    }
}

fn parse(record: Record) -> serde_json::Result<(SchemaKey, Option<SchemaValue>)> {
    let key = serde_json::from_slice(record.key.as_deref().unwrap_or(b"null"))?;
    let value = match (&key, record.value) {
        (SchemaKey::Noop, _) | (_, None) => None,
        (_, Some(value)) => Some(serde_json::from_slice(&value)?),
    };
    Ok((key, value))
}

fn broken(reason: String) -> Error {
    Error::Schemas { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a Confluent registry writes, field for field.
    #[test]
    fn records_are_laid_out_as_confluents() {
        let key = SchemaKey::Schema { subject: "s-value".to_owned(), version: 2, magic: 1 };
        let value = SchemaValue::Schema(SchemaVersion {
            subject: "s-value".to_owned(),
            version: 2,
            id: 7,
            schema: "\"long\"".into(),
            references: Vec::new(),
            deleted: false,
        });
        assert_eq!(
            serde_json::to_value(&key).expect("json"),
            serde_json::json!({"keytype": "SCHEMA", "subject": "s-value", "version": 2, "magic": 1})
        );
        assert_eq!(
            serde_json::to_value(&value).expect("json"),
            serde_json::json!({"subject": "s-value", "version": 2, "id": 7, "schema": "\"long\"", "deleted": false})
        );
        for (text, expected) in [
            (
                r#"{"keytype":"CONFIG","subject":null,"magic":0}"#,
                SchemaKey::Config { subject: None, magic: 0 },
            ),
            (r#"{"keytype":"NOOP","magic":0}"#, SchemaKey::Noop),
            (r#"{"keytype":"MODE","subject":null,"magic":0}"#, SchemaKey::Noop),
        ] {
            assert_eq!(serde_json::from_str::<SchemaKey>(text).expect("a key"), expected);
        }
    }
}
