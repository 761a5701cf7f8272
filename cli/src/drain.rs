//! Waits until everything that was published has reached the end of its stage.
//!
//! Asked of the data alone: the topics' end offsets once, then the positions in the tables, stage by
//! stage from the top. A stage that makes no commit because nothing changed is drained all the same:
//! what counts is that no data-changing version of an input lies beyond the position, and that the table is
//! of the current plan.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use catalog::Catalog;
use lake::Table;
use model::{AppId, Offset, Reaction, TableName, TopicId, TopicName, Version};
use runtime::meters::Metric;
use runtime::{CancellationToken, Meter, State};
use stream::{Admin, Kafka};

use crate::launch::Stage;
use crate::reach;
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

/// Waits for one project's tables.
pub struct Drain<'a> {
    pub wiring: &'a Wiring,
    /// Gives up when this is cancelled.
    pub stop: CancellationToken,
    /// The tables that run. Empty: all.
    pub select: &'a [TableName],
}
impl Drain<'_> {
    /// Returns `true` once drained down to `stage`, `false` when stopped, or when a table here halted.
    pub async fn wait(&self, ends: &Ends, stage: Stage) -> Result<bool> {
        for (topic, (id, partitions)) in &ends.0 {
            let Some(table) = self.catalog().topics.get(topic).map(|topic| topic.table.clone()) else {
                continue;
            };
            if !self.runs(&table) {
                continue;
            }
            let reached = |table: &Table| {
                partitions.iter().all(|(partition, end)| {
                    table.positions().get(&AppId::partition(id, *partition)).is_some_and(|at| at >= end.0)
                })
            };
            let mut now = None;
            let there = async || Ok(self.newest(&mut now, &table).await?.is_some_and(reached));
            if !partitions.is_empty() && !self.until(there).await? {
                return Ok(false);
            }
            self.wiring.meters.stage("bronze", &table.to_string()).state(State::Drained);
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
            for input in self.catalog().stored_inputs(&model.name) {
                if !self.caught_up(&model.name, &input).await? {
                    return Ok(false);
                }
            }
            if model.kind.is_gold() && model.publish.is_some() && !self.published(&model.name).await? {
                return Ok(false);
            }
            self.wiring
                .meters
                .stage(if model.kind.is_silver() { "silver" } else { "gold" }, &model.name.to_string())
                .state(State::Drained);
        }
        Ok(true)
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

    /// Waits until `table` holds everything that `input` holds now.
    async fn caught_up(&self, table: &TableName, input: &TableName) -> Result<bool> {
        let lake = &self.wiring.lake;
        let (mut now, mut held) = (None, None);
        self.until(async || {
            if now.is_none() {
                now = lake.table(input).await?;
            }
            let Some(upstream) = &now else { return Ok(true) };
            let Some(downstream) = self.newest(&mut held, table).await? else { return Ok(false) };
            // A table of another plan holds something else, however far it has read.
            let plan = downstream.positions().get(&AppId::plan());
            let same = match (self.catalog().models.get(table), plan) {
                (Some(model), Some(plan)) => model.is_plan(plan),
                (model, plan) => model.is_none() && plan.is_none(),
            };
            if !same {
                return Ok(false);
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
    async fn published(&self, table: &TableName) -> Result<bool> {
        let (kafka, project) = (&self.wiring.kafka, &self.wiring.project.name);
        let mut now = None;
        self.until(async || {
            if now.is_none() {
                now = self.wiring.lake.table(table).await?;
            }
            let Some(current) = &now else { return Ok(true) };
            let progress = gold::publish::progress(kafka, project, current.id()).await?;
            let at = progress.filter(|progress| progress.last).map(|progress| progress.version);
            Ok(at.is_some() && current.changes(at, current.version()).await?.is_empty())
        })
        .await
    }

    /// Looks until there is nothing to wait for. What cannot be reached is looked at again: the stages
    /// go on by themselves, too.
    async fn until(&self, mut done: impl AsyncFnMut() -> Result<bool>) -> Result<bool> {
        loop {
            match done().await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if passes(&error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "cannot see how far the tables are, looking again"
                    );
                }
                Err(error) => return Err(error),
            }
            if self.pause().await {
                return Ok(false);
            }
        }
    }

    /// Waits a little. `true` when it is no use: stopped, or a table here stands still until a person
    /// acts, and what comes behind it will never arrive.
    async fn pause(&self) -> bool {
        let stands = |meter: &Meter| meter.gauge(Metric::State) == State::Halted as i64;
        self.wiring.meters.pipelines().iter().any(stands)
            || tokio::time::timeout(PAUSE, self.stop.cancelled()).await.is_ok()
    }
}

/// Whether whoever waits is all that is needed.
fn passes(error: &anyhow::Error) -> bool {
    let lake = error.downcast_ref::<lake::Error>().map(lake::Error::reaction);
    let gold = error.downcast_ref::<gold::Error>().map(gold::Error::reaction);
    lake.or(gold) == Some(Reaction::Retry)
}
