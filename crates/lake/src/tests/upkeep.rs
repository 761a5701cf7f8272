//! Compaction, vacuum, checkpoints and cleanup: nothing that readers see may change.

use std::collections::HashSet;
use std::time::Duration;

use model::ClockMs;
use rstest::rstest;

use super::*;
use crate::store::wall_ms;
use crate::{Compaction, Error, Vacuum, VacuumReport};

fn eager() -> Compaction {
    Compaction { min_files: 2, ..Compaction::default() }
}

async fn append(table: &mut Table, source: &str, from: Option<i64>, to: i64) {
    let append = table.stage(vec![rows(from.unwrap_or(0)..to, 0)]).await.expect("stages");
    landed(table.commit(&Commit { append, ..step(source, from, to) }).await.expect("commits"));
}

/// A day that is long past for every file of the test.
const LATER: i64 = 8 * 24 * 3_600_000;

fn vacuum(horizon: Option<u64>) -> Vacuum {
    Vacuum {
        now: ClockMs(wall_ms() + LATER),
        keep: crate::upkeep::vacuum::KEEP,
        horizon: horizon.map(Version),
        registered: HashSet::new(),
        dry_run: false,
    }
}

// Holds P3 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_keeps_rows_and_positions_and_changes_nothing() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..4 {
        upsert(&mut table, [n], rows(n * 10..n * 10 + 10, n)).await;
    }
    let (before, rows, positions) = (table.version(), held(&table).await, table.positions().clone());
    let after = table.compact(&eager()).await.expect("compacts").expect("four files");
    assert_eq!(table.files().0, 1);
    assert_eq!(held(&table).await, rows);
    let seen = open(&site.rival().await, &table).await;
    assert_eq!((seen.positions(), held(&seen).await), (&positions, rows));
    assert!(seen.changes(Some(before), after).await.expect("lists").is_empty());
    let entry = seen.log(Some(before), after).await.expect("reads").remove(0);
    assert!(!entry.data_change && entry.op.is_some());
    assert_eq!(entry.positions, positions, "an owner's commit carries all positions");
    assert_eq!(table.compact(&eager()).await.expect("looks"), None, "one file is compact");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_many_deleted_rows_is_rewritten_by_itself() {
    let site = site().await;
    let mut table = site.create().await;
    upsert(&mut table, [], rows(0..100, 0)).await;
    upsert(&mut table, 0..10, rows([], 0)).await;
    assert_eq!(table.compact(&eager()).await.expect("looks"), None, "a tenth is little");
    upsert(&mut table, 10..30, rows([], 0)).await;
    table.compact(&eager()).await.expect("compacts").expect("three tenths is not");
    assert_eq!(table.rows(), Some(70));
    assert_eq!(held(&table).await, pairs(&[rows(30..100, 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_go_on_while_a_table_of_many_writers_is_compacted_by_one_of_them() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    for n in 0..3 {
        append(&mut table, "a", (n > 0).then_some(n * 10), n * 10 + 10).await;
    }
    let mut second = open(&site.rival().await, &table).await;
    let mut writer = table.clone();
    append(&mut writer, "b", None, 5).await;
    table.compact(&eager()).await.expect("compacts").expect("won");
    assert_eq!(second.compact(&eager()).await.expect("tries"), None, "another won");
    append(&mut writer, "b", Some(5), 6).await;
    let seen = open(&site.lake, &table).await;
    assert_eq!(held(&seen).await.len(), 36);
    assert_eq!((seen.positions().get(&app("a")), seen.positions().get(&app("b"))), (Some(30), Some(6)));
    assert_eq!(seen.positions().get(&AppId::compaction()), Some(0));
    assert_eq!(seen.files().0, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_bounded_and_sorts_when_asked() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    for (from, to) in [(None, 10), (Some(10), 20), (Some(20), 30), (Some(30), 40)] {
        append(&mut table, "a", from, to).await;
    }
    let one_file = table.files().1 / 4;
    let step = Compaction { max_bytes: one_file * 5 / 2, sort_by: vec!["name".into()], ..eager() };
    table.compact(&step).await.expect("compacts").expect("works");
    assert_eq!(table.files().0, 3, "two of four files at once");
    let files = table
        .snapshot()
        .files
        .values()
        .find(|f| f.physical_rows() == Some(20))
        .expect("the new file")
        .clone();
    let names =
        table.shared.reader.rows(&table.log, &files, table.schema(), crate::files::read::Pick::All).await;
    let names = names.expect("reads");
    assert!(names[0].column(1).as_string::<i32>().iter().is_sorted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_rewritten_a_few_times_however_often_small_files_come() {
    const ROWS: i64 = 3_000;
    let site = site().await;
    let mut table = site.create_bronze().await;
    let mut rewritten = 0;
    for n in 0..24 {
        append(&mut table, "a", (n > 0).then_some(n * ROWS), (n + 1) * ROWS).await;
        let before: HashSet<_> = table.snapshot().files.keys().cloned().collect();
        table.compact(&eager()).await.expect("compacts");
        let new = table.snapshot().files.iter().filter(|(key, _)| !before.contains(*key));
        rewritten += new.filter_map(|(_, file)| file.physical_rows()).sum::<u64>();
    }
    let all = (24 * ROWS).cast_unsigned();
    // All of them each time would be twelve times.
    assert!(rewritten > all && rewritten < 5 * all, "{rewritten} of {all}");
    assert!(table.files().0 <= 6, "{:?}", table.files());
    assert_eq!(held(&table).await.len() as u64, all);
}

// Holds P1 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_survive_a_checkpoint_and_the_cleanup_of_the_log() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    append(&mut table, "old", None, 7).await;
    for n in 0..5 {
        append(&mut table, "a", (n > 0).then_some(n), n + 1).await;
    }
    table.checkpoint().await.expect("writes");
    append(&mut table, "a", Some(5), 6).await;
    let (rows, positions) = (held(&table).await, table.positions().clone());
    let now = wall_ms() + LATER;
    assert_eq!(table.clean_log(Version(3), now, 0).await.expect("cleans"), 0, "a follower is at 3");
    assert_eq!(table.clean_log(table.version(), now, LATER * 2).await.expect("cleans"), 0, "all is young");
    assert_eq!(table.clean_log(table.version(), now, 0).await.expect("cleans"), 6);
    let seen = open(&site.rival().await, &table).await;
    assert_eq!((seen.positions(), held(&seen).await), (&positions, rows));
    let gone = seen.changes(None, seen.version()).await.expect_err("version 0 is gone");
    assert!(matches!(gone, Error::LogGone { version: 0, .. }));
    assert_eq!(seen.changes(Some(Version(6)), seen.version()).await.expect("lists").len(), 1);
    let log = seen.log(None, seen.version()).await.expect("reads");
    assert_eq!(log.first().map(|entry| entry.version), Some(Version(6)), "what is still there");
}

#[rstest]
#[case::across_the_cleanup(Some(20), 60, false)]
#[case::from_the_beginning(None, 60, false)]
#[case::from_the_last_version_that_is_gone(Some(59), 60, true)]
#[case::from_a_version_that_is_left(Some(117), 118, true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_log_is_read_with_whether_that_is_all(
    #[case] after: Option<u64>,
    #[case] first: u64,
    #[case] is_whole: bool,
) {
    let site = site().await;
    let mut table = site.create_bronze().await;
    for n in 0..120 {
        landed(table.commit(&step("a", (n > 0).then_some(n), n + 1)).await.expect("commits"));
        if n == 59 {
            table.checkpoint().await.expect("writes");
        }
    }
    site.lake.settle().await;
    let whole = table.kept_log(None, table.version()).await.expect("reads");
    assert_eq!((whole.entries.len(), whole.is_whole), (121, true));
    table.clean_log(Version(60), wall_ms() + LATER, 0).await.expect("cleans");
    let kept = table.kept_log(after.map(Version), table.version()).await.expect("reads");
    let versions: Vec<u64> = kept.entries.iter().map(|entry| entry.version.0).collect();
    assert_eq!(versions, (first..=120).collect::<Vec<_>>());
    assert_eq!(kept.is_whole, is_whole);
    let beyond = table.kept_log(Some(Version(10)), Version(40)).await.expect("reads");
    assert_eq!((beyond.entries.len(), beyond.is_whole), (0, false), "nothing of it is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_leave_checkpoints_behind_without_being_asked() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    for n in 0..26 {
        landed(table.commit(&step("a", (n > 0).then_some(n), n + 1)).await.expect("commits"));
    }
    site.lake.settle().await;
    let folder = site.settings.url.to_file_path().expect("local").join("bronze/t/_delta_log");
    assert!(folder.join("00000000000000000025.checkpoint.parquet").exists());
    assert_eq!(open(&site.lake, &table).await.positions(), table.positions());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_keeps_what_a_follower_reads_and_deletes_the_rest() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..3 {
        upsert(&mut table, [n], rows(n * 10..n * 10 + 10, n)).await;
    }
    let before = table.version();
    table.compact(&eager()).await.expect("compacts").expect("three files");
    let files = parquet_files(&site, &table).len();
    // A follower stands at version 1: it will read what 2 and 3 changed, and the table at 1.
    let kept = table.vacuum(&vacuum(Some(1))).await.expect("runs");
    assert_eq!((kept.files, parquet_files(&site, &table).len()), (0, files));
    for changed in table.changes(Some(Version(1)), before).await.expect("lists") {
        let change = table.read_change(&changed).await.expect("reads");
        assert_eq!((pairs(&change.added).len(), pairs(&change.removed).len()), (10, 1));
    }
    // At the version before the compaction, only the vector that a later one replaced may go.
    assert_eq!(table.vacuum(&vacuum(Some(before.0))).await.expect("runs").files, 1);
    assert_eq!(parquet_files(&site, &table).len(), files);
    let fresh = open(&site.rival().await, &table).await;
    assert_eq!(held(&fresh.at(before).await.expect("opens")).await, held(&fresh).await);
    let young = Vacuum { now: ClockMs(wall_ms()), ..vacuum(None) };
    assert_eq!(table.vacuum(&young).await.expect("runs").files, 0, "seven days have not passed");
    let dry = table.vacuum(&Vacuum { dry_run: true, ..vacuum(None) }).await.expect("runs");
    let done = table.vacuum(&vacuum(None)).await.expect("runs");
    assert_eq!(dry, done);
    assert_eq!(parquet_files(&site, &table).len(), 1);
    assert_eq!(held(&open(&site.rival().await, &table).await).await.len(), 28);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_keeps_young_and_registered_files_that_no_commit_names() {
    let site = site().await;
    let mut table = site.create().await;
    let staged = table.stage(vec![rows(0..3, 0)]).await.expect("stages");
    let young = Vacuum { now: ClockMs(wall_ms()), keep: Duration::from_secs(3600), ..vacuum(None) };
    let kept = VacuumReport { unreferenced: 1, ..VacuumReport::default() };
    assert_eq!(table.vacuum(&young).await.expect("runs"), kept);
    let registered = HashSet::from([staged[0].path().to_owned()]);
    assert_eq!(table.vacuum(&Vacuum { registered, ..vacuum(None) }).await.expect("runs"), kept);
    landed(table.commit(&Commit { append: staged, ..step("a", None, 3) }).await.expect("commits"));
    assert_eq!(table.vacuum(&vacuum(None)).await.expect("runs"), VacuumReport::default());
    drop(table.stage(vec![rows(9..10, 0)]).await.expect("stages"));
    assert_eq!(table.vacuum(&vacuum(None)).await.expect("runs").files, 1, "a week-old orphan");
    assert_eq!(held(&table).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vacuum_works_on_a_log_that_was_cleaned() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..4 {
        upsert(&mut table, [n], rows(n * 10..n * 10 + 10, n)).await;
    }
    table.compact(&eager()).await.expect("compacts").expect("four files");
    table.checkpoint().await.expect("writes");
    upsert(&mut table, [1], rows([1], 9)).await;
    let rows = held(&table).await;
    table.clean_log(table.version(), wall_ms() + LATER, 0).await.expect("cleans");
    let done = table.vacuum(&vacuum(None)).await.expect("runs");
    assert!(done.files >= 4, "{done:?}");
    assert_eq!(held(&open(&site.rival().await, &table).await).await, rows);
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_older_than_the_cleaned_log_cannot_take_a_version_that_was_cleaned_up() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..5 {
        landed(table.commit(&step("a", (n > 0).then_some(n), n + 1)).await.expect("commits"));
    }
    let mut old = table.at(Version(2)).await.expect("opens");
    table.checkpoint().await.expect("writes");
    assert!(table.clean_log(table.version(), wall_ms() + LATER, 0).await.expect("cleans") >= 4);
    // Entry 3 is not there any more, so creating it would succeed.
    assert_eq!(old.commit(&step("b", None, 1)).await.expect("commits"), Landing::Landed(Version(6)));
    assert_eq!(old.positions().get(&app("a")), Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_whose_files_changed_meanwhile_is_dropped() {
    let site = site().await;
    let mut table = site.create().await;
    for n in 0..3 {
        upsert(&mut table, [], rows(n * 10..n * 10 + 10, n)).await;
    }
    let mut rival = open(&site.rival().await, &table).await;
    // Takes out a row and moves no position, so positions alone would let the compaction land.
    let none = Expect::These(BTreeMap::new());
    let remove = Commit {
        expect: none,
        set: Positions::default(),
        remove: Remove::Keys(keys([5])),
        ..step("x", None, 0)
    };
    landed(rival.commit(&remove).await.expect("commits"));
    assert_eq!(table.compact(&eager()).await.expect("tries"), None);
    let seen = open(&site.lake, &table).await;
    assert_eq!(held(&seen).await, held(&rival).await);
    assert_eq!(seen.rows(), Some(29));
}
