//! What is noted in the lake of a table that stands still, for `status`, `verify` and whoever waits.
//!
//! A lake that cannot be written to changes nothing else: the log and the metrics say it, too.

use lake::{Halt, Lake, Table};
use model::{AppId, Positions, TableName};
pub use runtime::retry::chain;

/// A stage stands still at a table. `tried`: versions of its inputs, where others may put it right.
pub async fn note(lake: &Lake, stage: &str, table: &TableName, reason: String, tried: Positions) {
    let held = lake.table(table).await.ok().flatten();
    let positions = held.as_ref().map(Table::positions).cloned().unwrap_or_default();
    write(lake, stage, table, Halt { reason, positions, tried, partial: false }).await;
}

/// A stage stands still at one partition of a table, at `position`, beside those noted already.
pub async fn note_partition(
    lake: &Lake,
    stage: &str,
    table: &Table,
    partition: AppId,
    position: i64,
    reason: String,
) {
    let noted = lake.halted(stage, table.name()).await.ok().flatten();
    let mut halt = noted.filter(|halt| halt.partial && halt.holds(Some(table))).unwrap_or_default();
    halt.partial = true;
    if !halt.reason.contains(&reason) {
        halt.reason = if halt.reason.is_empty() { reason } else { format!("{}; {reason}", halt.reason) };
    }
    halt.positions.set(partition, position);
    write(lake, stage, table.name(), halt).await;
}

/// The table goes on: takes back what an earlier process or try noted. What is noted of partitions stays: they may
/// be another process's, and the note ends by itself once they move.
pub async fn unnote(lake: &Lake, stage: &str, table: &TableName) {
    match lake.halted(stage, table).await {
        Ok(None) => return,
        Ok(Some(halt)) if halt.partial => return,
        Ok(Some(_)) | Err(_) => {}
    }
    if let Err(error) = lake.resumed(stage, table).await {
        tracing::debug!(stage, %table, %error, "cannot note in the lake that the table goes on");
    }
}

async fn write(lake: &Lake, stage: &str, table: &TableName, halt: Halt) {
    if let Err(error) = lake.halt(stage, table, &halt).await {
        tracing::warn!(stage, %table, %error, "cannot note in the lake what halted: `verify` and `status` do not say it");
    }
}
