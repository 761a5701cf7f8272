//! Waits until everything that was published has reached the end of its stage.
//!
//! It looks only at the data: once at the topics' end offsets, then at the positions in the tables, stage by
//! stage from the top. A table is drained if it has the current plan and no data-changing version of an input
//! lies beyond its position. So a stage that commits nothing because nothing changed is drained as well.
//!
//! A halted table does not stop the wait for others: its current rows still go downstream, and so does
//! everything that does not come from it. The halt of a table in another process cannot be seen here, so such
//! a table is given up if it has not moved for a minute although its input holds more.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use runtime::time::Instant;

use anyhow::{Context as _, Result};
use catalog::Catalog;
use lake::Table;
use model::{AppId, Offset, Reaction, TableName, TopicId, TopicName, Version};
use runtime::meters::Metric;
use runtime::{CancellationToken, Failure as _, Meter, State};
use stream::{Admin, Kafka};

use crate::reach;
use crate::select::StageKind;
use crate::wiring::Wiring;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// The end offset of each partition of the declared topics at one moment: one past the last record. The log
/// may continue with transaction markers, which no table reads.
pub struct Ends(BTreeMap<TopicName, (TopicId, BTreeMap<i32, Offset>)>);
impl Ends {
    /// Asks for the current ends, and retries while the broker does not answer. `None`: `quit` came first. A
    /// topic that does not exist is left out.
    pub async fn now(wiring: &Wiring, quit: &CancellationToken) -> Result<Option<Self>> {
        let ask = || Self::ask(&wiring.kafka, &wiring.project.catalog);
        reach::kafka(wiring, "drain", quit, ask).await.context("the ends of the topics")
    }
    async fn ask(kafka: &Kafka, catalog: &Catalog) -> stream::Result<Self> {
        let admin = Admin::try_new(kafka)?;
        let mut ends = BTreeMap::new();
        for topic in catalog.topics.keys() {
            let Some(info) = admin.describe(topic).await? else { continue };
            let last = stream::tail(kafka, topic).await?;
            let ends_of = last.into_iter().map(|(partition, record)| (partition, record.offset.next()));
            ends.insert(topic.clone(), (info.id, ends_of.collect()));
        }
        Ok(Self(ends))
    }
}

/// How long a table of another process may stand still although its input holds more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for a table to commit its first plan if its inputs are empty.
const NOTHING: Duration = Duration::from_secs(5);

/// How the wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything is at its end, except these tables, each with the reason.
    Done(Vec<Behind>),
    /// Cancelled before that.
    Stopped,
}
impl Drained {
    /// Whether everything is at its end.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Done(behind) if behind.is_empty())
    }
}

/// A table that is not at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// It halted in this process.
    Halted(TableName),
    /// It stands still in another process.
    Still {
        /// The table.
        table: TableName,
        /// The stage that should move it.
        of: &'static str,
    },
}
impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Halted(table) => write!(f, "`{table}` has halted"),
            Self::Still { table, of } => write!(
                f,
                "`{table}` has not moved for {PATIENCE:?} though more is before it: is `lakepulse {of}` running, or did the table halt there? Its log and `lakepulse status` say"
            ),
        }
    }
}

/// How the wait for one table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Reached,
    Halted,
    StoodStill,
    Stopped,
}

/// A table and the stage that maintains it.
#[derive(Clone, Copy)]
struct Kept<'a> {
    stage: &'static str,
    table: &'a TableName,
}

/// Waits for the tables of one project.
pub struct Drain<'a> {
    /// The project and its services.
    pub wiring: &'a Wiring,
    /// Ends the wait when cancelled.
    pub stop: CancellationToken,
    /// The selected tables. Empty: all.
    pub select: &'a [TableName],
    /// The stages that run in this process; other processes run the others.
    pub ours: &'a [StageKind],
}
impl Drain<'_> {
    /// Returns once all tables down to `stage` are drained, halted or given up.
    pub async fn wait(&self, ends: &Ends, stage: StageKind) -> Result<Drained> {
        let mut behind = Vec::new();
        for (topic, (id, partitions)) in &ends.0 {
            let Some(table) = self.catalog().topics.get(topic).map(|topic| topic.table.clone()) else {
                continue;
            };
            if !self.runs(&table) || partitions.is_empty() {
                continue;
            }
            let reached = |table: &Table| {
                partitions.iter().all(|(partition, end)| {
                    table.positions().get(&AppId::partition(id, *partition)).is_some_and(|at| at >= end.0)
                })
            };
            let mut now = None;
            let there = async |moved: &mut Moved| {
                let newest = self.newest(&mut now, &table).await?;
                moved.at(newest);
                Ok(newest.is_some_and(reached))
            };
            let kept = Kept { stage: "bronze", table: &table };
            if !self.noted(kept, self.until(kept, there).await?, &mut behind) {
                return Ok(Drained::Stopped);
            }
        }
        for model in self.catalog().models.values() {
            let wanted = match stage {
                StageKind::Bronze => false,
                StageKind::Silver => model.kind.is_silver(),
                StageKind::Gold => model.kind.is_silver() || model.kind.is_gold(),
            };
            // The columns are unknown because the topic is empty, so there is nothing to wait for.
            if !wanted || model.unlearned || !self.runs(&model.name) {
                continue;
            }
            let stage = if model.kind.is_silver() { "silver" } else { "gold" };
            let kept = Kept { stage, table: &model.name };
            let mut waited = Waited::Reached;
            for input in self.catalog().stored_inputs(&model.name) {
                waited = self.caught_up(kept, &input).await?;
                if waited != Waited::Reached {
                    break;
                }
            }
            if !self.noted(kept, waited, &mut behind) {
                return Ok(Drained::Stopped);
            }
            if waited == Waited::Reached && model.kind.is_gold() && model.publish.is_some() {
                let kept = Kept { stage: "publish", table: &model.name };
                let published = self.published(kept).await?;
                if !self.noted(kept, published, &mut behind) {
                    return Ok(Drained::Stopped);
                }
            }
        }
        Ok(Drained::Done(behind))
    }

    /// Records how the wait for a table ended. Returns `false` if the whole wait was cancelled.
    fn noted(&self, Kept { stage, table }: Kept<'_>, waited: Waited, behind: &mut Vec<Behind>) -> bool {
        match waited {
            Waited::Reached => self.wiring.meters.stage(stage, &table.to_string()).state(State::Drained),
            Waited::Halted => behind.push(Behind::Halted(table.clone())),
            Waited::StoodStill => behind.push(Behind::Still { table: table.clone(), of: stage }),
            Waited::Stopped => return false,
        }
        true
    }

    fn catalog(&self) -> &Catalog {
        &self.wiring.project.catalog
    }
    fn runs(&self, table: &TableName) -> bool {
        self.select.is_empty() || self.select.contains(table)
    }

    /// The newest version of a table; refreshes `held` if it has been loaded before.
    async fn newest<'t>(&self, held: &'t mut Option<Table>, name: &TableName) -> Result<Option<&'t Table>> {
        *held = match held.take() {
            Some(mut table) => {
                table.refresh().await?;
                Some(table)
            }
            None => self.wiring.lake.table(name).await?,
        };
        Ok(held.as_ref())
    }

    /// Waits until the table contains everything that `input` contains now.
    async fn caught_up(&self, kept: Kept<'_>, input: &TableName) -> Result<Waited> {
        let lake = &self.wiring.lake;
        let (mut now, mut held) = (None, None);
        let begun = Instant::now();
        self.until(kept, async |moved| {
            if now.is_none() {
                now = lake.table(input).await?;
            }
            let Some(upstream) = &now else { return Ok(true) };
            let downstream = self.newest(&mut held, kept.table).await?;
            moved.at(downstream);
            let Some(downstream) = downstream else { return Ok(false) };
            // Rows of another plan do not count, however far the table has read.
            let plan = downstream.positions().get(&AppId::plan());
            let same = match (self.catalog().models.get(kept.table), plan) {
                (Some(model), Some(plan)) => model.is_plan(plan),
                (model, plan) => model.is_none() && plan.is_none(),
            };
            if !same {
                // A table without a plan may be waiting for the first rows of its inputs, which may never
                // come.
                return Ok(plan.is_none()
                    && begun.elapsed() > NOTHING
                    && upstream.changes(None, upstream.version()).await.is_ok_and(|all| all.is_empty()));
            }
            let at = downstream.positions().get(&AppId::table(upstream.id()));
            let at = at.map(|at| Version(at.unsigned_abs()));
            match upstream.changes(at, upstream.version()).await {
                Ok(changes) => Ok(changes.is_empty()),
                // It has read nothing yet. It will read the newest version instead of the deleted changes.
                Err(lake::Error::LogGone { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Waits until the topic of a gold table has the table's current version.
    async fn published(&self, kept: Kept<'_>) -> Result<Waited> {
        let (kafka, project) = (&self.wiring.kafka, &self.wiring.project.name);
        let mut now = None;
        self.until(kept, async |moved| {
            if now.is_none() {
                now = self.wiring.lake.table(kept.table).await?;
            }
            let Some(current) = &now else { return Ok(true) };
            let progress = sink::kafka::progress(kafka, project, current.id()).await?;
            let at = progress.filter(|progress| progress.last).map(|progress| progress.version);
            moved.seen(at.map_or(0, |at| at.0.wrapping_add(1)));
            Ok(at.is_some() && current.changes(at, current.version()).await?.is_empty())
        })
        .await
    }

    /// Polls until `done`. Errors that allow a retry are logged and polled again, because the stages retry,
    /// too.
    async fn until(
        &self,
        kept: Kept<'_>,
        mut done: impl AsyncFnMut(&mut Moved) -> Result<bool>,
    ) -> Result<Waited> {
        let mut moved = Moved::default();
        loop {
            match done(&mut moved).await {
                Ok(true) => return Ok(Waited::Reached),
                Ok(false) => {}
                Err(error) if passes(&error) => {
                    // The process that should move the table may not reach it either, so the patience starts
                    // again.
                    moved = Moved::default();
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "cannot see how far the tables are, looking again"
                    );
                }
                Err(error) => return Err(error),
            }
            // If that cannot be read, look again.
            if self.halted(kept) && !self.tries_again(kept).await.unwrap_or(true) {
                return Ok(Waited::Halted);
            }
            if !self.keeps(kept.stage) && moved.last.elapsed() > PATIENCE.max(self.slowest()) {
                return Ok(Waited::StoodStill);
            }
            if runtime::time::timeout(PAUSE, self.stop.cancelled()).await.is_ok() {
                return Ok(Waited::Stopped);
            }
        }
    }

    /// Whether the table is halted in this process.
    fn halted(&self, Kept { stage, table }: Kept<'_>) -> bool {
        let table = table.to_string();
        let stands = |meter: &Meter| {
            // A halted gold table publishes nothing either.
            let same = meter.stage() == stage || (stage == "publish" && meter.stage() == "gold");
            same && meter.table() == table && meter.gauge(Metric::State) == State::Halted as i64
        };
        self.wiring.meters.pipelines().iter().any(stands)
    }

    /// Whether an input has changed since the version that the table halted at. Then the table tries again by
    /// itself, for example with a row that this run corrected.
    async fn tries_again(&self, Kept { stage, table }: Kept<'_>) -> Result<bool> {
        let stage = if stage == "publish" { "gold" } else { stage };
        let lake = &self.wiring.lake;
        let Some(halt) = lake.halted(stage, table).await? else { return Ok(false) };
        for input in self.catalog().stored_inputs(table) {
            let Some(upstream) = lake.table(&input).await? else { continue };
            let Some(at) = halt.tried.get(&AppId::table(upstream.id())) else { continue };
            match upstream.changes(Some(Version(at.unsigned_abs())), upstream.version()).await {
                Ok(changes) if changes.is_empty() => {}
                Ok(_) | Err(lake::Error::LogGone { .. }) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Whether a stage runs in this process.
    fn keeps(&self, stage: &str) -> bool {
        let gold = stage == "publish" && self.ours.contains(&StageKind::Gold);
        gold || self.ours.iter().any(|ours| ours.name() == stage)
    }

    /// The longest time between two commits of a busy table.
    fn slowest(&self) -> Duration {
        self.wiring.project.commit.interval * 4
    }
}

/// The last version that was seen of a table, and when it changed.
struct Moved {
    mark: Option<u64>,
    last: Instant,
}
impl Default for Moved {
    fn default() -> Self {
        Self { mark: None, last: Instant::now() }
    }
}
impl Moved {
    fn at(&mut self, table: Option<&Table>) {
        self.seen(table.map_or(0, |table| table.version().0.wrapping_add(1)));
    }
    fn seen(&mut self, mark: u64) {
        if self.mark.replace(mark) != Some(mark) {
            self.last = Instant::now();
        }
    }
}

/// Whether the error may disappear without anyone acting.
fn passes(error: &anyhow::Error) -> bool {
    let lake = error.downcast_ref::<lake::Error>().map(lake::Error::reaction);
    let sink = error.downcast_ref::<sink::Error>().map(sink::Error::reaction);
    lake.or(sink) == Some(Reaction::Retry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_moves_when_its_version_does() {
        let mut moved = Moved::default();
        moved.seen(1);
        let first = moved.last;
        moved.seen(1);
        assert_eq!(moved.last, first);
        moved.seen(2);
        assert!(moved.last > first);
    }
}
