//! Runs the tables that a process owns.
//!
//! Each table has tasks of its own. A task that returns an error has halted and waits for a person. A task that
//! panics is a bug of ours. Both are reported when they happen, and the other tables go on. A table that
//! another process takes over is released once its tasks have ended, so that nothing more is counted for it. If
//! it comes back earlier, it starts again after that.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use model::{Positions, TableName};
use parking_lot::Mutex;
use runtime::CancellationToken;
use stream::OwnerEvent;
use tokio::sync::Notify;

use crate::context::Context;
use crate::halts;
use crate::owners::Ownership;

/// How a stage runs the tables of this process.
pub trait Stage: Send {
    /// Why a table waits for a person.
    type Error: std::error::Error + Send + 'static;

    /// Its own settings.
    type Settings: Send + Sync + 'static;

    /// Its name in metrics and halt notes.
    const NAME: &'static str;

    /// What it runs with.
    fn context(&self) -> &Context<Self::Settings>;

    /// Whether this stage runs the table. The process may own tables of other stages.
    fn runs(&self, table: &TableName) -> bool;

    /// The tasks of a table. A task ends at `control.stop`, or with the error that halted it. The task notes
    /// that halt itself, because it knows which versions it tried.
    fn start(&self, table: &TableName, control: Control) -> Vec<Task<Self::Error>>;

    /// The table is no longer ours and none of its tasks runs.
    fn released(&self, table: &TableName) {
        self.context().released(Self::NAME, table);
    }

    /// Whether the process ends once every table it owns has halted.
    fn ends_when_all_halted(&self) -> bool {
        false
    }
}

/// The signals between the runner and the tasks of one table.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// An input has a new version.
    pub wake: Arc<Notify>,
    /// Another process owns the table now, or this process ends.
    pub stop: CancellationToken,
    waiting: Arc<Mutex<Option<String>>>,
}
impl Control {
    /// Sets why the table waits for newer inputs; `None`: it goes on.
    pub fn set_waiting(&self, why: Option<String>) {
        *self.waiting.lock() = why;
    }
}

/// One task of a table.
pub struct Task<E> {
    /// Its purpose, for the runtime's console and the log.
    pub name: &'static str,
    /// What it runs.
    pub run: BoxFuture<'static, Result<(), E>>,
}

impl<E: Send + 'static> Task<E> {
    /// The same task with another error.
    pub fn map_err<F: 'static>(self, to: impl FnOnce(E) -> F + Send + 'static) -> Task<F> {
        let Self { name, run } = self;
        Task { name, run: run.map(|ended| ended.map_err(to)).boxed() }
    }
}

/// A table that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// The table.
    pub table: TableName,
    /// Why, with its causes.
    pub reason: String,
}

/// A table of this process.
struct Running {
    control: Control,
    /// Tasks that have not ended.
    tasks: usize,
    /// Another process owns the table; its tasks are ending.
    lost: bool,
    /// The table came back before its tasks had ended.
    again: bool,
    halted: Option<String>,
    /// A task panicked, and the halt is noted once the other tasks, which may still write, have ended.
    note_pending: bool,
}

/// What ended.
enum Ended<E> {
    /// A task of a table.
    Task(TableName, Result<(), Why<E>>),
    /// A halt was noted.
    Note,
}

enum Why<E> {
    Halted(E),
    BrokeOff { task: &'static str, said: String },
}

/// The time limit for a halt note, so that a store that does not answer cannot delay the end of the process.
const NOTE: Duration = Duration::from_secs(2);

type Tasks<E> = FuturesUnordered<BoxFuture<'static, Ended<E>>>;

/// Runs the tables of `owners` until `stop`. Returns the halted tables.
///
/// # Errors
/// `owners` cannot report ownership any more.
pub async fn run<S: Stage>(
    stage: S,
    mut owners: impl Ownership,
    stop: CancellationToken,
) -> Result<Vec<Halted>, stream::Error> {
    let mut running: BTreeMap<TableName, Running> = BTreeMap::new();
    let mut tasks: Tasks<S::Error> = FuturesUnordered::new();
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            Some(ended) = tasks.next(), if !tasks.is_empty() => {
                if let Some(table) = report(&stage, &mut running, &mut tasks, ended)
                    && release_if_ended(&stage, &mut running, &table) == Some(true)
                {
                    start(&stage, &mut running, &mut tasks, table, &stop);
                }
                let all = !running.is_empty() && running.values().all(|table| table.halted.is_some());
                if all && stage.ends_when_all_halted() {
                    break Ok(());
                }
            }
            event = owners.next() => match event {
                Ok(OwnerEvent::Owned(table)) if stage.runs(&table) => match running.get_mut(&table) {
                    Some(known) => known.again = known.lost,
                    None => start(&stage, &mut running, &mut tasks, table, &stop),
                },
                Ok(OwnerEvent::Owned(_)) => {}
                Ok(OwnerEvent::Lost(table)) => {
                    if let Some(known) = running.get_mut(&table) {
                        known.control.stop.cancel();
                        (known.lost, known.again) = (true, false);
                    }
                    release_if_ended(&stage, &mut running, &table);
                }
                Ok(OwnerEvent::Woken(table)) => {
                    if let Some(known) = running.get(&table) {
                        known.control.wake.notify_one();
                    }
                }
                Err(error) => break Err(error),
            }
        }
    };
    for known in running.values() {
        known.control.stop.cancel();
    }
    while let Some(ended) = tasks.next().await {
        report(&stage, &mut running, &mut tasks, ended);
    }
    ended?;
    let halted = running.into_iter().filter(|(_, known)| !known.lost).filter_map(|(table, known)| {
        let reason = known.halted.or_else(|| known.control.waiting.lock().take())?;
        Some(Halted { table, reason })
    });
    Ok(halted.collect())
}

fn start<S: Stage>(
    stage: &S,
    running: &mut BTreeMap<TableName, Running>,
    tasks: &mut Tasks<S::Error>,
    table: TableName,
    stop: &CancellationToken,
) {
    let control = Control { stop: stop.child_token(), ..Control::default() };
    let started = stage.start(&table, control.clone());
    let known = Running {
        control,
        tasks: started.len(),
        lost: false,
        again: false,
        halted: None,
        note_pending: false,
    };
    for Task { name, run } in started {
        let table = table.clone();
        let task = runtime::tasks::spawn(name, AssertUnwindSafe(run).catch_unwind());
        tasks.push(
            async move {
                let broke_off = |said| Err(Why::BrokeOff { task: name, said });
                let outcome = match task.await {
                    Ok(Ok(outcome)) => outcome.map_err(Why::Halted),
                    Ok(Err(panic)) => broke_off(panic_message(panic.as_ref())),
                    Err(aborted) => broke_off(aborted.to_string()),
                };
                Ended::Task(table, outcome)
            }
            .boxed(),
        );
    }
    running.insert(table, known);
}

/// Records why a task ended. Nothing is recorded for a table that another process owns.
fn report<S: Stage>(
    stage: &S,
    running: &mut BTreeMap<TableName, Running>,
    tasks: &mut Tasks<S::Error>,
    ended: Ended<S::Error>,
) -> Option<TableName> {
    let Ended::Task(table, outcome) = ended else { return None };
    let known = running.get_mut(&table)?;
    known.tasks -= 1;
    match outcome {
        Ok(()) => {}
        Err(Why::Halted(error)) => {
            if !known.lost {
                known.halted.get_or_insert_with(|| halts::chain(&error));
            }
        }
        Err(Why::BrokeOff { task, said }) => {
            tracing::error!(%table, task, said, "a task broke off, its table stands still");
            // Stops the table's other tasks: they would go on from the state that the panic left.
            known.control.stop.cancel();
            if !known.lost {
                known.halted =
                    Some(format!("the task `{task}` broke off, which is a fault of lakepulse: {said}"));
                known.note_pending = true;
            }
        }
    }
    if known.tasks == 0
        && !known.lost
        && std::mem::take(&mut known.note_pending)
        && let Some(reason) = known.halted.clone()
    {
        stage.context().meters.stage(S::NAME, &table.to_string()).halt(reason.clone());
        let (lake, table) = (stage.context().lake.clone(), table.clone());
        let note = async move {
            let noted = halts::note(&lake, S::NAME, &table, reason, Positions::default());
            if runtime::time::timeout(NOTE, noted).await.is_err() {
                tracing::warn!(%table, "the lake does not answer: what halted is not noted there");
            }
            Ended::Note
        };
        tasks.push(note.boxed());
    }
    Some(table)
}

/// Releases a lost table whose tasks have ended. `Some(true)`: it has come back meanwhile.
fn release_if_ended<S: Stage>(
    stage: &S,
    running: &mut BTreeMap<TableName, Running>,
    table: &TableName,
) -> Option<bool> {
    let known = running.get(table).filter(|known| known.lost && known.tasks == 0)?;
    let again = known.again;
    running.remove(table);
    stage.released(table);
    Some(again)
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
