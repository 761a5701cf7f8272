//! Lands a decision, each bronze row exactly once.
//!
//! Three tables, in this order, each commit a compare-and-set of all of its table's positions:
//!
//! 1. `__quarantine`: rows put aside, position *b*. Stop behind it: the batch is read again, perhaps cut
//!    elsewhere, but rows of bronze versions up to *b* are not put aside again. They would be the same
//!    rows, as a verdict is a function of the row.
//! 2. `__deleted`: what is remembered, position *b*. Stop behind it: the memory is ahead of the table. The
//!    next batch then reaches at least to *b*, and keys with notes are folded again from bronze instead
//!    of trusting them.
//! 3. The table: rows out, rows in, position *b*. Stop before it: the staged files are orphans for vacuum.
//!    Stop behind it: the next batch starts at *b*.
//!
//! A sibling that has nothing to say is left alone and its position stays behind. A sibling's position
//! never falls.

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
    /// What is remembered of its keys; comes with the first note.
    pub deleted: Option<Table>,
    /// Rows put aside; comes with the first of them.
    pub quarantine: Option<Table>,
}
impl Tables {
    /// The siblings of an open table.
    pub async fn around(lake: &Lake, main: Table) -> Result<Self> {
        let name = main.name().clone();
        let deleted = lake.table(&deleted_name(&name)).await.of(&name)?;
        let quarantine = lake.table(&quarantine_name(&name)).await.of(&name)?;
        Ok(Self { main, deleted, quarantine })
    }
    /// How far each has read `input`: the table, its memory, what is put aside.
    pub fn positions(&self, input: &AppId) -> [Option<i64>; 3] {
        let of = |table: &Option<Table>| table.as_ref().and_then(|t| t.positions().get(input));
        [self.main.positions().get(input), of(&self.deleted), of(&self.quarantine)]
    }
}

/// What a commit is about.
#[derive(Debug, Clone)]
pub struct Span {
    /// The bronze table.
    pub bronze: TableName,
    /// Its app id.
    pub input: AppId,
    /// Version consumed before.
    pub from: Option<i64>,
    /// Version consumed after.
    pub to: Version,
    /// Fingerprint of the plan.
    pub plan: i64,
    /// The newest event time of its rows, for a project whose clock follows events.
    pub newest_event: Option<Millis>,
    /// The newest Kafka timestamp of its rows, for whoever shows how fresh the next table is.
    pub newest_arrival: Option<Millis>,
    /// The span of this commit.
    pub cause: Option<Cause>,
}

/// Lands decisions of one table.
pub struct Committer {
    /// Where the tables are.
    pub lake: Lake,
    /// Whose they are.
    pub project: ProjectName,
    /// ULIDs of operations.
    pub ids: Arc<dyn Ids>,
    /// Ends the wait for a store that does not answer.
    pub stop: CancellationToken,
}

impl Committer {
    /// Lands all parts of a decision. The version is the table's.
    pub async fn land(
        &self,
        rules: &Rules,
        tables: &mut Tables,
        span: &Span,
        decision: Decision,
    ) -> Result<Version> {
        if !decision.quarantine.is_empty() {
            let name = quarantine_name(&rules.table);
            let schema = rules.quarantine_schema();
            let mut table = self.sibling(tables.quarantine.take(), &name, &schema).await?;
            let rows = Rows { schema: Some(schema), append: decision.quarantine, ..Rows::default() };
            self.write(&mut table, span, rows, None).await?;
            tables.quarantine = Some(table);
        }
        if decision.notes.is_some() || decision.forget.is_some() {
            let name = deleted_name(&rules.table);
            let schema = memory::schema(&rules.key_schema());
            let mut table = self.sibling(tables.deleted.take(), &name, &schema).await?;
            let append = decision.notes.into_iter().collect();
            let rows = Rows { remove: remove(decision.forget), append, ..Rows::default() };
            self.write(&mut table, span, rows, None).await?;
            tables.deleted = Some(table);
        }
        let append = decision.upserts.into_iter().collect();
        let rows = Rows { remove: remove(decision.removes), append, ..Rows::default() };
        self.write(&mut tables.main, span, rows, Some(decision.outcomes)).await
    }

    /// Replaces all rows of a table: the cutover of a rebuild.
    pub async fn replace(
        &self,
        table: &mut Table,
        span: &Span,
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        outcomes: Option<Outcomes>,
    ) -> Result<Version> {
        let rows = Rows { schema: Some(schema), remove: Remove::Everything, append: rows };
        self.write(table, span, rows, outcomes).await
    }

    /// The sibling, created if it is not there. A rival that created it first and has written to it made
    /// its rows from the same versions, so it has moved on.
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
        span: &Span,
        rows: Rows,
        main: Option<Outcomes>,
    ) -> Result<Version> {
        let name = table.name().clone();
        let expect = table.positions().clone();
        let held = expect.get(&span.input);
        let mut set =
            Positions::default().with(span.input.clone(), held.unwrap_or(-1).max(span.to.position()));
        if main.is_some() {
            set.set(AppId::plan(), span.plan);
        }
        let info = CommitInfo::Silver(info::SilverCommit {
            project: self.project.to_string(),
            input: info::VersionRange { table: span.bronze.to_string(), from: span.from, to: span.to.0 },
            outcomes: main,
            newest_event_ms: span.newest_event.filter(|_| main.is_some()),
            newest_arrival_ms: span.newest_arrival.filter(|_| main.is_some()),
            traceparent: span.cause.as_ref().filter(|_| main.is_some()).map(ToString::to_string),
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
                let (input, from, to) = (&span.bronze, span.from, span.to.0);
                tracing::info!(table = %name, version = version.0, op = commit.op, %input, from, to, "silver committed");
                Ok(version)
            }
            Landing::Moved => Err(Error::Moved { table: name }),
        }
    }
}

/// What one commit changes.
#[derive(Default)]
struct Rows {
    schema: Option<SchemaRef>,
    remove: Remove,
    append: Vec<RecordBatch>,
}

fn remove(keys: Option<RecordBatch>) -> Remove {
    keys.map_or(Remove::Nothing, |rows| Remove::Keys(by_columns(rows)))
}

/// Keys by all columns of a batch.
pub fn by_columns(rows: RecordBatch) -> Keys {
    Keys { columns: rows.schema().fields().iter().map(|f| f.name().clone()).collect(), rows }
}
