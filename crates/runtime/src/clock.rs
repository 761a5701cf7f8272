//! The pipeline's own clock. It decides when to commit. It never orders changes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use model::ClockMs;

use crate::simulation::Shared;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now(&self) -> ClockMs;
}

/// The machine's clock; in a simulated run, that of the run.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;
#[allow(clippy::disallowed_methods, reason = "this is where time comes in")]
impl Clock for WallClock {
    fn now(&self) -> ClockMs {
        if let Some(run) = Shared::current() {
            return run.time_of_day();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ClockMs(i64::try_from(since.as_millis()).expect("within 292 million years of 1970"))
    }
}

/// A clock for tests: it moves only when a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);
impl ManualClock {
    /// Starts at `now`.
    pub fn at(now: ClockMs) -> Self {
        Self(AtomicI64::new(now.0))
    }
    /// Moves on by `millis`.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}
impl Clock for ManualClock {
    fn now(&self) -> ClockMs {
        ClockMs(self.0.load(Ordering::SeqCst))
    }
}
