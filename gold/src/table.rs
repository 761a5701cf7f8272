//! A gold model as a maintained query, and the table with its result.

use std::sync::Arc;

use catalog::{Catalog, Kind, Model};
use lake::{Lake, Table, TableSpec};
use model::{AppId, ClockMs, Positions, ProjectName, TableName};
use query::affected::Maintenance;
use query::plan::{Planned, Planner};

use crate::error::{Error, OfTable as _, Result};

/// A model's query at one pinned time.
#[derive(Debug, Clone)]
pub struct Query {
    /// How its result is maintained.
    pub maintenance: Maintenance,
    /// True if the result depends on the pinned time.
    pub uses_as_of: bool,
    /// Stored tables that it reads, directly or through views.
    pub inputs: Vec<TableName>,
}

/// Plans a model's query with the catalog's schemas. It does not see hidden columns of stored inputs.
pub fn plan(catalog: &Catalog, model: &Model, as_of: ClockMs) -> Result<Query> {
    let table = &model.name;
    if model.unlearned {
        return Err(Error::Unlearned { table: table.clone() });
    }
    let planner = Planner::new(as_of);
    let inputs = catalog.stored_inputs(table);
    for input in &inputs {
        let schema = catalog.schema_of(input).ok_or_else(|| Error::Unlearned { table: table.clone() })?;
        planner.declare(input, &schema, &unique(catalog, input)).of(table)?;
    }
    let mut uses_as_of = false;
    for view in catalog.views_of(table) {
        let parsed = query::sql::parse(&view.sql).of(table)?;
        uses_as_of |= parsed.uses_as_of;
        planner.declare_view(&view.name, &parsed).of(table)?;
    }
    let parsed = query::sql::parse(&model.sql).of(table)?;
    uses_as_of |= parsed.uses_as_of;
    let planned = planner.plan(&parsed).of(table)?;
    // The catalog decides the types that a table stores.
    let planned = Planned { plan: planned.plan, schema: Arc::clone(&model.schema) };
    let maintenance = Maintenance::try_new(&planned, &model.keys).of(table)?;
    Ok(Query { maintenance, uses_as_of, inputs })
}

/// Columns of a stored table that identify a row.
fn unique(catalog: &Catalog, table: &TableName) -> Vec<String> {
    let Some(model) = catalog.models.get(table) else { return Vec::new() };
    match model.kind {
        Kind::Scd1 | Kind::Table => model.keys.clone(),
        Kind::Scd2 => model.keys.iter().cloned().chain(["__START_AT".to_owned()]).collect(),
        Kind::Append | Kind::View => Vec::new(),
    }
}

/// How a model's table is maintained, and why: `explain`.
pub async fn method(catalog: &Catalog, model: &Model) -> Result<Maintenance> {
    plan(catalog, model, ClockMs(0)).map(|query| query.maintenance)
}

/// Creates the empty table of a model, or opens an existing one.
pub async fn create(lake: &Lake, project: &ProjectName, model: &Model) -> Result<Table> {
    let spec = TableSpec {
        partition_by: model.partition_by.clone(),
        deletion_vectors: model.deletion_vectors,
        change_feed: model.change_feed,
        description: model.description.clone(),
        properties: model.properties(),
        positions: Positions::default().with(AppId::plan(), model.fingerprint),
        ..TableSpec::new(project.clone(), Arc::clone(&model.schema))
    };
    lake.create(&model.name, spec).await.of(&model.name)
}
