//! The seam: what a system offers so that tables can be published there.
//!
//! A [`Publisher`](crate::Publisher) opens a [`Writer`], reads progress, and then writes transactions. **Order of
//! calls** in each: begin, write, flush, note, commit. What was written and the progress that was noted take
//! effect together, at the commit. `flush` stands between them for systems that show what was never
//! committed: progress that can be seen has its changes before it.
//!
//! **After an error** nobody knows whether the call took effect. The writer is dropped, another one is opened, and
//! the publisher goes on from the progress that this one reads. So opening shuts out every earlier writer
//! of the destination, in this process or another, *before* progress is read.
//!
//! The seam carries rows, not bytes: how a row looks in the system is the writer's business. Only keys are bytes,
//! because they are compared: two rows are of one key when [`Keys`] gives them the same bytes, changes come in the
//! order of these bytes, and the bytes of the last one are stored as the position within a version. Where a
//! row is gone the bytes are all that is left of it, so a writer must be able to delete by them.
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

/// Where a table is published.
#[async_trait]
pub trait Sink: Send + Sync {
    /// What writes to it.
    type Writer: Writer;

    /// Its name in metrics, and in notes of what halted.
    const NAME: &'static str;

    /// The destination. The same for the whole life of the sink.
    fn destination(&self) -> &Destination;

    /// Makes the destination ready for rows of this table, as it is now. When this returns, no earlier writer can add
    /// anything to it.
    async fn open(&self, table: &Table) -> Result<Self::Writer>;

    /// Says in a span where so many changes go.
    fn describe(&self, span: &mut Span, changes: usize);

    /// Says in the log that a version of a table is published, which has so many changes.
    fn published(&self, table: &TableName, version: Version, changes: usize);
}

/// The one writer of a destination. After an error of any call it is dropped.
#[async_trait]
pub trait Writer: Send {
    /// How keys are told apart and ordered there. Rows have the columns that the table was opened with.
    fn keys(&self) -> Arc<dyn Keys>;

    /// All progress of the project that the system knows, as committed.
    async fn progress(&mut self) -> Result<Vec<Progress>>;

    /// The keys that have a row at the destination.
    async fn held(&mut self) -> Result<Vec<Bytes>>;

    /// Begins a transaction.
    async fn begin(&mut self) -> Result<()>;

    /// Writes changes. It need not wait for their arrival, and may get the same ones again after a crash.
    async fn write(&mut self, changes: Changes) -> Result<()>;

    /// Waits until everything that was written has arrived.
    async fn flush(&mut self) -> Result<()>;

    /// Writes progress. It need not wait for its arrival.
    async fn note(&mut self, progress: &Progress) -> Result<()>;

    /// Commits the transaction.
    async fn commit(&mut self) -> Result<()>;
}

/// The keys of rows as bytes. They are stored as positions, so every release gives the same bytes for the same key.
pub trait Keys: Send + Sync {
    /// One a row.
    fn of(&self, rows: &RecordBatch) -> Result<Vec<Bytes>>;
}

/// Changes of one version that are written together: one a key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Id of the table.
    pub table: TableId,
    /// The version.
    pub version: Version,
    /// Whether the version's last change is among them.
    pub last: bool,
    /// The span that publishes them, where spans are made.
    pub trace: Option<String>,
    /// What became of each key.
    pub keys: Vec<Change>,
    /// The rows that `keys` refer to, in their order, with all columns of the table. `None`: they refer to none.
    pub rows: Option<RecordBatch>,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its row in [`Changes::rows`]. `None`: it has none any longer.
    pub row: Option<usize>,
}

/// Where one sink writes one table, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What it is there: `topic`.
    pub kind: &'static str,
    /// Its name there.
    pub name: String,
}
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}
