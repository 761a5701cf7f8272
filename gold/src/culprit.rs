//! Finds the row that a query cannot be computed for.
//!
//! The engine reports what failed but not where. The query can be computed for a set of keys, so halving
//! finds the key. That costs about twenty evaluations, each with half the keys of the one before, and happens
//! once, before a table halts.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use query::affected::{Affected, InputChange, Method};

use crate::difference::shown;
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::table::Query;

/// With more input rows than this, the row is not searched for.
const ROWS: u64 = 500_000;

/// The error, with the key it concerns if that can be found.
pub(crate) async fn named(query: &Query, inputs: &Inputs, error: Error) -> Error {
    let Error::Query { table, source } = error else { return error };
    if source.patience().is_none() || source.is_of_memory() {
        return Error::Query { table, source };
    }
    match find(query, inputs).await {
        Some(key) => Error::RowFails { table, key, source },
        None => Error::Query { table, source },
    }
}

/// The key of a row that the query fails for. `None` if it cannot be found.
async fn find(query: &Query, inputs: &Inputs) -> Option<String> {
    if inputs.rows()? > ROWS {
        return None;
    }
    let mut keys = all_keys(query, inputs).await.ok()??;
    if keys.num_rows() == 0 || !fails(query, inputs, &keys).await {
        return None;
    }
    while keys.num_rows() > 1 {
        let half = keys.num_rows() / 2;
        let (first, second) = (keys.slice(0, half), keys.slice(half, keys.num_rows() - half));
        keys = if fails(query, inputs, &first).await { first } else { second };
    }
    // The second half was not tried: a failure that needs several keys has no single row.
    if !fails(query, inputs, &keys).await {
        return None;
    }
    shown(&keys, 0).ok()
}

/// All keys that the query may give: those that the rows of one of its inputs touch.
async fn all_keys(query: &Query, inputs: &Inputs) -> Result<Option<RecordBatch>> {
    let Method::AffectedKeys { how, .. } = query.maintenance.method() else { return Ok(None) };
    for input in how.keys() {
        let change = InputChange { old: None, added: inputs.scan(input).await?, removed: Vec::new() };
        let world = inputs.world(BTreeMap::from([(input.clone(), change)]))?;
        if let Ok(Affected::Keys(keys)) = query.maintenance.affected(&world).await {
            return Ok(Some(keys));
        }
    }
    Ok(None)
}

async fn fails(query: &Query, inputs: &Inputs, keys: &RecordBatch) -> bool {
    let Ok(world) = inputs.world(BTreeMap::new()) else { return false };
    query.maintenance.compute(&world, Some(keys)).await.is_err()
}
