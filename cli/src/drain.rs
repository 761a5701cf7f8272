//! Waits until everything that was published has reached the end of its stage.
//!
//! Asked of the data alone: the topics' end offsets once, then the positions in the tables, stage by
//! stage from the top. A stage that makes no commit because nothing changed is drained all the same:
//! what counts is that no data-changing version of an input lies beyond the position.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use catalog::Catalog;
use lake::Table;
use model::{AppId, Offset, TableName, TopicId, TopicName, Version};
use runtime::{CancellationToken, State};
use stream::{Admin, Kafka};

use crate::launch::Stage;
use crate::wiring::Wiring;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Where the last record of each partition of the declared topics stands at one moment. The log may go
/// on behind it with transaction markers, which no table ever reads.
pub struct Ends(BTreeMap<TopicName, (TopicId, BTreeMap<i32, Offset>)>);
impl Ends {
    /// As they are now. A topic that does not exist has nothing to wait for.
    pub async fn now(kafka: &Kafka, catalog: &Catalog) -> Result<Self> {
        let admin = Admin::try_new(kafka)?;
        let mut ends = BTreeMap::new();
        for topic in catalog.topics.keys() {
            let Some(info) = admin.describe(topic).await? else { continue };
            let last =
                stream::tail(kafka, topic).await.with_context(|| format!("the end of topic `{topic}`"))?;
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
    /// Returns `true` once drained down to `stage`, `false` when stopped before.
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
            if !partitions.is_empty() && !self.until(&table, |table| Ok(reached(table))).await? {
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
            if !wanted || !self.runs(&model.name) {
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

    /// Waits until `table` holds everything that `input` holds now.
    async fn caught_up(&self, table: &TableName, input: &TableName) -> Result<bool> {
        let Some(upstream) = self.wiring.lake.table(input).await? else { return Ok(true) };
        let app = AppId::table(upstream.id());
        loop {
            if let Some(downstream) = self.wiring.lake.table(table).await? {
                let at = downstream.positions().get(&app).map(|at| Version(at.unsigned_abs()));
                match upstream.changes(at, upstream.version()).await {
                    Ok(changes) if changes.is_empty() => return Ok(true),
                    // It has read nothing yet and will not read the past change by change.
                    Ok(_) | Err(lake::Error::LogGone { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if self.pause().await {
                return Ok(false);
            }
        }
    }

    /// Waits until the topic of a gold table has the table's version.
    async fn published(&self, table: &TableName) -> Result<bool> {
        let Some(current) = self.wiring.lake.table(table).await? else { return Ok(true) };
        loop {
            let progress =
                gold::publish::progress(&self.wiring.kafka, &self.wiring.project.name, current.id()).await?;
            let at = progress.filter(|progress| progress.last).map(|progress| progress.version);
            if at.is_some() && current.changes(at, current.version()).await?.is_empty() {
                return Ok(true);
            }
            if self.pause().await {
                return Ok(false);
            }
        }
    }

    async fn until(&self, name: &TableName, done: impl Fn(&Table) -> Result<bool>) -> Result<bool> {
        loop {
            if let Some(table) = self.wiring.lake.table(name).await?
                && done(&table)?
            {
                return Ok(true);
            }
            if self.pause().await {
                return Ok(false);
            }
        }
    }

    /// Waits a little. `true` when stopped meanwhile.
    async fn pause(&self) -> bool {
        tokio::time::timeout(PAUSE, self.stop.cancelled()).await.is_ok()
    }
}
