//! Pauses between attempts.

use std::time::Duration;

use rand::RngExt as _;

/// Doubling pauses with full jitter, from `least` up to `most`.
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    ceiling: Duration,
}
impl Backoff {
    /// The first pause is at most `least`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, ceiling: least }
    }
    /// How long to wait now. Between half the current ceiling and all of it.
    pub fn pause(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(self.most);
        ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
    /// After a success.
    pub fn reset(&mut self) {
        self.ceiling = self.least;
    }
}
impl Iterator for Backoff {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        let pauses: Vec<Duration> = backoff.by_ref().take(5).collect();
        assert!(pauses[0] <= Duration::from_millis(10));
        assert!(pauses[4] >= Duration::from_millis(25) && pauses[4] <= Duration::from_millis(50));
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(10));
    }
}
