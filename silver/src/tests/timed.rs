//! The time of measures in a project whose clock follows events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{ClockKind, Kind, Measure, Model as Declared, Otherwise};
use lake::{Commit, Expect, Remove, Table};
use model::{Positions, Version};
use rstest::rstest;

use super::oracle::{Record, Says};
use super::stage::{World, at, named, world_with};

fn measure(name: &str, query: &str) -> Measure {
    Measure {
        name: name.to_owned(),
        expr: String::new(),
        query: query.to_owned(),
        inputs: Vec::new(),
        related: None,
        at_least: Some(1.0),
        at_most: None,
        otherwise: Otherwise::Fail,
    }
}

/// A table that halts if a measure is taken at another time than that of the records, which is a second after 1970.
async fn world(change: impl FnOnce(&mut Declared)) -> World {
    let mut world = world_with(Kind::Scd1, |model| {
        model.tick = Duration::from_millis(1);
        let is_event = "CASE WHEN now() = TIMESTAMP '1970-01-01 00:00:01' THEN count(*) + 1 ELSE 0 END";
        model.measures.push(measure("at_the_event", &format!("SELECT {is_event} FROM silver.things")));
        change(model);
    })
    .await;
    Arc::get_mut(&mut world.ctx.project).expect("nobody else has it").clock = ClockKind::Events;
    world
}

/// A record that no reader can decode: it has no event time.
fn garbage(offset: i64) -> Record {
    at(offset, offset, Says::Garbage)
}

/// Commits nothing, and says nothing of event times.
async fn pass(world: &World, table: &mut Table) {
    let commit = Commit {
        operation: "WRITE",
        op: world.ctx.ids.ulid(),
        expect: Expect::All(table.positions().clone()),
        set: Positions::default(),
        append: Vec::new(),
        remove: Remove::Nothing,
        schema: None,
        properties: BTreeMap::new(),
        info: Default::default(),
    };
    table.commit(&commit).await.expect("landed");
}

/// Writes a checkpoint, behind which maintenance may delete the log.
async fn checkpoint(world: &World, table: &Table) {
    world.ctx.lake.settle().await;
    table.checkpoint().await.expect("written");
}

/// Deletes the log entries before a version with a checkpoint, as maintenance does once they are old.
async fn clean(table: &Table, first: Version) {
    assert!(table.clean_log(first, i64::MAX, 0).await.expect("cleaned") > 0, "there was something to delete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_is_that_of_the_commits_that_the_log_still_has() {
    let world = world(|_| {}).await;
    world.land(&[garbage(0)]).await;
    world.drain().await.expect("no event has come");
    let mut table = world.open(&world.model.name).await;
    for _ in 0..20 {
        pass(&world, &mut table).await;
    }
    checkpoint(&world, &table).await;
    world.land(&[named(10, 1, "a")]).await;
    world.drain().await.expect("the time is that of the event");
    // The entry with the event is left, and fewer than are searched.
    clean(&world.open(&world.model.name).await, table.version()).await;
    world.land(&[garbage(2)]).await;
    world.drain().await.expect("the time is still that of the event");
}

#[rstest]
#[case::after_few_commits(5)]
#[case::after_more_commits_than_are_searched(110)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_says_the_time_only_measures_without_it_are_taken(#[case] silent: usize) {
    let some = |model: &mut Declared| {
        let two = "SELECT CASE WHEN count(*) > 1 THEN 1 ELSE 0 END FROM silver.things";
        model.measures.push(measure("two", two));
    };
    let world = world(some).await;
    world.land(&[named(10, 0, "a"), named(11, 1, "b")]).await;
    world.drain().await.expect("two rows, at the time of their event");
    let mut table = world.open(&world.model.name).await;
    for _ in 0..silent {
        pass(&world, &mut table).await;
    }
    checkpoint(&world, &table).await;
    clean(&table, table.version()).await;
    world.land(&[garbage(2)]).await;
    world.drain().await.expect("the measure that uses the time is not taken in 1970");
}
