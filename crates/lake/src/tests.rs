//! Tests over real tables on the local disk, with faults injected under them.

mod commit;
mod faults;
mod files;
mod fold;
mod maintain;
mod reading;
mod upkeep;
mod upserts;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use model::{AppId, Positions, TableName, Version};
use object_store::local::LocalFileSystem;
use runtime::RandomIds;
use tempfile::TempDir;

use self::faults::FaultStore;
use crate::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, Table, TableSpec};

/// A lake in a folder of its own.
struct Site {
    _dir: TempDir,
    settings: LakeSettings,
    faults: Arc<FaultStore>,
    lake: Lake,
}

async fn site() -> Site {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = LakeSettings::local(dir.path()).expect("a url");
    let faults = Arc::new(FaultStore::over(Arc::new(LocalFileSystem::new())));
    let lake =
        Lake::connect_over(settings.clone(), faults.clone(), Arc::new(RandomIds)).await.expect("connects");
    Site { _dir: dir, settings, faults, lake }
}

impl Site {
    /// Another process on the same lake, without faults.
    async fn rival(&self) -> Lake {
        Lake::connect(self.settings.clone(), Arc::new(RandomIds)).await.expect("connects")
    }

    /// `(id, name, seq)`, with vectors and one owner.
    async fn create(&self) -> Table {
        self.lake.create(&name("silver.t"), spec()).await.expect("creates")
    }

    /// `(id, name, seq)`, only ever appended to.
    async fn create_bronze(&self) -> Table {
        let spec = TableSpec { append_only: true, deletion_vectors: false, ..spec() };
        self.lake.create(&name("bronze.t"), spec).await.expect("creates")
    }
}

async fn open(lake: &Lake, table: &Table) -> Table {
    lake.table(table.name()).await.expect("opens").expect("exists")
}

fn name(text: &str) -> TableName {
    text.parse().expect("a table name")
}

fn spec() -> TableSpec {
    TableSpec::new("wwi".parse().expect("a project name"), schema())
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("seq", DataType::Int64, true),
    ]))
}

/// Rows of these ids, all with one `seq`.
fn rows(ids: impl IntoIterator<Item = i64>, seq: i64) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let names = StringArray::from_iter_values(ids.iter().map(|id| format!("name {id}")));
    let seqs = Int64Array::from(vec![seq; ids.len()]);
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids)), Arc::new(names), Arc::new(seqs)];
    RecordBatch::try_new(schema(), columns).expect("valid")
}

fn keys(ids: impl IntoIterator<Item = i64>) -> Keys {
    let ids: ArrayRef = Arc::new(ids.into_iter().collect::<Int64Array>());
    Keys { columns: vec!["id".into()], rows: RecordBatch::try_from_iter([("id", ids)]).expect("valid") }
}

fn app(source: &str) -> AppId {
    AppId::table(&source.parse().expect("an id"))
}

/// A batch of one source from one position to another; `None` is the very beginning.
fn step(source: &str, from: Option<i64>, to: i64) -> Commit {
    Commit {
        operation: "WRITE",
        op: runtime::Ids::ulid(&runtime::RandomIds),
        expect: Expect::These(BTreeMap::from([(app(source), from)])),
        set: Positions::default().with(app(source), to),
        append: Vec::new(),
        remove: Remove::Nothing,
        schema: None,
        properties: BTreeMap::new(),
        info: serde_json::Map::new(),
    }
}

/// The next step of a table with one owner: takes out the keys and puts in the rows.
async fn upsert(table: &mut Table, gone: impl IntoIterator<Item = i64>, came: RecordBatch) -> Version {
    let position = table.positions().get(&app("up"));
    let commit = Commit {
        operation: "MERGE",
        expect: Expect::All(table.positions().clone()),
        append: table.stage(vec![came]).await.expect("stages"),
        remove: Remove::Keys(keys(gone)),
        ..step("up", position, position.unwrap_or(0) + 1)
    };
    landed(table.commit(&commit).await.expect("commits"))
}

fn landed(landing: Landing) -> Version {
    match landing {
        Landing::Landed(version) => version,
        Landing::Moved => panic!("someone else moved on"),
    }
}

/// `(id, seq)` of all rows of a version, ascending, doubled ones twice.
async fn held(table: &Table) -> Vec<(i64, i64)> {
    pairs(&table.scan(None).await.expect("scans"))
}

fn pairs(batches: &[RecordBatch]) -> Vec<(i64, i64)> {
    let pair = |batch: &RecordBatch| {
        let column =
            |name: &str| batch.column_by_name(name).expect("is there").as_primitive::<Int64Type>().clone();
        column("id").values().iter().copied().zip(column("seq").values().to_vec()).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = batches.iter().flat_map(pair).collect();
    all.sort_unstable();
    all
}

/// Paths of the files in the table's folder that hold rows, whether a commit names them or not.
fn parquet_files(site: &Site, table: &Table) -> BTreeSet<String> {
    let folder = site.settings.url.to_file_path().expect("local").join(table.name().path());
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").file_name());
    entries.map(|n| n.to_string_lossy().into_owned()).filter(|n| n.ends_with(".parquet")).collect()
}
