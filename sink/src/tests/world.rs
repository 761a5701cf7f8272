//! A lake with a gold table, and commits to it as gold makes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use lake::{Commit, Expect, Keys, Lake, LakeSettings, Landing, Remove, StagedFile, Table, TableSpec};
use model::{AppId, ClockMs, Millis, TableName};
use object_store::memory::InMemory;
use runtime::{Ids, SeededIds};
use stage::{CommitInfo, info};

/// A row: `id`, the key, `kind` and `amount`.
pub type Row = (i64, &'static str, i64);

pub fn name(text: &str) -> TableName {
    text.parse().expect("a table name")
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("kind", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
        ],
    )
    .expect("columns of the schema")
}

/// The table `gold.t` and its expected content.
pub struct World {
    pub lake: Lake,
    ids: SeededIds,
    rows: BTreeMap<i64, Row>,
    pins: i64,
    /// Newest Kafka timestamp in commits, in milliseconds.
    pub arrival: Option<Millis>,
}

impl World {
    /// The table exists and is empty.
    pub async fn new() -> Self {
        Self::of(schema()).await
    }
    /// The same with other columns; [`Self::write`] writes to such a table.
    pub async fn of(schema: SchemaRef) -> Self {
        let settings = LakeSettings { url: "memory:///".parse().expect("a url"), options: BTreeMap::new() };
        let (objects, ids) = (Arc::new(InMemory::new()), Arc::new(SeededIds::new(1)));
        let lake = Lake::connect_over(settings, objects, ids).await.expect("connected");
        let spec = TableSpec::new("test".parse().expect("a name"), schema);
        lake.create(&name("gold.t"), spec).await.expect("created");
        Self { lake, ids: SeededIds::new(2), rows: BTreeMap::new(), pins: 0, arrival: None }
    }

    pub async fn table(&self) -> Table {
        self.lake.table(&name("gold.t")).await.expect("open").expect("exists")
    }

    /// Commits a version that adds these rows and removes these keys.
    pub async fn edit(&mut self, puts: &[Row], drops: &[i64]) {
        self.rows.retain(|id, _| !drops.contains(id));
        self.rows.extend(puts.iter().map(|row| (row.0, *row)));
        let keys: Vec<i64> = puts.iter().map(|row| row.0).chain(drops.iter().copied()).collect();
        let key = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let keys = RecordBatch::try_new(key, vec![Arc::new(Int64Array::from(keys))]).expect("keys");
        self.write(batch(puts), keys).await;
    }

    /// Commits a version with these rows instead of those of these keys.
    pub async fn write(&mut self, rows: RecordBatch, keys: RecordBatch) {
        let table = self.table().await;
        let columns = keys.schema().fields().iter().map(|field| field.name().clone()).collect();
        let remove = Remove::Keys(Keys { columns, rows: keys });
        let append = match rows.num_rows() {
            0 => Vec::new(),
            _ => table.stage(vec![rows]).await.expect("staged"),
        };
        self.commit(table, append, remove, None).await;
    }

    /// Commits a version without changed rows.
    pub async fn pin(&mut self) {
        let table = self.table().await;
        self.commit(table, Vec::new(), Remove::Nothing, None).await;
    }

    /// Rewrites the table without these keys, in new files: a cutover.
    pub async fn rebuild_without(&mut self, drops: &[i64]) {
        self.rows.retain(|id, _| !drops.contains(id));
        let (table, rows) = (self.table().await, self.rows.values().copied().collect::<Vec<_>>());
        let append = table.stage_as(&schema(), vec![batch(&rows)]).await.expect("staged");
        self.commit(table, append, Remove::Everything, Some(schema())).await;
    }

    async fn commit(
        &mut self,
        mut table: Table,
        append: Vec<StagedFile>,
        remove: Remove,
        schema: Option<SchemaRef>,
    ) {
        self.pins += 1;
        let input = AppId::table(&"silver".parse().expect("an id"));
        let held = table.positions().clone();
        let commit = Commit {
            operation: "MERGE",
            op: self.ids.ulid(),
            set: held.clone().with(input, self.pins),
            expect: Expect::All(held),
            append,
            remove,
            schema,
            properties: BTreeMap::new(),
            info: CommitInfo::Gold(info::GoldCommit {
                project: "test".to_owned(),
                pins: BTreeMap::new(),
                as_of: ClockMs(0),
                method: "full".to_owned(),
                inserted: None,
                updated: None,
                deleted: None,
                newest_arrival_ms: self.arrival,
                broken: BTreeMap::new(),
                traceparent: None,
            })
            .stored(),
        };
        assert!(matches!(table.commit(&commit).await, Ok(Landing::Landed(_))));
    }

    /// Asserts that the table has its expected content.
    pub async fn assert_kept(&self) {
        let mut held = Vec::new();
        for batch in self.table().await.scan(None).await.expect("scanned") {
            let text = |row, column: usize| array_value_to_string(batch.column(column), row).expect("text");
            held.extend((0..batch.num_rows()).map(|row| [0, 1, 2].map(|column| text(row, column))));
        }
        held.sort();
        let mut wanted: Vec<[String; 3]> = self
            .rows
            .values()
            .map(|(id, kind, n)| [id.to_string(), (*kind).to_owned(), n.to_string()])
            .collect();
        wanted.sort();
        assert_eq!(held, wanted);
    }
}
