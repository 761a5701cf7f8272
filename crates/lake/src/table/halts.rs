//! Halts of tables, stored so that they can be seen without the process that stopped.
//!
//! One small object per stage and table, below the lake's own `_lakepulse` folder. It is not a position and
//! orders nothing: it may be missing or stale. Readers compare its positions with those of the table; if the
//! table has moved since, the halt is over.

use bytes::Bytes;
use model::{Positions, TableName};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::store::unreachable;
use crate::table::Table;
use crate::table::lake::Lake;

/// Why a stage halted at a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// What happened, with its causes, and what to do.
    pub reason: String,
    /// Positions of the table when it halted; if `partial`, of the halted partitions only. Empty: the table did
    /// not exist.
    #[serde(default)]
    pub positions: Positions,
    /// Versions of its inputs that it tried. Empty: newer versions would not help.
    #[serde(default)]
    pub tried: Positions,
    /// Only the partitions in `positions` halted; the table's other partitions go on.
    #[serde(default)]
    pub partial: bool,
}
impl Halt {
    /// Whether the halt still applies to the table.
    pub fn holds(&self, table: Option<&Table>) -> bool {
        self.holds_at(table.map(Table::positions))
    }

    fn holds_at(&self, now: Option<&Positions>) -> bool {
        match now {
            // A partition that the table has never read is at its beginning.
            Some(now) if self.partial => {
                self.positions.0.iter().all(|(app, at)| now.get(app).unwrap_or_default() == *at)
            }
            Some(now) => *now == self.positions,
            None => !self.partial && self.positions.0.is_empty(),
        }
    }
}

impl Lake {
    /// The halt of a stage at a table, as the halted process stored it.
    pub async fn halted(&self, stage: &str, table: &TableName) -> Result<Option<Halt>> {
        let bytes = self.store().get(&self.halt_path(stage, table)).await?;
        // An object that cannot be parsed was truncated or is of another release: it is ignored.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Stores that a stage halted at a table.
    pub async fn halt(&self, stage: &str, table: &TableName, halt: &Halt) -> Result<()> {
        let bytes = serde_json::to_vec(halt).expect("texts and numbers are JSON");
        self.store().put(&self.halt_path(stage, table), Bytes::from(bytes)).await
    }

    /// Removes the halt, because the table goes on.
    pub async fn resumed(&self, stage: &str, table: &TableName) -> Result<()> {
        let path = self.halt_path(stage, table);
        match self.store().objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unreachable(&path, error)),
        }
    }

    fn halt_path(&self, stage: &str, table: &TableName) -> Path {
        let folder = self.store().root.clone().join("_lakepulse").join("halted").join(stage);
        folder.join(format!("{table}.json"))
    }
}

#[cfg(test)]
mod tests {
    use model::{AppId, TopicId};

    use super::*;

    fn at(positions: &[(i32, i64)]) -> Positions {
        let topic = "t".parse::<TopicId>().expect("an id");
        positions.iter().fold(Positions::default(), |all, (partition, at)| {
            all.with(AppId::partition(&topic, *partition), *at)
        })
    }

    #[test]
    fn a_table_stands_as_long_as_nothing_that_stood_moves() {
        let holds = |partial: bool, stood: &[(i32, i64)], now: Option<&[(i32, i64)]>| {
            let halt = Halt { positions: at(stood), partial, ..Halt::default() };
            halt.holds_at(now.map(at).as_ref())
        };
        let whole = |stood: &[(i32, i64)], now: Option<&[(i32, i64)]>| holds(false, stood, now);
        assert!(whole(&[], None), "there is still no table");
        assert!(whole(&[], Some(&[])), "it came and has read nothing");
        assert!(!whole(&[], Some(&[(0, 1)])), "it came and has read");
        assert!(whole(&[(0, 3), (1, 5)], Some(&[(0, 3), (1, 5)])));
        assert!(!whole(&[(0, 3), (1, 5)], Some(&[(0, 3), (1, 6)])));
        assert!(
            !whole(&[(0, 3)], Some(&[(0, 3), (1, 1)])),
            "another partition goes on, as of a topic made anew"
        );
        let some = |stood: &[(i32, i64)], now: Option<&[(i32, i64)]>| holds(true, stood, now);
        assert!(some(&[(1, 5)], Some(&[(0, 9), (1, 5)])), "the other goes on");
        assert!(!some(&[(1, 5)], Some(&[(0, 9), (1, 6)])));
        assert!(some(&[(1, 0)], Some(&[(0, 9)])), "it was never read");
        assert!(!some(&[(1, 5)], None), "the table is gone");
    }
}
