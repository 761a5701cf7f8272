//! Work that follows changes, but not at once after each of them.

use std::time::Duration;

use model::ClockMs;

/// When it is time: something changed, and the last time is long enough ago. No change is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    owed: bool,
    last: Option<ClockMs>,
}
impl Default for Due {
    /// At the start: nothing is known, so it is time.
    fn default() -> Self {
        Self { owed: true, last: None }
    }
}
impl Due {
    /// Something changed.
    pub fn owe(&mut self) {
        self.owed = true;
    }
    /// Whether it is time; then it counts as done.
    pub fn take(&mut self, now: ClockMs, every: Duration) -> bool {
        let due = self.owed && self.last.is_none_or(|last| now.is_past(last, every));
        if due {
            *self = Self { owed: false, last: Some(now) };
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_comes_too_early_is_due_later() {
        let (mut due, every) = (Due::default(), Duration::from_secs(10));
        assert!(due.take(ClockMs(0), every), "at the start");
        assert!(!due.take(ClockMs(60_000), every), "nothing changed");
        due.owe();
        assert!(due.take(ClockMs(60_000), every));
        due.owe();
        assert!(!due.take(ClockMs(61_000), every), "too early");
        assert!(due.take(ClockMs(70_000), every), "without another change");
    }
}
