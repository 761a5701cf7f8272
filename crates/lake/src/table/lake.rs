//! A lake: a place in an object store with one folder per table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use model::{Positions, ProjectName, TableName};
use object_store::ObjectStore;
use parking_lot::Mutex;
use runtime::{Backoff, Ids};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::files::partition;
use crate::files::read::Reader;
use crate::files::vectors::Vectors;
use crate::log::{LatestSnapshot, Log, MetaLine, ProtocolLine, schema};
use crate::store::settings::LakeSettings;
use crate::store::{Created, Store, client, unreachable, wall_ms};
use crate::table::finder::{Finder, ScanFinder};
use crate::table::{Table, probe};
use crate::{Error, Result};

/// Property with the project that owns the table.
pub const PROJECT: &str = "lakepulse.project";
/// Delta's property that allows reading the changes of a table.
pub const CHANGE_FEED: &str = "delta.enableChangeDataFeed";
/// Attempts to create a table while the store does not answer.
const ATTEMPTS: usize = 5;

/// State that all tables of a lake share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub store: Store,
    pub reader: Reader,
    pub vectors: Vectors,
    pub finder: Arc<dyn Finder>,
    pub ids: SharedIds,
    /// Checkpoints being written, by table.
    pub checkpoints: Mutex<HashMap<String, JoinHandle<()>>>,
}

/// Ids of operations that have no id from a caller.
pub(crate) struct SharedIds(pub Arc<dyn Ids>);
impl std::fmt::Debug for SharedIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

/// A lake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    shared: Arc<Shared>,
}

/// A table to create.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// The project that owns it.
    pub project: ProjectName,
    /// Its columns, as Arrow types; views and dictionaries are stored plain.
    pub schema: SchemaRef,
    /// Columns of integers, dates or strings by which files are partitioned.
    pub partition_by: Vec<String>,
    /// Whether rows are removed by vectors or by rewriting their files. Fixed at creation.
    pub deletion_vectors: bool,
    /// Whether other engines may read its changes. They derive them from files and vectors, so a table without
    /// vectors cannot offer them. Fixed at creation.
    pub change_feed: bool,
    /// Whether rows are never removed. An append-only table may have many writers.
    pub append_only: bool,
    /// A description for people.
    pub description: Option<String>,
    /// Additional properties.
    pub properties: BTreeMap<String, String>,
    /// Initial positions.
    pub positions: Positions,
}

impl TableSpec {
    /// A table of `project` with these columns: deletion vectors, no partitions, no positions.
    pub fn new(project: ProjectName, schema: SchemaRef) -> Self {
        Self {
            project,
            schema,
            partition_by: Vec::new(),
            deletion_vectors: true,
            change_feed: false,
            append_only: false,
            description: None,
            properties: BTreeMap::new(),
            positions: Positions::default(),
        }
    }
}

impl Lake {
    /// Connects. A store other than the local disk is raced first, and refused if two commits could take the
    /// same version.
    pub async fn connect(settings: LakeSettings, ids: Arc<dyn Ids>) -> Result<Self> {
        let (scheme, url) = settings.check()?;
        let store = Store::over(url.clone(), client(&settings, scheme, &url)?)?;
        if scheme == crate::store::settings::Scheme::S3 {
            probe::race(&store).await?;
        }
        Ok(Self::with(store, ids))
    }

    /// Connects to a store of the caller, rooted at the bucket or at `/`, after racing it.
    pub async fn connect_over(
        settings: LakeSettings,
        objects: Arc<dyn ObjectStore>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self> {
        let (_, url) = settings.check()?;
        let store = Store::over(url, objects)?;
        probe::race(&store).await?;
        Ok(Self::with(store, ids))
    }

    fn with(store: Store, ids: Arc<dyn Ids>) -> Self {
        let shared = Shared {
            store,
            reader: Reader::default(),
            vectors: Vectors::default(),
            finder: Arc::new(ScanFinder),
            ids: SharedIds(ids),
            checkpoints: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All tables in the lake, by name. Folders that are not tables are left out.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let (store, root) = (&self.shared.store, &self.shared.store.root);
        let list = |path: object_store::path::Path| async move {
            let listing = store.objects.list_with_delimiter(Some(&path)).await;
            Ok::<_, Error>(listing.map_err(|e| unreachable(&path, e))?.common_prefixes)
        };
        let mut tables = Vec::new();
        for folder in list(root.clone()).await? {
            for table in list(folder.clone()).await? {
                let name = format!(
                    "{}.{}",
                    folder.filename().unwrap_or_default(),
                    table.filename().unwrap_or_default()
                );
                if let Ok(name) = name.parse::<TableName>()
                    && self.log(&name)?.exists().await?
                {
                    tables.push(name);
                }
            }
        }
        tables.sort();
        Ok(tables)
    }

    /// Opens a table at its newest version. `None` if there is none.
    pub async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let log = self.log(name)?;
        if !log.exists().await? {
            return Ok(None);
        }
        let latest = LatestSnapshot::newest(&log).await?;
        Ok(Some(Table::new(name.clone(), self.shared.clone(), log, latest)))
    }

    /// Creates a table as version 0, or opens the one that another process created meanwhile. Refuses a table
    /// of another project.
    pub async fn create(&self, name: &TableName, spec: TableSpec) -> Result<Table> {
        let log = self.log(name)?;
        let bytes = bytes::Bytes::from(first_entry(&log.table, &spec, &self.shared.ids.0.ulid())?);
        let mut pauses = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        for attempt in 1.. {
            if !log.exists().await?
                && let Created::Unknown(source) = log.store.create(&log.entry_path(0), bytes.clone()).await
            {
                if attempt == ATTEMPTS {
                    return Err(unreachable(&log.entry_path(0), source));
                }
                runtime::time::sleep(pauses.pause()).await;
                continue;
            }
            break;
        }
        let latest = LatestSnapshot::newest(&log).await?;
        let table = Table::new(name.clone(), self.shared.clone(), log, latest);
        match table.project() {
            Some(owner) if owner == spec.project.as_str() => Ok(table),
            owner => Err(Error::ForeignTable {
                table: name.to_string(),
                owner: owner.unwrap_or("(none)").to_owned(),
                project: spec.project.to_string(),
            }),
        }
    }

    /// Waits for the checkpoints that commits started. Call it before the process ends.
    pub async fn settle(&self) {
        let running: Vec<_> = self.shared.checkpoints.lock().drain().map(|(_, task)| task).collect();
        for task in running {
            if let Err(failed) = task.await {
                tracing::warn!(error = %failed, "checkpoint task ended abnormally");
            }
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    fn log(&self, name: &TableName) -> Result<Log> {
        let store = self.shared.store.clone();
        let bad = |fault: String| Error::BadSettings { url: store.url.to_string(), fault };
        let url = store.url.join(&format!("{}/", name.path())).map_err(|e| bad(e.to_string()))?;
        let dir = store.root.clone().join(name.schema()).join(name.table());
        Ok(Log { table: name.to_string(), dir, url, store })
    }
}

/// The lines of version 0.
fn first_entry(table: &str, spec: &TableSpec, op: &str) -> Result<String> {
    let stored = schema::stored(table, &spec.schema)?;
    for column in &spec.partition_by {
        let unfit = |what: String| Error::Unsupported { table: table.to_owned(), feature: what };
        let (_, field) = stored
            .fields()
            .find(column)
            .ok_or_else(|| Error::NoColumn { table: table.to_owned(), column: column.clone() })?;
        if !partition::partitionable(field.data_type()) {
            return Err(unfit(format!("partition column `{column}` of type {}", field.data_type())));
        }
    }
    let mut configuration = spec.properties.clone();
    configuration.insert(PROJECT.to_owned(), spec.project.to_string());
    if spec.append_only {
        configuration.insert("delta.appendOnly".to_owned(), "true".to_owned());
    }
    if spec.deletion_vectors {
        configuration.insert("delta.enableDeletionVectors".to_owned(), "true".to_owned());
    }
    let features = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
    let protocol = if spec.deletion_vectors {
        let mut written = vec!["deletionVectors", "appendOnly", "invariants"];
        if spec.change_feed {
            configuration.insert(CHANGE_FEED.to_owned(), "true".to_owned());
            written.push("changeDataFeed");
        }
        ProtocolLine {
            min_reader_version: 3,
            min_writer_version: 7,
            reader_features: features(&["deletionVectors"]),
            writer_features: features(&written),
        }
    } else {
        let (reader_features, writer_features) = (None, None);
        ProtocolLine { min_reader_version: 1, min_writer_version: 2, reader_features, writer_features }
    };
    let metadata = MetaLine {
        id: runtime::random::uuid().to_string(),
        name: Some(table.to_owned()),
        description: spec.description.clone(),
        format: crate::log::Format::default(),
        schema_string: schema::print(table, &stored)?,
        partition_columns: spec.partition_by.clone(),
        created_time: Some(wall_ms()),
        configuration,
    };
    let info = json!({
        "timestamp": wall_ms(),
        "operation": "CREATE TABLE",
        "operationParameters": {},
        "engineInfo": concat!("lakepulse/", env!("CARGO_PKG_VERSION")),
        "lakepulse": { "op": op, "project": spec.project.as_str() },
    });
    let mut lines: Vec<Value> =
        vec![json!({ "commitInfo": info }), json!({ "protocol": protocol }), json!({ "metaData": metadata })];
    lines.extend(
        spec.positions
            .0
            .iter()
            .map(|(app, position)| json!({ "txn": deltalake::kernel::Transaction::new(app, *position) })),
    );
    Ok(lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
