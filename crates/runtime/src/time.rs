//! Waiting and measuring. [`crate::Clock`] tells the time of day; here time passes.
//!
//! In a simulated run ([`crate::simulation`]) it is virtual. Otherwise it is the machine's, by tokio's timers.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::LazyLock;
pub use std::time::Duration;

use crate::simulation::{Shared, Timer};

#[allow(clippy::disallowed_methods, reason = "this is where time comes in")]
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// A moment, to measure from and to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);
impl Instant {
    /// This one.
    pub fn now() -> Self {
        Self(Shared::current().map_or_else(|| START.elapsed(), |run| run.now()))
    }
    /// How long it is over.
    pub fn elapsed(self) -> Duration {
        Self::now().duration_since(self)
    }
    /// Time from `earlier` to this moment; zero if that is later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
    /// Time since the simulated run began, or since this process first looked at the time.
    pub fn since_start(self) -> Duration {
        self.0
    }
}
impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}
impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

/// Waits. Cancel safe.
#[allow(clippy::disallowed_methods, reason = "this is where time comes in")]
pub async fn sleep(duration: Duration) {
    match Shared::current() {
        Some(run) => {
            let until = run.now().saturating_add(duration);
            Timer::new(run, until).await;
        }
        None => tokio::time::sleep(duration).await,
    }
}

/// Waits for a moment; one that has passed is not waited for at all. Cancel safe.
pub async fn sleep_until(until: Instant) {
    let left = until.duration_since(Instant::now());
    if !left.is_zero() {
        sleep(left).await;
    }
}

/// What was waited for took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;
impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it took too long")
    }
}
impl std::error::Error for Elapsed {}

/// Waits at most so long.
///
/// # Errors
/// [`Elapsed`]: it is dropped unfinished.
#[allow(clippy::disallowed_methods, reason = "this is where time comes in")]
pub async fn timeout<F: Future>(most: Duration, work: F) -> Result<F::Output, Elapsed> {
    if Shared::current().is_none() {
        return tokio::time::timeout(most, work).await.map_err(|_| Elapsed);
    }
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = sleep(most) => Err(Elapsed),
    }
}

/// Waits until a moment at the latest.
///
/// # Errors
/// [`Elapsed`]: it is dropped unfinished.
pub async fn timeout_at<F: Future>(until: Instant, work: F) -> Result<F::Output, Elapsed> {
    timeout(until.duration_since(Instant::now()), work).await
}

/// Comes round at a steady pace. Of rounds that are late, one comes at once and the others never.
#[derive(Debug)]
pub struct Interval {
    next: Instant,
    every: Duration,
}

/// The first round comes at once.
pub fn interval(every: Duration) -> Interval {
    Interval { next: Instant::now(), every }
}

impl Interval {
    /// Waits for the next round. Cancel safe.
    pub async fn tick(&mut self) {
        sleep_until(self.next).await;
        let late = self.next.elapsed().as_nanos() / self.every.as_nanos().max(1);
        let rounds = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
        self.next = self.next + self.every.saturating_mul(rounds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Simulation;

    #[test]
    fn of_late_rounds_one_comes() {
        Simulation::new(1).run(async {
            let mut every = interval(Duration::from_secs(5));
            let mut rounds = Vec::new();
            for busy in [0, 7, 0, 12, 0] {
                every.tick().await;
                rounds.push(Instant::now().since_start().as_secs());
                sleep(Duration::from_secs(busy)).await;
            }
            assert_eq!(rounds, [0, 5, 12, 15, 27]);
        });
    }

    #[tokio::test]
    async fn a_round_that_is_due_comes_before_what_is_always_ready() {
        let mut every = interval(Duration::from_millis(2));
        let (mut rounds, begun) = (0, Instant::now());
        while rounds < 3 {
            tokio::select! {
                biased;
                () = every.tick() => rounds += 1,
                () = std::future::ready(()) => {}
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it never comes");
        }
    }

    #[tokio::test]
    async fn outside_of_a_simulated_run_time_is_the_machines() {
        let begun = Instant::now();
        assert!(timeout(Duration::from_millis(5), std::future::pending::<()>()).await.is_err());
        assert!(begun.elapsed() >= Duration::from_millis(5));
        assert!(timeout(Duration::from_secs(60), async { 1 }).await.is_ok());
    }
}
