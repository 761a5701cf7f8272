//! Deletes files and log entries that no follower and no retention rule needs.
//!
//! **What is kept:** all versions since the oldest position of the table's followers, and all versions of the
//! last seven days. Followers are the tables of the current plan, whose positions are in the lake, and others
//! that the caller adds ([`Elsewhere`]), such as the publisher of a topic. A follower that has read nothing yet
//! needs all versions. A follower whose position cannot be read stops the whole run.
//!
//! **Order.** Positions are read first. Followers only move forward, so whatever they need later they also
//! needed then. Then files are deleted, then the log entries that refer to them. A run may be interrupted
//! anywhere, and two may run at once: the next run finds what is left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{AppId, ClockMs, TableName, Version};
use runtime::{CancellationToken, Clock};

use crate::error::BoxError;
use crate::table::Table;
use crate::table::lake::Lake;
use crate::upkeep::vacuum::{KEEP, Vacuum, VacuumReport};
use crate::{Error, Result};

/// Followers of a table whose positions are not in a table of the lake.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// For each follower, the version from which it needs the table. `None`: from the first.
    async fn needs(&self, table: &Table) -> Result<Vec<Option<Version>>, BoxError>;
}
/// No such followers.
#[async_trait]
impl Elsewhere for () {
    async fn needs(&self, _: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        Ok(Vec::new())
    }
}

/// The followers of a table.
#[derive(Clone)]
pub struct Followers {
    /// Tables of the lake.
    pub tables: Vec<TableName>,
    /// Followers that are not tables.
    pub elsewhere: Arc<dyn Elsewhere>,
}
impl Followers {
    /// Followers that are all tables.
    pub fn of(tables: Vec<TableName>) -> Self {
        Self { tables, elsewhere: Arc::new(()) }
    }

    /// The oldest version that a follower still needs. `None`: there are no followers.
    pub async fn horizon(&self, lake: &Lake, table: &Table) -> Result<Option<Version>> {
        let app = AppId::table(table.id());
        let unknown = |source| Error::FollowerUnknown { table: table.name().to_string(), source };
        let mut needs = self.elsewhere.needs(table).await.map_err(unknown)?;
        for follower in &self.tables {
            let position = lake.table(follower).await?.and_then(|follower| follower.positions().get(&app));
            needs.push(position.map(|at| Version(at.max(0).cast_unsigned())));
        }
        Ok(needs.into_iter().map(|needs| needs.unwrap_or(Version(0))).min())
    }
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// The oldest version that a follower still needs; `None`: there are no followers.
    pub horizon: Option<Version>,
    /// The deleted files.
    pub vacuum: VacuumReport,
    /// The number of deleted log entries and checkpoints.
    pub entries: usize,
}

/// Deletes files and log entries that nothing needs. `None`: there is no such table.
pub async fn maintain(
    lake: &Lake,
    name: &TableName,
    followers: &Followers,
    now: ClockMs,
) -> Result<Option<Maintained>> {
    let Some(table) = lake.table(name).await? else { return Ok(None) };
    let horizon = followers.horizon(lake, &table).await?;
    let registered = HashSet::new();
    let vacuum = Vacuum { now, keep: KEEP, horizon, registered, dry_run: false };
    let vacuum = table.vacuum(&vacuum).await?;
    let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
    let entries = table.clean_log(horizon.unwrap_or(table.version()), now.0, keep).await?;
    Ok(Some(Maintained { horizon, vacuum, entries }))
}

/// The tables that [`keep`] maintains, and how often.
#[derive(Clone)]
pub struct Upkeep {
    /// The lake.
    pub lake: Lake,
    /// The tables, each with its followers.
    pub tables: Vec<(TableName, Followers)>,
    /// The clock that ages are measured by.
    pub clock: Arc<dyn Clock>,
    /// Time between two runs. The first run comes sooner, so that a process which restarts often also gets to
    /// it.
    pub every: Duration,
}

/// Maintains, at a low frequency until `stop`, the tables that are `ours` at the time. A run that fails is
/// repeated at the next turn.
pub async fn keep(upkeep: Upkeep, ours: impl Fn(&TableName) -> bool + Send, stop: CancellationToken) {
    let mut pause = upkeep.every / 12;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = runtime::time::sleep(pause) => {}
        }
        pause = upkeep.every;
        for (name, followers) in upkeep.tables.iter().filter(|(name, _)| ours(name)) {
            let run = maintain(&upkeep.lake, name, followers, upkeep.clock.now());
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = run => done,
            };
            match done {
                Ok(None) => {}
                Ok(Some(Maintained { horizon, vacuum, entries })) => {
                    let horizon = horizon.map(|version| version.0);
                    tracing::info!(table = %name, horizon, files = vacuum.files, bytes = vacuum.bytes, entries, "table maintained");
                }
                Err(error) => {
                    tracing::warn!(table = %name, error = &error as &dyn std::error::Error, "table not maintained");
                }
            }
        }
    }
}
