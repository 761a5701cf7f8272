//! An error that repeats halts its table with a reason, and fixing the cause is enough.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Kind, Measure, Otherwise, Project};
use lake::TableSpec;
use model::Reaction;
use rstest::rstest;
use runtime::{CancellationToken, Failure as _};
use stage::{Alone, Followers};

use super::world::*;
use crate::pipeline::Refreshed;
use crate::{Error, run};

fn gold(keys: &[&str], sql: &str) -> Project {
    project(&[(Kind::Table, "gold.t", keys, sql, 7)])
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

#[rstest]
#[case::division("SELECT id, 10 / amount AS r FROM silver.a", "id=2", 0)]
#[case::cast("SELECT id, CAST(kind AS BIGINT) AS n FROM silver.a", "id=2", 0)]
#[case::below_a_join(
    "SELECT a.id, sum(b.amount) / a.amount AS r FROM silver.a LEFT JOIN silver.b ON b.other = a.id GROUP BY a.id, a.amount",
    "id=2",
    0
)]
#[tokio::test]
async fn a_row_that_cannot_be_computed_halts_the_table_and_is_named(
    #[case] sql: &str,
    #[case] key: &str,
    #[case] bad: i64,
) {
    let world = World::new(gold(&["id"], sql)).await;
    let good = |id: i64| (id, None, "5", 5);
    world.edit(&put(0, &[good(1), (2, None, "x", bad), good(3), good(4), good(5)])).await;
    world.edit(&put(1, &(1..6).map(|id| (id, Some(id), "x", 5)).collect::<Vec<_>>())).await;
    let mut keeper = world.keeper("gold.t");
    let halted = settle(&mut keeper).await.expect_err("halts");
    assert_eq!(halted.reaction(), Reaction::Halt);
    assert!(matches!(&halted, Error::RowFails { key: named, .. } if named == key), "{halted}");
    world.edit(&put(0, &[good(2)])).await;
    settle(&mut keeper).await.expect("goes on");
    world.assert_kept("gold.t").await;
    // The same in a refresh of a few keys.
    world.edit(&put(0, &[(2, None, "x", bad), good(7)])).await;
    let halted = settle(&mut keeper).await.expect_err("halts");
    assert!(matches!(&halted, Error::RowFails { key: named, .. } if named == key), "{halted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_halts_for_a_row_says_so_in_the_lake_and_goes_on_once_the_row_is_corrected() {
    let mut world = World::new(project(&[
        (Kind::Table, "gold.t", &["id"], "SELECT id, 10 / amount AS r FROM silver.a", 7),
        (Kind::Table, "gold.fine", &["id"], "SELECT id, amount FROM silver.a", 8),
    ]))
    .await;
    world.settings.poll = Duration::from_millis(10);
    world.settings.refresh = Duration::from_millis(10);
    world.edit(&put(0, &[(1, None, "a", 5), (2, None, "a", 0)])).await;
    let stop = CancellationToken::new();
    let context = (*world.context(world.lake.clone())).clone();
    let owners = Alone::of([name("gold.t"), name("gold.fine")]);
    let stage = runtime::tasks::spawn("gold", run(context, Followers::default(), owners, stop.clone()));
    let rows = async |table: &str| match world.lake.table(&name(table)).await.expect("looked") {
        Some(table) => table.rows().unwrap_or_default(),
        None => 0,
    };
    let meter = world.meters.stage("gold", "gold.t");
    until("it halts", async || meter.halted().is_some_and(|why| why.contains("id=2"))).await;
    let halt = world.lake.halted("gold", &name("gold.t")).await.expect("looked").expect("noted");
    let held = world.table("gold.t").await;
    assert!(halt.holds(Some(&held)) && halt.reason.contains("id=2"), "{halt:?}");
    assert!(halt.reason.to_lowercase().contains("divide by zero"), "{halt:?}");
    until("the other table goes on", async || rows("gold.fine").await == 2).await;
    world.edit(&put(0, &[(2, None, "a", 1), (3, None, "a", 1)])).await;
    until("it goes on", async || rows("gold.t").await == 3).await;
    until("it is noted", async || {
        world.lake.halted("gold", &name("gold.t")).await.expect("looked").is_none()
    })
    .await;
    assert_eq!(meter.halted(), None);
    world.edit(&put(0, &[(3, None, "a", 0)])).await;
    until("it halts again", async || meter.halted().is_some_and(|why| why.contains("id=3"))).await;
    stop.cancel();
    let ended = stage.await.expect("no panic").expect_err("one stands still");
    assert!(matches!(&ended, Error::Halted { tables } if *tables == [name("gold.t")]), "{ended}");
    world.assert_kept("gold.t").await;
    world.assert_kept("gold.fine").await;
}

#[rstest]
#[case::lateral(
    "SELECT a.id, max(l.m) AS m FROM silver.a a CROSS JOIN LATERAL (SELECT max(b.amount) AS m FROM silver.b b WHERE b.other = a.id) l GROUP BY a.id"
)]
#[case::left_lateral(
    "SELECT a.id, max(l.m) AS m FROM silver.a a LEFT JOIN LATERAL (SELECT max(b.amount) AS m FROM silver.b b WHERE b.other = a.id) l ON true GROUP BY a.id"
)]
#[tokio::test]
async fn what_cannot_be_computed_for_some_keys_alone_is_computed_for_all(#[case] sql: &str) {
    let world = World::new(gold(&["id"], sql)).await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "x", 2)])).await;
    world.edit(&put(1, &[(1, Some(1), "x", 1), (2, Some(2), "x", 2)])).await;
    settle(&mut keeper).await.expect("filled");
    for amount in 3..6 {
        world.edit(&put(1, &[(2, Some(2), "x", amount)])).await;
        settle(&mut keeper).await.expect("refreshed");
        world.assert_kept("gold.t").await;
        world.edit(&put(0, &[(2, None, "y", amount), (amount, None, "z", 1)])).await;
        settle(&mut keeper).await.expect("refreshed");
        world.assert_kept("gold.t").await;
    }
}

#[rstest]
#[case::in_the_key(&["kind"])]
#[case::beside_the_key(&["n"])]
#[tokio::test]
async fn an_empty_text_in_a_partition_column_halts_and_names_column_and_row(#[case] keys: &[&str]) {
    let mut project = gold(keys, "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind");
    project.catalog.models.get_mut(&name("gold.t")).expect("a model").partition_by = vec!["kind".to_owned()];
    let world = World::new(project).await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "a", 1), (2, None, "a", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    for round in 0..3 {
        world.edit(&put(0, &[(7, None, "", round)])).await;
        let halted = settle(&mut keeper).await.expect_err("halts");
        assert!(matches!(&halted, Error::PartitionValue { column, .. } if column == "kind"), "{halted}");
        assert_eq!(world.table("gold.t").await.rows(), Some(1), "no row of it lands, however often");
    }
    world.edit(&put(0, &[(7, None, "b", 1)])).await;
    settle(&mut keeper).await.expect("goes on");
    world.assert_kept("gold.t").await;
}

#[tokio::test]
async fn a_table_waits_for_the_first_rows_where_its_query_says_nothing_of_none() {
    let world = World::new(gold(&["key"], "SELECT 'all' AS key, 10 / count(*) AS r FROM silver.a")).await;
    let mut keeper = world.keeper("gold.t");
    assert_eq!(keeper.step().await.expect("waits"), Refreshed::Waiting);
    assert_eq!(keeper.step().await.expect("waits"), Refreshed::Waiting);
    world.edit(&put(0, &[(1, None, "a", 1)])).await;
    assert!(matches!(keeper.step().await.expect("filled"), Refreshed::Changed(_)));
    world.assert_kept("gold.t").await;
    // Emptied is not the same as never filled.
    world.edit(&Edit { table: 0, puts: vec![], drops: vec![1] }).await;
    assert_eq!(settle(&mut keeper).await.expect_err("halts").reaction(), Reaction::Halt);
}

fn measuring(expr: &str) -> Project {
    let mut project = gold(&["id"], "SELECT id, other, amount FROM silver.a");
    let model = project.catalog.models.get_mut(&name("gold.t")).expect("a model");
    model.measures.push(Measure {
        name: "rule".to_owned(),
        expr: expr.to_owned(),
        query: format!("SELECT {expr} AS measure FROM gold.t"),
        inputs: vec![],
        related: None,
        at_least: Some(1.0),
        at_most: None,
        otherwise: Otherwise::Fail,
    });
    project
}

#[tokio::test]
async fn nothing_is_measured_of_a_table_that_has_seen_nothing() {
    let world = World::new(measuring("count(*)")).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    keeper.keep_up().await.expect("nothing to measure");
    world.edit(&put(0, &[(1, None, "a", 1)])).await;
    settle(&mut keeper).await.expect("refreshed");
    keeper.keep_up().await.expect("within its bounds");
    world.edit(&Edit { table: 0, puts: vec![], drops: vec![1] }).await;
    settle(&mut keeper).await.expect("refreshed");
    world.clock.advance(60_000);
    keeper.step().await.expect("looked");
    keeper.keep_up().await.expect_err("emptied is measured");
}

#[rstest]
#[case::within_a_day(0, true)]
#[case::days_later(5, false)]
#[tokio::test]
async fn the_time_in_a_measure_is_that_of_the_rows(#[case] days: i64, #[case] holds: bool) {
    // The clock of these tests begins on 2023-11-14.
    let world = World::new(measuring("count(*) FILTER (WHERE now() < TIMESTAMP '2023-11-16')")).await;
    world.clock.advance(days * 86_400_000);
    world.edit(&put(0, &[(1, None, "a", 1)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    assert_eq!(keeper.keep_up().await.is_ok(), holds);
    assert!(world.table("gold.t").await.positions().get(&model::AppId::as_of()).is_some());
}

/// The model's columns, partitioned: what the lake rejects is reported for the table too.
#[tokio::test]
async fn the_lake_itself_refuses_what_it_would_give_back_as_another_value() {
    let world = World::new(gold(&["kind"], "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind")).await;
    let model = world.project.catalog.models[&name("gold.t")].clone();
    let spec = TableSpec {
        partition_by: vec!["kind".to_owned()],
        positions: model::Positions::default().with(model::AppId::plan(), 7),
        ..TableSpec::new(world.project.name.clone(), Arc::clone(&model.schema))
    };
    world.lake.create(&name("gold.t"), spec).await.expect("created");
    world.edit(&put(0, &[(1, None, "", 1)])).await;
    let halted = settle(&mut world.keeper("gold.t")).await.expect_err("halts");
    assert!(halted.is_about_rows() && halted.reaction() == Reaction::Halt, "{halted}");
}
