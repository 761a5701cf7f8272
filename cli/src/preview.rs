//! A few rows of the gold tables for the person who runs `up`.

use std::sync::Arc;
use std::time::Duration;

use catalog::Kind;
use ops::{Wiring, query};
use runtime::CancellationToken;

use crate::launch::Ended;
use crate::view::Preview;

/// Rows shown.
const ROWS: usize = 5;

/// Updates the preview every few seconds, with one gold table after the other.
pub async fn keep(wiring: Arc<Wiring>, preview: Preview, stop: CancellationToken) -> Ended {
    let tables: Vec<_> =
        wiring.project.catalog.models.values().filter(|model| model.kind == Kind::Table).collect();
    let mut turn = 0;
    while !tables.is_empty() {
        let model = tables[turn % tables.len()];
        turn += 1;
        let keys = model.keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT * FROM {} ORDER BY {keys} LIMIT {ROWS}", model.name);
        // Skip a table that does not exist yet.
        let rows = query::rows(&wiring.project, &wiring.lake, &sql).await;
        let text = rows.ok().filter(|rows| rows.iter().any(|batch| batch.num_rows() > 0));
        if let Some(text) = text.and_then(|rows| arrow::util::pretty::pretty_format_batches(&rows).ok()) {
            preview.show(format!("{}\n{text}", model.name));
        }
        if runtime::time::timeout(Duration::from_secs(4), stop.cancelled()).await.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}
