//! How many events may have been sent by now. It never decides which: the log is the same at any pace.

use std::num::NonZeroU32;

use crate::settings::{Pattern, Settings};

const TRICKLE: u64 = 200;
const BURST: u64 = 1_000;
/// A burst lasts for this fraction of its period.
const QUIET: u64 = 5;
const BURST_MILLIS: u64 = 1_000;

/// The number of events that may be sent, as a function of the time since the start.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// All of them.
    Unbounded,
    /// This many per second.
    Even(u64),
    /// This many per second on average, all in the first fifth of each period.
    Bursts(u64),
}
impl Pace {
    /// The pace of these settings.
    pub fn of(settings: &Settings) -> Self {
        let rate = settings.rate.map(NonZeroU32::get).map(u64::from);
        match (settings.pattern(), rate) {
            (Pattern::Bulk, None) => Self::Unbounded,
            (Pattern::Bulk, Some(rate)) => Self::Even(rate),
            (Pattern::Trickle, rate) => Self::Even(rate.unwrap_or(TRICKLE)),
            (Pattern::Burst, rate) => Self::Bursts(rate.unwrap_or(BURST)),
        }
    }
    /// The number of events that may have been sent `millis` after the start.
    pub fn allowed(self, millis: u64) -> u64 {
        match self {
            Self::Unbounded => u64::MAX,
            Self::Even(rate) => rate.saturating_mul(millis) / 1_000,
            Self::Bursts(rate) => {
                let period = BURST_MILLIS * QUIET;
                let busy = millis / period * BURST_MILLIS + (millis % period).min(BURST_MILLIS);
                (rate * QUIET).saturating_mul(busy) / 1_000
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_without_a_rate_waits_for_nothing() {
        let settings = Settings { events: Some(10), ..Settings::default() };
        assert_eq!(Pace::of(&settings).allowed(0), u64::MAX);
    }

    #[test]
    fn trickle_is_even() {
        let pace = Pace::of(&Settings { rate: NonZeroU32::new(500), ..Settings::default() });
        assert_eq!([0, 1, 2, 1_000, 60_000].map(|at| pace.allowed(at)), [0, 0, 1, 500, 30_000]);
    }

    #[test]
    fn bursts_are_quiet_between_and_keep_the_mean() {
        let pace = Pace::Bursts(100);
        assert_eq!([0, 500, 1_000, 4_999, 5_500].map(|at| pace.allowed(at)), [0, 250, 500, 500, 750]);
        assert_eq!(pace.allowed(60_000), 6_000);
    }
}
