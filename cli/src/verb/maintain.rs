//! `lakepulse maintain`: upkeep of the selected tables, now.
//!
//! Bronze is compacted here too, as any process may: the compaction's own position says who was first.
//! A silver or gold table is compacted by its owner, between two of its commits.

use anyhow::{Context as _, Result as Anyhow};
use lake::{Compaction, Followers, Maintained, maintain};
use model::{Exit, TableName};
use serde::Serialize;

use crate::args::Common;
use crate::failure::Failure;
use crate::select;
use crate::wiring::Wiring;

/// What was done to one table.
#[derive(Debug, Serialize)]
struct Line {
    table: TableName,
    /// Steps of compaction.
    compacted: usize,
    /// Files deleted, and their bytes.
    files: usize,
    bytes: u64,
    /// Log entries and checkpoints deleted.
    entries: usize,
    /// The oldest version that a follower needs; `None` when nobody follows.
    kept_from: Option<u64>,
}

/// Prints a line a table.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let wiring = Wiring::open(common).await?;
    let done = all(common, &wiring).await;
    wiring.close().await;
    let lines = done?;
    if common.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(Exit::Done);
    }
    println!(
        "{:<38} {:>9} {:>7} {:>13} {:>8} {:>10}",
        "table", "compacted", "files", "bytes", "entries", "kept from"
    );
    for Line { table, compacted, files, bytes, entries, kept_from } in lines {
        let kept_from = kept_from.map_or_else(|| "–".to_owned(), |version| version.to_string());
        println!(
            "{:<38} {compacted:>9} {files:>7} {bytes:>13} {entries:>8} {kept_from:>10}",
            table.to_string()
        );
    }
    Ok(Exit::Done)
}

async fn all(common: &Common, wiring: &Wiring) -> Result<Vec<Line>, Failure> {
    let select = select::tables(&wiring.project.catalog, &common.select)?;
    let mut lines = Vec::new();
    for (table, followers) in followed(wiring, &select) {
        let line = one(wiring, &table, &followers).await.with_context(|| format!("table `{table}`"))?;
        lines.extend(line);
    }
    Ok(lines)
}

/// The stored tables that are selected, upstream first, each with its followers.
fn followed(wiring: &Wiring, select: &[TableName]) -> Vec<(TableName, Followers)> {
    let (project, catalog) = (&wiring.project, &wiring.project.catalog);
    let wanted = |table: &TableName| select.is_empty() || select.contains(table);
    let mut tables = Vec::new();
    for topic in catalog.topics.values().filter(|topic| wanted(&topic.table)) {
        tables.push((topic.table.clone(), Followers::of(catalog.followers(&topic.table))));
    }
    for model in catalog.models.values().filter(|model| wanted(&model.name)) {
        if model.kind.is_silver() {
            tables.extend(silver::followed(catalog, &model.name));
        } else if model.kind.is_gold() {
            tables.push((model.name.clone(), gold::followers(project, &wiring.kafka, model)));
        }
    }
    tables
}

async fn one(wiring: &Wiring, name: &TableName, followers: &Followers) -> Anyhow<Option<Line>> {
    let mut compacted = 0;
    if wiring.project.catalog.topic_of(name).is_some()
        && let Some(mut table) = wiring.lake.table(name).await?
    {
        while table.compact(&Compaction::default()).await?.is_some() {
            compacted += 1;
        }
    }
    let done = maintain(&wiring.lake, name, followers, wiring.clock.now()).await?;
    Ok(done.map(|Maintained { horizon, vacuum, entries }| Line {
        table: name.clone(),
        compacted,
        files: vacuum.files,
        bytes: vacuum.bytes,
        entries,
        kept_from: horizon.map(|version| version.0),
    }))
}
