//! Reads a table's events again from bronze.
//!
//! Bronze keeps every event, so its newest version contains all of them. Rows come as a stream, in no order,
//! with only the columns that are needed.

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use lake::Table;
use model::TableName;

use crate::error::{Error, OfTable as _, Result};
use crate::judge::Rules;

/// Passes every row of an open bronze table to `each`, by batch and off the async threads. `on` is its state
/// and is returned at the end.
pub async fn every_row<T, F>(rules: &Rules, bronze: &Table, mut on: T, each: F) -> Result<T>
where
    T: Send + 'static,
    F: Fn(&mut T, &RecordBatch) -> Result<()> + Clone + Send + 'static,
{
    let table = &rules.table;
    let ctx = query::session();
    let provider = bronze.provider().of(table)?;
    let needs = rules.reader.needs(bronze.schema());
    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
    let frame = ctx
        .read_table(provider)
        .and_then(|rows| rows.select_columns(&needs))
        .map_err(|e| engine(table, e))?;
    let mut stream = frame.execute_stream().await.map_err(|e| engine(table, e))?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| engine(table, e))?;
        let each = each.clone();
        let (back, done) = runtime::cpu::run(move || {
            let done = each(&mut on, &batch);
            (on, done)
        })
        .await;
        on = back;
        done?;
    }
    Ok(on)
}

fn engine(table: &TableName, source: datafusion::error::DataFusionError) -> Error {
    let source = query::Error::Engine { doing: "read bronze rows again", source: Box::new(source) };
    Error::Query { table: table.clone(), source: Box::new(source) }
}
