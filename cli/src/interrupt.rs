//! Ctrl-C and SIGTERM.

use runtime::CancellationToken;

/// Returns a token that the first Ctrl-C or SIGTERM cancels. A second one ends the process at once; this
/// loses nothing, because only commits change state.
pub fn token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    // Detached: it only waits for signals, and ends with the process.
    drop(runtime::tasks::spawn("signals", async move {
        for asked in 0.. {
            if signal().await.is_err() {
                return;
            }
            if asked > 0 {
                crate::view::leave();
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    }));
    token
}

async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
