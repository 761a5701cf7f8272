//! Work that follows changes, but not immediately after each of them.

use std::time::Duration;

use model::ClockMs;

/// A rate limit: work is due when something changed and the last run is long enough ago. No change is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    dirty: bool,
    last: Option<ClockMs>,
}
impl Default for Due {
    /// Due at the start, because nothing is known yet.
    fn default() -> Self {
        Self { dirty: true, last: None }
    }
}
impl Due {
    /// Something changed.
    pub fn mark_dirty(&mut self) {
        self.dirty = true;
    }
    /// Returns true when the work is due, and then counts it as done.
    pub fn take(&mut self, now: ClockMs, every: Duration) -> bool {
        let due = self.dirty && self.last.is_none_or(|last| now.is_past(last, every));
        if due {
            *self = Self { dirty: false, last: Some(now) };
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
        due.mark_dirty();
        assert!(due.take(ClockMs(60_000), every));
        due.mark_dirty();
        assert!(!due.take(ClockMs(61_000), every), "too early");
        assert!(due.take(ClockMs(70_000), every), "without another change");
    }
}
