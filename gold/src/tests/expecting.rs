//! Expectations of each row before the commit, and of the table after it.

use std::sync::atomic::Ordering;

use catalog::{Expectation, Kind, Measure, Otherwise, Project};
use model::{Reaction, Version};
use rstest::rstest;
use runtime::Failure as _;
use runtime::meters::Metric;

use super::world::*;
use crate::Error;
use crate::pipeline::Refreshed;

const SQL: &str = "SELECT id, kind, amount FROM silver.a";

fn expecting(predicate: &str, otherwise: Otherwise) -> Project {
    let mut project = project(&[(Kind::Table, "gold.t", &["id"], SQL, 7)]);
    let model = project.catalog.models.get_mut(&name("gold.t")).expect("a model");
    let (name, predicate) = ("rule".to_owned(), predicate.to_owned());
    model.expectations.push(Expectation { name, predicate, otherwise });
    project
}

fn measuring(expr: &str, at_most: f64, otherwise: Otherwise) -> Project {
    let mut project = project(&[(Kind::Table, "gold.t", &["id"], SQL, 7)]);
    let model = project.catalog.models.get_mut(&name("gold.t")).expect("a model");
    model.measures.push(Measure {
        name: "rule".to_owned(),
        expr: expr.to_owned(),
        query: format!("SELECT {expr} AS measure FROM gold.t"),
        inputs: vec![],
        related: None,
        at_least: None,
        at_most: Some(at_most),
        otherwise,
    });
    project
}

#[rstest]
#[case::false_for_two("amount > 0", 1, 2)]
#[case::null_is_not_known_to_be_wrong("nullif(amount, 0) > 0", 2, 1)]
#[case::not_to_be_evaluated_for_one("1 / (id - 2) > -9", 2, 1)]
#[tokio::test]
async fn a_row_that_breaks_a_warning_is_counted_and_stays(
    #[case] predicate: &str,
    #[case] passed: u64,
    #[case] failed: u64,
) {
    let world = World::new(expecting(predicate, Otherwise::Warn)).await;
    world.edit(&put(0, &[(1, None, "a", 5), (2, None, "a", 0), (3, None, "a", -1)])).await;
    settle(&mut world.keeper("gold.t")).await.expect("filled");
    world.assert_kept("gold.t").await;
    let table = world.table("gold.t").await;
    assert_eq!(table.rows(), Some(3));
    let entries = table.log(Some(Version(0)), table.version()).await.expect("read");
    assert_eq!(entries[0].info["broken"]["rule"], failed);
    let text = world.meters.text();
    for (outcome, rows) in [("passed", passed), ("failed", failed)] {
        let line = format!(r#"{}{{expectation="rule",outcome="{outcome}","#, Metric::Expectations.name());
        let line = text.lines().find(|l| l.starts_with(&line)).unwrap_or_else(|| panic!("{line} in {text}"));
        assert!(line.ends_with(&format!(" {rows}")), "{line}");
    }
}

#[tokio::test]
async fn a_row_that_breaks_a_fail_stops_the_table_before_the_commit_until_it_is_corrected() {
    let world = World::new(expecting("amount >= 0", Otherwise::Fail)).await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "a", 5)])).await;
    settle(&mut keeper).await.expect("filled");
    let before = world.table("gold.t").await.version();
    world.edit(&put(0, &[(2, None, "b", -1)])).await;
    let halted = settle(&mut keeper).await.expect_err("halts");
    assert_eq!(halted.reaction(), Reaction::Halt);
    assert!(
        matches!(&halted, Error::ExpectationFailed { expectation, key, .. } if expectation == "rule" && key == "id=2"),
        "{halted}"
    );
    let again = settle(&mut world.keeper("gold.t")).await.expect_err("halts again after a restart");
    assert_eq!(again.to_string(), halted.to_string());
    assert_eq!(world.table("gold.t").await.version(), before, "nobody sees the row");
    world.assert_kept("gold.t").await;
    world.edit(&put(0, &[(2, None, "b", 1)])).await;
    settle(&mut world.keeper("gold.t")).await.expect("goes on");
    assert_eq!(world.table("gold.t").await.rows(), Some(2));
}

#[tokio::test]
async fn a_rebuild_does_not_cut_over_to_rows_that_break_a_fail() {
    let world = World::new(expecting("amount >= 0", Otherwise::Fail)).await;
    world.edit(&put(0, &[(2, None, "b", -1)])).await;
    let refused = world.rebuild("gold.t").await.expect_err("refused");
    assert!(matches!(refused, Error::ExpectationFailed { .. }), "{refused}");
    assert_eq!(world.table("gold.t").await.rows(), Some(0));
}

#[tokio::test]
async fn a_measure_halts_the_table_behind_the_commit_and_again_when_it_starts() {
    let world = World::new(measuring("sum(amount)", 10.0, Otherwise::Fail)).await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "a", 5)])).await;
    settle(&mut keeper).await.expect("filled");
    keeper.keep_up().await.expect("holds");
    world.edit(&put(0, &[(2, None, "a", 6)])).await;
    settle(&mut keeper).await.expect("refreshed");
    let version = world.table("gold.t").await.version();
    keeper.keep_up().await.expect("measured a moment ago");
    world.clock.advance(10_000);
    assert_eq!(keeper.step().await.expect("looked"), Refreshed::Idle);
    let halted = keeper.keep_up().await.expect_err("out of bounds");
    assert_eq!(halted.reaction(), Reaction::Halt);
    assert!(
        matches!(halted, Error::MeasureFailed { value: 11.0, version: v, .. } if v == version.0),
        "{halted}"
    );
    let mut restarted = world.keeper("gold.t");
    restarted.step().await.expect("looked");
    restarted.keep_up().await.expect_err("it is as it was");
    world.edit(&put(0, &[(2, None, "a", 1)])).await;
    let mut corrected = world.keeper("gold.t");
    settle(&mut corrected).await.expect("refreshed");
    corrected.keep_up().await.expect("holds again");
}

#[tokio::test]
async fn a_measure_that_warns_stops_nothing_and_can_be_scraped() {
    let world = World::new(measuring("count(*)", 0.0, Otherwise::Warn)).await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "a", 5), (2, None, "a", 5)])).await;
    settle(&mut keeper).await.expect("filled");
    keeper.keep_up().await.expect("goes on");
    let line = format!(r#"{}{{measure="rule",stage="gold",table="gold.t"}} 2"#, Metric::Measure.name());
    assert!(world.meters.text().contains(&line), "{}", world.meters.text());
}

#[tokio::test]
async fn freshness_is_the_age_of_the_newest_record_behind_the_rows_through_any_number_of_tables() {
    let on_top = "SELECT kind, count(*) AS n FROM gold.t GROUP BY kind";
    let world = World::new(project(&[
        (Kind::Table, "gold.t", &["id"], SQL, 7),
        (Kind::Table, "gold.top", &["kind"], on_top, 8),
    ]))
    .await;
    let now = world.clock.as_ref();
    let arrived = |age: i64| world.arrival.store(runtime::Clock::now(now).0 - age, Ordering::Relaxed);
    let fresh = |table: &str| world.meters.stage("gold", table).freshness_seconds();
    let mut keepers = [world.keeper("gold.t"), world.keeper("gold.top")];
    arrived(7_000);
    world.edit(&put(0, &[(1, None, "a", 5)])).await;
    for keeper in &mut keepers {
        settle(keeper).await.expect("filled");
    }
    assert_eq!((fresh("gold.t"), fresh("gold.top")), (7.0, 7.0));
    arrived(2_500);
    world.edit(&put(0, &[(2, None, "a", 5)])).await;
    arrived(4_000);
    world.edit(&put(0, &[(3, None, "a", 5)])).await;
    settle(&mut keepers[0]).await.expect("refreshed");
    assert_eq!((fresh("gold.t"), fresh("gold.top")), (2.5, 7.0), "the newest of both commits");
    world.clock.advance(1_000);
    settle(&mut keepers[1]).await.expect("refreshed");
    assert_eq!((fresh("gold.t"), fresh("gold.top")), (2.5, 3.5));
}
