//! What a person sees while `up` runs: a live table on a terminal, plain lines elsewhere.
//!
//! It shows the process's meters, the same that are scraped. A view has no influence: if its terminal or pipe
//! disappears, the pipeline goes on without it.

mod draw;
mod live;
mod rates;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::{CancellationToken, Clock, Meters};

use self::rates::{Rates, Shown};
use crate::out;

pub use live::leave;

/// The kind of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A table that is redrawn in place.
    Live,
    /// One line per pipeline, every few seconds.
    Plain,
}
impl View {
    /// Live if standard output is a terminal and plain lines are not requested.
    pub fn choose(plain: bool) -> Self {
        if !plain && std::io::stdout().is_terminal() { Self::Live } else { Self::Plain }
    }
}

/// Texts above and below the table.
#[derive(Debug, Clone, Default)]
pub struct Border {
    /// First line: project, target.
    pub title: String,
    /// Addresses other programs can connect to.
    pub addresses: Vec<String>,
}

/// A text that is updated while it is shown: some rows of gold. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Preview(Arc<Mutex<String>>);
impl Preview {
    /// Replaces the text.
    pub fn show(&self, text: String) {
        *self.0.lock() = text;
    }
    fn text(&self) -> String {
        self.0.lock().clone()
    }
}

/// Shows the view until `stop`. Ctrl-C or `q` on the live view cancels `quit`.
pub async fn show(
    view: View,
    frame: Border,
    meters: Meters,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    quit: CancellationToken,
    preview: Preview,
) {
    match view {
        View::Plain => plain(frame, meters, clock, stop, preview).await,
        View::Live => {
            // Not on `runtime::cpu`: it runs as long as the process and would occupy a core's permit.
            let shown =
                tokio::task::block_in_place(|| live::show(&frame, &meters, &*clock, &stop, &quit, &preview));
            if let Err(error) = shown {
                tracing::warn!(%error, "the live view ends, the pipeline goes on; `--plain` shows lines instead");
                stop.cancelled().await;
            }
        }
    }
}

async fn plain(
    frame: Border,
    meters: Meters,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    preview: Preview,
) {
    out::feed(frame.title);
    for address in &frame.addresses {
        out::feed(format!("  {address}"));
    }
    let mut rates = Rates::default();
    rates.look(&meters, clock.now().0);
    let (mut before, mut shown) = (Vec::new(), false);
    loop {
        let stopped = runtime::time::timeout(Duration::from_secs(5), stop.cancelled()).await.is_ok();
        let all = rates.look(&meters, clock.now().0);
        // A pipeline that did not move is not printed.
        let moved = |shown: &&Shown| !before.iter().any(|before| shown.stands_where(before));
        all.iter().filter(moved).for_each(|shown| out::feed(shown.line()));
        before = all;
        // Only once: a log is no place for a changing picture.
        if !shown && !preview.text().is_empty() {
            out::feed(preview.text());
            shown = true;
        }
        if stopped {
            return;
        }
    }
}
