//! One commit, until it is known what became of it.
//!
//! An error of the store does not say whether the commit landed. The *same* commit is given again: it
//! carries the operation's ULID, so it finds its own version if it landed before, and it lands at most
//! once. Only `stop` ends the wait; the table then tells at the next start.

use std::time::Duration;

use arrow::array::RecordBatch;
use lake::{Commit, Landing, StagedFile, Table};
use model::Reaction;
use runtime::{CancellationToken, Retry};

/// The first pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Commits. A store that does not answer is waited for until `stop`.
///
/// # Errors
/// What the table refuses; and with `stop`, the store's last answer, which leaves the outcome open.
pub async fn commit(table: &mut Table, commit: &Commit, stop: &CancellationToken) -> lake::Result<Landing> {
    let mut retry = Retry::new(PAUSE);
    loop {
        match table.commit(commit).await {
            // With `stop` once more: most often the store answers.
            Err(error) if error.reaction() == Reaction::Retry && !stop.is_cancelled() => {
                let of = format!("{}, op {}", table.name(), commit.op);
                retry.again(of, "commit undecided, trying again", &error, stop).await;
            }
            decided => return decided,
        }
    }
}

/// Encodes and uploads rows. A store that does not answer is waited for until `stop`: nothing names the files
/// yet.
///
/// # Errors
/// What the table refuses; and with `stop`, the store's last answer.
pub async fn staged(
    table: &Table,
    rows: &[RecordBatch],
    stop: &CancellationToken,
) -> lake::Result<Vec<StagedFile>> {
    let mut retry = Retry::new(PAUSE);
    loop {
        match table.stage(rows.to_vec()).await {
            Err(error) if error.reaction() == Reaction::Retry && !stop.is_cancelled() => {
                retry.again(table.name(), "files are not uploaded, trying again", &error, stop).await;
            }
            decided => return decided,
        }
    }
}
