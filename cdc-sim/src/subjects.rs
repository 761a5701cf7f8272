//! Schemas in the registry: looked up, or registered if they are missing.

use serde_json::Value;
use stream::Registry;

use crate::Error;
use crate::block::SchemaIds;
use crate::emit::Topics;
use crate::schema::{self, Shape};
use crate::settings::SchemaChange;
use crate::tables::SourceTable;

/// Ids for keys and for values before the schema change.
pub async fn first(registry: &Registry, topics: &Topics) -> Result<SchemaIds, Error> {
    let mut ids = SchemaIds::default();
    for table in SourceTable::ALL {
        let Some(topic) = topics.of(table) else { continue };
        ids.key[table as usize] = id(registry, &format!("{topic}-key"), &schema::key(table)).await?;
        let value = schema::value(table, Shape::FIRST);
        ids.first[table as usize] = id(registry, &format!("{topic}-value"), &value).await?;
    }
    ids.changed = ids.first;
    Ok(ids)
}

/// The same ids, with those of the changed schemas.
pub async fn changed(
    registry: &Registry,
    topics: &Topics,
    change: SchemaChange,
    mut ids: SchemaIds,
) -> Result<SchemaIds, Error> {
    let shape = Shape::after(change);
    for table in SourceTable::ALL.into_iter().filter(|table| shape.changes(*table)) {
        let Some(topic) = topics.of(table) else { continue };
        let value = schema::value(table, shape);
        ids.changed[table as usize] = id(registry, &format!("{topic}-value"), &value).await?;
    }
    Ok(ids)
}

/// The id of a schema. Another spelling of the same schema in the registry is accepted.
async fn id(registry: &Registry, subject: &str, schema: &str) -> Result<u32, Error> {
    let failed = |source| Error::Registry { subject: subject.to_owned(), source };
    let parsed: Option<Value> = serde_json::from_str(schema).ok();
    for version in registry.versions(subject).await.map_err(failed)? {
        if serde_json::from_str(&version.schema).ok() == parsed {
            return Ok(version.id);
        }
    }
    registry.register(subject, schema).await.map_err(failed)
}
