//! The seam: what a system must offer for tables to be published there.
//!
//! A [`Publisher`](crate::Publisher) opens a [`Writer`], reads progress, and then writes transactions.
//! **Order of calls** in each: begin, write, flush, note, commit. The changes and the progress take effect
//! together, at the commit. `flush` comes between them for systems that show uncommitted data: a visible
//! progress then has its changes before it.
//!
//! **After an error** it is unknown whether the call took effect. The writer is dropped, another one is
//! opened, and the publisher goes on from the progress that this one reads. So opening must shut out every
//! earlier writer of the destination, in this process or another, *before* progress is read.
//!
//! The seam carries rows, not bytes: the writer decides how the system stores a row. Only keys are bytes,
//! because they are compared: rows have the same key if [`Keys`] gives them the same bytes, changes come in
//! the order of these bytes, and the bytes of the last one are stored as the position within a version. If a
//! row was deleted, only the bytes of its key are left, so a writer must be able to delete by them.
//!
//! | | Kafka | a database | an HTTP endpoint |
//! | --- | --- | --- | --- |
//! | open | a producer of the table's transactional id | a connection; a new generation in the table's progress row, under its lock | a producer as for Kafka |
//! | key | Avro, framed | arrow's row format, read back for a `DELETE` | JSON |
//! | write | records, tombstones | upserts and deletes by key | a request each, with table id, version and key as its idempotency key |
//! | flush | all are acknowledged | nothing | all are answered |
//! | note, commit | a progress record, in the transaction | the progress row, in the transaction | a progress record: the endpoint gets what it had again after a crash, and knows it by the idempotency key |

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use lake::Table;
use model::{TableId, TableName, Version};
use runtime::traces::Span;

use crate::Progress;
use crate::error::Result;

/// A destination system for one table.
#[async_trait]
pub trait Sink: Send + Sync {
    /// What writes to it.
    type Writer: Writer;

    /// Its name in metrics and halt notes.
    const NAME: &'static str;

    /// The destination. It never changes during the life of the sink.
    fn destination(&self) -> &Destination;

    /// Prepares the destination for rows of this table, with its current columns. When this returns, no
    /// earlier writer can add anything.
    async fn open(&self, table: &Table) -> Result<Self::Writer>;

    /// Sets a span's attributes for the destination and this number of changes.
    fn describe(&self, span: &mut Span, changes: usize);

    /// Logs that a version with this number of changes is published.
    fn published(&self, table: &TableName, version: Version, changes: usize);
}

/// The single writer of a destination. Dropped after an error of any call.
#[async_trait]
pub trait Writer: Send {
    /// How the destination identifies and orders keys. Rows have the columns that the table was opened with.
    fn keys(&self) -> Arc<dyn Keys>;

    /// All committed progress of the project that the system knows.
    async fn progress(&mut self) -> Result<Vec<Progress>>;

    /// The keys that have a row at the destination.
    async fn held(&mut self) -> Result<Vec<Bytes>>;

    /// Begins a transaction.
    async fn begin(&mut self) -> Result<()>;

    /// Writes changes. Need not wait for their arrival, and may get the same changes again after a crash.
    async fn write(&mut self, changes: Changes) -> Result<()>;

    /// Waits until everything written has arrived.
    async fn flush(&mut self) -> Result<()>;

    /// Writes progress. Need not wait for its arrival.
    async fn note(&mut self, progress: &Progress) -> Result<()>;

    /// Commits the transaction.
    async fn commit(&mut self) -> Result<()>;
}

/// The keys of rows as bytes. They are stored as positions, so the bytes of a key must never change.
pub trait Keys: Send + Sync {
    /// One key per row.
    fn of(&self, rows: &RecordBatch) -> Result<Vec<Bytes>>;
}

/// Changes of one version that are written together: one per key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Id of the table.
    pub table: TableId,
    /// The version.
    pub version: Version,
    /// True if the version's last change is among them.
    pub last: bool,
    /// The trace parent of the publishing span, if spans are recorded.
    pub trace: Option<String>,
    /// The change of each key.
    pub keys: Vec<KeyChange>,
    /// The rows that `keys` refer to, in their order, with all columns. `None`: they refer to none.
    pub rows: Option<RecordBatch>,
}

/// The new state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: Bytes,
    /// Its row in [`Changes::rows`]. `None`: it was deleted.
    pub row: Option<usize>,
}

/// Where one sink writes one table, as shown in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The kind of destination, such as `topic`.
    pub kind: &'static str,
    /// Its name in that system.
    pub name: String,
}
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}
