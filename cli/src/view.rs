//! What a person sees while `up` runs: a live table on a terminal, plain lines elsewhere.
//!
//! Everything shown is read from the process's meters, the same that are scraped. A view only shows: when
//! its terminal or pipe goes away, the pipeline goes on without it.

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

/// Which view a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A table that is redrawn in place.
    Live,
    /// A line a pipeline, every few seconds.
    Plain,
}
impl View {
    /// Live when standard output is a terminal and nobody asked for plain lines.
    pub fn choose(plain: bool) -> Self {
        if !plain && std::io::stdout().is_terminal() { Self::Live } else { Self::Plain }
    }
}

/// What stands above and below the table.
#[derive(Debug, Clone, Default)]
pub struct Border {
    /// First line: project, target.
    pub title: String,
    /// Addresses other programs can connect to.
    pub addresses: Vec<String>,
}

/// A text that somebody renews: a few rows of what all this is for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Preview(Arc<Mutex<String>>);
impl Preview {
    /// Shows another text.
    pub fn show(&self, text: String) {
        *self.0.lock() = text;
    }
    fn text(&self) -> String {
        self.0.lock().clone()
    }
}

/// Shows until `stop`. Ctrl-C or `q` on the live view cancels `quit`.
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
            // A thread of its own: it lives as long as the process, and a core's permit is for work.
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
        // A pipeline that did not move says nothing.
        let moved = |shown: &&Shown| !before.iter().any(|before| shown.stands_where(before));
        all.iter().filter(moved).for_each(|shown| out::feed(shown.line()));
        before = all;
        // Once: a log is no place for a picture that changes.
        if !shown && !preview.text().is_empty() {
            out::feed(preview.text());
            shown = true;
        }
        if stopped {
            return;
        }
    }
}
