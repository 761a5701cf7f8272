//! Work that holds a thread for more than about a millisecond: parquet, merge keys, hashing.

use std::sync::LazyLock;

use tokio::sync::Semaphore;

use crate::simulation::Shared;

/// One permit per core: more work at once would share the cores and hold more memory.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from).max(2)));

#[allow(clippy::disallowed_methods, reason = "this is where blocking work goes")]
/// Runs `work` off the async threads and waits for it. A panic in `work` is resumed in the caller. A simulated run has
/// one thread: there `work` runs in place.
pub async fn run<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if Shared::current().is_some() {
        tokio::task::yield_now().await;
        return work();
    }
    let permit = CORES.acquire().await;
    let done = tokio::task::spawn_blocking(work).await;
    drop(permit);
    match done {
        Ok(value) => value,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels a blocking task before it starts.
            Err(_) => std::future::pending().await,
        },
    }
}
