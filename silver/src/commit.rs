//! Lands a decision, each bronze row exactly once.
//!
//! It commits to three tables in this order; each commit compares and sets all positions of its table:
//!
//! 1. `__quarantine`: quarantined rows, position *b*. Crash after it: the batch is read again, perhaps cut
//!    elsewhere, but rows of bronze versions up to *b* are not quarantined again. They would be the same rows,
//!    because a verdict depends only on the row.
//! 2. `__deleted`: notes, position *b*. Crash after it: the notes are ahead of the table. The next batch then
//!    reaches at least to *b*, and folds keys with notes again from bronze instead of trusting them.
//! 3. The table: removed and added rows, position *b*. Crash before it: the staged files are orphans for
//!    vacuum. Crash after it: the next batch starts at *b*.
//!
//! A sibling without changes is not committed, so its position stays behind. A sibling's position never
//! decreases.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lake::{Commit, Expect, Keys, Lake, Landing, Remove, Table, TableSpec};
use model::{AppId, Millis, Positions, ProjectName, TableName, Version};
use runtime::traces::Cause;
use runtime::{CancellationToken, Ids};
use stage::{CommitInfo, Outcomes, info};

use crate::decide::Decision;
use crate::error::{Error, OfTable as _, Result};
use crate::judge::Rules;
use crate::memory;
use crate::table::{deleted_name, quarantine_name};

/// A table and its siblings, opened for writing by their owner.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The table.
    pub main: Table,
    /// Notes about its keys; created with the first note.
    pub deleted: Option<Table>,
    /// Quarantined rows; created with the first one.
    pub quarantine: Option<Table>,
}
impl Tables {
    /// Opens the siblings of an open table.
    pub async fn around(lake: &Lake, main: Table) -> Result<Self> {
        let name = main.name().clone();
        let deleted = lake.table(&deleted_name(&name)).await.of(&name)?;
        let quarantine = lake.table(&quarantine_name(&name)).await.of(&name)?;
        Ok(Self { main, deleted, quarantine })
    }
    /// How far each has read `input`: the table, its notes, its quarantine.
    pub fn positions(&self, input: &AppId) -> [Option<i64>; 3] {
        let of = |table: &Option<Table>| table.as_ref().and_then(|t| t.positions().get(input));
        [self.main.positions().get(input), of(&self.deleted), of(&self.quarantine)]
    }
}

/// The input range and metadata of a commit.
#[derive(Debug, Clone)]
pub struct InputRange {
    /// The bronze table.
    pub bronze: TableName,
    /// Its app id.
    pub input: AppId,
    /// Version consumed before.
    pub from: Option<i64>,
    /// Version consumed after.
    pub to: Version,
    /// The plan's fingerprint.
    pub plan: i64,
    /// The newest event time of its rows, if the project's clock follows events.
    pub newest_event: Option<Millis>,
    /// The newest Kafka timestamp of its rows, for the freshness of the next table.
    pub newest_arrival: Option<Millis>,
    /// The trace parent of this commit.
    pub cause: Option<Cause>,
}

/// Lands decisions of one table.
pub struct Committer {
    /// Where the tables are.
    pub lake: Lake,
    /// The project.
    pub project: ProjectName,
    /// ULIDs of operations.
    pub ids: Arc<dyn Ids>,
    /// Ends the retries while the store does not answer.
    pub stop: CancellationToken,
}

impl Committer {
    /// Commits all parts of a decision. Returns the table's version.
    pub async fn land(
        &self,
        rules: &Rules,
        tables: &mut Tables,
        range: &InputRange,
        decision: Decision,
    ) -> Result<Version> {
        if !decision.quarantine.is_empty() {
            let name = quarantine_name(&rules.table);
            let schema = rules.quarantine_schema();
            let mut table = self.sibling(tables.quarantine.take(), &name, &schema).await?;
            let rows = Rows { schema: Some(schema), append: decision.quarantine, ..Rows::default() };
            self.write(&mut table, range, rows, None).await?;
            tables.quarantine = Some(table);
        }
        if decision.notes.is_some() || decision.forget.is_some() {
            let name = deleted_name(&rules.table);
            let schema = memory::schema(&rules.key_schema());
            let mut table = self.sibling(tables.deleted.take(), &name, &schema).await?;
            let append = decision.notes.into_iter().collect();
            let rows = Rows { remove: remove(decision.forget), append, ..Rows::default() };
            self.write(&mut table, range, rows, None).await?;
            tables.deleted = Some(table);
        }
        let append = decision.upserts.into_iter().collect();
        let rows = Rows { remove: remove(decision.removes), append, ..Rows::default() };
        self.write(&mut tables.main, range, rows, Some(decision.outcomes)).await
    }

    /// Replaces all rows of a table: the cutover of a rebuild.
    pub async fn replace(
        &self,
        table: &mut Table,
        range: &InputRange,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        outcomes: Option<Outcomes>,
    ) -> Result<Version> {
        let rows = Rows { schema: Some(schema), remove: Remove::Everything, append: rows };
        self.write(table, range, rows, outcomes).await
    }

    /// The sibling; created if it does not exist. If it has positions already, another process has read the
    /// same versions, so the table has moved on.
    pub async fn sibling(&self, table: Option<Table>, name: &TableName, schema: &SchemaRef) -> Result<Table> {
        match table {
            Some(table) => Ok(table),
            None => {
                let spec = TableSpec::new(self.project.clone(), Arc::clone(schema));
                let table = self.lake.create(name, spec).await.of(name)?;
                if *table.positions() != Positions::default() {
                    return Err(Error::Moved { table: name.clone() });
                }
                Ok(table)
            }
        }
    }

    /// One commit. The table itself also gets the plan and the outcomes.
    async fn write(
        &self,
        table: &mut Table,
        range: &InputRange,
        rows: Rows,
        main: Option<Outcomes>,
    ) -> Result<Version> {
        let name = table.name().clone();
        let expect = table.positions().clone();
        let held = expect.get(&range.input);
        let mut set =
            Positions::default().with(range.input.clone(), held.unwrap_or(-1).max(range.to.position()));
        if main.is_some() {
            set.set(AppId::plan(), range.plan);
        }
        let info = CommitInfo::Silver(info::SilverCommit {
            project: self.project.to_string(),
            input: info::VersionRange { table: range.bronze.to_string(), from: range.from, to: range.to.0 },
            outcomes: main,
            newest_event_ms: range.newest_event.filter(|_| main.is_some()),
            newest_arrival_ms: range.newest_arrival.filter(|_| main.is_some()),
            traceparent: range.cause.as_ref().filter(|_| main.is_some()).map(ToString::to_string),
        });
        let replaces = !matches!(rows.remove, Remove::Nothing);
        let commit = Commit {
            operation: if replaces { "MERGE" } else { "WRITE" },
            op: self.ids.ulid(),
            expect: Expect::All(expect),
            set,
            append: table.stage(rows.append).await.of(&name)?,
            remove: rows.remove,
            schema: rows.schema,
            properties: BTreeMap::new(),
            info: info.stored(),
        };
        match stage::commit(table, &commit, &self.stop).await.of(&name)? {
            Landing::Landed(version) => {
                let (input, from, to) = (&range.bronze, range.from, range.to.0);
                tracing::info!(table = %name, version = version.0, op = commit.op, %input, from, to, "silver committed");
                Ok(version)
            }
            Landing::Moved => Err(Error::Moved { table: name }),
        }
    }
}

/// The changes of one commit.
#[derive(Default)]
struct Rows {
    schema: Option<SchemaRef>,
    remove: Remove,
    append: Vec<RecordBatch>,
}

fn remove(keys: Option<RecordBatch>) -> Remove {
    keys.map_or(Remove::Nothing, |rows| Remove::Keys(by_columns(rows)))
}

/// All columns of a batch as a key.
pub fn by_columns(rows: RecordBatch) -> Keys {
    Keys { columns: rows.schema().fields().iter().map(|f| f.name().clone()).collect(), rows }
}
