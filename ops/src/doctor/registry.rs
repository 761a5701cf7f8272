//! Checks of the schema registry.

use std::collections::BTreeMap;

use catalog::Project;
use stream::{Registry, registry::RegistryError};

use super::{Check, judge};

/// Checks that the registry is reachable and accepts schemas, and compares compatibility levels.
pub async fn checks(project: &Project, registry: &Registry) -> Vec<Check> {
    let mut checks = Vec::new();
    match registry.subjects().await {
        Ok(subjects) => {
            let seen = format!("{} subjects at {}", subjects.len(), registry.url());
            checks.push(Check::ok("registry.reach", seen));
            match asked(project, registry, &subjects).await {
                Ok(asked) => checks.extend(asked),
                Err(error) => checks.push(unreachable(error)),
            }
        }
        Err(error) => checks.push(unreachable(error)),
    }
    checks
}

async fn asked(
    project: &Project,
    registry: &Registry,
    existing: &[String],
) -> Result<Vec<Check>, RegistryError> {
    let mut checks = vec![judge::mode(registry.mode().await?.as_deref())];
    let default = registry.default_compatibility().await?;
    let catalog = &project.catalog;
    let declared = catalog.topics.values().map(|topic| (&topic.name, &topic.compatibility));
    let published = catalog.published.iter().map(|(topic, gold)| (topic, &gold.compatibility));
    let mut levels = BTreeMap::new();
    for (topic, level) in declared.chain(published) {
        for subject in [format!("{topic}-key"), format!("{topic}-value")] {
            if existing.contains(&subject) {
                let own = registry.compatibility(&subject).await?;
                levels.insert(subject, (level.to_uppercase(), own));
            }
        }
    }
    checks.extend(judge::levels(&levels, default.as_deref(), &project.target.name));
    Ok(checks)
}

fn unreachable(error: RegistryError) -> Check {
    let seen = format!("{:#}", anyhow::Error::new(error));
    Check::fail("registry.reach", seen, "check that it runs, and `registry` of the target")
}
