//! The commit protocol: each of its outcomes, on a store that lies.

use arrow::datatypes::{DataType, Field, Schema};
use model::{Reaction, Version};
use object_store::local::LocalFileSystem;
use rstest::rstest;

use super::faults::{Fault, FaultStore};
use super::*;
use crate::Error;

/// A batch of ids 0..5 from the beginning of a source, staged.
async fn first_batch(table: &Table) -> Commit {
    let append = table.stage(vec![rows(0..5, 1)]).await.expect("stages");
    Commit { append, ..step("a", None, 5) }
}

async fn versions_of(table: &Table, op: &str) -> Vec<Version> {
    let entries = table.log(None, table.version()).await.expect("reads");
    entries.iter().filter(|e| e.op.as_deref() == Some(op)).map(|e| e.version).collect()
}

// Holds P2 (docs/invariants.md).
#[rstest]
#[case::answer_lost(Fault::LandsUnanswered)]
#[case::resent_and_met_itself(Fault::LandsAndExists)]
#[case::nothing_written_answer_lost(Fault::LostUnanswered)]
#[case::nothing_written_but_a_conflict_is_claimed(Fault::LostAndExists)]
#[case::arrives_after_the_sender_gave_up(Fault::LandsLate)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_lands_once_whatever_the_store_answers(#[case] fault: Fault) {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    site.faults.plan([fault]);
    assert_eq!(table.commit(&commit).await.expect("commits"), Landing::Landed(Version(1)));
    assert!(site.faults.all_happened());
    let seen = open(&site.rival().await, &table).await;
    assert_eq!(seen.version(), Version(1));
    assert_eq!(held(&seen).await, pairs(&[rows(0..5, 1)]));
    assert_eq!(versions_of(&seen, &commit.op).await, [Version(1)]);
    assert_eq!(parquet_files(&site, &table).len(), 1, "the same file was committed again, not a new one");
    assert_eq!(seen.positions().get(&app("a")), Some(5));
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_left_undecided_lands_once_when_given_again() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    site.faults.plan([Fault::LostUnanswered; 4].into_iter().chain([Fault::LandsUnanswered]));
    let error = table.commit(&commit).await.expect_err("the store answered nothing five times");
    assert!(matches!(error, Error::Undecided { .. }) && error.reaction() == Reaction::Retry);
    assert_eq!(table.commit(&commit).await.expect("commits"), Landing::Landed(Version(1)));
    assert_eq!(held(&table).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_into_a_full_store_says_so_and_lands_once_there_is_room() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    site.faults.plan([Fault::Full; 5]);
    let error = table.commit(&commit).await.expect_err("there is no room");
    assert!(matches!(error, Error::Full { .. }) && error.reaction() == Reaction::Retry, "{error:?}");
    assert_eq!(table.commit(&commit).await.expect("commits"), Landing::Landed(Version(1)));
    assert_eq!(held(&table).await.len(), 5);
}

// Holds P2 (docs/invariants.md).
#[rstest]
#[case::a_shorter_batch(3)]
#[case::the_same_batch(5)]
#[case::a_longer_batch(9)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rivals_batch_of_the_same_partition_ends_ours(#[case] their_end: i64) {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    let mut rival = open(&site.rival().await, &table).await;
    let append = rival.stage(vec![rows(0..their_end, 2)]).await.expect("stages");
    landed(rival.commit(&Commit { append, ..step("a", None, their_end) }).await.expect("commits"));
    assert_eq!(table.commit(&commit).await.expect("decides"), Landing::Moved);
    assert_eq!(table.positions().get(&app("a")), Some(their_end), "the caller reads on from here");
    assert_eq!(held(&table).await, pairs(&[rows(0..their_end, 2)]));
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_followed_by_a_rivals_batch_is_still_recognised_as_landed() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    site.faults.plan([Fault::LandsUnanswered; 1]);
    // The rival commits on top of ours before we look again: simulated by looking with a stale table.
    let mut stale = table.clone();
    landed(table.commit(&commit).await.expect("commits"));
    let mut rival = open(&site.rival().await, &table).await;
    landed(rival.commit(&step("a", Some(5), 9)).await.expect("commits"));
    assert_eq!(stale.commit(&commit).await.expect("decides"), Landing::Landed(Version(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_other_partitions_do_not_end_ours() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = first_batch(&table).await;
    let mut rival = open(&site.rival().await, &table).await;
    for (from, to) in [(None, 1), (Some(1), 2), (Some(2), 3)] {
        let append = rival.stage(vec![rows([100 + to], 2)]).await.expect("stages");
        landed(rival.commit(&Commit { append, ..step("b", from, to) }).await.expect("commits"));
    }
    assert_eq!(table.commit(&commit).await.expect("commits"), Landing::Landed(Version(4)));
    assert_eq!(held(&table).await.len(), 8);
    assert_eq!((table.positions().get(&app("a")), table.positions().get(&app("b"))), (Some(5), Some(3)));
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_is_ended_by_any_position_that_moved() {
    let site = site().await;
    let mut table = site.create().await;
    let commit = Commit { expect: Expect::All(table.positions().clone()), ..step("a", None, 5) };
    let mut zombie = open(&site.rival().await, &table).await;
    landed(zombie.commit(&step("b", None, 1)).await.expect("commits"));
    assert_eq!(table.commit(&commit).await.expect("decides"), Landing::Moved);
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_at_once_lose_and_double_nothing() {
    let site = site().await;
    let table = site.create_bronze().await;
    let writers = (0..4).map(|writer| {
        let mut table = table.clone();
        async move {
            let source = format!("p{writer}");
            for n in 0..6 {
                let append = table.stage(vec![rows([writer * 100 + n], 1)]).await.expect("stages");
                let from = (n > 0).then_some(n);
                landed(
                    table.commit(&Commit { append, ..step(&source, from, n + 1) }).await.expect("commits"),
                );
            }
        }
    });
    futures::future::join_all(writers).await;
    let seen = open(&site.lake, &table).await;
    let expected: Vec<i64> = (0..4).flat_map(|w| (0..6).map(move |n| w * 100 + n)).collect();
    assert_eq!(held(&seen).await, pairs(&[rows(expected, 1)]));
    assert_eq!(seen.version(), Version(24));
}

fn with_column(column: &str, data_type: DataType) -> SchemaRef {
    let mut fields = schema().fields().to_vec();
    fields.push(Arc::new(Field::new(column, data_type, true)));
    Arc::new(Schema::new(fields))
}

/// A batch of one row that brings a new column.
async fn widening(table: &Table, source: &str, id: i64, column: &str, value: ArrayRef) -> Commit {
    let wide = with_column(column, value.data_type().clone());
    let mut columns = rows([id], 1).columns().to_vec();
    columns.push(value);
    let batch = RecordBatch::try_new(wide.clone(), columns).expect("valid");
    let append = table.stage(vec![batch]).await.expect("stages");
    Commit { append, schema: Some(wide), ..step(source, None, 1) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_that_each_add_a_column_both_get_it() {
    let site = site().await;
    let mut one = site.create_bronze().await;
    let mut other = open(&site.rival().await, &one).await;
    let x = widening(&one, "a", 1, "x", Arc::new(StringArray::from(vec!["x"]))).await;
    let y = widening(&other, "b", 2, "y", Arc::new(Int64Array::from(vec![7]))).await;
    landed(one.commit(&x).await.expect("commits"));
    landed(other.commit(&y).await.expect("commits"));
    one.refresh().await.expect("refreshes");
    let names: Vec<_> = one.schema().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["id", "name", "seq", "x", "y"]);
    assert_eq!(one.id(), other.id(), "a wider table is the same table");
    let rows = one.scan(Some(&["x".into(), "y".into()])).await.expect("scans");
    let nulls = |i: usize| rows.iter().map(|b| b.column(i).null_count()).sum::<usize>();
    assert_eq!((nulls(0), nulls(1)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_that_add_one_column_with_two_types_do_not_both_land() {
    let site = site().await;
    let mut one = site.create_bronze().await;
    let mut other = open(&site.rival().await, &one).await;
    let text = widening(&one, "a", 1, "x", Arc::new(StringArray::from(vec!["x"]))).await;
    let number = widening(&other, "b", 2, "x", Arc::new(Int64Array::from(vec![7]))).await;
    landed(one.commit(&text).await.expect("commits"));
    let error = other.commit(&number).await.expect_err("the types clash");
    assert!(matches!(&error, Error::SchemaConflict { column, .. } if column == "x"), "{error}");
    assert_eq!(error.reaction(), Reaction::Reload);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_a_column_the_table_lacks_is_refused() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    let commit = widening(&table, "a", 1, "x", Arc::new(StringArray::from(vec!["x"]))).await;
    let error = table.commit(&Commit { schema: None, ..commit }).await.expect_err("x is unknown");
    assert!(matches!(error, Error::NoColumn { column, .. } if column == "x"));
}

// Holds P2 (docs/invariants.md).
#[rstest]
#[case::undisturbed(None)]
#[case::answer_lost(Some(Fault::LandsUnanswered))]
#[case::nothing_written(Some(Fault::LostUnanswered))]
#[case::arrives_late(Some(Fault::LandsLate))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_created_twice_at_once_is_one_table(#[case] fault: Option<Fault>) {
    let site = site().await;
    let rival = site.rival().await;
    site.faults.plan(fault);
    let table = name("gold.t");
    let (one, other) = tokio::join!(site.lake.create(&table, spec()), rival.create(&table, spec()));
    let (one, other) = (one.expect("creates"), other.expect("creates"));
    assert_eq!(one.id(), other.id());
    assert_eq!((one.version(), other.version()), (Version(0), Version(0)));
    assert_eq!(site.lake.tables().await.expect("lists"), [table]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_project_is_refused() {
    let site = site().await;
    let table = site.create().await;
    let foreign = TableSpec { project: "other".parse().expect("valid"), ..spec() };
    let error = site.lake.create(table.name(), foreign).await.expect_err("it is not theirs");
    assert!(matches!(error, Error::ForeignTable { owner, .. } if owner == "wwi"));
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_ignores_the_condition_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = FaultStore::over(Arc::new(LocalFileSystem::new()));
    store.forget_conditions();
    let settings = LakeSettings::local(dir.path()).expect("a url");
    let error =
        Lake::connect_over(settings, Arc::new(store), Arc::new(RandomIds)).await.expect_err("refused");
    assert!(matches!(error, Error::ConditionIgnored { winners: 17, .. }), "{error}");
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_never_falls() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    landed(table.commit(&step("a", None, 5)).await.expect("commits"));
    let error = table.commit(&step("a", Some(5), 4)).await.expect_err("4 is below 5");
    assert!(matches!(error, Error::PositionFalls { from: 5, to: 4, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_table_that_is_append_only_are_never_removed() {
    let site = site().await;
    let mut table = site.create_bronze().await;
    landed(table.commit(&first_batch(&table).await).await.expect("commits"));
    let remove = Commit { remove: Remove::Keys(keys([1])), ..step("a", Some(5), 6) };
    assert!(matches!(table.commit(&remove).await, Err(Error::Unsupported { .. })));
    assert_eq!(held(&open(&site.lake, &table).await).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_opened_for_reading_cannot_fork_the_table() {
    let site = site().await;
    let mut table = site.create().await;
    landed(table.commit(&step("b", None, 1)).await.expect("commits"));
    landed(table.commit(&step("b", Some(1), 2)).await.expect("commits"));
    let mut old = table.at(Version(0)).await.expect("opens");
    let landing = old.commit(&step("a", None, 1)).await.expect("commits");
    assert_eq!(landing, Landing::Landed(Version(3)));
    assert_eq!(old.positions().get(&app("b")), Some(2));
}
