//! The second step of a refresh: computes the expected rows and their difference from the current rows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use lake::Keys;
use model::{Millis, TableName, Version};
use query::affected::Affected;
use runtime::traces::Cause;
use stage::columns_of;

use super::Keeper;
use super::open::Open;
use crate::culprit;
use crate::difference::{Difference, difference};
use crate::error::{Error, OfTable as _, Result};
use crate::inputs::Between;
use crate::judge::Verdict;
use crate::refresh::{Decision, Step};

/// What a refresh has to write.
pub(super) struct Computed {
    pub difference: Difference,
    pub verdicts: Vec<Verdict>,
    /// How the rows were computed.
    pub method: String,
    /// The newest Kafka timestamp behind the changes.
    pub arrived: Option<Millis>,
    /// The traced commits among the changes.
    pub causes: Vec<Cause>,
}

/// Expected rows, and the current rows that they replace.
struct Rows {
    fresh: Vec<RecordBatch>,
    held: Vec<RecordBatch>,
    method: String,
    arrived: Option<Millis>,
    causes: Vec<Cause>,
}

/// The result of computing only the keys that changes touch.
enum Narrow {
    /// No row can differ.
    Unchanged,
    /// These rows may differ.
    Rows(Rows),
    /// Everything has to be computed, for this reason.
    Full(String),
}

impl Keeper {
    /// Returns what to write. `None`: no row can differ.
    pub(super) async fn compute(&self, open: &Open, decision: &Decision) -> Result<Option<Computed>> {
        let rows = match self.rows(open, decision).await {
            Ok(rows) => rows,
            Err(error) => return Err(culprit::named(&open.query, &open.inputs, error).await),
        };
        let Some(Rows { fresh, held, method, arrived, causes }) = rows else { return Ok(None) };
        let (schema, keys) = (open.table.schema().clone(), self.model.keys.clone());
        let (table, judge) = (self.model.name.clone(), open.judge.clone());
        let compared = runtime::cpu::run(move || {
            let fresh = columns_of(&fresh, &schema).of(&table)?;
            let difference = difference(&table, &schema, &keys, &held, &fresh)?;
            let verdicts = judge.judge(&difference.append)?;
            Ok::<_, Error>((difference, verdicts))
        });
        let (difference, verdicts) = compared.await?;
        Ok(Some(Computed { difference, verdicts, method, arrived, causes }))
    }

    /// The expected rows that may differ from the current ones. `None`: no input row changed.
    async fn rows(&self, open: &Open, decision: &Decision) -> Result<Option<Rows>> {
        let name = &self.model.name;
        let why = match &decision.step {
            Step::Idle => return Ok(None),
            Step::Fill => "fill".to_owned(),
            Step::Full(why) => format!("full: {why}"),
            Step::Moved(from) => match self.narrow(open, from).await {
                Ok(Narrow::Unchanged) => return Ok(None),
                Ok(Narrow::Rows(rows)) => return Ok(Some(rows)),
                Ok(Narrow::Full(why)) => format!("full: {why}"),
                // The engine may be able to run the full query although it fails on the narrowed one.
                Err(Error::Query { source, .. }) if source.patience().is_some() && !source.is_of_memory() => {
                    let source: &dyn std::error::Error = &*source;
                    tracing::debug!(table = %name, error = source, "the narrowed query cannot be computed");
                    "full: the query cannot be computed for some keys alone".to_owned()
                }
                Err(error) => return Err(error),
            },
        };
        let world = open.inputs.world(BTreeMap::new())?;
        let fresh = open.query.maintenance.compute(&world, None).await.of(name)?;
        let held = open.table.scan(None).await.of(name)?;
        let arrived = open.inputs.newest_arrival(open.table.positions()).await?;
        Ok(Some(Rows { fresh, held, method: why, arrived, causes: Vec::new() }))
    }

    /// The rows of the keys that the inputs' changes touch.
    async fn narrow(&self, open: &Open, from: &BTreeMap<TableName, Version>) -> Result<Narrow> {
        let (name, maintenance) = (&self.model.name, &open.query.maintenance);
        let limit = self.ctx.settings.max_changed_rows;
        let (changes, arrived, causes) = match open.inputs.between(from, limit, maintenance).await? {
            Between::Unknown(why) => return Ok(Narrow::Full(why)),
            Between::Rows { changes, .. } if changes.is_empty() => return Ok(Narrow::Unchanged),
            Between::Rows { changes, arrived, causes } => (changes, arrived, causes),
        };
        let world = open.inputs.world(changes)?;
        let keys = match maintenance.affected(&world).await.of(name)? {
            Affected::All(why) => return Ok(Narrow::Full(why)),
            Affected::Keys(keys) if keys.num_rows() == 0 => return Ok(Narrow::Unchanged),
            Affected::Keys(keys) => keys,
        };
        let fresh = maintenance.compute(&world, Some(&keys)).await.of(name)?;
        let method = format!("affected keys: {}", keys.num_rows());
        let keys = Keys { columns: self.model.keys.clone(), rows: keys };
        let columns: Vec<String> = open.table.schema().fields().iter().map(|f| f.name().clone()).collect();
        let held = open.table.find(&keys, &columns).await.of(name)?;
        Ok(Narrow::Rows(Rows { fresh, held, method, arrived, causes }))
    }
}
