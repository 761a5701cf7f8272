//! Which tables wait for a person, and why: so that it can be seen without the process that stopped.
//!
//! One small object a stage and table, below the lake's own `_lakepulse` folder. It is no position and
//! orders nothing: it may be missing or stale. Who reads it compares the positions in it with those of
//! the table; a table that has moved on since does not wait any more.

use bytes::Bytes;
use model::{Positions, TableName};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::store::unreachable;
use crate::{Lake, Result, Table};

/// Why a table stands still.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// What happened, with its causes, and what to do.
    pub reason: String,
    /// Positions of the table when it stopped. Empty: there was no table.
    #[serde(default)]
    pub positions: Positions,
    /// Versions of its inputs that it tried to take. Empty: other versions would not help.
    #[serde(default)]
    pub tried: Positions,
}
impl Halt {
    /// Whether it is still true of the table as it is now.
    pub fn holds(&self, table: Option<&Table>) -> bool {
        table.map_or_else(|| self.positions == Positions::default(), |t| self.positions == *t.positions())
    }
}

impl Lake {
    /// Why a stage stands still at a table, as the process said that stopped there.
    pub async fn halted(&self, stage: &str, table: &TableName) -> Result<Option<Halt>> {
        let bytes = self.store().get(&self.halt_path(stage, table)).await?;
        // An object that cannot be read was cut short or is of another release: it says nothing.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Says that a stage stands still at a table.
    pub async fn halt(&self, stage: &str, table: &TableName, halt: &Halt) -> Result<()> {
        let bytes = serde_json::to_vec(halt).expect("texts and numbers are JSON");
        self.store().put(&self.halt_path(stage, table), Bytes::from(bytes)).await
    }

    /// Says that it goes on.
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
