//! A lake with two silver tables and a gold model over them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use catalog::{Catalog, Kind, Location, Model, Project};
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, Table, TableSpec};
use model::{AppId, ClockMs, Millis, Positions, TableName};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use runtime::{CancellationToken, ManualClock, Meters, SeededIds};
use stage::{CommitInfo, Control, info};

use crate::Settings;
use crate::pipeline::{Keeper, Refreshed};
use crate::{Context, Result};

/// A row of either silver table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub other: Option<i64>,
    pub kind: Option<&'static str>,
    pub amount: i64,
}

pub fn row() -> impl Strategy<Value = Row> {
    let kind = proptest::option::weighted(0.8, prop_oneof![Just("a"), Just("b"), Just("c")]);
    (0..8i64, proptest::option::weighted(0.8, 0..5i64), kind, -3..4i64)
        .prop_map(|(id, other, kind, amount)| Row { id, other, kind, amount })
}

/// One silver commit: rows upserted and keys deleted in table `a` (0) or `b` (1).
#[derive(Debug, Clone)]
pub struct Edit {
    pub table: usize,
    pub puts: Vec<Row>,
    pub drops: Vec<i64>,
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let puts = prop::collection::vec(row(), 0..4);
    (0..2usize, puts, prop::collection::vec(0..8i64, 0..2)).prop_map(|(table, puts, drops)| {
        let puts: BTreeMap<i64, Row> = puts.into_iter().map(|r| (r.id, r)).collect();
        Edit { table, puts: puts.into_values().collect(), drops }
    })
}

pub fn put(table: usize, rows: &[(i64, Option<i64>, &'static str, i64)]) -> Edit {
    let row =
        |r: &(i64, Option<i64>, &'static str, i64)| Row { id: r.0, other: r.1, kind: Some(r.2), amount: r.3 };
    Edit { table, puts: rows.iter().map(row).collect(), drops: vec![] }
}

pub fn name(text: &str) -> TableName {
    text.parse().expect("a table name")
}

/// The visible columns of the silver tables, as the catalog has them.
fn visible() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("other", DataType::Int64, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(20, 2), true),
    ]))
}

/// Their stored columns, including one that models do not see.
fn stored() -> SchemaRef {
    let hidden = Arc::new(Field::new("_offset", DataType::Int64, true));
    Arc::new(Schema::new(visible().fields().iter().cloned().chain([hidden]).collect::<Vec<_>>()))
}

fn rows(rows: &[Row], version: i64) -> RecordBatch {
    let amounts = rows.iter().map(|r| Some(i128::from(r.amount) * 100)).collect::<Decimal128Array>();
    RecordBatch::try_new(
        stored(),
        vec![
            Arc::new(rows.iter().map(|r| Some(r.id)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.other).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|r| r.kind).collect::<StringArray>()),
            Arc::new(amounts.with_precision_and_scale(20, 2).expect("fits")),
            Arc::new(rows.iter().map(|_| Some(version)).collect::<Int64Array>()),
        ],
    )
    .expect("columns of the schema")
}

/// A model of any kind over the silver tables.
pub fn model(
    kind: Kind,
    table: &str,
    keys: &[&str],
    sql: &str,
    schema: SchemaRef,
    fingerprint: i64,
) -> Model {
    let parsed = query::sql::parse(sql).expect("parses");
    Model {
        name: name(table),
        kind,
        description: None,
        keys: keys.iter().map(|k| (*k).to_owned()).collect(),
        sql: sql.to_owned(),
        normalised: parsed.normalised,
        inputs: parsed.tables,
        source: None,
        expectations: vec![],
        measures: vec![],
        publish: None,
        tick: Duration::from_secs(86_400),
        track_history: vec![],
        partition_by: vec![],
        cluster_by: vec![],
        deletion_vectors: true,
        change_feed: false,
        freshness: None,
        sequence_by: None,
        deletes_when: None,
        truncates_when: None,
        tags: vec![],
        owner: None,
        columns: Default::default(),
        schema,
        unlearned: false,
        fingerprint,
        former: None,
        location: Location::new("models/x.sql", 1),
    }
}

/// A project of gold models, planned over the silver tables and the views given before them.
pub fn project(models: &[(Kind, &str, &[&str], &str, i64)]) -> Project {
    let mut catalog = Catalog::default();
    for table in ["silver.a", "silver.b"] {
        let sql = "SELECT 1 FROM changes(bronze.x)";
        catalog.models.insert(name(table), model(Kind::Scd1, table, &["id"], sql, visible(), 1));
    }
    for (kind, table, keys, sql, fingerprint) in models {
        let parsed = query::sql::parse(sql).expect("parses");
        let planner = query::plan::Planner::new(ClockMs(0));
        for input in &parsed.tables {
            planner
                .declare(input, &catalog.schema_of(input).expect("declared before"), &[])
                .expect("declared");
        }
        let schema = planner.plan(&parsed).unwrap_or_else(|e| panic!("{sql}: {e}")).schema;
        catalog.models.insert(name(table), model(*kind, table, keys, sql, schema, *fingerprint));
    }
    Project::new(PathBuf::from("/nowhere"), "test".parse().expect("valid"), catalog)
}

/// A stage without its loops.
pub struct World {
    pub objects: Arc<dyn ObjectStore>,
    pub clock: Arc<ManualClock>,
    pub project: Arc<Project>,
    pub lake: Lake,
    ids: Arc<SeededIds>,
    versions: AtomicI64,
    /// Newest event time in silver commits, in milliseconds; 0 for none.
    pub event: AtomicI64,
    /// Newest Kafka timestamp in silver commits, in milliseconds; 0 for none.
    pub arrival: AtomicI64,
    pub meters: Meters,
    pub settings: Settings,
}

impl World {
    /// Both silver tables exist and are empty.
    pub async fn new(project: Project) -> Self {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let ids = Arc::new(SeededIds::new(1));
        let lake = connect(Arc::clone(&objects), Arc::clone(&ids)).await;
        let clock = Arc::new(ManualClock::at(ClockMs(1_700_000_000_000)));
        let world = Self {
            objects,
            clock,
            project: Arc::new(project),
            lake,
            ids,
            versions: AtomicI64::new(0),
            event: AtomicI64::new(0),
            arrival: AtomicI64::new(0),
            meters: Meters::new(),
            settings: Settings::default(),
        };
        for table in ["silver.a", "silver.b"] {
            let spec = TableSpec::new(world.project.name.clone(), stored());
            world.lake.create(&name(table), spec).await.expect("created");
        }
        world
    }

    /// The same lake through another store, as a starting process sees it.
    pub async fn through(&self, objects: Arc<dyn ObjectStore>) -> Lake {
        connect(objects, Arc::clone(&self.ids)).await
    }

    pub fn context(&self, lake: Lake) -> Arc<Context> {
        Arc::new(Context {
            project: Arc::clone(&self.project),
            lake,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            meters: self.meters.clone(),
            announce: Arc::new(()),
            settings: self.settings.clone(),
            create: true,
            select: vec![],
            draining: CancellationToken::new(),
        })
    }

    /// A fresh refresher of a table.
    pub fn keeper(&self, table: &str) -> Keeper {
        self.keeper_over(self.lake.clone(), table)
    }
    pub fn keeper_over(&self, lake: Lake, table: &str) -> Keeper {
        let model = self.project.catalog.models.get(&name(table)).expect("a model");
        Keeper::new(self.context(lake), Arc::new(model.clone()), Control::default())
    }

    /// Commits to a silver table, as silver does.
    pub async fn edit(&self, edit: &Edit) {
        let table = ["silver.a", "silver.b"][edit.table];
        let mut table = self.lake.table(&name(table)).await.expect("open").expect("exists");
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let mut keys: Vec<i64> = edit.puts.iter().map(|r| r.id).chain(edit.drops.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let key_schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let key_rows =
            RecordBatch::try_new(key_schema, vec![Arc::new(Int64Array::from(keys))]).expect("keys");
        let append = match edit.puts.is_empty() {
            true => vec![],
            false => table.stage(vec![rows(&edit.puts, version)]).await.expect("staged"),
        };
        let position = AppId::table(&"bronze".parse().expect("valid"));
        let at = |time: &AtomicI64| Some(time.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Millis);
        let commit = Commit {
            operation: "MERGE",
            op: runtime::Ids::ulid(self.ids.as_ref()),
            expect: Expect::All(table.positions().clone()),
            set: Positions::default().with(position, version),
            append,
            remove: Remove::Keys(Keys { columns: vec!["id".to_owned()], rows: key_rows }),
            schema: None,
            properties: BTreeMap::new(),
            info: CommitInfo::Silver(info::SilverCommit {
                project: self.project.name.to_string(),
                input: info::VersionRange { table: "bronze.t".to_owned(), from: None, to: 0 },
                outcomes: None,
                newest_event_ms: at(&self.event),
                newest_arrival_ms: at(&self.arrival),
                traceparent: None,
            })
            .stored(),
        };
        assert!(matches!(table.commit(&commit).await, Ok(Landing::Landed(_))));
    }

    /// Commits to a silver table without rows, with this info.
    pub async fn say(&self, table: &str, info: serde_json::Value) {
        let mut table = self.lake.table(&name(table)).await.expect("open").expect("exists");
        let op = runtime::Ids::ulid(self.ids.as_ref());
        let positions = table.positions().clone();
        let mut commit = crate::commit::base(op, positions.clone(), Expect::All(positions));
        commit.info = info.as_object().expect("an object").clone();
        assert!(matches!(table.commit(&commit).await, Ok(Landing::Landed(_))));
    }

    /// Deletes the log entries of a table before its newest, as maintenance does once they are old.
    pub async fn clean(&self, table: &str) {
        let table = self.table(table).await;
        table.checkpoint().await.expect("written");
        let gone = table.clean_log(table.version(), i64::MAX, 0).await.expect("cleaned");
        assert!(gone > 0, "there was something to delete");
    }

    /// Recomputes a table and cuts over, as `apply` does.
    pub async fn rebuild(&self, table: &str) -> Result<crate::Rebuilt> {
        let model = self.project.catalog.models.get(&name(table)).expect("a model");
        let (clock, ids) = (self.clock.as_ref(), SeededIds::new(9));
        crate::rebuild(&self.project, model, &self.lake, clock, &ids, &CancellationToken::new()).await
    }

    pub async fn table(&self, table: &str) -> Table {
        self.lake.table(&name(table)).await.expect("open").expect("exists")
    }

    /// Asserts the contract of a gold table at its newest version, and that no step is left.
    pub async fn assert_kept(&self, table: &str) {
        let held = self.table(table).await;
        let model = self.project.catalog.models.get(&name(table)).expect("a model");
        let wanted =
            crate::recompute(&self.project, model, &self.lake, held.positions()).await.expect("recomputed");
        assert_eq!(shown(&held.scan(None).await.expect("scanned")), shown(&wanted), "{table}");
    }
}

async fn connect(objects: Arc<dyn ObjectStore>, ids: Arc<SeededIds>) -> Lake {
    let settings = LakeSettings { url: "memory:///".parse().expect("a url"), options: BTreeMap::new() };
    Lake::connect_over(settings, objects, ids).await.expect("connected")
}

/// Steps until nothing is left to do.
pub async fn settle(keeper: &mut Keeper) -> Result<Vec<Refreshed>> {
    let mut outcomes = Vec::new();
    loop {
        match keeper.step().await? {
            Refreshed::Idle | Refreshed::Unchanged => return Ok(outcomes),
            outcome => outcomes.push(outcome),
        }
    }
}

/// Rows as sorted text, for comparing tables.
pub fn shown(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("shown"))
            .collect();
        for i in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    rows
}
