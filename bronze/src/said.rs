//! Limits how often a repeated cause is logged, and counts the occurrences in between.

use std::collections::HashMap;

use model::ClockMs;

/// Milliseconds between two log lines of one cause.
const PAUSE: i64 = 60_000;

/// Why a line is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    ErrorRows,
    Partly,
    GivenUp,
    KeysGivenUp,
    UnreadKeys,
}

/// For each cause, when it was last logged and how often it has occurred since.
#[derive(Debug, Default)]
pub(crate) struct Said(HashMap<Cause, (i64, u64)>);

impl Said {
    /// Counts `n` occurrences. Returns the number since the last log line if another line is due.
    pub fn due(&mut self, cause: Cause, now: ClockMs, n: u64) -> Option<u64> {
        match self.0.get_mut(&cause) {
            Some((at, more)) if now.0.saturating_sub(*at) < PAUSE => {
                *more += n;
                None
            }
            Some((at, more)) => {
                *at = now.0;
                Some(std::mem::take(more) + n)
            }
            None => {
                self.0.insert(cause, (now.0, 0));
                Some(n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_named_and_the_others_are_counted() {
        let mut said = Said::default();
        assert_eq!(said.due(Cause::Partly, ClockMs(0), 2), Some(2));
        assert_eq!(said.due(Cause::Partly, ClockMs(10), 3), None);
        assert_eq!(said.due(Cause::GivenUp, ClockMs(10), 1), Some(1), "another cause");
        assert_eq!(said.due(Cause::Partly, ClockMs(PAUSE), 4), Some(7));
    }
}
