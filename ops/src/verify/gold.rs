//! Gold: the table equals its SQL over the versions it pins, evaluated again without the optimiser
//! ([`super::engine`]), and its next refresh can succeed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{RowConverter, SortField};
use catalog::{Catalog, Kind, Model, Otherwise};
use lake::Table;
use model::{AppId, ClockMs, TableName, Version};
use query::expectations::Expectations;
use query::plan::{Planned, Planner};

use super::compare::Columns;
use super::engine::{self, Effort, Input};
use super::follow::{self, Standing};
use super::{Finding, Scope, compare};

/// Checks one gold table.
pub async fn check(scope: &Scope<'_>, model: &Model) -> Result<Finding> {
    let inputs = Open::inputs(scope, model).await?;
    let Some(table) = scope.lake.table(&model.name).await? else {
        let mut rows = Vec::new();
        for (name, input) in &inputs.0 {
            rows.push((name.clone(), follow::rows(input).await?));
        }
        return Ok(follow::missing(&model.name, &rows));
    };
    let mut finding = Finding::new(&model.name);
    if model.unlearned {
        finding.leave_out("the columns of a topic it rests on are not known yet");
        return Ok(finding);
    }
    let pins = table.positions().clone();
    if pins.get(&AppId::plan()) != Some(model.fingerprint) {
        finding.leave_out("its rows are of another plan than the model's: `lakepulse apply` has not run");
        return Ok(finding);
    }
    let (mut names, mut pinned, mut behind) = (Vec::new(), BTreeMap::new(), false);
    for (name, upstream) in &inputs.0 {
        let at = pins.get(&AppId::table(upstream.id())).and_then(|at| u64::try_from(at).ok()).map(Version);
        if let Some(at) = at.filter(|at| *at > upstream.version()) {
            finding.fault(format!("it pins version {at} of `{name}`, which ends at {}", upstream.version()));
            return Ok(finding);
        }
        behind |= Standing::of(upstream, at).await?.say(name, at, scope.now, &mut finding);
        if let Some(at) = at {
            names.push(format!("{name}@{at}"));
            pinned.insert(name.clone(), upstream.at(at).await?);
        }
    }
    if behind {
        next_step(scope, model, &inputs, &mut finding).await;
    }
    if pinned.len() < inputs.0.len() || inputs.1 {
        if follow::rows(&table).await? > 0 {
            finding.fault(if inputs.1 {
                "the table holds rows, and a table that it is made of does not exist"
            } else {
                "the table holds rows and no position says where they come from"
            });
        }
        if finding.unchecked.is_empty() && finding.faults.is_empty() {
            finding.leave_out("nothing was computed yet: an input does not exist, or holds nothing");
        }
        return Ok(finding);
    }
    super::never_falls(&table, &mut finding).await?;
    let as_of = ClockMs(pins.get(&AppId::as_of()).unwrap_or_default());
    let (expected, effort) = evaluate(&scope.project.catalog, model, as_of, &pinned).await?;
    let actual = table.scan(None).await?;
    let rows = scope.with.map(|_| actual.clone());
    let (schema, keys) = (model.schema.clone(), model.keys.clone());
    let difference = runtime::cpu::run(move || compare::compare(&schema, &keys, &expected, &actual)).await?;
    super::report(&difference, &mut finding);
    finding.checked =
        format!("{} rows = its SQL over {}, {}", difference.actual, names.join(", "), effort.as_str());
    if let (Some(duck), Some(rows)) = (scope.with, rows) {
        duck.check(&scope.project.catalog, model, as_of, &pinned, rows, &mut finding).await?;
    }
    Ok(finding)
}

/// The current inputs of a model, and whether one of them does not exist.
struct Open(BTreeMap<TableName, Table>, bool);
impl Open {
    async fn inputs(scope: &Scope<'_>, model: &Model) -> Result<Self> {
        let (mut open, mut missing) = (BTreeMap::new(), false);
        for name in scope.project.catalog.stored_inputs(&model.name) {
            match scope.lake.table(&name).await? {
                Some(table) => drop(open.insert(name, table)),
                None => missing = true,
            }
        }
        Ok(Self(open, missing))
    }
}

/// Checks that a table that is behind can continue: its SQL can be computed over the newest versions, keys
/// are unique, and no expectation halts it.
async fn next_step(scope: &Scope<'_>, model: &Model, inputs: &Open, finding: &mut Finding) {
    if inputs.1 {
        return;
    }
    let tried = async {
        let now = ClockMs(scope.now.0);
        let (rows, _) = evaluate(&scope.project.catalog, model, now, &inputs.0).await?;
        let rows = compare::conform_all(&model.schema, &rows)?;
        twice(model, &rows)?;
        halts(model, &rows)
    };
    if let Err(error) = tried.await {
        finding.fault(format!("it cannot be computed from the newest versions of its inputs: {error:#}"));
    }
}

fn twice(model: &Model, rows: &RecordBatch) -> Result<()> {
    let keys: Vec<ArrayRef> = model.keys.iter().filter_map(|key| rows.column_by_name(key)).cloned().collect();
    if keys.is_empty() {
        return Ok(());
    }
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let encoded = RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut seen = BTreeSet::new();
    match (0..rows.num_rows()).find(|row| !seen.insert(encoded.row(*row))) {
        Some(row) => bail!("two rows have the key {}", Columns::new(rows).row(&model.keys, row)),
        None => Ok(()),
    }
}

fn halts(model: &Model, rows: &RecordBatch) -> Result<()> {
    let fail = model.expectations.iter().filter(|e| e.otherwise == Otherwise::Fail);
    let rules = fail.map(|e| (e.name.as_str(), e.predicate.as_str()));
    let expectations = Expectations::compile(&engine::session(Effort::Plain), rules, &model.schema)?;
    let masks = expectations.evaluate(rows)?;
    for (name, holds) in expectations.names().zip(masks) {
        if holds.true_count() < rows.num_rows() {
            bail!("the expectation `{name}` does not hold, and halts the table");
        }
    }
    Ok(())
}

/// The rows of a model over these versions of its inputs.
pub async fn evaluate(
    catalog: &Catalog,
    model: &Model,
    as_of: ClockMs,
    inputs: &BTreeMap<TableName, Table>,
) -> Result<(Vec<RecordBatch>, Effort)> {
    let planned = plan(catalog, model, as_of)?;
    let mut given = BTreeMap::new();
    for (name, table) in inputs {
        let input = Input { provider: table.provider()?, rows: follow::rows(table).await? };
        given.insert(name.clone(), input);
    }
    engine::run(&planned.plan, &given).await
}

/// The model's SQL over declared inputs, without the columns that silver hides.
pub fn plan(catalog: &Catalog, model: &Model, as_of: ClockMs) -> Result<Planned> {
    let planner = Planner::new(as_of);
    for input in catalog.stored_inputs(&model.name) {
        let schema = catalog.schema_of(&input).with_context(|| format!("columns of `{input}`"))?;
        planner.declare(&input, &schema, &unique(catalog, &input))?;
    }
    for view in catalog.views_of(&model.name) {
        planner.declare_view(&view.name, &query::sql::parse(&view.sql)?)?;
    }
    Ok(planner.plan(&query::sql::parse(&model.sql)?)?)
}

/// Columns of a table with unique values: SQL may group by them and select the others.
fn unique(catalog: &Catalog, table: &TableName) -> Vec<String> {
    let Some(model) = catalog.models.get(table) else { return Vec::new() };
    match model.kind {
        Kind::Scd1 | Kind::Table => model.keys.clone(),
        Kind::Scd2 => model.keys.iter().cloned().chain(["__START_AT".to_owned()]).collect(),
        Kind::Append | Kind::View => Vec::new(),
    }
}
