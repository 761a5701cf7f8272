//! Says in the lake what stands still, for whoever looks without this process.

use lake::{Halt, Lake, Table};
use model::{AppId, Positions, TableName};

use crate::Error;

/// A table stands still at where it is.
pub async fn note(lake: &Lake, table: &TableName, error: &Error) {
    let held = lake.table(table).await.ok().flatten();
    let positions = held.map(|table| table.positions().clone()).unwrap_or_default();
    write(lake, table, Halt { reason: chain(error), positions, tried: Positions::default() }).await;
}

/// One partition of a table stands still at `position`, beside those that do so already.
pub async fn note_partition(lake: &Lake, table: &Table, partition: AppId, position: i64, error: &Error) {
    let noted = lake.halted("bronze", table.name()).await.ok().flatten();
    let mut halt = noted.filter(|halt| halt.holds(Some(table))).unwrap_or_default();
    let reason = chain(error);
    if !halt.reason.contains(&reason) {
        halt.reason = if halt.reason.is_empty() { reason } else { format!("{}; {reason}", halt.reason) };
    }
    halt.positions.set(partition, position);
    write(lake, table.name(), halt).await;
}

async fn write(lake: &Lake, table: &TableName, halt: Halt) {
    if let Err(error) = lake.halt("bronze", table, &halt).await {
        tracing::warn!(%table, %error, "cannot note in the lake what halted: `verify` and `status` do not say it");
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
