//! The open tables of a pipeline, and the checks when opening them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::Model;
use lake::{ChangedVersion, Table};
use model::{AppId, Version};

use super::Pipeline;
use crate::commit::{Tables, by_columns};
use crate::error::{Error, Fitting as _, OfTable as _, Result};
use crate::judge::Rules;
use crate::keys::Keys;
use crate::memory::{self, KIND, Memory, Note};
use crate::{rebuild, table};

/// What is kept between batches.
pub(super) struct Open {
    pub rules: Rules,
    /// The columns and defaults that the rules were compiled for.
    pub compiled_for: CompiledFor,
    pub bronze: Table,
    pub tables: Tables,
    pub input: AppId,
    pub memory: Memory,
    /// Bronze versions that were listed but not read.
    pub pending: VecDeque<ChangedVersion>,
    /// The version up to which they were listed.
    pub listed: Option<Version>,
}

/// A bronze table's columns and its defaults.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CompiledFor(SchemaRef, Option<String>);
impl CompiledFor {
    pub fn of(bronze: &Table) -> Self {
        Self(Arc::clone(bronze.schema()), bronze.property(lake::DEFAULTS).map(str::to_owned))
    }
}

impl Pipeline {
    /// Opens everything. `None` if a table does not exist and may not be created here.
    pub(super) async fn open(&self) -> Result<Option<Open>> {
        let model = self.model()?;
        let Some(source) = &model.source else { return Ok(None) };
        if self.ctx.lake.table(source).await.of(&self.name)?.is_none() {
            return Ok(None);
        }
        let (rules, bronze) = rebuild::open(&self.ctx.project.catalog, model, &self.ctx.lake).await?;
        let main = match self.ctx.lake.table(&self.name).await.of(&self.name)? {
            Some(table) => table,
            None if self.ctx.create => table::create(&self.ctx.lake, &self.ctx.project.name, model).await?,
            None => return Ok(None),
        };
        let input = AppId::table(bronze.id());
        check(model, &main, &bronze, &input)?;
        let tables = Tables::around(&self.ctx.lake, main).await?;
        let memory = recall(&rules, tables.deleted.as_ref()).await?;
        let compiled_for = CompiledFor::of(&bronze);
        let (pending, listed) = (VecDeque::new(), None);
        Ok(Some(Open { rules, compiled_for, bronze, tables, input, memory, pending, listed }))
    }
}

/// Rejects a table of another plan, of another bronze table, or ahead of it.
fn check(model: &Model, table: &Table, bronze: &Table, input: &AppId) -> Result<()> {
    let (name, positions) = (model.name.clone(), table.positions());
    let plan = positions.get(&AppId::plan());
    if !plan.is_some_and(|plan| model.is_plan(plan)) {
        let found = plan.map_or_else(|| "none".to_owned(), |p| p.to_string());
        return Err(Error::OtherPlan { table: name, found, expected: model.fingerprint });
    }
    let foreign = positions.0.keys().find(|app| **app != AppId::plan() && *app != input);
    if let Some(found) = foreign {
        let found = found.as_str().into();
        return Err(Error::OtherInput { table: name, bronze: bronze.name().clone(), found });
    }
    match positions.get(input) {
        Some(position) if position > bronze.version().position() => Err(Error::AheadOfInput {
            table: name,
            bronze: bronze.name().clone(),
            position,
            newest: bronze.version().0,
        }),
        _ => Ok(()),
    }
}

/// Reads the notes that concern more than the keys of one batch.
async fn recall(rules: &Rules, deleted: Option<&Table>) -> Result<Memory> {
    let mut memory = Memory::default();
    let Some(deleted) = deleted else { return Ok(memory) };
    let kinds: StringArray = memory::HELD.into_iter().map(Some).collect();
    let field = Field::new(KIND, DataType::Utf8, true);
    let schema = Arc::new(Schema::new(vec![field]));
    let kinds =
        RecordBatch::try_new(schema, vec![Arc::new(kinds)]).fitting(&rules.table, "kinds of notes")?;
    let all: Vec<String> = deleted.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut keys = Keys::try_new(rules.key_schema()).fitting(&rules.table, "the key columns")?;
    for rows in deleted.find(&by_columns(kinds), &all).await.of(&rules.table)? {
        let notes: Vec<Note> = memory::read(&rows, &mut keys).fitting(&rules.table, "notes")?;
        memory.learn(&notes, &keys);
    }
    Ok(memory)
}
