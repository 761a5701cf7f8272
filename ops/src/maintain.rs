//! Upkeep of the selected tables, now.
//!
//! Bronze is compacted here, as any process may do: the position of the compaction decides who wins. Silver
//! and gold tables are compacted by their owners, between two commits.

use anyhow::{Context as _, Result as Anyhow};
use lake::{Compaction, Followers, Maintained, maintain};
use model::TableName;
use serde::Serialize;

use crate::wiring::Wiring;
use crate::{Result, sinks};

/// What was done to one table.
#[derive(Debug, Serialize)]
pub struct UpkeepReport {
    /// The table.
    pub table: TableName,
    /// Steps of compaction.
    pub compacted: usize,
    /// Files deleted.
    pub files: usize,
    /// Total size of the deleted files.
    pub bytes: u64,
    /// Log entries and checkpoints deleted.
    pub entries: usize,
    /// The oldest version that a follower needs. `None`: there are no followers.
    pub kept_from: Option<u64>,
}

/// Runs the upkeep that is due for each selected table, upstream first. An empty selection means all.
pub async fn tables(wiring: &Wiring, select: &[TableName]) -> Result<Vec<UpkeepReport>> {
    let mut done = Vec::new();
    for (table, followers) in followed(wiring, select) {
        let upkeep = one(wiring, &table, &followers).await.with_context(|| format!("table `{table}`"))?;
        done.extend(upkeep);
    }
    Ok(done)
}

/// The existing tables that are selected, upstream first, each with its followers.
fn followed(wiring: &Wiring, select: &[TableName]) -> Vec<(TableName, Followers)> {
    let (catalog, beside) = (&wiring.project.catalog, sinks::of(wiring));
    let wanted = |table: &TableName| select.is_empty() || select.contains(table);
    let mut tables = Vec::new();
    for topic in catalog.topics.values().filter(|topic| wanted(&topic.table)) {
        tables.push((topic.table.clone(), Followers::of(catalog.followers(&topic.table))));
    }
    for model in catalog.models.values().filter(|model| wanted(&model.name)) {
        if model.kind.is_silver() {
            tables.extend(silver::followed(catalog, &model.name));
        } else if model.kind.is_gold() {
            tables.push((model.name.clone(), gold::followers(catalog, model, &beside)));
        }
    }
    tables
}

async fn one(wiring: &Wiring, name: &TableName, followers: &Followers) -> Anyhow<Option<UpkeepReport>> {
    let mut compacted = 0;
    if wiring.project.catalog.topic_of(name).is_some()
        && let Some(mut table) = wiring.lake.table(name).await?
    {
        while table.compact(&Compaction::default()).await?.is_some() {
            compacted += 1;
        }
    }
    let done = maintain(&wiring.lake, name, followers, wiring.clock.now()).await?;
    Ok(done.map(|Maintained { horizon, vacuum, entries }| UpkeepReport {
        table: name.clone(),
        compacted,
        files: vacuum.files,
        bytes: vacuum.bytes,
        entries,
        kept_from: horizon.map(|version| version.0),
    }))
}
