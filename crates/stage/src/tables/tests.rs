use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use catalog::{Catalog, Project};
use lake::{Lake, LakeSettings};
use runtime::{Meters, SeededIds, State, WallClock};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

#[derive(Debug, Clone, thiserror::Error)]
#[error("it does not fit")]
struct DoesNotFit;

/// What a task is told to do by its test.
enum Do {
    Halt,
    Panic,
    Stand,
    GoOn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Started(TableName),
    Woken(TableName),
    Stopped(TableName),
    Released(TableName),
}

struct World {
    context: Context<()>,
    seen: UnboundedSender<Seen>,
    orders: Mutex<BTreeMap<TableName, UnboundedReceiver<Do>>>,
    ends: bool,
}
impl Stage for World {
    type Error = DoesNotFit;
    type Settings = ();
    const NAME: &'static str = "silver";
    fn context(&self) -> &Context<()> {
        &self.context
    }
    fn runs(&self, table: &TableName) -> bool {
        table.schema() == "silver"
    }
    fn start(&self, table: &TableName, control: Control) -> Vec<Task<DoesNotFit>> {
        let (seen, table) = (self.seen.clone(), table.clone());
        let orders = self.orders.lock().remove(&table);
        let (meter, stop) = (self.context.meters.stage(Self::NAME, &table.to_string()), control.stop.clone());
        let run = async move {
            drop(seen.send(Seen::Started(table.clone())));
            let mut orders = orders.unwrap_or_else(|| unbounded_channel().1);
            loop {
                tokio::select! {
                    () = control.stop.cancelled() => {
                        drop(seen.send(Seen::Stopped(table)));
                        return Ok(());
                    }
                    () = control.wake.notified() => drop(seen.send(Seen::Woken(table.clone()))),
                    Some(order) = orders.recv() => match order {
                        Do::Halt => return Err(DoesNotFit),
                        Do::Panic => panic!("as the test wants it"),
                        Do::Stand => control.set_waiting(Some("a row is wrong".to_owned())),
                        Do::GoOn => control.set_waiting(None),
                    },
                }
            }
        };
        // Another that, as it ends, still says how the table fares.
        let beside = async move {
            stop.cancelled().await;
            meter.state(State::Idle);
            Ok(())
        };
        vec![Task { name: "test table", run: run.boxed() }, Task { name: "test upkeep", run: beside.boxed() }]
    }
    fn released(&self, table: &TableName) {
        drop(self.seen.send(Seen::Released(table.clone())));
    }
    fn ends_when_all_halted(&self) -> bool {
        self.ends
    }
}

struct Told(UnboundedReceiver<OwnerEvent>);
#[async_trait]
impl Ownership for Told {
    async fn next(&mut self) -> Result<OwnerEvent, stream::Error> {
        match self.0.recv().await {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }
}

/// A stage that runs, and all that a test needs to move it.
struct Run {
    lake: Lake,
    meters: Meters,
    owners: UnboundedSender<OwnerEvent>,
    orders: BTreeMap<TableName, UnboundedSender<Do>>,
    seen: UnboundedReceiver<Seen>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<Vec<Halted>, stream::Error>>,
}
impl Run {
    async fn begin(tables: &[&TableName], ends: bool) -> Self {
        let settings =
            LakeSettings { url: "memory:///lake".parse().expect("a url"), options: BTreeMap::new() };
        let lake = Lake::connect(settings, Arc::new(SeededIds::new(1))).await.expect("connected");
        let (meters, stop) = (Meters::default(), CancellationToken::new());
        let (seen_here, seen) = unbounded_channel();
        let (owners, events) = unbounded_channel();
        let mut orders = BTreeMap::new();
        let mut taken = BTreeMap::new();
        for table in tables {
            let (order, orders_of) = unbounded_channel();
            orders.insert((*table).clone(), order);
            taken.insert((*table).clone(), orders_of);
        }
        let project = Project::new(PathBuf::new(), "test".parse().expect("a name"), Catalog::default());
        let context = Context {
            project: Arc::new(project),
            lake: lake.clone(),
            clock: Arc::new(WallClock),
            ids: Arc::new(SeededIds::new(2)),
            meters: meters.clone(),
            announce: Arc::new(()),
            settings: (),
            create: false,
            select: Vec::new(),
            draining: CancellationToken::new(),
        };
        let world = World { context, seen: seen_here, orders: Mutex::new(taken), ends };
        let ended = runtime::tasks::spawn("test stage", run(world, Told(events), stop.clone()));
        Self { lake, meters, owners, orders, seen, stop, ended }
    }
    fn tell(&self, event: OwnerEvent) {
        self.owners.send(event).expect("it runs");
    }
    fn order(&self, table: &TableName, order: Do) {
        self.orders[table].send(order).expect("the task runs");
    }
    async fn sees(&mut self, wanted: Seen) {
        let seen = runtime::time::timeout(Duration::from_secs(10), self.seen.recv()).await;
        assert_eq!(seen.expect("in time").expect("it runs"), wanted);
    }
    async fn ends(self) -> Vec<Halted> {
        self.stop.cancel();
        self.ended.await.expect("no panic").expect("owners are well")
    }
}

fn name(text: &str) -> TableName {
    text.parse().expect("a table name")
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let polled = async {
        while !holds() {
            runtime::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(runtime::time::timeout(Duration::from_secs(10), polled).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_table_that_breaks_off_is_named_at_once_and_the_others_go_on() {
    let (a, b) = (name("silver.a"), name("silver.b"));
    let mut run = Run::begin(&[&a, &b], false).await;
    for table in [&a, &b] {
        run.tell(OwnerEvent::Owned(table.clone()));
        run.sees(Seen::Started(table.clone())).await;
    }
    run.order(&a, Do::Panic);
    let meter = run.meters.stage("silver", "silver.a");
    until("its metrics say so", || meter.halted().is_some_and(|why| why.contains("as the test wants it")))
        .await;
    until_noted(&run.lake, &a).await;
    run.tell(OwnerEvent::Woken(b.clone()));
    run.sees(Seen::Woken(b.clone())).await;
    let halted = run.ends().await;
    let [Halted { table, reason }] = halted.as_slice() else { panic!("{halted:?}") };
    assert_eq!(table, &a);
    assert!(reason.contains("`test table` broke off") && reason.contains("as the test wants it"), "{reason}");
}

async fn until_noted(lake: &Lake, table: &TableName) {
    let polled = async {
        while lake.halted("silver", table).await.expect("readable").is_none() {
            runtime::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(runtime::time::timeout(Duration::from_secs(10), polled).await.is_ok(), "it is noted in the lake");
}

#[tokio::test]
async fn a_table_that_halts_is_reported_and_one_that_stands_still_as_long_as_it_does() {
    let [a, b, c] = ["silver.a", "silver.b", "silver.c"].map(name);
    let mut run = Run::begin(&[&a, &b, &c], false).await;
    for table in [&a, &b, &c] {
        run.tell(OwnerEvent::Owned(table.clone()));
        run.sees(Seen::Started(table.clone())).await;
    }
    run.order(&a, Do::Halt);
    run.order(&b, Do::Stand);
    run.order(&c, Do::Stand);
    run.order(&c, Do::GoOn);
    let closed = |table: &TableName| run.orders[table].is_closed();
    until("the first has ended", || closed(&a)).await;
    for table in [&b, &c] {
        run.tell(OwnerEvent::Woken(table.clone()));
    }
    for table in [&b, &c] {
        run.sees(Seen::Woken(table.clone())).await;
    }
    let said: Vec<(TableName, String)> = run.ends().await.into_iter().map(|h| (h.table, h.reason)).collect();
    assert_eq!(said, [(a, "it does not fit".to_owned()), (b, "a row is wrong".to_owned())]);
}

#[tokio::test]
async fn a_table_that_is_lost_is_released_when_it_has_ended_and_may_come_back() {
    let (a, other) = (name("silver.a"), name("gold.x"));
    let mut run = Run::begin(&[&a], false).await;
    run.tell(OwnerEvent::Owned(other.clone()));
    run.tell(OwnerEvent::Lost(other));
    run.tell(OwnerEvent::Owned(a.clone()));
    run.sees(Seen::Started(a.clone())).await;
    // Twice is once.
    run.tell(OwnerEvent::Owned(a.clone()));
    run.tell(OwnerEvent::Lost(a.clone()));
    run.tell(OwnerEvent::Owned(a.clone()));
    for seen in [Seen::Stopped(a.clone()), Seen::Released(a.clone()), Seen::Started(a.clone())] {
        run.sees(seen).await;
    }
    run.tell(OwnerEvent::Lost(a.clone()));
    run.sees(Seen::Stopped(a.clone())).await;
    run.sees(Seen::Released(a.clone())).await;
    assert_eq!(run.ends().await, []);
}

#[tokio::test]
async fn a_stage_that_may_ends_when_all_its_tables_have_halted() {
    let (a, b) = (name("silver.a"), name("silver.b"));
    let mut run = Run::begin(&[&a, &b], true).await;
    for table in [&a, &b] {
        run.tell(OwnerEvent::Owned(table.clone()));
        run.sees(Seen::Started(table.clone())).await;
    }
    run.order(&a, Do::Halt);
    run.tell(OwnerEvent::Woken(b.clone()));
    run.sees(Seen::Woken(b.clone())).await;
    run.order(&b, Do::Halt);
    let halted = runtime::time::timeout(Duration::from_secs(10), run.ended).await.expect("by itself");
    assert_eq!(halted.expect("no panic").expect("owners are well").len(), 2);
}
