//! Prepares a topic for its publisher: creates it, and registers its schemas.

use std::sync::Arc;

use catalog::Published;
use stream::{Admin, Kafka, Registry, TopicSpec};

use super::encode::Registered;
use crate::error::{OfTable as _, Result};

/// Registers the schemas of a topic. With `create`, also creates a missing topic and sets the compatibility
/// level of new subjects. Returns the ids of key and value.
pub(super) async fn prepare(
    kafka: &Kafka,
    registry: &Registry,
    published: &Published,
    create: bool,
) -> Result<(Registered, Registered)> {
    let table = &published.table;
    if create {
        let spec = TopicSpec {
            name: published.name.clone(),
            partitions: published.partitions,
            replication: published.replication,
            config: published.config.clone(),
        };
        Admin::try_new(kafka).of(table)?.create(&[spec]).await.of(table)?;
    }
    let key = register(registry, published, "key", &published.key_schema, create).await?;
    let value = register(registry, published, "value", &published.value_schema, create).await?;
    Ok((key, value))
}

async fn register(
    registry: &Registry,
    published: &Published,
    what: &str,
    json: &Arc<str>,
    create: bool,
) -> Result<Registered> {
    let (table, subject) = (&published.table, format!("{}-{what}", published.name));
    if create && registry.compatibility(&subject).await.of(table)?.is_none() {
        registry.set_compatibility(&subject, &published.compatibility).await.of(table)?;
    }
    let id = registry.register(&subject, json).await.of(table)?;
    Ok(Registered { id, json: Arc::clone(json) })
}
