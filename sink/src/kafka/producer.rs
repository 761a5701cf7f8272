//! The single producer of a table.

use std::sync::Arc;

use model::{ProjectName, TableName, TopicName};
use stream::{Kafka, Outgoing, Producer};

use super::progress::{encode, key_of};
use crate::Progress;
use crate::error::{OfTable as _, Result};

/// A table's transactional producer. Only the newest one with its id can commit.
pub(super) struct Exclusive {
    table: TableName,
    /// The project's progress topic.
    progress: TopicName,
    producer: Arc<Producer>,
}

/// The same for every instance that publishes the table.
fn transactional_id(project: &ProjectName, table: &TableName) -> String {
    format!("_lakepulse.{project}.publish.{table}")
}

impl Exclusive {
    /// Opens a producer: aborts the open transaction of an earlier one and shuts it out.
    pub async fn open(kafka: &Kafka, project: &ProjectName, table: &TableName) -> Result<Self> {
        let id = transactional_id(project, table);
        let producer = Producer::transactional(kafka, &id).await.of(table)?;
        let progress = stream::internal::progress(project);
        Ok(Self { table: table.clone(), progress, producer: Arc::new(producer) })
    }

    /// The underlying producer, for sending records.
    pub fn producer(&self) -> Arc<Producer> {
        Arc::clone(&self.producer)
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<()> {
        self.producer.begin().await.of(&self.table)
    }

    /// Sends a progress record, without waiting for it.
    pub fn note(&self, progress: &Progress) -> Result<()> {
        let (key, value) = encode(progress);
        self.send(&key, Some(&value))
    }

    /// Sends the tombstone of a progress record, without waiting for it.
    pub fn forget(&self, progress: &Progress) -> Result<()> {
        self.send(key_of(progress), None)
    }

    /// Waits until everything sent is acknowledged.
    pub async fn flush(&self) -> Result<()> {
        self.producer.flush().await.of(&self.table)
    }

    /// Commits the transaction.
    pub async fn commit(&self) -> Result<()> {
        self.producer.commit().await.of(&self.table)
    }

    fn send(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let record = Outgoing {
            topic: &self.progress,
            partition: None,
            key: Some(key),
            value,
            headers: &[],
            timestamp: None,
        };
        self.producer.send(record).of(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A different id would not fence the publisher of an earlier release.
    #[test]
    fn the_transactional_id_is_what_it_was_in_the_first_release() {
        let (project, table) = ("shop".parse().expect("valid"), "gold.t".parse().expect("valid"));
        assert_eq!(transactional_id(&project, &table), "_lakepulse.shop.publish.gold.t");
    }
}
