//! Followers of a table: they run where the table is owned, hear of its versions, and hold back its upkeep.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catalog::Kind;
use lake::{BoxError, Elsewhere, Table};
use model::{TableName, Version};
use runtime::CancellationToken;
use stage::{Alone, Follower, Followers, Task};
use tokio::sync::{Notify, mpsc};

use super::world::*;
use crate::{Error, followers, run};

const SQL: &str = "SELECT id, amount FROM silver.a";

/// Follows `gold.t` and records that. With `halts` it halts once it is woken.
struct Probe {
    says: mpsc::UnboundedSender<&'static str>,
    halts: bool,
}
impl Follower for Probe {
    fn start(&self, table: &TableName, landed: Arc<Notify>, stop: CancellationToken) -> Vec<Task<BoxError>> {
        if *table != name("gold.t") {
            return Vec::new();
        }
        let (says, halts) = (self.says.clone(), self.halts);
        let tell = move |what| says.send(what).expect("the test listens");
        let run = async move {
            tell("started");
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = landed.notified() => tell("woken"),
                }
                if halts {
                    return Err(BoxError::from("the sink is full"));
                }
            }
            tell("ended");
            Ok(())
        };
        vec![Task { name: "probe", run: Box::pin(run) }]
    }
    fn released(&self, _: &TableName) {}
}
#[async_trait]
impl Elsewhere for Probe {
    async fn needs(&self, _: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        Ok(vec![Some(Version(1))])
    }
}

fn probe(halts: bool) -> (Followers, mpsc::UnboundedReceiver<&'static str>) {
    let (says, heard) = mpsc::unbounded_channel();
    let probe: Arc<dyn Follower> = Arc::new(Probe { says, halts });
    (Followers::of([probe]), heard)
}

/// The stage over two tables, one of which is followed.
async fn world() -> World {
    let mut world = World::new(project(&[
        (Kind::Table, "gold.t", &["id"], SQL, 7),
        (Kind::Table, "gold.other", &["id"], SQL, 8),
    ]))
    .await;
    world.settings.poll = Duration::from_millis(10);
    world.settings.refresh = Duration::from_millis(10);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_starts_with_its_table_is_woken_by_each_version_and_ends_with_it() {
    let (world, (followers, mut heard)) = (world().await, probe(false));
    let context = (*world.context(world.lake.clone())).clone();
    let stop = CancellationToken::new();
    let owners = Alone::of([name("gold.t"), name("gold.other")]);
    let stage = runtime::tasks::spawn("gold", run(context, followers, owners, stop.clone()));
    assert_eq!(heard.recv().await, Some("started"));
    assert_eq!(heard.recv().await, Some("woken"), "the fill is a version");
    for id in 1..4 {
        world.edit(&put(0, &[(id, None, "x", id)])).await;
        assert_eq!(heard.recv().await, Some("woken"));
    }
    stop.cancel();
    assert_eq!(heard.recv().await, Some("ended"));
    stage.await.expect("no panic").expect("no table halts");
    assert_eq!(heard.recv().await, None, "one task, and nothing is left of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_waits_for_a_person_halts_its_table() {
    let (world, (followers, mut heard)) = (world().await, probe(true));
    let context = (*world.context(world.lake.clone())).clone();
    let (owners, stop) = (Alone::of([name("gold.t")]), CancellationToken::new());
    let ended = run(context, followers, owners, stop).await.expect_err("halts");
    assert!(matches!(&ended, Error::Halted { tables } if *tables == [name("gold.t")]), "{ended}");
    assert_eq!((heard.recv().await, heard.recv().await), (Some("started"), Some("woken")));
}

#[tokio::test]
async fn upkeep_keeps_what_a_follower_needs() {
    let world = world().await;
    settle(&mut world.keeper("gold.t")).await.expect("filled");
    let (table, model) = (world.table("gold.t").await, &world.project.catalog.models[&name("gold.t")]);
    let horizon = async |beside: &Followers| {
        let followers = followers(&world.project.catalog, model, beside);
        followers.horizon(&world.lake, &table).await.expect("asked")
    };
    assert_eq!(horizon(&probe(false).0).await, Some(Version(1)));
    assert_eq!(horizon(&Followers::default()).await, None, "nobody follows");
}
