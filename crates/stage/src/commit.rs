//! One commit, until it is known what became of it.
//!
//! An error of the store does not say whether the commit landed. The *same* commit is given again: it
//! carries the operation's ULID, so it finds its own version if it landed before, and it lands at most
//! once. Only `stop` ends the wait; the table then tells at the next start.

use std::time::Duration;

use lake::{Commit, Landing, Table};
use model::Reaction;
use runtime::{Backoff, CancellationToken};

/// Commits. A store that does not answer is waited for until `stop`.
///
/// # Errors
/// What the table refuses; and with `stop`, the store's last answer, which leaves the outcome open.
pub async fn commit(table: &mut Table, commit: &Commit, stop: &CancellationToken) -> lake::Result<Landing> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match table.commit(commit).await {
            Err(error) if error.reaction() == Reaction::Retry && !stop.is_cancelled() => {
                let wait = backoff.pause();
                tracing::warn!(table = %table.name(), op = commit.op, error = &error as &dyn std::error::Error, ?wait, "commit undecided, trying again");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
            decided => return decided,
        }
    }
}
