//! `lakepulse status`: versions, rows, positions and lag of every table, read from the tables.

use anyhow::Result as Anyhow;
use catalog::Project;
use lake::{Lake, Table};
use model::{AppId, Exit, TableName, Version};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::args::Common;
use crate::failure::Failure;
use crate::wiring;

/// Kind of a table of this project that no file of it declares any more.
const GONE: &str = "gone";

/// Tables that this project made and no topic or model declares any more. Nobody writes to them and
/// nothing deletes them. Siblings are shown with their tables.
pub async fn gone(project: &Project, lake: &Lake) -> Anyhow<Vec<TableName>> {
    let catalog = &project.catalog;
    let declared = |name: &TableName| {
        catalog.models.contains_key(name)
            || catalog.topic_of(name).is_some()
            || catalog.patterns.iter().any(|pattern| pattern.may_fill(name))
    };
    let mut gone = Vec::new();
    for name in lake.tables().await? {
        let main = name.table().rsplit_once("__").filter(|(_, word)| SIBLINGS.contains(word));
        let main = main.and_then(|(main, _)| format!("{}.{main}", name.schema()).parse::<TableName>().ok());
        if declared(&name) || main.is_some() {
            continue;
        }
        let Some(table) = lake.table(&name).await? else { continue };
        if table.project() == Some(project.name.as_str()) {
            gone.push(name);
        }
    }
    Ok(gone)
}

/// Words behind a table's name that make a sibling's.
const SIBLINGS: [&str; 2] = ["deleted", "quarantine"];

/// One table as shown.
#[derive(Debug, Serialize)]
struct Line {
    table: TableName,
    kind: &'static str,
    /// `None` when the table does not exist yet.
    version: Option<u64>,
    rows: Option<u64>,
    files: Option<usize>,
    /// Data-changing versions of its inputs that it has not taken yet.
    behind: Option<usize>,
    quarantined: Option<u64>,
    /// Why it waits for a person: by stage, `publish` for its topic.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    halted: BTreeMap<&'static str, String>,
}

/// Prints a line a table. Needs the lake only; no stage has to run.
#[allow(clippy::print_stdout, reason = "this is the verb's output")]
pub async fn run(common: &Common) -> Result<Exit, Failure> {
    let (project, _) = wiring::sound(common).await?;
    let lake = wiring::lake(&project, Arc::new(runtime::RandomIds)).await?;
    let mut lines = Vec::new();
    for topic in project.catalog.topics.values() {
        lines.push(line(&project, &lake, &topic.table, "bronze").await?);
    }
    for model in
        project.catalog.models.values().filter(|model| model.kind.is_silver() || model.kind.is_gold())
    {
        lines.push(line(&project, &lake, &model.name, model.kind.as_str()).await?);
    }
    for name in gone(&project, &lake).await? {
        lines.push(line(&project, &lake, &name, GONE).await?);
    }
    if common.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
        return Ok(Exit::Done);
    }
    println!(
        "{:<38} {:<7} {:>8} {:>12} {:>7} {:>8} {:>12}",
        "table", "kind", "version", "rows", "files", "behind", "quarantined"
    );
    for line in &lines {
        let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| n.to_string());
        println!(
            "{:<38} {:<7} {:>8} {:>12} {:>7} {:>8} {:>12}",
            line.table.to_string(),
            line.kind,
            number(line.version),
            number(line.rows),
            number(line.files.map(|n| n as u64)),
            number(line.behind.map(|n| n as u64)),
            number(line.quarantined)
        );
    }
    for line in &lines {
        for (stage, reason) in &line.halted {
            println!("HALTED {stage} of {}: {reason}", line.table);
        }
    }
    Ok(Exit::Done)
}

async fn line(project: &Project, lake: &Lake, name: &TableName, kind: &'static str) -> Anyhow<Line> {
    let mut line = Line {
        table: name.clone(),
        kind,
        version: None,
        rows: None,
        files: None,
        behind: None,
        quarantined: None,
        halted: BTreeMap::new(),
    };
    let held = lake.table(name).await?;
    let stages: &[&'static str] = match kind {
        "bronze" => &["bronze"],
        "table" => &["gold", "publish"],
        GONE => &[],
        _ => &["silver"],
    };
    for stage in stages {
        if let Some(halt) = lake.halted(stage, name).await?.filter(|halt| halt.holds(held.as_ref())) {
            line.halted.insert(stage, halt.reason);
        }
    }
    let Some(table) = held else { return Ok(line) };
    line.version = Some(table.version().0);
    line.rows = table.rows();
    line.files = Some(table.files().0);
    line.behind = behind(project, lake, &table).await?;
    if let Some(quarantine) = lake.table(&name.sibling("quarantine")).await? {
        line.quarantined = quarantine.rows();
    }
    Ok(line)
}

async fn behind(project: &Project, lake: &Lake, table: &Table) -> Anyhow<Option<usize>> {
    let mut behind = None;
    for input in project.catalog.stored_inputs(table.name()) {
        let Some(upstream) = lake.table(&input).await? else { continue };
        let at = table.positions().get(&AppId::table(upstream.id())).map(|at| Version(at.unsigned_abs()));
        match upstream.changes(at, upstream.version()).await {
            Ok(changes) => *behind.get_or_insert(0) += changes.len(),
            // It has read nothing yet and will not read the past change by change.
            Err(lake::Error::LogGone { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(behind)
}
