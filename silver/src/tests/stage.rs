//! The stage on a lake on the local disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::{Catalog, Kind, Measure, Model as Declared, Otherwise, Project};
use indexmap::IndexMap;
use lake::{Commit, Expect, Lake, LakeSettings, Remove, Table, TableSpec};
use model::{AppId, Positions, TableName, Version};
use rstest::rstest;
use runtime::{CancellationToken, Clock, Failure as _, Ids, Meters, SeededIds, WallClock};
use serde_json::Value;
use stage::{Alone, Announce, CommitInfo};

use super::oracle::{Model, Record, Says, expected};
use super::shelf::as_text;
use super::support::{Modelling, bronze, bronze_schema, long, text, topic};
use crate::commit::Committer;
use crate::{Context, Error, Settings, rebuild, recompute, run, standing};

fn schema() -> SchemaRef {
    bronze_schema(&[long("id"), text("name"), text("notes")], &[long("id")])
}

/// A project in a folder, with one bronze table and one silver model.
pub(super) struct World {
    pub dir: tempfile::TempDir,
    pub ctx: Context,
    pub model: Declared,
}

pub(super) async fn world(kind: Kind) -> World {
    world_with(kind, |_| {}).await
}

/// The lake in a folder, as a starting process finds it.
pub(super) async fn lake_in(dir: &std::path::Path, ids: &Arc<dyn Ids>) -> Lake {
    let url = url::Url::from_directory_path(dir).expect("a folder");
    let settings = LakeSettings { url, options: BTreeMap::new() };
    Lake::connect(settings, Arc::clone(ids)).await.expect("a lake")
}

pub(super) async fn world_with(kind: Kind, change: impl FnOnce(&mut Declared)) -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let ids: Arc<dyn Ids> = Arc::new(SeededIds::new(1));
    let lake = lake_in(dir.path(), &ids).await;
    let modelling = Modelling {
        expectations: vec![
            ("not_bad", "name <> 'BAD'", Otherwise::Quarantine),
            ("not_dropped", "name <> 'DROPPED'", Otherwise::Drop),
        ],
        ..Modelling::new(
            kind,
            &["id"],
            "SELECT id, upper(name) AS name, notes, notes || '!' AS loud FROM changes(bronze.things) WHERE name <> 'hidden'",
        )
    };
    let topic = topic(&["id"]);
    let mut model = modelling.model(&topic, &schema()).await;
    change(&mut model);
    let catalog = Catalog {
        topics: IndexMap::from([(topic.name.clone(), topic)]),
        models: IndexMap::from([(model.name.clone(), model.clone())]),
        ..Catalog::default()
    };
    let project = Project::new(dir.path().to_owned(), "test".parse().expect("a name"), catalog);
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let settings =
        Settings { poll: Duration::from_millis(20), measure: Duration::ZERO, ..Settings::default() };
    let ctx = Context {
        project: Arc::new(project),
        lake,
        clock,
        ids,
        meters: Meters::new(),
        announce: Arc::new(()),
        settings,
        create: true,
        select: Vec::new(),
        draining: CancellationToken::new(),
    };
    World { dir, ctx, model }
}

impl World {
    pub fn bronze_name(&self) -> TableName {
        "bronze.things".parse().expect("a name")
    }
    pub async fn open(&self, name: &TableName) -> Table {
        self.ctx.lake.table(name).await.expect("opens").expect("exists")
    }
    /// Appends records to bronze, one version.
    pub async fn land(&self, records: &[Record]) {
        let project = self.ctx.project.name.clone();
        let mut table = match self.ctx.lake.table(&self.bronze_name()).await.expect("opens") {
            Some(table) => table,
            None => self
                .ctx
                .lake
                .create(&self.bronze_name(), TableSpec::new(project, schema()))
                .await
                .expect("created"),
        };
        let rows: Vec<Value> = records.iter().map(Record::bronze).collect();
        let append = table.stage(vec![bronze(&schema(), &rows)]).await.expect("staged");
        let commit = Commit {
            operation: "WRITE",
            op: self.ctx.ids.ulid(),
            expect: Expect::All(table.positions().clone()),
            set: Positions::default(),
            append,
            remove: Remove::Nothing,
            schema: None,
            properties: BTreeMap::new(),
            info: Default::default(),
        };
        table.commit(&commit).await.expect("landed");
    }
    /// Runs the stage until it has read everything, or has halted.
    pub async fn drain(&self) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let owners = Alone::of([self.model.name.clone()]);
        let mut stage = runtime::tasks::spawn("stage", run(self.ctx.clone(), owners, stop.clone()));
        let meter = self.ctx.meters.stage("silver", &self.model.name.to_string());
        for _ in 0..1000 {
            let standing = standing(&self.ctx.lake, &self.model).await.expect("a standing");
            let halted = meter.gauge(runtime::meters::Metric::State) == runtime::State::Halted as i64;
            if halted || (standing.is_drained() && standing.available.is_some()) {
                break;
            }
            let _ = runtime::time::timeout(Duration::from_millis(20), &mut stage).await;
        }
        stop.cancel();
        stage.await.expect("no panic")
    }
    pub async fn rows(&self, columns: &[&str]) -> Vec<String> {
        let table = self.open(&self.model.name).await;
        as_text(&table.scan(None).await.expect("rows"), columns)
    }
    pub async fn count(&self, suffix: &str) -> usize {
        match self.ctx.lake.table(&self.model.name.sibling(suffix)).await.expect("opens") {
            Some(table) => table.scan(None).await.expect("rows").iter().map(RecordBatch::num_rows).sum(),
            None => 0,
        }
    }
    fn committer(&self) -> Committer {
        Committer {
            lake: self.ctx.lake.clone(),
            project: self.ctx.project.name.clone(),
            ids: Arc::clone(&self.ctx.ids),
            stop: CancellationToken::new(),
        }
    }
}

const COLUMNS: [&str; 9] =
    ["id", "name", "notes", "loud", "_epoch", "_lsn", "_tx_order", "_partition", "_offset"];
pub(super) fn columns(kind: Kind) -> Vec<&'static str> {
    let mut all = COLUMNS.to_vec();
    if kind == Kind::Scd2 {
        all.extend(["__START_AT", "__END_AT"]);
    }
    all
}

pub(super) fn at(lsn: i64, offset: i64, says: Says) -> Record {
    Record { epoch: Some(1), lsn: Some(lsn), tx: Some(1), offset, partition: 0, says, redriven: false }
}
fn row(key: i64, name: &'static str, notes: Option<Option<&'static str>>) -> Says {
    Says::Row { op: "u", key, name, notes, had: None, last: false }
}

/// Every hard case once, out of order.
fn hard_cases() -> Vec<Vec<Record>> {
    vec![
        vec![
            at(10, 0, row(1, "a", Some(Some("x")))),
            at(20, 1, row(2, "b", Some(Some("y")))),
            at(30, 2, row(3, "bad", Some(None))),
            at(40, 3, Says::Delete { key: 2, key_only: true }),
            at(40, 4, Says::Garbage),
        ],
        // A late event of a deleted key, and values carried over.
        vec![at(15, 5, row(2, "a", Some(None))), at(50, 6, row(1, "b", None)), at(70, 7, row(3, "a", None))],
        // A carried value changes: later, but at an earlier place.
        vec![at(45, 8, row(1, "a", Some(Some("z")))), at(70, 9, row(3, "a", None))],
        vec![
            at(80, 10, Says::Delete { key: 1, key_only: false }),
            Record {
                tx: Some(2),
                ..at(80, 11, Says::Row { op: "c", key: 4, name: "b", notes: None, had: Some(1), last: false })
            },
            at(90, 12, row(5, "hidden", Some(Some("x")))),
            at(95, 13, row(6, "dropped", Some(None))),
        ],
        vec![at(60, 14, row(1, "b", Some(Some("w")))), at(5, 15, Says::Truncate)],
        vec![at(100, 16, row(7, "a", Some(None))), at(99, 17, Says::Truncate)],
    ]
}

#[rstest]
#[case::newest_rows(Kind::Scd1)]
#[case::history(Kind::Scd2)]
#[case::every_event(Kind::Append)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_the_fold_of_bronze_after_every_version(#[case] kind: Kind) {
    let world = world(kind).await;
    let model = Model { kind, by_notes: false, tracks_name: false };
    let mut all = Vec::new();
    for records in hard_cases() {
        world.land(&records).await;
        all.extend(records);
        world.drain().await.expect("drains");
        let expected = expected(model, &all);
        assert_eq!(world.rows(&columns(kind)).await, expected.rows);
        assert_eq!(world.count("quarantine").await, expected.aside);
        let upto = world.open(&world.bronze_name()).await.version();
        let again = recompute(&world.ctx.project.catalog, &world.model, &world.ctx.lake, upto)
            .await
            .expect("recomputed");
        assert_eq!(as_text(&again.rows, &columns(kind)), expected.rows);
        assert_eq!(again.outcomes.total(), all.len() as u64);
    }
    let table = world.open(&world.model.name).await;
    let log = table.log(None, table.version()).await.expect("a log");
    let outcomes = |entry| match CommitInfo::parse(entry).expect("readable") {
        Some(CommitInfo::Silver(silver)) => silver.outcomes,
        _ => None,
    };
    let accounted: u64 = log.iter().filter_map(outcomes).map(|outcomes| outcomes.total()).sum();
    assert_eq!(accounted, all.len() as u64, "the commits account for every row");
}

/// Records who was woken.
#[derive(Default)]
struct Woken(Mutex<BTreeSet<TableName>>);
impl Announce for Woken {
    fn announce(&self, downstream: &TableName, _: &TableName, _: Version) {
        self.0.lock().expect("no panic").insert(downstream.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_reads_through_a_view_is_woken_and_the_view_is_not() {
    let mut world = world(Kind::Scd1).await;
    let (view, gold): (TableName, TableName) =
        ("silver.seen".parse().expect("a name"), "gold.counted".parse().expect("a name"));
    let project = Arc::get_mut(&mut world.ctx.project).expect("nobody else has it");
    for (name, kind, input) in [(&view, Kind::View, &world.model.name), (&gold, Kind::Table, &view)] {
        let (name, inputs) = (name.clone(), vec![input.clone()]);
        let model = Declared { name: name.clone(), kind, inputs, source: None, ..world.model.clone() };
        project.catalog.models.insert(name, model);
    }
    let woken = Arc::new(Woken::default());
    world.ctx.announce = woken.clone();
    world.land(&hard_cases()[0]).await;
    world.drain().await.expect("drains");
    assert_eq!(*woken.0.lock().expect("no panic"), BTreeSet::from([gold]));
}

// Holds P3 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_died_after_its_siblings_is_finished_once() {
    let world = world(Kind::Scd1).await;
    let cases = hard_cases();
    world.land(&cases[0]).await;
    world.drain().await.expect("drains");
    // The siblings of the next batch have landed and the table has not: their positions are set by hand.
    let aside = world.count("quarantine").await;
    for records in &cases[1..] {
        world.land(records).await;
    }
    let bronze = world.open(&world.bronze_name()).await;
    let input = AppId::table(bronze.id());
    for suffix in ["deleted", "quarantine"] {
        let mut sibling = world.open(&world.model.name.sibling(suffix)).await;
        let commit = Commit {
            operation: "WRITE",
            op: world.ctx.ids.ulid(),
            expect: Expect::All(sibling.positions().clone()),
            set: Positions::default().with(input.clone(), bronze.version().position()),
            append: Vec::new(),
            remove: Remove::Nothing,
            schema: None,
            properties: BTreeMap::new(),
            info: Default::default(),
        };
        sibling.commit(&commit).await.expect("landed");
    }
    world.drain().await.expect("drains");
    let all: Vec<Record> = cases.concat();
    let model = Model { kind: Kind::Scd1, by_notes: false, tracks_name: false };
    assert_eq!(world.rows(&COLUMNS).await, expected(model, &all).rows);
    assert_eq!(world.count("quarantine").await, aside, "rows of versions already put aside are not again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_halts_until_it_is_rebuilt() {
    let mut world = world(Kind::Scd1).await;
    let cases = hard_cases();
    world.land(&cases[0]).await;
    world.drain().await.expect("drains");
    let mut project = (*world.ctx.project).clone();
    let changed = project.catalog.models.get_mut(&world.model.name).expect("the model");
    changed.fingerprint = 8;
    changed.sql = changed.sql.replace("notes || '!'", "notes || '?'");
    world.model = changed.clone();
    world.ctx.project = Arc::new(project);
    world.land(&cases[1]).await;
    let halted = world.drain().await.expect_err("another plan");
    assert!(halted.to_string().contains("was made by plan 7"), "{halted}");
    assert_eq!(halted.reaction(), model::Reaction::Halt);

    let before = world.open(&world.model.name).await;
    let version =
        rebuild(&world.ctx.project.catalog, &world.model, &world.committer()).await.expect("rebuilt");
    let after = world.open(&world.model.name).await;
    assert_eq!((after.id(), after.version()), (before.id(), version));
    assert_eq!(version, Version(before.version().0 + 1), "one cutover commit");
    assert!(world.rows(&["loud"]).await.iter().any(|loud| loud.ends_with('?')));
    for records in &cases[2..] {
        world.land(records).await;
    }
    world.drain().await.expect("goes on");
    let model = Model { kind: Kind::Scd1, by_notes: false, tracks_name: false };
    let expected: Vec<String> =
        expected(model, &cases.concat()).rows.iter().map(|r| r.replace('!', "?")).collect();
    assert_eq!(world.rows(&COLUMNS).await, expected);
}

#[rstest]
#[case::expectation(Otherwise::Fail, "expectation `not_bad` fails at topic t partition 0 offset 2")]
#[case::measure(Otherwise::Quarantine, "measure `some` is 1 after version")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_fail_halts_the_table(#[case] not_bad: Otherwise, #[case] message: &str) {
    let world = world_with(Kind::Scd1, |model| {
        model.expectations[0].otherwise = not_bad;
        model.measures.push(Measure {
            name: "some".to_owned(),
            expr: "count(*)".to_owned(),
            query: "SELECT count(*) FROM silver.things".to_owned(),
            inputs: Vec::new(),
            related: None,
            at_least: Some(2.0),
            at_most: None,
            otherwise: Otherwise::Fail,
        });
    })
    .await;
    world.land(&hard_cases()[0]).await;
    let halted = world.drain().await.expect_err("says fail").to_string();
    assert!(halted.contains(message), "{halted}");
}

#[rstest]
#[case::scd1(Kind::Scd1)]
#[case::scd2(Kind::Scd2)]
#[case::append(Kind::Append)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_a_partition_column_cannot_hold_puts_its_row_aside_with_the_reason(#[case] kind: Kind) {
    let world = world_with(kind, |model| model.partition_by = vec!["name".to_owned()]).await;
    let row = |key, name| Says::Row { op: "c", key, name, notes: Some(None), had: None, last: false };
    world.land(&[at(10, 0, row(1, "eu")), at(20, 1, row(2, "")), at(30, 2, row(3, " "))]).await;
    world.land(&[at(40, 3, row(1, ""))]).await;
    world.drain().await.expect("goes on");
    assert_eq!(world.rows(&["id", "name"]).await.len(), 2, "the old row of the key stays");
    assert_eq!(world.count("quarantine").await, 2);
    let aside = world.open(&world.model.name.sibling("quarantine")).await;
    let reasons = as_text(&aside.scan(None).await.expect("rows"), &["_reason"]);
    assert!(reasons.iter().all(|why| why.contains("`name`") && why.contains("empty")), "{reasons:?}");
}

/// A measure that counts the `good` names and requires at least one.
fn good_ones(model: &mut Declared) {
    model.measures.push(Measure {
        name: "good".to_owned(),
        expr: String::new(),
        query: "SELECT count(*) FROM silver.things WHERE name = 'GOOD'".to_owned(),
        inputs: Vec::new(),
        related: None,
        at_least: Some(1.0),
        at_most: None,
        otherwise: Otherwise::Fail,
    });
}

pub(super) fn named(lsn: i64, offset: i64, name: &'static str) -> Record {
    at(lsn, offset, Says::Row { op: "c", key: lsn, name, notes: Some(None), had: None, last: false })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_measured_of_a_table_that_has_read_no_row() {
    let world = world_with(Kind::Scd1, good_ones).await;
    let project = world.ctx.project.name.clone();
    world.ctx.lake.create(&world.bronze_name(), TableSpec::new(project, schema())).await.expect("created");
    world.drain().await.expect("nothing to measure");
    world.land(&[named(10, 0, "good")]).await;
    world.drain().await.expect("within its bounds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_measure_out_of_its_bounds_is_put_right_by_a_row_without_another_start() {
    let world = world_with(Kind::Scd1, good_ones).await;
    world.land(&[named(10, 0, "other")]).await;
    let stop = CancellationToken::new();
    let owners = Alone::of([world.model.name.clone()]);
    let stage = runtime::tasks::spawn("stage", run(world.ctx.clone(), owners, stop.clone()));
    let meter = world.ctx.meters.stage("silver", &world.model.name.to_string());
    let until = async |halted: bool| {
        for _ in 0..1500 {
            if meter.halted().is_some() == halted {
                return;
            }
            runtime::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("halted is not {halted} within half a minute");
    };
    until(true).await;
    let noted = world.ctx.lake.halted("silver", &world.model.name).await.expect("looked").expect("noted");
    assert!(noted.reason.contains("measure `good`"), "{noted:?}");
    world.land(&[named(20, 1, "good")]).await;
    until(false).await;
    stop.cancel();
    stage.await.expect("no panic").expect("it goes on");
}

// Holds P2 (docs/invariants.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_at_once_leave_one_result() {
    let world = world(Kind::Scd1).await;
    let all: Vec<Vec<Record>> = hard_cases();
    for records in &all {
        world.land(records).await;
    }
    let (one, two) = tokio::join!(world.drain(), world.drain());
    one.expect("drains");
    two.expect("drains");
    let model = Model { kind: Kind::Scd1, by_notes: false, tracks_name: false };
    assert_eq!(world.rows(&COLUMNS).await, expected(model, &all.concat()).rows);
    assert_eq!(world.count("quarantine").await, expected(model, &all.concat()).aside);
}
