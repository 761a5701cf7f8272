//! The task tree: every task has a name, an owner that joins it, and a place in the stop order.
//!
//! Tasks stop phase by phase, sources first: the phase's token is cancelled, then its tasks are joined within
//! the phase's deadline. A task that misses the deadline is aborted. Nothing is lost by that, because state
//! changes only in commits.

use std::future::Future;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{Retry, time};

/// Place in the stop order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Tasks that put records on topics.
    Sources,
    /// Bronze, silver, gold.
    Stages,
    /// Tasks that publish or maintain tables.
    Writers,
    /// Metrics, health, the view.
    Telemetry,
}
const PHASES: [Phase; 4] = [Phase::Sources, Phase::Stages, Phase::Writers, Phase::Telemetry];

/// How a task ended.
#[derive(Debug)]
pub struct Ended<T> {
    /// Its name.
    pub name: String,
    /// What it returned; `None` when it panicked or was aborted.
    pub outcome: Option<T>,
}

/// Tasks of one process, with one outcome type.
pub struct Tasks<T> {
    running: JoinSet<Ended<T>>,
    stops: [CancellationToken; 4],
    counts: std::sync::Arc<[std::sync::atomic::AtomicUsize; 4]>,
}
impl<T: Send + 'static> Default for Tasks<T> {
    fn default() -> Self {
        Self {
            running: JoinSet::new(),
            stops: std::array::from_fn(|_| CancellationToken::new()),
            counts: Default::default(),
        }
    }
}
#[allow(clippy::disallowed_methods, reason = "this is where tasks start")]
impl<T: Send + 'static> Tasks<T> {
    /// The token that stops the tasks of `phase`.
    pub fn stop(&self, phase: Phase) -> CancellationToken {
        self.stops[phase as usize].clone()
    }
    /// Starts a task. It must end soon after the phase's token is cancelled.
    pub fn spawn<F>(&mut self, name: impl Into<String>, phase: Phase, task: F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        use std::sync::atomic::Ordering::SeqCst;
        let name = name.into();
        let counts = self.counts.clone();
        counts[phase as usize].fetch_add(1, SeqCst);
        let leave = Leave { counts, phase };
        self.running.spawn(async move {
            let inner = tokio::spawn(task);
            let _aborts_with_us = AbortOnDrop(inner.abort_handle());
            let outcome = match inner.await {
                Ok(outcome) => Some(outcome),
                Err(failed) => {
                    tracing::error!(task = name, error = %failed, "task ended abnormally");
                    None
                }
            };
            drop(leave);
            Ended { name, outcome }
        });
    }
    /// Waits for the next task to end. `None`: all have ended.
    pub async fn ended(&mut self) -> Option<Ended<T>> {
        match self.running.join_next().await? {
            Ok(ended) => Some(ended),
            Err(_) => Some(Ended { name: "aborted".to_owned(), outcome: None }),
        }
    }
    /// Stops all phases in order, with `grace` for each. Returns the tasks that ended.
    pub async fn shut_down(&mut self, grace: Duration) -> Vec<Ended<T>> {
        let mut all = Vec::new();
        for phase in PHASES {
            self.stops[phase as usize].cancel();
            let deadline = time::Instant::now() + grace;
            while self.left(phase) > 0 {
                match time::timeout_at(deadline, self.ended()).await {
                    Ok(Some(ended)) => all.push(ended),
                    Ok(None) => break,
                    Err(_) => {
                        tracing::warn!(?phase, left = self.left(phase), "tasks did not stop in time");
                        break;
                    }
                }
            }
        }
        self.running.shutdown().await;
        all
    }
    fn left(&self, phase: Phase) -> usize {
        self.counts[phase as usize].load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Decrements the phase's count when the task ends, however it ends.
struct Leave {
    counts: std::sync::Arc<[std::sync::atomic::AtomicUsize; 4]>,
    phase: Phase,
}
impl Drop for Leave {
    fn drop(&mut self) {
        self.counts[self.phase as usize].fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[allow(clippy::disallowed_methods, reason = "this is where tasks start")]
/// Starts an inner task of a crate. The caller joins or aborts the handle.
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tracing::trace!(task = name, "inner task started");
    tokio::spawn(task)
}

/// Runs what ought to end only with `stop`. If it panicked it is run again, after a pause that doubles up to ten
/// seconds; the process's panic hook has logged the panic.
pub async fn unbroken<F>(name: &'static str, stop: CancellationToken, mut run: impl FnMut() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut retry = Retry::new(Duration::from_secs(1));
    loop {
        let inner = spawn(name, run());
        let _aborts_with_us = AbortOnDrop(inner.abort_handle());
        if inner.await.is_ok() || !retry.pause(&stop).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_panics_is_run_again_until_it_ends_or_is_stopped() {
        let runs = Arc::new(Mutex::new(0));
        let run = |ends_at: i32| {
            let runs = runs.clone();
            move || {
                let runs = runs.clone();
                async move {
                    let mut runs = runs.lock().expect("no panic with it");
                    *runs += 1;
                    let breaks = *runs < ends_at;
                    drop(runs);
                    assert!(!breaks, "it breaks off");
                }
            }
        };
        let simulation = crate::simulation::Simulation::new(1);
        simulation.run(unbroken("a task", CancellationToken::new(), run(3)));
        assert_eq!(*runs.lock().expect("no panic"), 3);
        let stop = CancellationToken::new();
        stop.cancel();
        simulation.run(unbroken("a task", stop, run(i32::MAX)));
        assert_eq!(*runs.lock().expect("no panic"), 4);
    }

    #[tokio::test]
    async fn phases_stop_in_order_and_a_deaf_task_is_aborted() {
        let mut tasks = Tasks::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (name, phase) in [("view", Phase::Telemetry), ("sim", Phase::Sources), ("bronze", Phase::Stages)]
        {
            let (stop, order) = (tasks.stop(phase), order.clone());
            tasks.spawn(name, phase, async move {
                stop.cancelled().await;
                order.lock().expect("no panic holds it").push(name);
            });
        }
        tasks.spawn("deaf", Phase::Writers, std::future::pending());
        let ended = tasks.shut_down(Duration::from_millis(50)).await;
        assert_eq!(*order.lock().expect("no panic holds it"), ["sim", "bronze", "view"]);
        assert_eq!(ended.len(), 3);
    }

    #[tokio::test]
    async fn a_panic_is_an_ended_task_without_outcome() {
        let mut tasks = Tasks::<()>::default();
        tasks.spawn("bad", Phase::Stages, async { panic!("on purpose") });
        let ended = tasks.ended().await.expect("one task");
        assert_eq!((ended.name.as_str(), ended.outcome.is_none()), ("bad", true));
    }
}
