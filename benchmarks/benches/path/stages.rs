//! One log of changes through the stages, one stage at a time, each until it is drained.
//!
//! Order: the simulator fills the topics; raw consume, bronze, raw consume again, so that a machine
//! that grows faster or slower meanwhile shows; silver; gold. What each has done is counted in the
//! lake, not taken from its word: bronze must hold as many rows as raw consume read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use model::TopicName;
use stage::CommitInfo;
use stage::info::SilverCommit;

use crate::broker::Broker;
use crate::process::Cost;
use crate::project::{Open, Project};
use crate::raw::{self, Count};
use crate::report::{Grid, grouped, mebibytes, median, per_million, rate, seconds};

/// The least that bronze should reach of raw consume.
const RATIO: f64 = 0.3;
/// The most memory that a process should take.
const MEMORY: u64 = 1 << 30;

/// One process: what it did and what that cost.
struct Stage {
    name: &'static str,
    did: &'static str,
    count: u64,
    /// Rows in its tables afterwards.
    rows: Option<u64>,
    cost: Cost,
    /// From its start to its first commit that changed rows.
    first: Option<Duration>,
    /// CPU of the broker meanwhile, if it is ours.
    broker: Option<Duration>,
}

/// All of them.
pub struct Stages {
    events: u64,
    read: Count,
    stages: Vec<Stage>,
}

/// Runs every stage over `events` changes.
pub async fn measure(binary: &Path, events: u64) -> Result<Stages> {
    let project = Project::copy(binary)?;
    let broker = Broker::of(&project).await?;
    project.run(&["apply"]).await?;
    let open = project.open().await?;
    let topics: Vec<TopicName> = open.project.catalog.topics.keys().cloned().collect();
    let mut stages = Vec::new();

    let before = broker.cpu()?;
    let cost = project.run(&["sim", "--events", &events.to_string(), "--seed", "7"]).await?;
    let spent = broker.spent(before)?;
    stages.push(Stage {
        name: "sim",
        did: "events",
        count: events,
        rows: None,
        cost,
        first: None,
        broker: spent,
    });

    let (read, stage) = consume("raw consume, before", &broker, &topics, &project).await?;
    stages.push(stage);

    let before = broker.cpu()?;
    let cost = project.run(&["bronze", "--until-drained"]).await?;
    let spent = broker.spent(before)?;
    let mut rows = 0;
    let mut first = None;
    for topic in open.project.catalog.topics.values() {
        rows += open.rows(&topic.table).await?;
        first = earlier(first, landed(&open, &topic.table, |_| ()).await?);
    }
    ensure!(rows == read.records, "bronze holds {rows} rows, but its topics hold {} records", read.records);
    let first = since(first, &cost);
    stages.push(Stage {
        name: "bronze",
        did: "records",
        count: rows,
        rows: Some(rows),
        cost,
        first,
        broker: spent,
    });

    let (again, stage) = consume("raw consume, after", &broker, &topics, &project).await?;
    ensure!(again == read, "the topics changed between two reads: {read:?}, then {again:?}");
    stages.push(stage);

    stages.push(silver(&project, &open, &broker).await?);
    stages.push(gold(&project, &open, &broker).await?);
    broker.stop().await?;
    Ok(Stages { events, read, stages })
}

async fn consume(
    name: &'static str,
    broker: &Broker,
    topics: &[TopicName],
    project: &Project,
) -> Result<(Count, Stage)> {
    let before = broker.cpu()?;
    let (read, cost) = raw::measure(broker.bootstrap(), topics, project.path()).await?;
    let spent = broker.spent(before)?;
    Ok((
        read,
        Stage { name, did: "records", count: read.records, rows: None, cost, first: None, broker: spent },
    ))
}

/// Counts the changes that every silver table has folded, superseded and filtered ones included. A
/// change that two tables read counts twice.
async fn silver(project: &Project, open: &Open, broker: &Broker) -> Result<Stage> {
    let before = broker.cpu()?;
    let cost = project.run(&["silver", "--until-drained"]).await?;
    let broker = broker.spent(before)?;
    let (mut count, mut rows, mut first) = (0, 0, None);
    for model in open.project.catalog.silver() {
        rows += open.rows(&model.name).await?;
        let folded = |info: &CommitInfo| {
            if let CommitInfo::Silver(SilverCommit { outcomes: Some(outcomes), .. }) = info {
                count += outcomes.total();
            }
        };
        first = earlier(first, landed(open, &model.name, folded).await?);
    }
    ensure!(count > 0, "silver folded no change");
    let first = since(first, &cost);
    Ok(Stage { name: "silver", did: "changes", count, rows: Some(rows), cost, first, broker })
}

/// Counts the rows of the tables that gold is computed from, once for each gold table that reads them.
async fn gold(project: &Project, open: &Open, broker: &Broker) -> Result<Stage> {
    let before = broker.cpu()?;
    let cost = project.run(&["gold", "--until-drained"]).await?;
    let broker = broker.spent(before)?;
    let (mut count, mut rows, mut first) = (0, 0, None);
    for model in open.project.catalog.gold() {
        for input in open.project.catalog.stored_inputs(&model.name) {
            count += open.rows(&input).await?;
        }
        let held = open.rows(&model.name).await?;
        ensure!(held > 0, "gold table `{}` is empty", model.name);
        rows += held;
        first = earlier(first, landed(open, &model.name, |_| ()).await?);
    }
    let first = since(first, &cost);
    Ok(Stage { name: "gold", did: "input rows", count, rows: Some(rows), cost, first, broker })
}

/// Shows `each` what our commits that changed rows say, and tells when the first of them was.
async fn landed(
    open: &Open,
    table: &model::TableName,
    mut each: impl FnMut(&CommitInfo),
) -> Result<Option<i64>> {
    let table = open.table(table).await?;
    let mut first = None;
    for entry in table.log(None, table.version()).await? {
        CommitInfo::parse(&entry)?.iter().for_each(&mut each);
        if entry.data_change {
            first = earlier(first, Some(entry.timestamp_ms));
        }
    }
    Ok(first)
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn since(first: Option<i64>, cost: &Cost) -> Option<Duration> {
    first.map(|at| Duration::from_millis(at.saturating_sub(cost.started.0).max(0).unsigned_abs()))
}

impl Stages {
    /// Prints what was measured, and the targets beside it.
    pub fn print(&self) {
        let columns = ["process", "count", "of", "wall s", "per s", "CPU s", "CPU s per M", "peak RSS"];
        let columns = [&columns[..], &["first commit s", "rows held", "broker CPU s"]].concat();
        let mut grid = Grid::new(&columns);
        for stage in &self.stages {
            grid.row([
                stage.name.to_owned(),
                grouped(stage.count),
                stage.did.to_owned(),
                seconds(stage.cost.wall),
                grouped(rate(stage.count, stage.cost.wall) as u64),
                seconds(stage.cost.cpu),
                format!("{:.2}", per_million(stage.cost.cpu, stage.count)),
                mebibytes(stage.cost.peak),
                stage.first.map_or("-".to_owned(), seconds),
                stage.rows.map_or("-".to_owned(), grouped),
                stage.broker.map_or("-".to_owned(), seconds),
            ]);
        }
        grid.print(&format!(
            "Stages: {} change events are {} records of {} bytes, key and value (tombstones included); wall is process start to end",
            grouped(self.events),
            grouped(self.read.records),
            self.read.bytes / self.read.records.max(1),
        ));
        self.print_targets();
    }

    fn print_targets(&self) {
        let of = |names: &[&str], value: fn(&Cost) -> Duration| {
            let stages =
                self.stages.iter().filter(|stage| names.iter().any(|name| stage.name.starts_with(name)));
            median(&stages.map(|stage| value(&stage.cost)).collect::<Vec<_>>())
        };
        let (raw, bronze) = (&["raw"][..], &["bronze"][..]);
        let times = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64().max(1e-9);
        let wall = times(of(raw, |cost| cost.wall), of(bronze, |cost| cost.wall));
        let cpu = times(of(bronze, |cost| cost.cpu), of(raw, |cost| cost.cpu));
        let ours = self.stages.iter().filter(|stage| ["bronze", "silver", "gold"].contains(&stage.name));
        let peak = ours.map(|stage| stage.cost.peak).max().unwrap_or(0);
        let mut grid = Grid::new(&["measure", "reached", "target"]);
        grid.row([
            "bronze events/s over raw consume (median of both)".into(),
            format!("{wall:.2}"),
            format!(">= {RATIO}"),
        ]);
        grid.row(["bronze CPU over raw consume".into(), format!("{cpu:.2}"), "-".into()]);
        grid.row([
            "peak RSS of the largest stage".into(),
            mebibytes(peak),
            format!("<= {}", mebibytes(MEMORY)),
        ]);
        grid.print("Stages against their targets");
    }
}
