//! Runs bronze: one consumer for all topics, and one task for each table.
//!
//! The instances of a project form one consumer group, which distributes the partitions; each table's
//! positions say where to read. Tasks share only the memory budget, so a slow, failing or halted table does
//! not delay the others. A failed task opens its table again and goes on from the table's positions. A halted
//! table stays halted and is named when the run ends.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use catalog::Topic;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lake::Followers;
use model::{Positions, Reaction, TableName, TopicName};
use runtime::{After, CancellationToken, Failure as _, Retry, State, unbroken};
use stage::halts::{note, unnote};
use stage::panic_message;
use stream::{Admin, Consumer, Limits};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::Error;
use crate::budget::{Budget, Share};
use crate::inbox::Inbox;
use crate::open::open;
use crate::router::{Route, Router};
use crate::shared::{Command, Context, Input, Shared};
use crate::start::Starts;
use crate::table::{Ours, Task};

/// After running this long, a table or the consumer counts as recovered.
const STEADY: Duration = Duration::from_secs(60);

/// How long joining the group waits for tables to open.
const OPENING: Duration = Duration::from_secs(10);

/// Runs bronze until `stop`. `Err(Halted)` names the halted tables.
pub async fn run(context: Context, input: Input, stop: CancellationToken) -> Result<(), Error> {
    let topics = selected(&context);
    let outer = stop;
    let stop = outer.child_token();
    if topics.is_empty() {
        outer.cancelled().await;
        return Ok(());
    }
    let budget = Budget::new(context.settings.memory_bytes, topics.len());
    let starts = Arc::<Starts>::default();
    let admin = Admin::try_new(&input.kafka).map_err(|source| Error::Consumer { source })?;
    let shared = Arc::new(Shared::new(context, input, starts, Some(admin.clone())));
    let (commands, mut inbox) = unbounded_channel();
    let (opened, mut opening) = unbounded_channel();
    let mut routes = HashMap::new();
    let mut tasks = Tasks::default();
    for topic in &topics {
        let (sender, receiver) = unbounded_channel();
        let share = budget.share();
        routes.insert(topic.name.clone(), Route { inbox: sender, share: share.clone() });
        let keeper = Keeper {
            shared: shared.clone(),
            admin: admin.clone(),
            topic: topic.clone(),
            share,
            commands: commands.clone(),
            opened: Some(opened.clone()),
        };
        let inbox = Inbox::new(receiver, shared.context.settings.batch_records);
        tasks.spawn("bronze-table", keeper.run(inbox, stop.clone()));
    }
    let lag = {
        let (shared, topics, stop) = (shared.clone(), topics.clone(), stop.clone());
        move || watch_lag(shared.clone(), admin.clone(), topics.clone(), commands.clone(), stop.clone())
    };
    tasks.spawn("bronze-lag", unbroken("bronze-lag", stop.clone(), lag));
    let upkeep = {
        let (shared, topics, stop) = (shared.clone(), topics.clone(), stop.clone());
        move || look_after(&shared, &topics, stop.clone())
    };
    tasks.spawn("bronze-upkeep", unbroken("bronze-upkeep", stop.clone(), upkeep));
    drop(opened);
    // The consumer starts from the tables' positions, so it is better if they are known.
    let all_open = async { while opening.recv().await.is_some() {} };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = runtime::time::timeout(OPENING, all_open) => {}
    }
    let router = Router::new(shared.clone(), routes, budget.freed());
    let routed = route(&shared, router, &topics, &mut inbox, &stop).await;
    // In case the router ended for another reason.
    stop.cancel();
    tasks.joined().await;
    routed?;
    match shared.input.progress.halted() {
        tables if tables.is_empty() => Ok(()),
        tables => Err(Error::Halted { tables }),
    }
}

fn selected(context: &Context) -> Vec<Topic> {
    let wanted = |topic: &&Topic| context.selects(&topic.table);
    context.project.catalog.topics.values().filter(wanted).cloned().collect()
}

/// Keeps a consumer in the group, until `stop` or an error that halts.
async fn route(
    shared: &Shared,
    mut router: Router,
    topics: &[Topic],
    commands: &mut UnboundedReceiver<Command>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let context = &shared.context;
    let names: Vec<TopicName> = topics.iter().map(|topic| topic.name.clone()).collect();
    let group = format!("{}.bronze", context.project.name);
    let limits = Limits {
        max_records: context.settings.batch_records,
        queue_bytes: context.settings.queue_bytes,
        ..Limits::default()
    };
    let mut retry = Retry::new(Duration::from_millis(200));
    while !stop.is_cancelled() {
        let began = runtime::time::Instant::now();
        let consumer =
            Consumer::subscribe(&shared.input.kafka, &group, &names, shared.starts.clone(), limits);
        let ended = match consumer {
            Ok(consumer) => router.run(consumer, commands, stop).await,
            Err(error) => Err(error),
        };
        if began.elapsed() >= STEADY {
            retry.reset();
        }
        match ended {
            Ok(Some(consumer)) => consumer.stop().await,
            Ok(None) => {
                tracing::warn!(group, "the consumer is gone, joining the group again");
                retry.pause(stop).await;
            }
            Err(error) if error.reaction() == Reaction::Halt => {
                return Err(Error::Consumer { source: error });
            }
            Err(error) => {
                retry.again(&group, "cannot join the group, trying again", &error, stop).await;
            }
        }
    }
    Ok(())
}

/// Opens a table and runs its task, again after each error that allows it.
struct Keeper {
    shared: Arc<Shared>,
    admin: Admin,
    topic: Topic,
    share: Share,
    commands: UnboundedSender<Command>,
    /// Dropped once the table is open or has halted.
    opened: Option<UnboundedSender<()>>,
}
impl Drop for Keeper {
    /// A panic outside of [`Keeper::attempt`] ends the task. Its table must not stand still in silence.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "its task broke off, which is a fault of lakepulse".to_owned();
            halt(&self.shared, &self.commands, &self.topic, reason);
        }
    }
}
impl Keeper {
    async fn run(mut self, mut inbox: Inbox, stop: CancellationToken) {
        let meter = self.shared.context.meters.stage("bronze", &self.topic.table.to_string());
        let mut assigned = BTreeMap::new();
        let mut retry = Retry::new(Duration::from_millis(100));
        while !stop.is_cancelled() {
            meter.state(State::Starting);
            let began = runtime::time::Instant::now();
            let error = match self.attempt(&mut inbox, &stop, &mut assigned, &mut retry).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if began.elapsed() >= STEADY {
                retry.reset();
            }
            let ends = error.reaction() == Reaction::Halt
                || !error.waits_for_records()
                || self.shared.context.draining.is_cancelled();
            match retry.after(&error) {
                After::Halt { reason } if ends => {
                    let (table, topic) = (&self.topic.table, &self.topic.name);
                    tracing::error!(%table, %topic, error = reason, "table halts");
                    self.opened = None;
                    drop(inbox);
                    stand_still(&self.shared, &self.commands, &self.topic, reason, &stop).await;
                    return stop.cancelled().await;
                }
                After::Halt { .. } | After::Reload | After::Retry => {
                    retry.again(&self.topic.table, "the table is opened again", &error, &stop).await;
                }
            }
        }
    }

    /// Opens the table and runs its task. A panic in there is a bug of ours that would come again: it halts this
    /// table, and the process with its other tables goes on.
    async fn attempt(
        &mut self,
        inbox: &mut Inbox,
        stop: &CancellationToken,
        assigned: &mut BTreeMap<i32, Ours>,
        retry: &mut Retry,
    ) -> Result<(), Error> {
        let mut task = None;
        let running = self.open_and_run(&mut task, inbox, stop, assigned, retry);
        let running: BoxFuture<'_, _> = Box::pin(AssertUnwindSafe(running).catch_unwind());
        let panic = match running.await {
            Ok(ended) => return ended,
            Err(panic) => panic,
        };
        if let Some(task) = &mut task {
            // A commit on its way would move the table on behind what is noted of it.
            task.stop().await;
        }
        Err(Error::BrokeOff { table: self.topic.table.clone(), said: panic_message(panic.as_ref()) })
    }

    /// The task is left in `task`.
    async fn open_and_run(
        &mut self,
        task: &mut Option<Task>,
        inbox: &mut Inbox,
        stop: &CancellationToken,
        assigned: &mut BTreeMap<i32, Ours>,
        retry: &mut Retry,
    ) -> Result<(), Error> {
        let Shared { context, input, .. } = &*self.shared;
        let (project, create) = (&context.project.name, context.create);
        let opening =
            open(&context.lake, &input.kafka, &self.admin, &input.registry, project, &self.topic, create);
        let opening: BoxFuture<'_, _> = Box::pin(opening);
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            opened = opening => opened?,
        };
        retry.hurry();
        // Deletes a former process's note. Later, the note is about partitions of this process.
        if self.opened.take().is_some() {
            unnote(&context.lake, "bronze", &self.topic.table).await;
        }
        let task = task.insert(Task::new(
            self.shared.clone(),
            self.commands.clone(),
            self.share.clone(),
            opened,
            std::mem::take(assigned),
        ));
        let ended = task.run(inbox, stop).await;
        *assigned = task.assigned();
        ended
    }
}

/// Time limit for a halt note once the process stops.
const NOTE: Duration = Duration::from_secs(2);

/// Halts a table until a person acts, and stores a note in the lake. Waits for the lake, but only [`NOTE`] long after `stop`.
async fn stand_still(
    shared: &Shared,
    commands: &UnboundedSender<Command>,
    topic: &Topic,
    reason: String,
    stop: &CancellationToken,
) {
    let (context, table) = (&shared.context, &topic.table);
    halt(shared, commands, topic, reason.clone());
    let late = async {
        stop.cancelled().await;
        runtime::time::sleep(NOTE).await;
    };
    tokio::select! {
        biased;
        () = note(&context.lake, "bronze", table, reason, Positions::default()) => {}
        () = late => tracing::warn!(%table, "the lake does not answer: what halted is not noted there"),
    }
}

/// Sets the metrics and the progress of a table that halts, and stops reading its topic.
fn halt(shared: &Shared, commands: &UnboundedSender<Command>, topic: &Topic, reason: String) {
    shared.context.meters.stage("bronze", &topic.table.to_string()).halt(reason);
    shared.input.progress.halt(&topic.table, &topic.name);
    drop(commands.send(Command::Halt(topic.name.clone())));
}

/// Runs upkeep of the tables. Of several processes that write one table, the one with the first partition
/// does it.
fn look_after(
    shared: &Shared,
    topics: &[Topic],
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + use<> {
    let context = &shared.context;
    let catalog = &context.project.catalog;
    let followed = |topic: &Topic| (topic.table.clone(), Followers::of(catalog.followers(&topic.table)));
    let first: HashMap<TableName, (TopicName, i32)> =
        topics.iter().map(|topic| (topic.table.clone(), (topic.name.clone(), 0))).collect();
    let progress = shared.input.progress.clone();
    let ours =
        move |table: &TableName| first.get(table).is_some_and(|first| progress.reached().contains_key(first));
    let followed = topics.iter().map(followed).collect();
    context.upkeep(followed, context.settings.maintain, ours, stop)
}

/// Measures the lag of the tables, and sends the ends of the logs to the router.
async fn watch_lag(
    shared: Arc<Shared>,
    admin: Admin,
    topics: Vec<Topic>,
    commands: UnboundedSender<Command>,
    stop: CancellationToken,
) {
    let mut every = runtime::time::interval(Duration::from_secs(5));
    while !stop.is_cancelled() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let reached = shared.input.progress.reached();
        for topic in &topics {
            let ours = |partition: i32| reached.get(&(topic.name.clone(), partition));
            if (0..topic.partitions.max(1)).all(|partition| ours(partition).is_none()) {
                continue;
            }
            let Ok(ends) = admin.watermarks(&topic.name).await else { continue };
            let at = ends.iter().map(|(partition, (_, high))| (*partition, *high)).collect();
            drop(commands.send(Command::Ends { topic: topic.name.clone(), ends: at }));
            let behind = |(partition, (low, high)): (&i32, &(model::Offset, model::Offset))| {
                Some((high.0 - ours(*partition)?.0.max(low.0)).max(0))
            };
            let lag = ends.iter().filter_map(behind).sum();
            shared.context.meters.stage("bronze", &topic.table.to_string()).lag(lag);
        }
    }
}

/// The tasks of the run. Dropping this aborts them.
#[derive(Default)]
struct Tasks(Vec<Owned>);
impl Tasks {
    /// A panic of `task` ends this task only. [`Keeper`] halts its table then; the lag and the upkeep are run again.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(Owned(runtime::tasks::spawn(name, task)));
    }
    async fn joined(&mut self) {
        for mut task in self.0.drain(..) {
            // The process's panic hook has logged a panic where it happened.
            drop((&mut task.0).await);
        }
    }
}

struct Owned(JoinHandle<()>);
impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
