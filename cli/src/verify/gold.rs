//! Gold: the table equals its SQL over the versions it pins, evaluated a second time.

use anyhow::Result;
use catalog::{Model, Project};
use lake::Lake;
use model::{AppId, Version};

use super::{Finding, compare};

/// Checks one gold table. `None` when it does not exist yet.
pub async fn check(project: &Project, lake: &Lake, model: &Model) -> Result<Option<Finding>> {
    let Some(table) = lake.table(&model.name).await? else { return Ok(None) };
    let mut finding = Finding::new(&model.name);
    let pins = table.positions().clone();
    let mut names = Vec::new();
    for input in project.catalog.stored_inputs(&model.name) {
        let Some(upstream) = lake.table(&input).await? else { continue };
        let at = pins.get(&AppId::table(upstream.id())).and_then(|at| u64::try_from(at).ok()).map(Version);
        match at {
            None => {
                "nothing computed yet".clone_into(&mut finding.checked);
                return Ok(Some(finding));
            }
            Some(at) if at > upstream.version() => {
                finding.fault(format!(
                    "it pins version {at} of `{input}`, which ends at {}",
                    upstream.version()
                ));
                return Ok(Some(finding));
            }
            Some(at) => names.push(format!("{input}@{at}")),
        }
    }
    super::never_falls(&table, &mut finding).await?;
    let expected = gold::recompute(project, model, lake, &pins).await?;
    let actual = table.scan(None).await?;
    let (schema, keys) = (model.schema.clone(), model.keys.clone());
    let difference = runtime::cpu::run(move || compare::compare(&schema, &keys, &expected, &actual)).await?;
    super::report(&difference, &mut finding);
    finding.checked = format!("{} rows = its SQL over {}", difference.actual, names.join(", "));
    Ok(Some(finding))
}
