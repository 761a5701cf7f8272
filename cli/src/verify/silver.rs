//! Silver: every bronze row accounted for, and the table equals the fold of bronze.

use anyhow::Result;
use catalog::{Kind, Model, Project};
use lake::Lake;
use model::{AppId, Version};

use super::{Finding, compare};

/// Checks one silver table. `None` when it does not exist yet.
pub async fn check(project: &Project, lake: &Lake, model: &Model) -> Result<Option<Finding>> {
    let Some(table) = lake.table(&model.name).await? else { return Ok(None) };
    let Some(source) = &model.source else { return Ok(None) };
    let Some(bronze) = lake.table(source).await? else { return Ok(None) };
    let mut finding = Finding::new(&model.name);
    let consumed = table.positions().get(&AppId::table(bronze.id()));
    let Some(consumed) = consumed.and_then(|at| u64::try_from(at).ok()).map(Version) else {
        "nothing consumed yet".clone_into(&mut finding.checked);
        if table.rows() != Some(0) {
            finding.fault("the table holds rows and no position says where they come from");
        }
        return Ok(Some(finding));
    };
    if consumed > bronze.version() {
        finding.fault(format!(
            "its position is version {consumed} of `{source}`, which ends at {}",
            bronze.version()
        ));
        return Ok(Some(finding));
    }
    super::never_falls(&table, &mut finding).await?;
    let expected = silver::recompute(&project.catalog, model, lake, consumed).await?;
    let outcomes = expected.outcomes;
    let bronze_rows = count(&bronze.at(consumed).await?).await?;
    if outcomes.total() != bronze_rows {
        finding.fault(format!("{} outcomes for {bronze_rows} rows of `{source}`", outcomes.total()));
    }
    let keys: Vec<String> = match model.kind {
        Kind::Scd2 => model.keys.iter().cloned().chain([silver::table::START.to_owned()]).collect(),
        Kind::Append => ["_topic_id", "_partition", "_offset"].map(str::to_owned).to_vec(),
        _ => model.keys.clone(),
    };
    let actual = table.scan(None).await?;
    let schema = expected.schema.clone();
    let difference =
        runtime::cpu::run(move || compare::compare(&schema, &keys, &expected.rows, &actual)).await?;
    super::report(&difference, &mut finding);
    finding.checked = format!(
        "{} rows = fold of {bronze_rows} at v{consumed}: {} applied, {} superseded, {} repeat, {} filtered, \
         {} quarantined, {} dropped, {} tombstone, {} error",
        difference.actual,
        outcomes.applied,
        outcomes.superseded,
        outcomes.repeat,
        outcomes.filtered,
        outcomes.quarantined,
        outcomes.dropped,
        outcomes.tombstone,
        outcomes.error
    );
    Ok(Some(finding))
}

/// Rows of a table, counted.
async fn count(table: &lake::Table) -> Result<u64> {
    let frame = query::session().read_table(table.provider()?)?;
    Ok(frame.count().await? as u64)
}
