//! One commit, repeated until its outcome is known.
//!
//! After an error of the store it is unknown whether the commit landed. So the *same* commit is tried again: it
//! carries the operation's ULID, finds its own version if it landed before, and lands at most once. Only `stop`
//! ends the retries; the next start reads the outcome from the table.

use std::time::Duration;

use arrow::array::RecordBatch;
use lake::{Commit, Landing, StagedFile, Table};
use model::Reaction;
use runtime::{CancellationToken, Retry};

/// The first pause.
const PAUSE: Duration = Duration::from_millis(100);

/// Commits. Retries until `stop` while the store does not answer.
///
/// # Errors
/// What the table refuses. After `stop`, the store's last error, which leaves the outcome open.
pub async fn commit(table: &mut Table, commit: &Commit, stop: &CancellationToken) -> lake::Result<Landing> {
    let mut retry = Retry::new(PAUSE);
    loop {
        match table.commit(commit).await {
            // One more attempt after `stop`: usually the store answers.
            Err(error) if error.reaction() == Reaction::Retry && !stop.is_cancelled() => {
                let of = format!("{}, op {}", table.name(), commit.op);
                retry.again(of, "commit undecided, trying again", &error, stop).await;
            }
            decided => return decided,
        }
    }
}

/// Encodes and uploads rows. Retries until `stop` while the store does not answer: no commit refers to the
/// files yet.
///
/// # Errors
/// What the table refuses. After `stop`, the store's last error.
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
