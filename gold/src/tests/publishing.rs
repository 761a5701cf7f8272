//! The topic of a gold table is its table, whatever happens on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::Kind as ModelKind;
use lake::Table;
use model::{TableId, TableName, TopicName, Version};
use rstest::rstest;

use super::broker::{Failure, FakeWire, Kind};
use super::world::*;
use crate::Error;
use crate::publish::encode::{Encoders, Registered};
use crate::publish::{Next, Progress, Published, Publisher, next};

const SQL: &str = "SELECT id, kind, amount FROM silver.a";

async fn world() -> World {
    World::new(project(&[(ModelKind::Table, "gold.t", &["id"], SQL, 7)])).await
}

fn topic() -> TopicName {
    "gold.t.v1".parse().expect("valid")
}

fn encoders(table: &Table) -> Encoders {
    let avro = |id, keys: &[String]| {
        let json = avro::from_arrow("t", "gold", table.schema(), keys).expect("a schema");
        Registered { id, json: json.into() }
    };
    let keys = ["id".to_owned()];
    Encoders::try_new(table.schema(), &keys, &avro(1, &keys), &avro(2, &[])).expect("encoders")
}

fn publisher(table: &Table, wire: FakeWire, limit: usize) -> Publisher<FakeWire> {
    Publisher::new(name("gold.t"), topic(), encoders(table), wire, limit)
}

/// The table as its topic should have it.
async fn wanted(table: &Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let encoders = encoders(table);
    let mut state = BTreeMap::new();
    for batch in table.scan(None).await.expect("scanned") {
        let (keys, values) = (encoders.keys(&batch).expect("keys"), encoders.values(&batch).expect("values"));
        state.extend(keys.iter().map(|k| k.to_vec()).zip(values.iter().map(|v| v.to_vec())));
    }
    state
}

/// Five versions: a fill, inserts, an update with a delete, nothing but pins, a delete of all.
async fn story(world: &World, after_each: impl AsyncFn(&Table)) {
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "y", 2), (3, None, "z", 3)])).await;
    settle(&mut keeper).await.expect("filled");
    after_each(&world.table("gold.t").await).await;
    world.edit(&put(0, &[(4, None, "x", 1), (5, None, "y", 2), (6, None, "z", 3), (7, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("refreshed");
    after_each(&world.table("gold.t").await).await;
    let mut edit = put(0, &[(2, None, "changed", 2), (5, None, "changed", 2)]);
    edit.drops = vec![1, 7];
    world.edit(&edit).await;
    settle(&mut keeper).await.expect("refreshed");
    world.edit(&put(1, &[])).await;
    world.clock.advance(60_000);
    settle(&mut keeper).await.expect("refreshed");
    after_each(&world.table("gold.t").await).await;
    world.edit(&super::world::Edit { table: 0, puts: vec![], drops: (0..9).collect() }).await;
    settle(&mut keeper).await.expect("refreshed");
    after_each(&world.table("gold.t").await).await;
}

/// Publishes through the whole story with one failing call, then checks the topic. Returns how many
/// calls there were.
async fn published(kind: Kind, limit: usize, failure: Option<Failure>, dies: bool) -> usize {
    let world = world().await;
    let wire = FakeWire::new(kind, failure);
    let shared = std::sync::Mutex::new(Some((None::<Publisher<FakeWire>>, wire.clone())));
    story(&world, async |table: &Table| {
        let (held, spare) = shared.lock().expect("one at a time").take().expect("put back");
        let mut publisher = held.unwrap_or_else(|| publisher(table, spare.clone(), limit));
        let mut spare = spare;
        while let Err(error) = publisher.step(table).await {
            assert_ne!(error.reaction(), model::Reaction::Halt, "{error}");
            spare.failure = None;
            if dies {
                publisher = self::publisher(table, spare.clone(), limit);
            }
        }
        assert_eq!(spare.compacted(), wanted(table).await, "{kind:?} {limit} {failure:?}");
        *shared.lock().expect("one at a time") = Some((Some(publisher), spare));
    })
    .await;
    let broker = wire.broker();
    if kind == Kind::Hides {
        // Each key at most once a version, versions in order, and the last of each says so.
        let mut seen: Vec<(Version, &[u8])> =
            broker.records.iter().map(|r| (r.version, r.key.as_ref())).collect();
        assert!(seen.is_sorted(), "{seen:?}");
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "a key came twice in one version: {failure:?}");
        let versions: std::collections::BTreeSet<Version> = seen.iter().map(|(v, _)| *v).collect();
        let last: Vec<Version> = broker.records.iter().filter(|r| r.last).map(|r| r.version).collect();
        assert_eq!(last, versions.into_iter().collect::<Vec<_>>());
    }
    broker.calls
}

#[rstest]
#[tokio::test]
async fn whatever_call_fails_the_topic_is_the_table(
    #[values(Kind::Hides, Kind::Shows)] kind: Kind,
    #[values(2, 100)] limit: usize,
    #[values(false, true)] after: bool,
    #[values(false, true)] dies: bool,
) {
    let calls = published(kind, limit, None, dies).await;
    assert!(calls > 20, "{calls}");
    for call in 1..=calls {
        published(kind, limit, Some(Failure { call, after }), dies).await;
    }
}

#[tokio::test]
async fn an_empty_version_moves_progress_and_sends_nothing() {
    let world = world().await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    let wire = FakeWire::new(Kind::Hides, None);
    let table = world.table("gold.t").await;
    let mut publisher = publisher(&table, wire.clone(), 10);
    assert_eq!(publisher.step(&table).await.expect("published").records, 1);
    world.edit(&put(1, &[(1, None, "x", 1)])).await;
    world.clock.advance(60_000);
    settle(&mut keeper).await.expect("pinned");
    let table = world.table("gold.t").await;
    assert_eq!(publisher.step(&table).await.expect("published").records, 0);
    let mut wire = publisher.into_wire();
    let progress = crate::publish::Wire::progress(&mut wire).await.expect("read");
    assert_eq!((progress[0].version, progress[0].last), (table.version(), true));
}

fn progress(id: &str, version: u64, last_key: Option<&[u8]>, last: bool, whole: bool) -> Progress {
    let (id, last_key) = (id.parse().expect("valid"), last_key.map(<[u8]>::to_vec));
    Progress { id, table: name("gold.t"), topic: topic(), version: Version(version), last_key, last, whole }
}

#[rstest]
#[case::nothing_yet(&[], Next::First(Version(5)))]
#[case::claimed(&[progress("id", 3, None, false, true)], Next::Whole(Version(3), None))]
#[case::complete(&[progress("id", 3, Some(b"k"), true, false)], Next::After(Version(3)))]
#[case::in_the_middle(&[progress("id", 3, Some(b"k"), false, false)], Next::Rest(Version(3), b"k".to_vec()))]
#[case::in_the_middle_of_the_table(&[progress("id", 3, Some(b"k"), false, true)], Next::Whole(Version(3), Some(b"k".to_vec())))]
#[case::of_another_table_on_another_topic(&[Progress { table: name("gold.u"), topic: "other".parse().expect("valid"), ..progress("other", 9, None, true, false) }], Next::First(Version(5)))]
#[case::on_another_topic(&[Progress { topic: "old".parse().expect("valid"), ..progress("id", 3, None, true, false) }], Next::First(Version(5)))]
fn the_next_step_follows_from_progress(#[case] all: &[Progress], #[case] expected: Next) {
    let (table, id): (TableName, TableId) = (name("gold.t"), "id".parse().expect("valid"));
    assert_eq!(next(&table, &id, Version(5), &topic(), all).expect("decided"), expected);
}

#[test]
fn progress_ahead_of_the_table_or_of_another_table_of_its_name_halts() {
    let (table, id): (TableName, TableId) = (name("gold.t"), "id".parse().expect("valid"));
    let ahead =
        next(&table, &id, Version(5), &topic(), &[progress("id", 6, None, true, false)]).expect_err("halts");
    assert!(matches!(ahead, Error::TopicAhead { published: 6, newest: 5, .. }), "{ahead}");
    let other = next(&table, &id, Version(5), &topic(), &[progress("older", 2, None, true, false)])
        .expect_err("halts");
    assert!(matches!(other, Error::TopicOfAnother { .. }), "{other}");
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
    let world = world().await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "y", 2)])).await;
    settle(&mut keeper).await.expect("filled");
    let table = world.table("gold.t").await;
    let mut wire = FakeWire::new(Kind::Hides, None);
    let record = |key: &[u8]| crate::publish::Record {
        key: bytes::Bytes::copy_from_slice(key),
        value: Some(bytes::Bytes::from_static(b"of something else")),
        table: "other".parse().expect("valid"),
        version: Version(1),
        last: true,
        trace: None,
    };
    // One of the keys is the table's own, too.
    let shared = encoders(&table).keys(&table.scan(None).await.expect("scanned")[0]).expect("keys");
    wire.broker().records.extend([record(b"stale"), record(&shared[0])]);
    let halted = publisher(&table, wire.clone(), 1).step(&table).await.expect_err("halts");
    assert!(matches!(halted, Error::TopicHolds { .. }), "{halted}");
    assert_eq!(wire.compacted().len(), 2, "nothing was touched");
    let claim = Progress { id: table.id().clone(), ..progress("id", table.version().0, None, false, true) };
    crate::publish::Wire::begin(&mut wire).await.expect("begun");
    crate::publish::Wire::send_progress(&mut wire, &claim).await.expect("sent");
    crate::publish::Wire::commit(&mut wire).await.expect("committed");
    publisher(&table, wire.clone(), 1).step(&table).await.expect("published");
    assert_eq!(wire.compacted(), wanted(&table).await);
}

#[tokio::test]
async fn a_topic_follows_a_rebuild_by_its_difference() {
    let mut world = world().await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1), (2, None, "y", 2), (3, None, "z", 3)])).await;
    settle(&mut keeper).await.expect("filled");
    let wire = FakeWire::new(Kind::Hides, None);
    let table = world.table("gold.t").await;
    let mut publisher = publisher(&table, wire.clone(), 10);
    publisher.step(&table).await.expect("published");
    let sql = "SELECT id, kind, amount FROM silver.a WHERE id <> 1";
    world.project = Arc::new(project(&[(ModelKind::Table, "gold.t", &["id"], sql, 8)]));
    world.rebuild("gold.t").await.expect("rebuilt");
    let table = world.table("gold.t").await;
    assert_eq!(
        publisher.step(&table).await.expect("published").records,
        1,
        "one key went, two rows are as they were"
    );
    assert_eq!(wire.compacted(), wanted(&table).await);
}

#[tokio::test]
async fn a_difference_that_is_published_tells_when_its_newest_record_arrived() {
    let world = world().await;
    let mut keeper = world.keeper("gold.t");
    world.edit(&put(0, &[(1, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("filled");
    let mut publisher = publisher(&world.table("gold.t").await, FakeWire::new(Kind::Hides, None), 10);
    publisher.step(&world.table("gold.t").await).await.expect("published");
    world.arrival.store(456, std::sync::atomic::Ordering::Relaxed);
    world.edit(&put(0, &[(2, None, "x", 1)])).await;
    settle(&mut keeper).await.expect("refreshed");
    let table = world.table("gold.t").await;
    let published = publisher.step(&table).await.expect("published");
    assert_eq!(published, Published { records: 1, arrived: Some(456) });
    assert_eq!(publisher.step(&table).await.expect("looked"), Published::default());
}

#[tokio::test]
async fn a_compaction_between_two_commits_changes_no_row_and_nothing_on_the_topic() {
    let mut world = world().await;
    world.settings.compact_every = 20;
    let mut keeper = world.keeper("gold.t");
    let wire = FakeWire::new(Kind::Hides, None);
    let mut publisher: Option<Publisher<FakeWire>> = None;
    let (mut most, mut records) = (0, 0);
    for id in 0..24 {
        world.edit(&put(0, &[(id, None, "x", id)])).await;
        settle(&mut keeper).await.expect("refreshed");
        keeper.keep_up().await.expect("kept up");
        let table = world.table("gold.t").await;
        most = most.max(table.files().0);
        let publisher = publisher.get_or_insert_with(|| self::publisher(&table, wire.clone(), 100));
        records += publisher.step(&table).await.expect("published").records;
    }
    let table = world.table("gold.t").await;
    assert!(most >= 16 && table.files().0 < 8, "{most} files became {}", table.files().0);
    world.assert_kept("gold.t").await;
    assert_eq!((records, wire.compacted()), (24, wanted(&table).await));
}
