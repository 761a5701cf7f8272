//! Retries: the pauses between attempts, the log of failures, and the limit of attempts.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::time::Instant;
use crate::{random, time};

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
    /// The next pause: between half the current ceiling and all of it.
    pub fn pause(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(self.most);
        ceiling.mul_f64(0.5 + random::part() / 2.0)
    }
    /// Starts again with the shortest pause, after a success.
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

/// The longest pause of a loop.
const LONGEST: Duration = Duration::from_secs(10);
/// For this long, the same failure is not logged as a warning again.
const SAID: Duration = Duration::from_secs(60);

/// The failures of one loop. Every loop that goes on after failures pauses, counts and logs through this.
///
/// Pauses double up to ten seconds. A repeated error is logged as a warning once, and again every minute.
#[derive(Debug)]
pub struct Retry {
    pauses: Backoff,
    said: Option<(String, Instant)>,
    counted: u32,
}
impl Retry {
    /// The first pause is at most `least`.
    pub fn new(least: Duration) -> Self {
        Self { pauses: Backoff::new(least, LONGEST), said: None, counted: 0 }
    }

    /// Counts a failure. Returns true once `patience` failures in a row were counted. With `None`, nothing is
    /// counted and the loop may retry for ever.
    pub fn spent(&mut self, patience: Option<u32>) -> bool {
        let Some(most) = patience else { return false };
        self.counted += 1;
        self.counted >= most
    }

    /// How many failures in a row were counted.
    pub fn counted(&self) -> u32 {
        self.counted
    }

    /// Logs the failure and pauses before the next attempt. Returns false if `stop` came first. `of` is the
    /// table, topic or source.
    pub fn again<D: Display>(
        &mut self,
        of: D,
        doing: &'static str,
        error: &dyn Error,
        stop: &CancellationToken,
    ) -> impl Future<Output = bool> + Send + use<D> {
        let (error, wait) = (chain(error), self.pauses.pause());
        if self.is_news(&error, Instant::now()) {
            tracing::warn!(%of, error, ?wait, "{doing}");
        } else {
            tracing::debug!(%of, error, ?wait, "{doing}");
        }
        sleep(wait, stop)
    }

    /// Pauses as after a failure, without a log line. Returns false if `stop` came first.
    pub fn pause(&mut self, stop: &CancellationToken) -> impl Future<Output = bool> + Send + use<> {
        sleep(self.pauses.pause(), stop)
    }

    fn is_news(&mut self, error: &str, now: Instant) -> bool {
        let said = self.said.as_ref();
        let is_news = said.is_none_or(|(said, at)| said != error || now.duration_since(*at) >= SAID);
        if is_news {
            self.said = Some((error.to_owned(), now));
        }
        is_news
    }

    /// Makes the next pause short after progress, although the loop may fail again.
    pub fn hurry(&mut self) {
        self.pauses.reset();
    }

    /// Starts a new count for a different failure. Pauses keep growing, because no attempt succeeded.
    pub fn forget(&mut self) {
        (self.said, self.counted) = (None, 0);
    }

    /// Starts again after a success.
    pub fn reset(&mut self) {
        self.hurry();
        self.forget();
    }
}

fn sleep(wait: Duration, stop: &CancellationToken) -> impl Future<Output = bool> + Send + use<> {
    let stop = stop.clone();
    async move { stop.run_until_cancelled(time::sleep(wait)).await.is_some() }
}

/// An error with its causes in one line. A message that already contains its cause does not repeat it.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
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
    #[test]
    fn the_same_failure_is_said_once_a_minute_and_another_at_once() {
        let (mut retry, start) = (Retry::new(Duration::from_millis(1)), Instant::now());
        let mut said = |error, seconds| retry.is_news(error, start + Duration::from_secs(seconds));
        assert!(said("away", 0));
        assert!(!said("away", 30));
        assert!(said("full", 31));
        assert!(said("away", 32));
        assert!(!said("away", 91));
        assert!(said("away", 92));
        retry.reset();
        assert!(retry.is_news("away", start + Duration::from_secs(93)));
    }

    #[test]
    fn a_failure_is_worth_as_many_tries_as_it_says_in_a_row() {
        let mut retry = Retry::new(Duration::from_millis(1));
        assert!((0..100).all(|_| !retry.spent(None)));
        assert!(!retry.spent(Some(3)) && !retry.spent(None) && !retry.spent(Some(3)));
        assert!(retry.spent(Some(3)));
        assert_eq!(retry.counted(), 3);
        retry.reset();
        assert!(!retry.spent(Some(3)));
    }

    #[tokio::test]
    async fn a_pause_ends_when_it_is_over_or_with_stop() {
        let (mut retry, stop) = (Retry::new(Duration::from_millis(1)), CancellationToken::new());
        let error = std::io::Error::other("away");
        assert!(retry.again("a table", "trying again", &error, &stop).await);
        stop.cancel();
        assert!(!retry.again("a table", "trying again", &error, &stop).await);
    }
}
