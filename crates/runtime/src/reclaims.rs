//! Whether a writer that was shut out takes its place back once more.
//!
//! A broker shuts a producer out for two reasons and does not say which: another producer has taken its
//! transactional id, or its transaction was open for longer than the broker allows, as behind a full disk or a
//! cut line. After the second a new producer, which goes on from what the output holds, is all that is needed.
//! After the first it would lose nothing either; but two that take the place from each other get nowhere. So it
//! is taken back a few times in a while, which also outlasts an owner that has not heard of its loss, and
//! then no more.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Instant;

/// How often it is taken back.
const MOST: usize = 3;
/// In how long.
const WITHIN: Duration = Duration::from_secs(600);

/// When a place was taken back.
#[derive(Debug, Default)]
pub struct Reclaims(VecDeque<Instant>);

impl Reclaims {
    /// Whether to take it back now; if so, it counts.
    pub fn may(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < WITHIN);
        let may = self.0.len() < MOST;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_back_a_few_times_in_a_while_and_again_later() {
        let (mut reclaims, now) = (Reclaims::default(), Instant::now());
        let asked: Vec<bool> = (0..4).map(|second| reclaims.may(now + Duration::from_secs(second))).collect();
        assert_eq!(asked, [true, true, true, false]);
        assert!(reclaims.may(now + WITHIN));
    }
}
