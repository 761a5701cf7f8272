//! Notes in the lake that a table has halted, for `status`, `verify` and processes that wait for it.
//!
//! If the note cannot be written, the stage goes on as before: the log and the metrics show the halt, too.

use lake::{Halt, Lake, Table};
use model::{AppId, Positions, TableName};
pub use runtime::chain;

/// Notes that a stage halted at a table. `tried`: versions of its inputs, if newer ones may resolve the halt.
pub async fn note(lake: &Lake, stage: &str, table: &TableName, reason: String, tried: Positions) {
    let held = lake.table(table).await.ok().flatten();
    let positions = held.as_ref().map(Table::positions).cloned().unwrap_or_default();
    write(lake, stage, table, Halt { reason, positions, tried, partial: false }).await;
}

/// Notes that a stage halted at one partition of a table, at `position`. Notes of other partitions stay.
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

/// Removes the notes of earlier processes and attempts, because the table goes on. Notes of partitions stay:
/// those may belong to another process, and they end by themselves once the partitions move.
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
