//! Parquet files of many row groups, and damaged ones.

use std::path::PathBuf;

use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use rstest::rstest;

use super::*;
use crate::files::read::{Pick, Reader};
use crate::log::file::DataFile;

/// The only file of a table of these rows, written again with ten rows to a group, and where it lies.
async fn in_groups_of_ten(site: &Site, all: &RecordBatch) -> (Table, DataFile, PathBuf) {
    let mut table = site.create_bronze().await;
    let append = table.stage(vec![all.clone()]).await.expect("stages");
    landed(table.commit(&Commit { append, ..step("a", None, 1) }).await.expect("commits"));
    let mut file = DataFile::new(table.snapshot().files.values().next().expect("a file").add.clone());
    let place = site.settings.url.to_file_path().expect("local").join("bronze/t").join(&file.add.path);
    let few = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), all.schema(), Some(few)).expect("opens");
    writer.write(all).expect("writes");
    let bytes = writer.into_inner().expect("closes");
    file.add.size = i64::try_from(bytes.len()).expect("small");
    std::fs::write(&place, bytes).expect("writes");
    (table, file, place)
}

#[rstest]
#[case::all(Pick::All, (0..35).collect())]
#[case::some_of_two_groups(Pick::Only(marked([3, 9, 30, 34])), vec![3, 9, 30, 34])]
#[case::a_group_less(Pick::Without(marked((10..20).chain([22]))), (0..10).chain(20..22).chain(23..35).collect())]
#[case::none(Pick::Only(marked([])), vec![])]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_file_of_many_row_groups_only_the_picked_rows_are_read(
    #[case] pick: Pick,
    #[case] expected: Vec<i64>,
) {
    let site = site().await;
    let (table, file, _) = in_groups_of_ten(&site, &rows(0..35, 7)).await;
    let reader = Reader::default();
    let read = reader.rows(&table.log, &file, table.schema(), pick.clone()).await.expect("reads");
    assert_eq!(pairs(&read), expected.iter().map(|id| (*id, 7)).collect::<Vec<_>>());
    let some = Arc::new(table.schema().project(&[2]).expect("a column"));
    let read = reader.rows(&table.log, &file, &some, pick).await.expect("reads");
    assert!(read.iter().all(|batch| batch.schema() == some));
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), expected.len());
}

fn marked(rows: impl IntoIterator<Item = u64>) -> Arc<RoaringTreemap> {
    Arc::new(rows.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_position_of_a_batch_counts_all_rows_of_the_file_with_columns_or_without() {
    let site = site().await;
    let (table, file, _) = in_groups_of_ten(&site, &rows(0..35, 7)).await;
    let step = |seen: &mut Vec<u64>, first: u64, batch: RecordBatch| {
        seen.extend([first, first + batch.num_rows() as u64]);
    };
    for schema in [table.schema().clone(), Arc::new(Schema::empty())] {
        let read = Reader::default().fold(&table.log, &file, &schema, Pick::All, Vec::new(), step).await;
        assert_eq!(read.expect("reads"), [0, 10, 10, 20, 20, 30, 30, 35]);
    }
}

#[rstest]
#[case::no_parquet(|bytes: &mut Vec<u8>| bytes.fill(7))]
#[case::less_than_a_footer(|bytes: &mut Vec<u8>| bytes.truncate(5))]
#[case::a_footer_larger_than_the_file(|bytes: &mut Vec<u8>| {
    let end = bytes.len();
    bytes[end - 8..end - 4].fill(0x7f);
})]
#[case::a_damaged_footer(|bytes: &mut Vec<u8>| {
    let end = bytes.len();
    bytes[end - 40..end - 8].fill(0xff);
})]
#[case::damaged_pages(|bytes: &mut Vec<u8>| bytes[4..200].fill(0xff))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_named_and_halts(#[case] damage: fn(&mut Vec<u8>)) {
    let site = site().await;
    let (table, mut file, place) = in_groups_of_ten(&site, &rows(0..35, 7)).await;
    let mut bytes = std::fs::read(&place).expect("is there");
    damage(&mut bytes);
    file.add.size = i64::try_from(bytes.len()).expect("small");
    std::fs::write(&place, bytes).expect("writes");
    let read = Reader::default().rows(&table.log, &file, table.schema(), Pick::All).await;
    let error = read.expect_err("damaged");
    assert_eq!(error.reaction(), model::Reaction::Halt, "{error:?}");
    assert!(error.to_string().contains(&file.add.path), "{error}");
}
