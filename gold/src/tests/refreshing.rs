//! A gold table equals its SQL over its pins, whatever its inputs do and whenever it restarts.

use catalog::Kind;
use model::{AppId, Version};
use proptest::prelude::*;
use rstest::rstest;
use runtime::Failure as _;

use super::world::*;
use crate::Error;
use crate::pipeline::Refreshed;

const BY_KIND: &str = "SELECT b.kind, count(*) AS n, sum(a.amount) AS total, max(a.id) AS newest
    FROM silver.a JOIN silver.b ON a.other = b.id GROUP BY b.kind";

fn kept(sql: &'static str, keys: &'static [&'static str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let edits = prop::collection::vec((prop::collection::vec(edit(), 1..4), any::<bool>()), 1..5);
    proptest!(cases::few(6), |(edits in edits)| {
        runtime.block_on(async {
            let world = World::new(project(&[(Kind::Table, "gold.t", keys, sql, 7)])).await;
            let mut keeper = world.keeper("gold.t");
            settle(&mut keeper).await.expect("filled");
            for (edits, restart) in &edits {
                for edit in edits {
                    world.edit(edit).await;
                }
                if *restart {
                    keeper = world.keeper("gold.t");
                }
                settle(&mut keeper).await.expect("refreshed");
                world.assert_kept("gold.t").await;
            }
            // Every version after the fill keeps the contract, not only the newest.
            let newest = world.table("gold.t").await;
            let model = &world.project.catalog.models[&name("gold.t")];
            for version in 1..=newest.version().0 {
                let at = newest.at(Version(version)).await.expect("readable");
                let wanted = crate::recompute(&world.project, model, &world.lake, at.positions()).await.expect("recomputed");
                assert_eq!(shown(&at.scan(None).await.expect("scanned")), shown(&wanted), "version {version}");
            }
        });
    });
}

// Holds P7 (docs/invariants.md).
#[rstest]
#[case::join_and_group(BY_KIND, &["kind"])]
#[case::left_join("SELECT a.id, a.kind, sum(b.amount) AS total FROM silver.a LEFT JOIN silver.b ON b.other = a.id GROUP BY a.id, a.kind", &["id"])]
#[case::star("SELECT * FROM silver.a WHERE amount > 0", &["id"])]
#[case::window("SELECT id, kind, rank() OVER (PARTITION BY kind ORDER BY amount) AS r FROM silver.a", &["id"])]
#[case::always_full("SELECT 'all' AS key, count(*) AS n, sum(amount) AS total FROM silver.a", &["key"])]
#[case::reads_old_versions("SELECT x.kind, y.kind AS b_kind, count(*) AS n FROM (SELECT DISTINCT kind, other FROM silver.a) x JOIN (SELECT DISTINCT kind, other FROM silver.b) y ON x.other = y.other GROUP BY x.kind, y.kind", &["kind", "b_kind"])]
#[case::joins_an_aggregate("SELECT a.id, t.n FROM silver.a LEFT JOIN (SELECT other, kind, count(*) AS n FROM silver.b GROUP BY other, kind) t ON t.other = a.id AND t.kind = a.kind", &["id"])]
fn a_table_equals_its_sql_over_its_pins_at_every_version(
    #[case] sql: &'static str,
    #[case] keys: &'static [&'static str],
) {
    kept(sql, keys);
}

#[tokio::test]
async fn a_change_that_changes_no_row_writes_no_version_until_pins_are_due() {
    let sql = "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind";
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], sql, 7)])).await;
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    let mut keeper = world.keeper("gold.t");
    assert_eq!(settle(&mut keeper).await.expect("filled").len(), 1);
    let filled = world.table("gold.t").await.version();

    world.edit(&put(0, &[(1, None, "x", 2)])).await;
    assert_eq!(keeper.step().await.expect("refreshed"), Refreshed::Unchanged);
    assert_eq!(world.table("gold.t").await.version(), filled);

    world.clock.advance(30_000);
    assert_eq!(keeper.step().await.expect("refreshed"), Refreshed::Pinned(filled.next()));
    let table = world.table("gold.t").await;
    let input = world.table("silver.a").await;
    assert_eq!(table.positions().get(&AppId::table(input.id())), Some(input.version().position()));
    assert!(table.changes(Some(filled), table.version()).await.expect("read").is_empty());
    assert_eq!(keeper.step().await.expect("refreshed"), Refreshed::Idle);
}

#[tokio::test]
async fn while_draining_pins_are_committed_at_once() {
    let sql = "SELECT kind, count(*) AS n FROM silver.a GROUP BY kind";
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], sql, 7)])).await;
    let ctx = world.context(world.lake.clone());
    let model = std::sync::Arc::new(world.project.catalog.models[&name("gold.t")].clone());
    let mut keeper = crate::pipeline::Keeper::new(ctx.clone(), model, Default::default());
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    world.edit(&put(0, &[(1, None, "x", 2)])).await;
    assert_eq!(keeper.step().await.expect("refreshed"), Refreshed::Unchanged);
    ctx.draining.cancel();
    assert!(matches!(keeper.step().await.expect("refreshed"), Refreshed::Pinned(_)));
}

#[tokio::test]
async fn only_rows_that_differ_are_written() {
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], BY_KIND, 7)])).await;
    world.edit(&put(1, &[(1, None, "x", 0), (2, None, "y", 0)])).await;
    world.edit(&put(0, &[(1, Some(1), "", 5), (2, Some(2), "", 5)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    // Two keys are touched, and one does not change.
    world.edit(&put(0, &[(1, Some(1), "other", 5), (2, Some(2), "", 6)])).await;
    settle(&mut keeper).await.expect("refreshed");
    let table = world.table("gold.t").await;
    let changes = table.changes(Some(Version(1)), table.version()).await.expect("read");
    assert_eq!(changes.len(), 1);
    let change = table.read_change(&changes[0]).await.expect("read");
    assert_eq!(shown(&change.added), ["y|1|6.00|2"]);
    assert_eq!(shown(&change.removed), ["y|1|5.00|2"]);
}

// Holds P7 (docs/invariants.md).
#[tokio::test]
async fn the_pinned_time_moves_by_ticks_and_recomputes_what_asks_for_it() {
    let sql = "SELECT id, current_date AS day FROM silver.a";
    let world = World::new(project(&[(Kind::Table, "gold.t", &["id"], sql, 7)])).await;
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    let rows = || async { shown(&world.table("gold.t").await.scan(None).await.expect("scanned")) };
    assert_eq!(rows().await, ["1|2023-11-14"]);
    world.clock.advance(3_600_000);
    assert_eq!(keeper.step().await.expect("refreshed"), Refreshed::Idle);
    world.clock.advance(86_400_000);
    settle(&mut keeper).await.expect("refreshed");
    assert_eq!(rows().await, ["1|2023-11-15"]);
    world.assert_kept("gold.t").await;
    // An older clock, as on another machine, moves nothing back.
    world.clock.advance(-10 * 86_400_000);
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("refreshed");
    assert_eq!(rows().await, ["1|2023-11-15"]);
}

// Holds P7 (docs/invariants.md).
#[tokio::test]
async fn a_clock_that_follows_events_is_the_newest_of_its_inputs() {
    let sql = "SELECT id, current_date AS day FROM silver.a";
    let mut project = project(&[(Kind::Table, "gold.t", &["id"], sql, 7)]);
    project.clock = catalog::ClockKind::Events;
    let world = World::new(project).await;
    let mut keeper = world.keeper("gold.t");
    let day = |n: i64| world.event.store(n * 86_400_000 + 1, std::sync::atomic::Ordering::Relaxed);
    let rows = || async { shown(&world.table("gold.t").await.scan(None).await.expect("scanned")) };
    day(10);
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    assert_eq!(rows().await, ["1|1970-01-11"]);
    day(12);
    world.edit(&put(0, &[(2, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("refreshed");
    assert_eq!(rows().await, ["1|1970-01-13", "2|1970-01-13"]);
    day(11);
    world.edit(&put(0, &[(3, None, "x", 1)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("refreshed");
    assert_eq!(rows().await.last().map(String::as_str), Some("3|1970-01-13"));
    world.assert_kept("gold.t").await;
}

#[tokio::test]
async fn a_clock_that_follows_events_does_not_pass_over_a_commit_that_cannot_be_read() {
    let sql = "SELECT id, current_date AS day FROM silver.a";
    let mut project = project(&[(Kind::Table, "gold.t", &["id"], sql, 7)]);
    project.clock = catalog::ClockKind::Events;
    let world = World::new(project).await;
    world.event.store(86_400_000, std::sync::atomic::Ordering::Relaxed);
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    world.say("silver.a", serde_json::json!({ "stage": "silver", "input": "of a later release" })).await;
    let halted = keeper.step().await.expect_err("its rows may be newer");
    assert!(
        matches!(&halted, Error::InputUnreadable { input, .. } if *input == name("silver.a")),
        "{halted}"
    );
    assert_eq!(halted.reaction(), model::Reaction::Halt);
}

/// A table that may show the project's day, in a project whose clock follows events, over an input whose log has
/// only its newest entry. The input has read events of day 20, then `last`.
async fn over_a_cleaned_input(day: &str, last: Option<i64>) -> World {
    let sql = format!("SELECT id, {day} AS day FROM silver.a");
    let mut project = project(&[(Kind::Table, "gold.t", &["id"], sql.as_str(), 7)]);
    project.clock = catalog::ClockKind::Events;
    let world = World::new(project).await;
    let event = |day: i64| world.event.store(day, std::sync::atomic::Ordering::Relaxed);
    event(20 * 86_400_000 + 1);
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    event(last.map_or(0, |day| day * 86_400_000 + 1));
    world.edit(&put(0, &[(2, None, "x", 1)])).await;
    world.clean("silver.a").await;
    world
}

// Holds P7 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_table_that_uses_the_time_waits_while_nothing_says_it() {
    let world = over_a_cleaned_input("current_date", None).await;
    let mut keeper = world.keeper("gold.t");
    let waits = keeper.step().await.expect_err("the commit that said the time is gone");
    assert!(matches!(&waits, Error::TimeGone { input, .. } if *input == name("silver.a")), "{waits}");
    assert_eq!(waits.reaction(), model::Reaction::Retry);
    assert!(matches!(world.rebuild("gold.t").await, Err(Error::TimeGone { .. })));
    assert_eq!(world.table("gold.t").await.positions().get(&AppId::as_of()), None, "nothing is filled");
    world.event.store(21 * 86_400_000 + 1, std::sync::atomic::Ordering::Relaxed);
    world.edit(&put(0, &[(3, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    let rows = shown(&world.table("gold.t").await.scan(None).await.expect("scanned"));
    assert_eq!(rows, ["1|1970-01-22", "2|1970-01-22", "3|1970-01-22"]);
    world.assert_kept("gold.t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_table_that_does_not_use_the_time_is_filled_all_the_same() {
    let world = over_a_cleaned_input("DATE '2000-01-01'", None).await;
    settle(&mut world.keeper("gold.t")).await.expect("filled");
    let rows = shown(&world.table("gold.t").await.scan(None).await.expect("scanned"));
    assert_eq!(rows, ["1|2000-01-01", "2|2000-01-01"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_table_has_the_newest_time_that_is_left() {
    let world = over_a_cleaned_input("current_date", Some(22)).await;
    settle(&mut world.keeper("gold.t")).await.expect("filled");
    let rows = shown(&world.table("gold.t").await.scan(None).await.expect("scanned"));
    assert_eq!(rows, ["1|1970-01-23", "2|1970-01-23"]);
}

// Holds P7 (docs/invariants.md).
#[tokio::test]
async fn the_time_of_events_goes_on_through_tables_that_do_not_use_it() {
    let (below, above) = ("SELECT id, amount FROM silver.a", "SELECT id, current_date AS day FROM gold.t");
    let mut project =
        project(&[(Kind::Table, "gold.t", &["id"], below, 7), (Kind::Table, "gold.u", &["id"], above, 8)]);
    project.clock = catalog::ClockKind::Events;
    let world = World::new(project).await;
    let (mut below, mut above) = (world.keeper("gold.t"), world.keeper("gold.u"));
    for (n, day) in [(1, "1970-01-21"), (2, "1970-01-22"), (3, "1970-01-23")] {
        world.event.store((19 + n) * 86_400_000 + 1, std::sync::atomic::Ordering::Relaxed);
        world.edit(&put(0, &[(n, None, "x", 1)])).await;
        settle(&mut below).await.expect("refreshed");
        settle(&mut above).await.expect("refreshed");
        let rows = shown(&world.table("gold.u").await.scan(None).await.expect("scanned"));
        assert_eq!(rows, (1..=n).map(|id| format!("{id}|{day}")).collect::<Vec<_>>());
    }
    world.assert_kept("gold.u").await;
}

#[tokio::test]
async fn a_view_is_read_through_and_its_tables_are_pinned() {
    let view = "SELECT other, sum(amount) AS total FROM silver.b GROUP BY other";
    let sql = "SELECT a.id, v.total FROM silver.a JOIN gold.v ON v.other = a.id";
    let world = World::new(project(&[
        (Kind::View, "gold.v", &[], view, 5),
        (Kind::Table, "gold.t", &["id"], sql, 7),
    ]))
    .await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "x", 1)])).await;
    world.edit(&put(1, &[(7, Some(1), "x", 4), (8, Some(1), "x", 5)])).await;
    settle(&mut keeper).await.expect("refreshed");
    let table = world.table("gold.t").await;
    assert_eq!(shown(&table.scan(None).await.expect("scanned")), ["1|9.00"]);
    let input = world.table("silver.b").await;
    assert!(table.positions().get(&AppId::table(input.id())).is_some());
    world.assert_kept("gold.t").await;
}

#[tokio::test]
async fn a_key_that_is_none_halts_and_says_which() {
    let sql = "SELECT kind, id FROM silver.a";
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], sql, 7)])).await;
    let mut keeper = world.keeper("gold.t");
    settle(&mut keeper).await.expect("filled");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "x", 1)])).await;
    let error = settle(&mut keeper).await.expect_err("halts");
    assert!(matches!(&error, Error::KeyTwice { key, .. } if key == "kind=x"), "{error}");
    assert_eq!(error.reaction(), model::Reaction::Halt);
}

// Holds P2 (docs/invariants.md).
#[tokio::test]
async fn two_owners_of_a_table_leave_what_one_would() {
    let world = World::new(project(&[(Kind::Table, "gold.t", &["kind"], BY_KIND, 7)])).await;
    let (mut one, mut other) = (world.keeper("gold.t"), world.keeper("gold.t"));
    for i in 0..4 {
        world.edit(&put(1, &[(i, None, "x", 0)])).await;
        world.edit(&put(0, &[(i, Some(i), "", i)])).await;
        let (a, b) = tokio::join!(one.step(), other.step());
        for outcome in [a, b] {
            let outcome = outcome.expect("refreshed");
            assert!(
                matches!(outcome, Refreshed::Changed(_) | Refreshed::Overtaken | Refreshed::Idle),
                "{outcome:?}"
            );
        }
        settle(&mut one).await.expect("refreshed");
        world.assert_kept("gold.t").await;
    }
}

#[tokio::test]
async fn a_compaction_between_two_commits_changes_no_row() {
    let mut world =
        World::new(project(&[(Kind::Table, "gold.t", &["id"], "SELECT id, kind, amount FROM silver.a", 7)]))
            .await;
    world.settings.compact_every = 20;
    let mut keeper = world.keeper("gold.t");
    let mut most = 0;
    for id in 0..24 {
        world.edit(&put(0, &[(id, None, "x", id)])).await;
        settle(&mut keeper).await.expect("refreshed");
        keeper.keep_up().await.expect("kept up");
        most = most.max(world.table("gold.t").await.files().0);
    }
    let table = world.table("gold.t").await;
    assert!(most >= 16 && table.files().0 < 8, "{most} files became {}", table.files().0);
    world.assert_kept("gold.t").await;
}
