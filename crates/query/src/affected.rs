//! Updates the result of a query by the keys that changes of its inputs affect.
//!
//! A result has key columns. When inputs move from old versions to new ones, only those rows can differ whose
//! key comes from a changed input row (before or after the change) joined with rows of the other inputs
//! before or after. So a refresh
//! 1. derives from the query a plan for a superset of the affected keys ([`changed`]),
//! 2. computes the query over the new versions restricted to those keys ([`restrict`]).
//!
//! The caller replaces the rows of exactly those keys; a key without a new row is deleted. A superset costs
//! time but is never wrong: unaffected keys get the rows they already have. If there is no such plan, the
//! refresh is *full*, with the reason; `explain` shows both. Nothing is kept between refreshes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use model::TableName;

use crate::error::{Doing, Error};
use crate::plan::Planned;
use crate::rehearsal::can_run;
use crate::session::{conform, session};

mod changed;
mod normal;
mod restrict;
mod world;

use changed::Changes;
use world::World;

/// How the result of a query is updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// By the keys that changed rows affect.
    AffectedKeys {
        /// Per input, how its changes lead to keys.
        how: BTreeMap<TableName, String>,
        /// Inputs whose changes require a full refresh, with the reason.
        full_for: BTreeMap<TableName, String>,
        /// Inputs of which only rows with affected keys are read.
        narrowed: BTreeSet<TableName>,
    },
    /// By computing everything.
    Full {
        /// Why nothing narrower is correct.
        why: String,
    },
}

/// One input of a refresh.
#[derive(Debug, Clone)]
pub struct Input {
    /// The version to compute from.
    pub now: Arc<dyn TableProvider>,
    /// Its change since the version that the result was computed from. `None`: unchanged.
    pub change: Option<InputChange>,
}

/// The change of an input between two versions.
#[derive(Debug, Clone)]
pub struct InputChange {
    /// The version that the result was computed from. `None`: it cannot be read, so a refresh that needs it
    /// is full.
    pub old: Option<Arc<dyn TableProvider>>,
    /// Rows of the new version that are not in the old one. May contain more rows, never fewer.
    pub added: Vec<RecordBatch>,
    /// Rows of the old version that are not in the new one. May contain more rows, never fewer.
    pub removed: Vec<RecordBatch>,
}

/// Inputs by name.
pub type Inputs = BTreeMap<TableName, Input>;

/// What a refresh must recompute.
#[derive(Debug)]
pub enum Affected {
    /// The rows with these keys: only key columns, each key once, nulls included.
    Keys(RecordBatch),
    /// Everything, for this reason.
    All(String),
}

/// A query whose result is updated incrementally.
#[derive(Debug, Clone)]
pub struct Maintenance {
    plan: LogicalPlan,
    /// The plan in the form that the rules expect ([`normal_form`]), or why it has none.
    normal: Result<LogicalPlan, String>,
    schema: SchemaRef,
    keys: Vec<String>,
    inputs: BTreeSet<TableName>,
    method: Method,
}
impl Maintenance {
    /// Decides how to update the result of a plan that has these columns as its key.
    pub fn try_new(planned: &Planned, keys: &[String]) -> Result<Self, Error> {
        let inputs = world::tables(&planned.plan)?;
        let normal = if keys.is_empty() {
            Err("the model has no keys".to_owned())
        } else {
            normal::normal_form(&planned.plan)
        };
        let mut this = Self {
            plan: planned.plan.clone(),
            normal,
            schema: Arc::clone(&planned.schema),
            keys: keys.to_vec(),
            inputs,
            method: Method::Full { why: String::new() },
        };
        this.method = this.decide()?;
        Ok(this)
    }

    /// How the result is updated.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The tables the query reads.
    pub fn inputs(&self) -> &BTreeSet<TableName> {
        &self.inputs
    }

    /// The columns of the result, as stored.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The method and its reasons for a person, one line per input.
    pub fn explain(&self) -> String {
        match &self.method {
            Method::Full { why } => format!("full refresh: {why}"),
            Method::AffectedKeys { how, full_for, narrowed } => {
                let mut lines = vec![format!("affected keys: {}", self.keys.join(", "))];
                lines.extend(how.iter().map(|(table, how)| format!("  {table}: {how}")));
                lines.extend(full_for.iter().map(|(table, why)| format!("  {table}: full refresh: {why}")));
                for table in &self.inputs {
                    let read =
                        if narrowed.contains(table) { "only rows of the affected keys" } else { "every row" };
                    lines.push(format!("  recomputing reads of {table}: {read}"));
                }
                lines.join("\n")
            }
        }
    }

    /// Whether [`Maintenance::affected`] reads the old versions of these changed inputs. If not,
    /// [`InputChange::old`] may be `None`.
    pub fn reads_old(&self, changed: &BTreeSet<TableName>) -> Result<bool, Error> {
        let Ok(normal) = &self.normal else { return Ok(false) };
        let world = World::declared(normal, changed)?;
        // Without a plan the refresh is full and reads only the new versions.
        Ok(self.keys_plan(normal, &world).is_ok() && world.asked_old())
    }

    /// The keys whose rows may differ from the result over the old versions.
    pub async fn affected(&self, inputs: &Inputs) -> Result<Affected, Error> {
        let (normal, full_for) = match (&self.normal, &self.method) {
            (Ok(normal), Method::AffectedKeys { full_for, .. }) => (normal, full_for),
            (Ok(_), Method::Full { why }) | (Err(why), _) => return Ok(Affected::All(why.clone())),
        };
        let changed = |table: &TableName| inputs.get(table).is_some_and(|input| input.change.is_some());
        if let Some((_, why)) = full_for.iter().find(|(table, _)| changed(table)) {
            return Ok(Affected::All(why.clone()));
        }
        let world = World::try_new(inputs)?;
        let plan = match self.keys_plan(normal, &world) {
            Ok(plan) => plan,
            Err(why) => return Ok(Affected::All(why.into_reason())),
        };
        // `decide` tried the inputs one by one. If the engine cannot plan a change of two of them, another
        // try would fail in the same way, so the refresh is full.
        let ctx = session();
        let plan = match ctx.state().create_physical_plan(&plan).await {
            Ok(plan) => plan,
            Err(source) => return Ok(Affected::All(Why::Failed(source).into_reason())),
        };
        let schema = self.key_schema();
        let batches = collect(plan, ctx.task_ctx()).await.doing("find the affected keys")?;
        let batches = batches.iter().map(|b| self.with_one_form(&conform(b, &schema)?));
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        let keys = concat_batches(&schema, &batches)
            .map_err(|source| Error::Shape { what: "the affected keys".to_owned(), source })?;
        Ok(Affected::Keys(keys))
    }

    /// The query over the new versions: all rows, or only those of the given keys from
    /// [`Maintenance::affected`]. Columns and types are those of [`Maintenance::schema`].
    pub async fn compute(
        &self,
        inputs: &Inputs,
        only: Option<&RecordBatch>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let world = World::try_new(inputs)?;
        let ctx = session();
        let now = world.at_now(&self.plan).doing("place the inputs")?;
        let plan = match (only, &self.normal) {
            (None, _) => ctx.state().create_physical_plan(&now).await,
            (Some(keys), normal) => {
                let narrow = match normal {
                    Ok(normal) => self.narrowed(&ctx, &world, normal, keys).await,
                    Err(why) => Err(DataFusionError::Plan(why.clone())),
                };
                match narrow {
                    Ok(plan) => Ok(plan),
                    // Computes everything and drops the other keys: slower, but correct.
                    Err(_) => {
                        let top = restrict::only_top(&now, &self.keys, keys);
                        let top = top.doing("restrict the query to keys")?;
                        ctx.state().create_physical_plan(&top).await
                    }
                }
            }
        };
        let batches = collect(plan.doing("plan a refresh")?, ctx.task_ctx()).await.doing("run a refresh")?;
        let filled = batches.iter().filter(|b| b.num_rows() > 0);
        filled.map(|b| self.with_one_form(&conform(b, &self.schema)?)).collect()
    }

    /// Gives keys that are equal in SQL the same bits: -0.0 becomes 0.0, and all NaNs become one. Tables
    /// compare keys as bytes.
    fn with_one_form(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema();
        let one = |(field, column): (&Arc<Field>, &ArrayRef)| -> ArrayRef {
            match column.data_type() {
                DataType::Float64 if self.keys.contains(field.name()) => {
                    Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one_double))
                }
                DataType::Float32 if self.keys.contains(field.name()) => {
                    let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
                    Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
                }
                _ => Arc::clone(column),
            }
        };
        let columns = schema.fields().iter().zip(batch.columns()).map(one).collect();
        RecordBatch::try_new(schema, columns)
            .map_err(|source| Error::Shape { what: "the keys of a result".to_owned(), source })
    }

    /// A plan for the rows of these keys that reads only what leads to them.
    async fn narrowed(
        &self,
        ctx: &SessionContext,
        world: &World,
        normal: &LogicalPlan,
        keys: &RecordBatch,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let restricted = restrict::restrict(&world.at_now(normal)?, &self.keys, keys)?;
        ctx.state().create_physical_plan(&restricted.plan).await
    }

    /// The columns of a key, as stored.
    fn key_schema(&self) -> SchemaRef {
        let field = |k: &String| self.schema.field_with_name(k).ok().cloned();
        Arc::new(Schema::new(self.keys.iter().filter_map(field).collect::<Vec<_>>()))
    }

    /// Tries a change of each input alone: whether it leads to keys depends only on the query.
    fn decide(&self) -> Result<Method, Error> {
        let normal = match &self.normal {
            Ok(normal) => normal,
            Err(why) => return Ok(Method::Full { why: why.clone() }),
        };
        let (mut how, mut full_for) = (BTreeMap::new(), BTreeMap::new());
        let state = session().state();
        for table in &self.inputs {
            let world = World::declared(normal, &BTreeSet::from([table.clone()]))?;
            match self.keys_plan(normal, &world).and_then(|plan| plannable(&state, plan)) {
                Ok(plan) => {
                    let mut others = world::tables(&plan)?;
                    others.remove(table);
                    how.insert(table.clone(), found_by(&others));
                }
                Err(why) => {
                    full_for.insert(table.clone(), why.into_reason());
                }
            }
        }
        if how.is_empty() {
            let whys: BTreeSet<String> = full_for.into_values().collect();
            let why = whys.into_iter().collect::<Vec<_>>().join("; ");
            return Ok(Method::Full {
                why: if why.is_empty() { "it reads no table".to_owned() } else { why },
            });
        }
        let none = RecordBatch::new_empty(self.key_schema());
        let restricted = restrict::restrict(normal, &self.keys, &none).map_err(Why::Failed);
        match restricted.and_then(|r| plannable(&state, r.plan).map(|_| r.narrowed)) {
            Ok(narrowed) => Ok(Method::AffectedKeys { how, full_for, narrowed }),
            Err(why) => Ok(Method::Full { why: why.into_reason() }),
        }
    }

    /// The plan that returns every affected key once.
    fn keys_plan(&self, normal: &LogicalPlan, world: &World) -> Result<LogicalPlan, Why> {
        let mut need = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let (qualifier, field) = normal.schema().qualified_field_with_unqualified_name(key)?;
            need.push(Column::from((qualifier, field)));
        }
        let changes = Changes { world };
        if !changes.touches(normal)? {
            return Err(Why::Unsound("no input changed".to_owned()));
        }
        let plan = changes.of(normal, &need.iter().cloned().collect())?;
        let columns = need
            .into_iter()
            .zip(&self.keys)
            .map(|(column, key)| datafusion::logical_expr::Expr::Column(column).alias(key));
        Ok(LogicalPlanBuilder::from(plan).project(columns)?.distinct()?.build()?)
    }
}

fn one_double(value: f64) -> f64 {
    // Adding 0.0 turns -0.0 into 0.0.
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// How the changes of one input lead to keys, for a person.
fn found_by(others: &BTreeSet<TableName>) -> String {
    if others.is_empty() {
        return "its changed rows hold the key".to_owned();
    }
    let names: Vec<String> = others.iter().map(ToString::to_string).collect();
    format!("its changed rows lead to the key through {}", names.join(", "))
}

/// Why there is no plan for the affected keys.
enum Why {
    /// No such plan is correct.
    Unsound(String),
    /// The engine failed.
    Failed(DataFusionError),
}
impl From<DataFusionError> for Why {
    fn from(source: DataFusionError) -> Self {
        Self::Failed(source)
    }
}
/// The plan, if the engine can run it.
fn plannable(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, Why> {
    match can_run(state, &plan) {
        Ok(()) => Ok(plan),
        Err(why) => Why::unsound(format!("the engine cannot run it restricted to keys: {why}")),
    }
}

impl Why {
    /// The reason for a person.
    fn into_reason(self) -> String {
        match self {
            Self::Unsound(why) => why,
            Self::Failed(source) => format!("the engine cannot derive it: {}", source.strip_backtrace()),
        }
    }
    fn unsound<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Self::Unsound(why.into()))
    }
}

#[cfg(test)]
mod tests;
