//! SQL over the lake, at the current or an earlier version.

use std::sync::Arc;

use ::query::select::{self, At};
use anyhow::{Context as _, bail};
use arrow::array::RecordBatch;
use catalog::{Kind, Project};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{SessionContext, col};
use lake::{Lake, Table};
use model::TableName;

use crate::Result;

/// The rows of `sql`. Expands views. Reads each table at the version that the SQL names, or at its latest.
pub async fn rows(project: &Project, lake: &Lake, sql: &str) -> Result<Vec<RecordBatch>> {
    Ok(select(project, lake, sql).await?)
}

async fn select(project: &Project, lake: &Lake, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let prepared = select::prepare(sql)?;
    let context = ::query::session();
    for reads in &prepared.reads {
        let provider = provider(project, lake, &context, &reads.table, reads.at).await?;
        select::register(&context, reads, provider)?;
    }
    let mut rows = select::run(&context, &prepared).await?;
    if rows.batches.is_empty() {
        rows.batches.push(RecordBatch::new_empty(rows.schema));
    }
    Ok(rows.batches)
}

async fn provider(
    project: &Project,
    lake: &Lake,
    context: &SessionContext,
    name: &TableName,
    at: At,
) -> anyhow::Result<Arc<dyn TableProvider>> {
    if let Some(view) = project.catalog.models.get(name).filter(|model| model.kind == Kind::View) {
        for input in &view.inputs {
            let input_provider = Box::pin(provider(project, lake, context, input, at)).await?;
            ::query::session::register(context, input, input_provider)?;
        }
        let plan = context.sql(&view.sql).await.with_context(|| format!("view `{name}`"))?;
        return Ok(plan.into_view());
    }
    if let Some(rows) = name.table().strip_suffix("__quarantine").filter(|_| name.schema() == "bronze") {
        // Bronze stores undecodable records in the table itself, so their quarantine is a view.
        let table: TableName = format!("bronze.{rows}").parse()?;
        let all = open(lake, &table, at).await?.provider()?;
        return Ok(context.read_table(all)?.filter(col("_error").is_not_null())?.into_view());
    }
    Ok(open(lake, name, at).await?.provider()?)
}

async fn open(lake: &Lake, name: &TableName, at: At) -> anyhow::Result<Table> {
    let Some(table) = lake.table(name).await? else {
        let known = lake.tables().await?.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        bail!("no table `{name}` in the lake; there are: {known}");
    };
    Ok(match at {
        At::Latest => table,
        At::Version(version) => table.at(version).await?,
        At::Time(ms) => table.at_time(ms).await?,
    })
}
