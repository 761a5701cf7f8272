//! Retries: the pauses between attempts, the log of failures, the limit of attempts, and what a loop does next.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use model::Reaction;
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

/// How many attempts an error gets if the next one may differ, and no answer of a service is missing.
pub const TRIES: u32 = 5;

/// An error that ends an attempt of a loop.
pub trait Failure: Error {
    /// How the loop reacts.
    fn reaction(&self) -> Reaction;
    /// How many attempts in a row it gets before the loop halts. `None`: no limit, because another service has to
    /// answer.
    fn patience(&self) -> Option<u32>;
}

/// What a loop does after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Try again after a pause.
    Retry,
    /// Drop the state in memory, and try again after a pause.
    Reload,
    /// Stop, and wait for a person.
    Halt {
        /// What failed, with its causes.
        reason: String,
    },
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

    /// Counts a failure, and decides what the loop does next. An error that each attempt would meet halts at once,
    /// one with a limit at its last attempt. Every loop of a table, publisher or source decides by this.
    pub fn after(&mut self, failure: &impl Failure) -> After {
        let is_last = failure.patience().is_some_and(|most| {
            self.counted += 1;
            self.counted >= most
        });
        match failure.reaction() {
            Reaction::Halt => After::Halt { reason: chain(failure) },
            Reaction::Retry | Reaction::Reload if is_last => {
                let (tries, why) = (self.counted, chain(failure));
                After::Halt { reason: format!("gave up after {tries} attempts: {why}") }
            }
            Reaction::Retry => After::Retry,
            Reaction::Reload => After::Reload,
        }
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

    #[derive(Debug, thiserror::Error)]
    #[error("no room")]
    struct Full(Reaction, Option<u32>);
    impl Failure for Full {
        fn reaction(&self) -> Reaction {
            self.0
        }
        fn patience(&self) -> Option<u32> {
            self.1
        }
    }

    #[test]
    fn a_failure_is_worth_as_many_tries_as_it_says_in_a_row() {
        let mut retry = Retry::new(Duration::from_millis(1));
        let (away, full) = (Full(Reaction::Retry, None), Full(Reaction::Reload, Some(3)));
        assert!((0..100).all(|_| retry.after(&away) == After::Retry));
        let three = [retry.after(&full), retry.after(&away), retry.after(&full), retry.after(&full)];
        let reason = "gave up after 3 attempts: no room".to_owned();
        assert_eq!(three, [After::Reload, After::Retry, After::Reload, After::Halt { reason }]);
        retry.reset();
        assert_eq!(retry.after(&full), After::Reload);
    }

    #[test]
    fn what_each_attempt_would_meet_again_halts_at_once() {
        for patience in [None, Some(1), Some(5)] {
            let after = Retry::new(Duration::from_millis(1)).after(&Full(Reaction::Halt, patience));
            assert_eq!(after, After::Halt { reason: "no room".to_owned() });
        }
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
