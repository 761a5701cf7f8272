//! Version, rows, positions and lag of every table, read from the tables themselves.

use std::collections::BTreeMap;

use anyhow::Result as Anyhow;
use catalog::{Model, Project};
use lake::{Lake, Table};
use model::{AppId, TableName, Version};
use serde::Serialize;

use crate::Result;

/// Kind of a table of this project that is no longer declared.
const GONE: &str = "gone";

/// Tables that this project created and no longer declares. Nothing writes to them or deletes them. Siblings
/// are shown with their tables.
pub async fn gone(project: &Project, lake: &Lake) -> Result<Vec<TableName>> {
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

/// Suffixes of sibling tables.
const SIBLINGS: [&str; 2] = ["deleted", "quarantine"];

/// State of one table.
#[derive(Debug, Serialize)]
pub struct TableStatus {
    /// The table.
    pub table: TableName,
    /// `bronze`, a model's kind, or `gone` if it is no longer declared.
    pub kind: &'static str,
    /// `None` if the table does not exist yet.
    pub version: Option<u64>,
    /// Rows at that version, if its log records them.
    pub rows: Option<u64>,
    /// Data files at that version.
    pub files: Option<usize>,
    /// Data-changing versions of its inputs that it has not read yet.
    pub behind: Option<usize>,
    /// Rows of its quarantine, if it has one.
    pub quarantined: Option<u64>,
    /// Why it is halted, by stage; `publish` stands for its topic.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub halted: BTreeMap<&'static str, String>,
}

/// Every table of the project, upstream first, then its tables that are no longer declared. Reads only the
/// lake; no stage has to run.
pub async fn tables(project: &Project, lake: &Lake) -> Result<Vec<TableStatus>> {
    let mut tables = Vec::new();
    for topic in project.catalog.topics.values() {
        tables.push(one(project, lake, &topic.table, "bronze").await?);
    }
    let stored = |model: &&Model| model.kind.is_silver() || model.kind.is_gold();
    for model in project.catalog.models.values().filter(stored) {
        tables.push(one(project, lake, &model.name, model.kind.as_str()).await?);
    }
    for name in gone(project, lake).await? {
        tables.push(one(project, lake, &name, GONE).await?);
    }
    Ok(tables)
}

async fn one(project: &Project, lake: &Lake, name: &TableName, kind: &'static str) -> Anyhow<TableStatus> {
    let mut status = TableStatus {
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
            status.halted.insert(stage, halt.reason);
        }
    }
    let Some(table) = held else { return Ok(status) };
    status.version = Some(table.version().0);
    status.rows = table.rows();
    status.files = Some(table.files().0);
    status.behind = behind(project, lake, &table).await?;
    if let Some(quarantine) = lake.table(&name.sibling("quarantine")).await? {
        status.quarantined = quarantine.rows();
    }
    Ok(status)
}

async fn behind(project: &Project, lake: &Lake, table: &Table) -> Anyhow<Option<usize>> {
    let mut behind = None;
    for input in project.catalog.stored_inputs(table.name()) {
        let Some(upstream) = lake.table(&input).await? else { continue };
        let at = table.positions().get(&AppId::table(upstream.id())).map(|at| Version(at.unsigned_abs()));
        match upstream.changes(at, upstream.version()).await {
            Ok(changes) => *behind.get_or_insert(0) += changes.len(),
            // It has read nothing yet, and will not read the past change by change.
            Err(lake::Error::LogGone { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(behind)
}
