//! The tables that a process owns. Ownership divides the work; the compare-and-set of each commit keeps two
//! owners apart.

use std::collections::VecDeque;

use async_trait::async_trait;
use model::TableName;
/// Why it cannot be told which tables are ours.
pub use stream::Error as OwnersError;
use stream::OwnerEvent;

/// Reports which tables this process owns. Cancel safe.
#[async_trait]
pub trait Ownership: Send {
    /// The next change.
    async fn next(&mut self) -> Result<OwnerEvent, stream::Error>;
}
#[async_trait]
impl Ownership for stream::Owners {
    async fn next(&mut self) -> Result<OwnerEvent, stream::Error> {
        stream::Owners::next(self).await
    }
}

/// Ownership of a fixed set of tables, for a process that runs alone.
pub struct Alone(VecDeque<TableName>);
impl Alone {
    /// Owns these from the start.
    pub fn of(tables: impl IntoIterator<Item = TableName>) -> Self {
        Self(tables.into_iter().collect())
    }
}
#[async_trait]
impl Ownership for Alone {
    async fn next(&mut self) -> Result<OwnerEvent, stream::Error> {
        match self.0.pop_front() {
            Some(table) => Ok(OwnerEvent::Owned(table)),
            None => std::future::pending().await,
        }
    }
}
