//! Replacing rows by key, with vectors and without.

use arrow::array::Date32Array;
use arrow::datatypes::Date32Type;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::Compaction;

async fn table_of(site: &Site, deletion_vectors: bool) -> Table {
    let spec = TableSpec { deletion_vectors, ..spec() };
    let mut table = site.lake.create(&name("silver.t"), spec).await.expect("creates");
    upsert(&mut table, [], rows(0..10, 0)).await;
    table
}

#[rstest]
#[case::with_vectors(true)]
#[case::without_vectors(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_replaces_the_rows_of_its_keys_and_no_others(#[case] vectors: bool) {
    let site = site().await;
    let mut table = table_of(&site, vectors).await;
    upsert(&mut table, [3, 4, 77], rows([3, 77], 1)).await;
    upsert(&mut table, [3, 5], rows([3], 2)).await;
    let expected = pairs(&[rows([0, 1, 2, 6, 7, 8, 9], 0), rows([77], 1), rows([3], 2)]);
    assert_eq!(held(&table).await, expected);
    assert_eq!(held(&open(&site.rival().await, &table).await).await, expected);
    assert_eq!(table.rows(), Some(9));
}

#[rstest]
#[case::with_vectors(true)]
#[case::without_vectors(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_rows_are_all_gone_leaves_the_table(#[case] vectors: bool) {
    let site = site().await;
    let mut table = table_of(&site, vectors).await;
    upsert(&mut table, 0..4, rows([], 1)).await;
    assert_eq!(table.files().0, 1);
    upsert(&mut table, 4..10, rows([], 1)).await;
    assert_eq!((table.files().0, table.rows()), (0, Some(0)));
    assert_eq!(held(&table).await, []);
}

#[rstest]
#[case::with_vectors(true, Some("true"))]
#[case::without_vectors(false, None)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_feed_is_said_where_vectors_can_tell_it(
    #[case] deletion_vectors: bool,
    #[case] said: Option<&str>,
) {
    let site = site().await;
    let spec = TableSpec { deletion_vectors, change_feed: true, ..spec() };
    let mut table = site.lake.create(&name("silver.t"), spec).await.expect("creates");
    assert_eq!(table.property("delta.enableChangeDataFeed"), said);
    let entry = table.log.store.get(&table.log.entry_path(0)).await.expect("reads").expect("there");
    assert_eq!(String::from_utf8_lossy(&entry).contains("\"changeDataFeed\""), said.is_some());
    upsert(&mut table, [], rows(0..3, 0)).await;
    upsert(&mut table, [1], rows([1], 1)).await;
    assert_eq!(held(&open(&site.rival().await, &table).await).await, pairs(&[rows([0, 2], 0), rows([1], 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_no_file_can_hold_touch_nothing() {
    let site = site().await;
    let mut table = table_of(&site, true).await;
    let version = upsert(&mut table, [1000], rows([1000], 1)).await;
    let entries = table.log(Some(Version(version.0 - 1)), version).await.expect("reads");
    assert_eq!((entries[0].files_added, entries[0].files_removed), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_holds_all_vectors_of_a_commit() {
    let site = site().await;
    let mut table = table_of(&site, true).await;
    upsert(&mut table, [], rows(10..20, 0)).await;
    upsert(&mut table, [1, 11], rows([], 1)).await;
    let folder = site.settings.url.to_file_path().expect("local").join("silver/t");
    let names = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
    assert_eq!(names.filter(|n| n.to_string_lossy().ends_with(".bin")).count(), 1);
    assert_eq!(held(&table).await.len(), 18);
}

#[rstest]
#[case::with_vectors(true)]
#[case::without_vectors(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_finds_its_rows_in_a_file_that_was_compacted_meanwhile(#[case] vectors: bool) {
    let site = site().await;
    let mut table = table_of(&site, vectors).await;
    upsert(&mut table, [], rows(10..20, 0)).await;
    let mut compactor = open(&site.rival().await, &table).await;
    let eager = Compaction { min_files: 2, ..Compaction::default() };
    compactor.compact(&eager).await.expect("compacts").expect("there are two files");
    // `table` does not know yet: its first attempt meets the compaction's version.
    upsert(&mut table, [3, 13], rows([3, 13], 1)).await;
    let mut expected = pairs(&[rows((0..20).filter(|id| id % 10 != 3), 0), rows([3, 13], 1)]);
    expected.sort_unstable();
    assert_eq!(held(&open(&site.lake, &table).await).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_table_is_replaced_in_one_version_with_another_schema() {
    let site = site().await;
    let mut table = table_of(&site, true).await;
    let (id, before) = (table.id().clone(), table.version());
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true)]));
    let batch =
        RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec!["a"]))]).expect("valid");
    let files = table.stage_as(&schema, vec![batch]).await.expect("stages");
    let commit = Commit {
        expect: Expect::All(table.positions().clone()),
        append: files,
        remove: Remove::Everything,
        schema: Some(schema),
        ..step("up", None, 9)
    };
    landed(table.commit(&commit).await.expect("commits"));
    assert_eq!((table.id(), table.rows(), table.schema().fields().len()), (&id, Some(1), 1));
    assert_eq!(
        held(&table.at(before).await.expect("opens")).await.len(),
        10,
        "the old version reads as it was"
    );
}

/// Rows keyed by `(i, s, d)` with a `value`.
fn keyed(rows: &BTreeMap<(i32, String, i32), i64>) -> RecordBatch {
    let column = |c: ArrayRef| c;
    RecordBatch::try_from_iter([
        ("i", column(Arc::new(arrow::array::Int32Array::from_iter_values(rows.keys().map(|k| k.0))))),
        ("s", column(Arc::new(StringArray::from_iter_values(rows.keys().map(|k| &k.1))))),
        ("d", column(Arc::new(Date32Array::from_iter_values(rows.keys().map(|k| k.2))))),
        ("value", column(Arc::new(Int64Array::from_iter_values(rows.values().copied())))),
    ])
    .expect("valid")
}

fn read_keyed(batches: &[RecordBatch]) -> Vec<((i32, String, i32), i64)> {
    let row = |batch: &RecordBatch, n: usize| {
        let i = batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().value(n);
        let d = batch.column(2).as_primitive::<Date32Type>().value(n);
        (
            (i, batch.column(1).as_string::<i32>().value(n).to_owned(), d),
            batch.column(3).as_primitive::<Int64Type>().value(n),
        )
    };
    let mut all: Vec<_> = batches.iter().flat_map(|b| (0..b.num_rows()).map(move |n| row(b, n))).collect();
    all.sort();
    all
}

type KeyedRows = BTreeMap<(i32, String, i32), i64>;

fn some_rows() -> impl Strategy<Value = KeyedRows> {
    // Long strings, so that bounds are cut; few values, so that keys meet again.
    let key = (
        -2..3,
        prop_oneof![
            Just("a".repeat(40)),
            Just("a".repeat(39) + "b"),
            Just("\u{10FFFF}".repeat(33)),
            Just(String::new())
        ],
        -1..2,
    );
    proptest::collection::btree_map(key, any::<i64>(), 0..12)
}

proptest! {
    #![proptest_config(cases::few(12))]
    #[test]
    fn composite_keys_without_nulls_are_upserted_like_a_map(steps in proptest::collection::vec(some_rows(), 1..6)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
        runtime.block_on(async {
            let site = site().await;
            let schema = keyed(&KeyedRows::new()).schema();
            let mut table = site.lake.create(&name("silver.k"), TableSpec { schema, ..spec() }).await.expect("creates");
            let mut model = KeyedRows::new();
            for rows in steps {
                let batch = keyed(&rows);
                let columns: Vec<String> = ["d", "i", "s"].map(str::to_owned).into();
                let key_rows = batch.project(&[0, 1, 2]).expect("projects");
                let position = table.positions().get(&app("up"));
                let commit = Commit {
                    append: table.stage(vec![batch]).await.expect("stages"),
                    remove: Remove::Keys(Keys { columns, rows: key_rows }),
                    ..step("up", position, position.unwrap_or(0) + 1)
                };
                landed(table.commit(&commit).await.expect("commits"));
                model.extend(rows);
                let held = read_keyed(&table.scan(None).await.expect("scans"));
                prop_assert_eq!(held, model.clone().into_iter().collect::<Vec<_>>());
            }
            Ok(())
        })?;
    }
}

/// Prints what a 1,000-key upsert costs: `cargo test -p lake --profile dist -- --ignored --nocapture cost`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_thousand_keys() {
    for millions in [1, 4] {
        let site = site().await;
        let mut table = site.create().await;
        for file in 0..millions {
            upsert(&mut table, [], rows((0..1_000_000).map(|i| i * millions + file), 0)).await;
        }
        let (mut state, mut walls) = (88_172_645_463_325_252_u64, Vec::new());
        for round in 1..=7 {
            let mut ids = BTreeSet::new();
            while ids.len() < 1000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                ids.insert(i64::try_from(state % (millions.unsigned_abs() * 1_000_000)).expect("small"));
            }
            let start = runtime::time::Instant::now();
            upsert(&mut table, ids.clone(), rows(ids, round)).await;
            walls.push(start.elapsed());
        }
        walls.sort();
        println!("1,000 keys into {millions} M rows: median {:?}, all {walls:?}", walls[3]);
        assert_eq!(table.rows(), Some(millions.unsigned_abs() * 1_000_000));
    }
}
