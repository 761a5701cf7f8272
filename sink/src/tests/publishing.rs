//! What a publisher decides, writes and reports.

use model::{TableId, TableName, Version};
use rstest::rstest;
use runtime::Failure as _;

use super::contract::Readable as _;
use super::memory::{Kind, Memory, Record};
use super::world::*;
use crate::{Destination, Error, Next, Progress, Published, Publisher, Sink as _, Writer as _, next};

fn topic() -> Destination {
    Destination { kind: "topic", name: "gold.t.v1".to_owned() }
}

fn publisher(sink: &Memory, limit: usize) -> Publisher<Memory> {
    Publisher::new(name("gold.t"), sink.clone(), limit)
}

#[tokio::test]
async fn an_empty_version_moves_progress_and_sends_nothing() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.edit(&[(1, "x", 1)], &[]).await;
    let table = world.table().await;
    let mut publisher = publisher(&sink, 10);
    assert_eq!(publisher.step(&table).await.expect("published").records, 1);
    world.pin().await;
    let table = world.table().await;
    assert_eq!(publisher.step(&table).await.expect("published").records, 0);
    let progress: Vec<Progress> = sink.place().progress.values().cloned().collect();
    assert_eq!((progress[0].version, progress[0].last), (table.version(), true));
}

fn progress(id: &str, version: u64, last_key: Option<&[u8]>, last: bool, whole: bool) -> Progress {
    let (id, last_key) = (id.parse().expect("valid"), last_key.map(<[u8]>::to_vec));
    let (table, destination) = (name("gold.t"), topic().name);
    Progress { id, table, destination, version: Version(version), last_key, last, whole }
}

#[rstest]
#[case::nothing_yet(&[], Next::First(Version(5)))]
#[case::claimed(&[progress("id", 3, None, false, true)], Next::Whole(Version(3), None))]
#[case::complete(&[progress("id", 3, Some(b"k"), true, false)], Next::After(Version(3)))]
#[case::in_the_middle(&[progress("id", 3, Some(b"k"), false, false)], Next::Rest(Version(3), b"k".to_vec()))]
#[case::in_the_middle_of_the_table(&[progress("id", 3, Some(b"k"), false, true)], Next::Whole(Version(3), Some(b"k".to_vec())))]
#[case::of_another_table_on_another_topic(&[Progress { table: name("gold.u"), destination: "other".to_owned(), ..progress("other", 9, None, true, false) }], Next::First(Version(5)))]
#[case::on_another_topic(&[Progress { destination: "old".to_owned(), ..progress("id", 3, None, true, false) }], Next::First(Version(5)))]
fn the_next_step_follows_from_progress(#[case] all: &[Progress], #[case] expected: Next) {
    let (table, id): (TableName, TableId) = (name("gold.t"), "id".parse().expect("valid"));
    assert_eq!(next(&table, &id, Version(5), &topic(), all).expect("decided"), expected);
}

// Holds P4 (docs/invariants.md).
#[test]
fn progress_ahead_of_the_table_or_of_another_table_of_its_name_halts() {
    let (table, id): (TableName, TableId) = (name("gold.t"), "id".parse().expect("valid"));
    let ahead =
        next(&table, &id, Version(5), &topic(), &[progress("id", 6, None, true, false)]).expect_err("halts");
    assert!(matches!(ahead, Error::Ahead { published: 6, newest: 5, .. }), "{ahead}");
    let other = next(&table, &id, Version(5), &topic(), &[progress("older", 2, None, true, false)])
        .expect_err("halts");
    assert!(matches!(other, Error::OfAnother { .. }), "{other}");
    assert!([ahead, other].iter().all(|e| e.reaction() == model::Reaction::Halt));
}

#[test]
fn a_topic_of_another_table_is_not_published_on() {
    let (table, id): (TableName, TableId) = (name("gold.t"), "id".parse().expect("valid"));
    let other = Progress { table: name("gold.u"), ..progress("other", 9, None, true, false) };
    let halted = next(&table, &id, Version(5), &topic(), &[other]).expect_err("halts");
    assert_eq!(halted.reaction(), model::Reaction::Halt);
    assert!(halted.to_string().contains("gold.u") && halted.to_string().contains("apply"), "{halted}");
}

#[tokio::test]
async fn a_topic_that_holds_something_else_is_published_on_only_once_it_was_given_to_the_table() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.edit(&[(1, "x", 1), (2, "y", 2)], &[]).await;
    let table = world.table().await;
    let record = |key: &[u8]| Record {
        key: bytes::Bytes::copy_from_slice(key),
        value: Some(bytes::Bytes::from_static(b"of something else")),
        table: "other".parse().expect("valid"),
        version: Version(1),
        last: true,
    };
    // One of the keys is also the table's own.
    let shared = sink.form.keys(&table.scan(None).await.expect("scanned")[0]);
    sink.place().records.extend([record(b"stale"), record(&shared[0])]);
    let halted = publisher(&sink, 1).step(&table).await.expect_err("halts");
    assert!(matches!(halted, Error::Holds { .. }), "{halted}");
    assert_eq!(sink.rows().len(), 2, "nothing was touched");
    let claim = Progress { id: table.id().clone(), ..progress("id", table.version().0, None, false, true) };
    let mut writer = sink.open(&table).await.expect("opened");
    writer.begin().await.expect("begun");
    writer.note(&claim).await.expect("sent");
    writer.commit().await.expect("committed");
    publisher(&sink, 1).step(&table).await.expect("published");
    assert_eq!(sink.rows(), sink.wanted(&table).await);
}

#[tokio::test]
async fn a_topic_follows_a_rebuild_by_its_difference() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.edit(&[(1, "x", 1), (2, "y", 2), (3, "z", 3)], &[]).await;
    let mut publisher = publisher(&sink, 10);
    publisher.step(&world.table().await).await.expect("published");
    world.rebuild_without(&[1]).await;
    let table = world.table().await;
    assert_eq!(
        publisher.step(&table).await.expect("published").records,
        1,
        "one key went, two rows are as they were"
    );
    assert_eq!(sink.rows(), sink.wanted(&table).await);
}

#[tokio::test]
async fn a_difference_that_is_published_tells_when_its_newest_record_arrived() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    world.edit(&[(1, "x", 1)], &[]).await;
    let mut publisher = publisher(&sink, 10);
    publisher.step(&world.table().await).await.expect("published");
    world.arrival = Some(model::Millis(456));
    world.edit(&[(2, "x", 1)], &[]).await;
    let table = world.table().await;
    let published = publisher.step(&table).await.expect("published");
    assert_eq!(published, Published { records: 1, arrived: Some(model::Millis(456)) });
    assert_eq!(publisher.step(&table).await.expect("looked"), Published::default());
}

// Holds P3 (docs/invariants.md).
#[tokio::test]
async fn a_compaction_between_two_commits_changes_no_row_and_nothing_on_the_topic() {
    let (mut world, sink) = (World::new().await, Memory::new(Kind::Hides));
    let mut publisher = publisher(&sink, 100);
    let (mut most, mut records) = (0, 0);
    for id in 0..24 {
        world.edit(&[(id, "x", id)], &[]).await;
        if id == 19 {
            world.table().await.compact(&lake::Compaction::default()).await.expect("compacted");
        }
        let table = world.table().await;
        most = most.max(table.files().0);
        records += publisher.step(&table).await.expect("published").records;
    }
    let table = world.table().await;
    assert!(most >= 16 && table.files().0 < 8, "{most} files became {}", table.files().0);
    world.assert_kept().await;
    assert_eq!((records, sink.rows()), (24, sink.wanted(&table).await));
}
