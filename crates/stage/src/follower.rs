//! What follows the tables of this process from beside their stage: a sink.
//!
//! Whoever owns a table runs what follows it, too: its tasks begin and end with those of the table. The stage does not
//! know what they do.

use std::sync::Arc;

use async_trait::async_trait;
use lake::{BoxError, Elsewhere, Table};
use model::{TableName, Version};
use runtime::CancellationToken;
use tokio::sync::Notify;

use crate::tables::Task;

/// Takes the rows of tables elsewhere. Its position is there; [`Elsewhere`] tells which versions it still needs.
pub trait Follower: Elsewhere {
    /// The tasks beside a table that this process owns; none where it does not follow the table. They look at the
    /// table when `landed` is notified, and end with `stop` or with the reason why they wait for a person.
    fn start(&self, table: &TableName, landed: Arc<Notify>, stop: CancellationToken) -> Vec<Task<BoxError>>;

    /// The table is no longer ours and none of its tasks runs.
    fn released(&self, table: &TableName);
}

/// All that follow the tables of a stage. Cheap to clone.
#[derive(Clone, Default)]
pub struct Followers(Vec<Arc<dyn Follower>>);

impl Followers {
    /// These.
    pub fn of(followers: impl IntoIterator<Item = Arc<dyn Follower>>) -> Self {
        Self(followers.into_iter().collect())
    }

    /// Starts all that follow a table.
    pub fn start(&self, table: &TableName, stop: &CancellationToken) -> (Vec<Task<BoxError>>, Wakers) {
        let (mut tasks, mut landed) = (Vec::new(), Vec::new());
        for follower in &self.0 {
            // Each has a signal of its own: one that is looked at is gone for the others.
            let signal = Arc::new(Notify::new());
            tasks.extend(follower.start(table, Arc::clone(&signal), stop.clone()));
            landed.push(signal);
        }
        (tasks, Wakers(landed))
    }

    /// A table is no longer ours and none of its tasks runs.
    pub fn released(&self, table: &TableName) {
        self.0.iter().for_each(|follower| follower.released(table));
    }
}

#[async_trait]
impl Elsewhere for Followers {
    async fn needs(&self, table: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        let mut needs = Vec::new();
        for follower in &self.0 {
            needs.extend(follower.needs(table).await?);
        }
        Ok(needs)
    }
}

/// Tells all that follow one table that it has a new version.
pub struct Wakers(Vec<Arc<Notify>>);
impl Wakers {
    /// Wakes them. One that is at work looks again afterwards.
    pub fn tell(&self) {
        self.0.iter().for_each(|signal| signal.notify_one());
    }
}
