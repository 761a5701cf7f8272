//! Waits until everything that was published has reached the end of its stage.
//!
//! Asked of the data alone: the topics' end offsets once, then the positions in the tables, stage by
//! stage from the top. A stage that makes no commit because nothing changed is drained all the same:
//! what counts is that no data-changing version of an input lies beyond the position, and that the table is
//! of the current plan.
//!
//! A table that halts is left behind, and nothing else: what it holds by then still goes down to its end,
//! as does everything that does not come from it. A table that another process keeps cannot be asked
//! whether it halted; when it stands still for a minute though more is there, it is left behind too.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use runtime::time::Instant;

use anyhow::{Context as _, Result};
use catalog::Catalog;
use lake::Table;
use model::{AppId, Offset, Reaction, TableName, TopicId, TopicName, Version};
use runtime::meters::Metric;
use runtime::{CancellationToken, Meter, State};
use stream::{Admin, Kafka};

use crate::reach;
use crate::select::Stage;
use crate::wiring::Wiring;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Where the last record of each partition of the declared topics stands at one moment. The log may go
/// on behind it with transaction markers, which no table ever reads.
pub struct Ends(BTreeMap<TopicName, (TopicId, BTreeMap<i32, Offset>)>);
impl Ends {
    /// As they are now; a broker that does not answer is waited for. `None`: `quit` came first. A topic
    /// that does not exist has nothing to wait for.
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

/// How long a table of another process may stand still with something before it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a table may take to say that it has read inputs in which nothing is.
const NOTHING: Duration = Duration::from_secs(5);

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything is at its end, except what these tables hold up, and why each does.
    Done(Vec<Behind>),
    /// Stopped before.
    Stopped,
}
impl Drained {
    /// Whether everything is at its end.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Done(behind) if behind.is_empty())
    }
}

/// A table that is not at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// It waits for a person, here.
    Halted(TableName),
    /// It stands still in another process.
    Still {
        /// Which.
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

/// How waiting for one table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Reached,
    Halted,
    StoodStill,
    Stopped,
}

/// A table and the stage that keeps it.
#[derive(Clone, Copy)]
struct Kept<'a> {
    stage: &'static str,
    table: &'a TableName,
}

/// Waits for one project's tables.
pub struct Drain<'a> {
    /// The project and its services.
    pub wiring: &'a Wiring,
    /// Gives up when this is cancelled.
    pub stop: CancellationToken,
    /// The tables that run. Empty: all.
    pub select: &'a [TableName],
    /// The stages that run in this process. Others are somebody else's.
    pub ours: &'a [Stage],
}
impl Drain<'_> {
    /// Returns once everything that can has got down to `stage`.
    pub async fn wait(&self, ends: &Ends, stage: Stage) -> Result<Drained> {
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
                Stage::Bronze => false,
                Stage::Silver => model.kind.is_silver(),
                Stage::Gold => model.kind.is_silver() || model.kind.is_gold(),
            };
            // Without columns there is nothing to do yet: its topic holds nothing.
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

    /// Takes note of how a table ended. `false`: nobody waits any longer.
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

    /// The newest version of a table, by way of the one that was looked at last.
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

    /// Waits until the table holds everything that `input` holds now.
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
            // A table of another plan holds something else, however far it has read.
            let plan = downstream.positions().get(&AppId::plan());
            let same = match (self.catalog().models.get(kept.table), plan) {
                (Some(model), Some(plan)) => model.is_plan(plan),
                (model, plan) => model.is_none() && plan.is_none(),
            };
            if !same {
                // One that was never computed may wait for its inputs' first rows, and they may never come.
                return Ok(plan.is_none()
                    && begun.elapsed() > NOTHING
                    && upstream.changes(None, upstream.version()).await.is_ok_and(|all| all.is_empty()));
            }
            let at = downstream.positions().get(&AppId::table(upstream.id()));
            let at = at.map(|at| Version(at.unsigned_abs()));
            match upstream.changes(at, upstream.version()).await {
                Ok(changes) => Ok(changes.is_empty()),
                // It has read nothing yet and will not read the past change by change.
                Err(lake::Error::LogGone { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Waits until the topic of a gold table has the table's version.
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

    /// Looks until there is nothing to wait for. What cannot be reached is looked at again: the stages
    /// go on by themselves, too.
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
                    // Whoever should move it may not reach it either.
                    moved = Moved::default();
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "cannot see how far the tables are, looking again"
                    );
                }
                Err(error) => return Err(error),
            }
            // In doubt it is looked at again.
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

    /// Whether the table stands still here until a person acts.
    fn halted(&self, Kept { stage, table }: Kept<'_>) -> bool {
        let table = table.to_string();
        let stands = |meter: &Meter| {
            // A table that halted publishes nothing either.
            let same = meter.stage() == stage || (stage == "publish" && meter.stage() == "gold");
            same && meter.table() == table && meter.gauge(Metric::State) == State::Halted as i64
        };
        self.wiring.meters.pipelines().iter().any(stands)
    }

    /// Whether the table halted for rows that its inputs have replaced by now: it goes on by itself, and a
    /// row corrected in this very run is all it needs.
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
        let gold = stage == "publish" && self.ours.contains(&Stage::Gold);
        gold || self.ours.iter().any(|ours| ours.name() == stage)
    }

    /// The longest that a table at work may make no commit.
    fn slowest(&self) -> Duration {
        self.wiring.project.commit.interval * 4
    }
}

/// When a table was last seen to move.
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

/// Whether whoever waits is all that is needed.
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
