//! The loop: publishes versions as they land, waits for unreachable systems, and halts.

use std::sync::Arc;
use std::time::Duration;

use model::{Millis, Version};
use runtime::meters::Metric;
use runtime::{CancellationToken, ManualClock, Meters};
use tokio::sync::Notify;

use super::contract::Readable as _;
use super::memory::{Kind, Memory, Record};
use super::unsteady::{Failing, Unsteady};
use super::world::*;
use crate::{Error, Follow, Result, Sink, follow};

/// A running loop over the table of a world.
struct Running {
    meters: Meters,
    landed: Arc<Notify>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<()>>,
}
impl Running {
    /// Polls so rarely that only a wake-up moves it.
    fn start<S: Sink + 'static>(world: &World, sink: S) -> Self {
        let (meters, landed, stop) = (Meters::new(), Arc::new(Notify::new()), CancellationToken::new());
        let with = Follow {
            table: name("gold.t"),
            lake: world.lake.clone(),
            sink,
            limit: 2,
            poll: Duration::from_secs(600),
            clock: Arc::new(ManualClock::at(model::ClockMs(2_000))),
            meters: meters.clone(),
        };
        let task = runtime::tasks::spawn("publisher", follow(with, Arc::clone(&landed), stop.clone()));
        Self { meters, landed, stop, task }
    }
    async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.expect("no panic")
    }
}

/// Polls until `done`, at most half a minute.
async fn until(what: &str, done: impl AsyncFn() -> bool) {
    for _ in 0..3000 {
        if done().await {
            return;
        }
        runtime::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within half a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_land_are_published_when_it_is_woken_through_failures_and_a_cutover() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.arrival = Some(Millis(1_500));
    let running = Running::start(&world, Unsteady::new(sink.clone(), Failing::Each(11)));
    let is_there = async |world: &World| {
        let wanted = sink.wanted(&world.table().await).await;
        until("it is there", async || {
            running.landed.notify_one();
            sink.rows() == wanted
        })
        .await;
    };
    world.edit(&[(1, "x", 1), (2, "y", 2), (3, "z", 3)], &[]).await;
    is_there(&world).await;
    world.edit(&[(4, "x", 1)], &[1]).await;
    is_there(&world).await;
    world.rebuild_without(&[2]).await;
    is_there(&world).await;
    let meter = running.meters.stage("memory", "gold.t");
    let newest = world.table().await.version().position();
    until("it says so", async || meter.gauge(Metric::TableVersion) == newest).await;
    running.end().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_not_the_tables_halts_and_is_noted_in_the_lake_until_it_is() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.edit(&[(1, "x", 1)], &[]).await;
    let stale = Record {
        key: bytes::Bytes::from_static(b"stale"),
        value: Some(bytes::Bytes::from_static(b"of something else")),
        table: "other".parse().expect("valid"),
        version: Version(1),
        last: true,
    };
    sink.place().records.push(stale);
    let halted = Running::start(&world, sink.clone());
    let meter = halted.meters.stage("memory", "gold.t");
    let error = halted.task.await.expect("no panic").expect_err("halts");
    assert!(matches!(&error, Error::Holds { .. }), "{error}");
    assert!(meter.halted().is_some_and(|why| why.contains("place `gold.t.v1`")));
    let noted = async || world.lake.halted("memory", &name("gold.t")).await.expect("looked");
    assert!(noted().await.is_some_and(|halt| halt.reason.contains("place `gold.t.v1`")));
    sink.place().records.clear();
    let running = Running::start(&world, sink.clone());
    until("the note is taken back", async || noted().await.is_none()).await;
    assert_eq!(sink.rows().len(), 1);
    running.end().await.expect("stopped");
}
