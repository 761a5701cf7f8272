//! Keeping a table from growing without end: what nobody needs any more goes.
//!
//! **What is kept:** every version since the oldest position of those who follow the table, and every
//! version of the last seven days. Who follows is the current plan's tables, whose positions are in the
//! lake, and whatever else the caller knows of ([`Elsewhere`]), such as a topic's publisher. One that has
//! read nothing yet needs everything; one whose position cannot be read stops the whole run.
//!
//! **Order.** Positions are read first: followers only move forward, so what was needed then is a bound
//! for what is needed later. Then files go, then the log entries that named them. A run may be cut
//! short anywhere, and two may run at once: the next one finds what is left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{AppId, ClockMs, TableName, Version};
use runtime::{CancellationToken, Clock};

use crate::error::Cause;
use crate::table::Table;
use crate::table::lake::Lake;
use crate::upkeep::vacuum::{KEEP, Vacuum, VacuumReport};
use crate::{Error, Result};

/// Followers of a table whose positions are in no table of the lake.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// The version from which each still needs the table. `None`: from the first.
    async fn needs(&self, table: &Table) -> Result<Vec<Option<Version>>, Cause>;
}
/// There are none.
#[async_trait]
impl Elsewhere for () {
    async fn needs(&self, _: &Table) -> Result<Vec<Option<Version>>, Cause> {
        Ok(Vec::new())
    }
}

/// Who follows a table.
#[derive(Clone)]
pub struct Followers {
    /// Tables of the lake.
    pub tables: Vec<TableName>,
    /// Others.
    pub elsewhere: Arc<dyn Elsewhere>,
}
impl Followers {
    /// Tables alone.
    pub fn of(tables: Vec<TableName>) -> Self {
        Self { tables, elsewhere: Arc::new(()) }
    }

    /// The oldest version that any of them still needs. `None`: nobody follows.
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

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maintained {
    /// The oldest version that a follower still needs; `None`: nobody follows.
    pub horizon: Option<Version>,
    /// Files that went.
    pub vacuum: VacuumReport,
    /// Log entries and checkpoints that went.
    pub entries: usize,
}

/// Deletes what nobody needs any more. `None`: there is no such table.
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

/// When and what for [`keep`].
#[derive(Clone)]
pub struct Upkeep {
    /// The lake.
    pub lake: Lake,
    /// The tables, each with its followers.
    pub tables: Vec<(TableName, Followers)>,
    /// Tells how old things are.
    pub clock: Arc<dyn Clock>,
    /// Between two runs; the first comes sooner, so that a process which is often restarted has its turn.
    pub every: Duration,
}

/// Maintains tables at a low frequency until `stop`, those that are `ours` at the time. A run that
/// fails is tried again at the next.
pub async fn keep(upkeep: Upkeep, ours: impl Fn(&TableName) -> bool + Send, stop: CancellationToken) {
    let mut pause = upkeep.every / 12;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = upkeep.every;
        for (name, followers) in upkeep.tables.iter().filter(|(name, _)| ours(name)) {
            let run = maintain(&upkeep.lake, name, followers, upkeep.clock.now());
            let done = tokio::select! {
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
