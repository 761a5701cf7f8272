//! How far a table has read each of its inputs, as stored in the table.
//!
//! A position is the `version` of a Delta `txn` action; its app id names the input. It is set in the same
//! commit as the rows it covers, and it is stored nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{TableId, TopicId};

/// App id of a Delta `txn` action: `lp/<source id>[/<partition>]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppId(String);
impl AppId {
    /// Next offset of one partition of a topic.
    pub fn partition(topic: &TopicId, partition: i32) -> Self {
        Self(format!("lp/{topic}/{partition}"))
    }
    /// Version of an upstream table that was consumed; in a gold table, its pin.
    pub fn table(table: &TableId) -> Self {
        Self(format!("lp/{table}"))
    }
    /// The time that `now()` means in a gold table, milliseconds since the epoch.
    pub fn as_of() -> Self {
        Self("lp/as_of".to_owned())
    }
    /// Fingerprint of the plan that made the rows.
    pub fn plan() -> Self {
        Self("lp/plan".to_owned())
    }
    /// Advanced by each compaction of a table with many writers, so that only one of them lands.
    pub fn compaction() -> Self {
        Self("lp/compaction".to_owned())
    }
    /// Parses an app id found in a table. `None`: not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with("lp/").then(|| Self(text.to_owned()))
    }
    /// The text stored in the log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Positions by app id. An absent entry means that nothing was read yet, which differs from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(pub BTreeMap<AppId, i64>);
impl Positions {
    /// The position of one input.
    pub fn get(&self, app: &AppId) -> Option<i64> {
        self.0.get(app).copied()
    }
    /// Sets the position of one input.
    pub fn set(&mut self, app: AppId, position: i64) {
        self.0.insert(app, position);
    }
    /// Adds a position, for building in one expression.
    #[must_use]
    pub fn with(mut self, app: AppId, position: i64) -> Self {
        self.set(app, position);
        self
    }
    /// These positions, overwritten by those in `later`.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(later.0.iter().map(|(app, position)| (app.clone(), *position)));
        all
    }
}
impl FromIterator<(AppId, i64)> for Positions {
    fn from_iter<I: IntoIterator<Item = (AppId, i64)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}
impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (app, position)) in self.0.iter().enumerate() {
            write!(f, "{}{app}={position}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
