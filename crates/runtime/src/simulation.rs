//! A simulated run: one thread, one seed, virtual time.
//!
//! Inside of [`Simulation::run`] all that is not a pure function of its input comes from here: [`crate::time`] waits
//! on a virtual clock, [`crate::random`] draws from the seed, and [`crate::cpu`] runs its work in place. The clock
//! stands still while any task can go on and jumps to the next deadline once none can. So the same seed gives the same
//! run, provided that tasks wait for nothing but each other and that clock.
//!
//! A run has no tokio timer and no network: whoever asks for one panics, which is how a forgotten one is found.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::ClockMs;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::Clock;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The time of day at which a simulated run begins: 2026-01-01, midnight UTC, in milliseconds.
const MIDNIGHT: i64 = 1_767_225_600_000;

/// A run that a seed decides. Clones are the same one.
#[derive(Clone)]
pub struct Simulation(Arc<Shared>);

pub(crate) struct Shared {
    state: Mutex<State>,
}

struct State {
    /// Since the start.
    now: Duration,
    /// Who waits until when, in the order of asking.
    waiting: BTreeMap<(Duration, u64), Waker>,
    asked: u64,
    random: Xoshiro256PlusPlus,
}

impl Simulation {
    /// A run that has not begun.
    pub fn new(seed: u64) -> Self {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let state = State { now: Duration::ZERO, waiting: BTreeMap::new(), asked: 0, random };
        Self(Arc::new(Shared { state: Mutex::new(state) }))
    }

    /// Runs `work` and the tasks that it starts, all on this thread, until `work` ends. Tasks that are left are dropped.
    ///
    /// # Panics
    /// In another simulated run, or where no runtime can be made.
    pub fn run<F: Future>(&self, work: F) -> F::Output {
        let entered = Entered::new(&self.0);
        let shared = Arc::clone(&self.0);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || shared.jump())
            .build()
            .expect("a runtime without drivers");
        let output = runtime.block_on(work);
        // Tasks are dropped while the clock is still there for them.
        drop(runtime);
        drop(entered);
        output
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.now()
    }

    /// The time of day in the run.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }
}

impl Clock for Simulation {
    fn now(&self) -> ClockMs {
        self.0.time_of_day()
    }
}

impl Shared {
    /// The run that this thread is in.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(crate) fn now(&self) -> Duration {
        self.state.lock().now
    }

    pub(crate) fn time_of_day(&self) -> ClockMs {
        let passed = i64::try_from(self.now().as_millis()).expect("a run is shorter than 292 million years");
        ClockMs(MIDNIGHT + passed)
    }

    pub(crate) fn random(&self) -> u64 {
        self.state.lock().random.next_u64()
    }

    /// Goes on to the next deadline. Called when no task can go on.
    fn jump(&self) {
        let mut state = self.state.lock();
        let Some((&(until, _), _)) = state.waiting.first_key_value() else { return };
        state.now = state.now.max(until);
        let later = state.waiting.split_off(&(until, u64::MAX));
        let due = std::mem::replace(&mut state.waiting, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }
}

/// Leaves the run when dropped.
struct Entered;
impl Entered {
    fn new(shared: &Arc<Shared>) -> Self {
        let outer = CURRENT.replace(Some(Arc::clone(shared)));
        assert!(outer.is_none(), "a simulated run has none inside");
        Self
    }
}
impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Ends at a moment of virtual time.
pub(crate) struct Timer {
    shared: Arc<Shared>,
    until: Duration,
    waits: Option<u64>,
}
impl Timer {
    pub(crate) fn new(shared: Arc<Shared>, until: Duration) -> Self {
        Self { shared, until, waits: None }
    }
}
impl Future for Timer {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let number = self.waits.unwrap_or_else(|| {
            state.asked += 1;
            state.asked
        });
        self.waits = Some(number);
        state.waiting.insert((self.until, number), context.waker().clone());
        Poll::Pending
    }
}
impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.waits {
            self.shared.state.lock().waiting.remove(&(self.until, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, random, tasks, time};

    /// What three tasks do, in order, and when.
    fn log(seed: u64) -> Vec<(u64, u64, u64)> {
        let simulation = Simulation::new(seed);
        let log = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&log);
        simulation.run(async {
            let tasks: Vec<_> = (0..3)
                .map(|task| {
                    let log = Arc::clone(&log);
                    tasks::spawn("a task", async move {
                        for _ in 0..5 {
                            let pause = random::below(1_000);
                            time::sleep(Duration::from_millis(pause)).await;
                            cpu::run(|| ()).await;
                            log.lock().push((
                                task,
                                pause,
                                time::Instant::now().since_start().as_millis() as u64,
                            ));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
        });
        all.lock().clone()
    }

    #[test]
    fn a_seed_decides_the_run() {
        assert_eq!(log(1), log(1));
        assert_ne!(log(1), log(2));
        assert!(log(1).is_sorted_by_key(|(_, _, at)| *at));
    }

    #[test]
    fn an_hour_passes_at_once_and_only_when_nothing_else_can_go_on() {
        let simulation = Simulation::new(1);
        let clock = simulation.clock();
        let before = clock.now();
        simulation.run(async {
            let hour = time::timeout(Duration::from_secs(3_600), std::future::pending::<()>());
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            assert_eq!(simulation.elapsed(), Duration::ZERO);
            assert!(hour.await.is_err());
        });
        assert_eq!(clock.now().0 - before.0, 3_600_000);
    }

    #[test]
    fn a_deadline_that_nobody_waits_for_any_longer_is_passed_over() {
        let simulation = Simulation::new(1);
        simulation.run(async {
            let soon = time::timeout(Duration::from_secs(60), time::sleep(Duration::from_secs(1)));
            assert!(soon.await.is_ok());
            time::sleep(Duration::from_secs(1)).await;
        });
        assert_eq!(simulation.elapsed(), Duration::from_secs(2));
    }
}
