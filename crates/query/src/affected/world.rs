//! Versions of the inputs: a plan is made once over declared inputs, and each of its scans then reads the new
//! version, the old one, or the rows between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::logical_expr::{LogicalPlan, TableScan, TableScanBuilder, TableSource};
use model::TableName;

use super::{Inputs, Why};
use crate::error::{Doing, Error};

/// The sources for one input.
pub(super) struct Sources {
    now: Arc<dyn TableSource>,
    between: Option<Between>,
}

/// The sources for an input that changed.
struct Between {
    old: Option<Arc<dyn TableSource>>,
    /// Rows that only one of the two versions has.
    touched: Arc<dyn TableSource>,
    /// Rows that only the old version has.
    removed: Arc<dyn TableSource>,
}

/// All inputs.
pub(super) struct World {
    inputs: BTreeMap<TableName, Sources>,
    /// Whether an old version was used.
    asked_old: AtomicBool,
}

/// The table that a scan reads.
pub(super) fn table_of(reference: &TableReference) -> EngineResult<TableName> {
    let name = format!("{}.{}", reference.schema().unwrap_or_default(), reference.table());
    name.parse().map_err(|e: model::BadName| DataFusionError::Plan(e.to_string()))
}

/// Whether a scan reads the query's own rows, such as those of a recursive WITH. Names of inputs have a
/// schema.
pub(super) fn is_own(scan: &TableScan) -> bool {
    scan.table_name.schema().is_none()
}

/// The tables that a plan reads, also in subqueries.
pub(super) fn tables(plan: &LogicalPlan) -> Result<BTreeSet<TableName>, Error> {
    let mut tables = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && !is_own(scan)
        {
            tables.insert(table_of(&scan.table_name)?);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .doing("find the inputs of a query")?;
    Ok(tables)
}

fn memory(schema: &SchemaRef, rows: Vec<RecordBatch>) -> Result<Arc<dyn TableSource>, Error> {
    let rows = rows.iter().map(|b| crate::session::conform(b, schema)).collect::<Result<Vec<_>, _>>()?;
    let table = MemTable::try_new(Arc::clone(schema), vec![rows]).doing("hold changed rows")?;
    Ok(provider_as_source(Arc::new(table)))
}

impl World {
    /// The versions of a refresh.
    pub(super) fn try_new(inputs: &Inputs) -> Result<Self, Error> {
        let mut world = BTreeMap::new();
        for (name, input) in inputs {
            let schema = input.now.schema();
            let between = match &input.change {
                None => None,
                Some(change) => {
                    let both = change.added.iter().chain(&change.removed).cloned().collect();
                    Some(Between {
                        old: change.old.clone().map(provider_as_source),
                        touched: memory(&schema, both)?,
                        removed: memory(&schema, change.removed.clone())?,
                    })
                }
            };
            world.insert(name.clone(), Sources { now: provider_as_source(Arc::clone(&input.now)), between });
        }
        Ok(Self { inputs: world, asked_old: AtomicBool::new(false) })
    }

    /// The declared inputs of a plan, some of them assumed to have changed. Used to decide before there are
    /// rows.
    pub(super) fn declared(plan: &LogicalPlan, changed: &BTreeSet<TableName>) -> Result<Self, Error> {
        let mut world = BTreeMap::new();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && !is_own(scan)
            {
                let name = table_of(&scan.table_name)?;
                let source = || Arc::clone(&scan.source);
                let between = changed.contains(&name).then(|| Between {
                    old: Some(source()),
                    touched: source(),
                    removed: source(),
                });
                world.insert(name, Sources { now: source(), between });
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .doing("find the inputs of a query")?;
        Ok(Self { inputs: world, asked_old: AtomicBool::new(false) })
    }

    fn sources(&self, scan: &TableScan) -> EngineResult<&Sources> {
        let name = table_of(&scan.table_name)?;
        self.inputs
            .get(&name)
            .ok_or_else(|| DataFusionError::Plan(format!("the input `{name}` was not given")))
    }

    /// Whether the input of a scan changed.
    pub(super) fn changed(&self, scan: &TableScan) -> EngineResult<bool> {
        Ok(!is_own(scan) && self.sources(scan)?.between.is_some())
    }

    /// For a changed input: the rows that only one version has, and the rows that only the old version has.
    pub(super) fn touched(&self, scan: &TableScan) -> EngineResult<Option<(LogicalPlan, LogicalPlan)>> {
        if is_own(scan) {
            return Ok(None);
        }
        let Some(between) = &self.sources(scan)?.between else { return Ok(None) };
        Ok(Some((over(scan, &between.touched)?, over(scan, &between.removed)?)))
    }

    /// The plan over the new versions.
    pub(super) fn at_now(&self, plan: &LogicalPlan) -> EngineResult<LogicalPlan> {
        place(plan, |scan| Ok(Arc::clone(&self.sources(scan)?.now)))
    }

    /// Whether a plan over old versions was used.
    pub(super) fn asked_old(&self) -> bool {
        self.asked_old.load(Ordering::Relaxed)
    }

    /// The plan over the old versions.
    pub(super) fn at_old(&self, plan: &LogicalPlan) -> Result<LogicalPlan, Why> {
        self.asked_old.store(true, Ordering::Relaxed);
        let mut gone = None;
        let placed = place(plan, |scan| {
            let sources = self.sources(scan)?;
            Ok(Arc::clone(match &sources.between {
                None => &sources.now,
                Some(Between { old: Some(old), .. }) => old,
                Some(_) => {
                    gone = Some(scan.table_name.to_string());
                    &sources.now
                }
            }))
        })?;
        match gone {
            None => Ok(placed),
            Some(table) => Why::unsound(format!("the old version of {table} can no longer be read")),
        }
    }
}

/// The scan over another source. Reads only the declared columns, found by name: a stored table may have
/// more.
pub(super) fn over(scan: &TableScan, source: &Arc<dyn TableSource>) -> EngineResult<LogicalPlan> {
    if scan.fetch.is_some() || !scan.filters.is_empty() {
        return Err(DataFusionError::Plan("a scan of a declared input was optimised".to_owned()));
    }
    let given = source.schema();
    let mut places = Vec::with_capacity(scan.projected_schema.fields().len());
    for field in scan.projected_schema.fields() {
        let place = given.index_of(field.name()).ok();
        let Some(place) = place.filter(|i| given.field(*i).data_type() == field.data_type()) else {
            let what = format!("column `{}` of type {}", field.name(), field.data_type());
            return Err(DataFusionError::Plan(format!("`{}` has no {what}", scan.table_name)));
        };
        places.push(place);
    }
    let all = places.iter().copied().eq(0..given.fields().len());
    let scan = TableScanBuilder::new(scan.table_name.clone(), Arc::clone(source))
        .with_projection((!all).then_some(places))
        .build()?;
    Ok(LogicalPlan::TableScan(scan))
}

/// The plan with the source of every scan replaced, also in subqueries.
fn place(
    plan: &LogicalPlan,
    mut source: impl FnMut(&TableScan) -> EngineResult<Arc<dyn TableSource>>,
) -> EngineResult<LogicalPlan> {
    let placed = plan.clone().transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) if !is_own(scan) => {
            let source = source(scan)?;
            Ok(Transformed::yes(over(scan, &source)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(placed.data)
}
