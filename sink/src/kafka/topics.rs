//! The tables that are published on topics, and the task of each.

use std::sync::Arc;

use async_trait::async_trait;
use catalog::{Model, Project};
use futures::FutureExt as _;
use lake::{BoxError, Elsewhere, Lake, Table};
use model::{TableName, TopicName, Version};
use runtime::{CancellationToken, Clock, Meters};
use stage::Task;
use stream::{Kafka, Registry};
use tokio::sync::Notify;

use super::progress::progress;
use super::writer::TopicSink;
use crate::follow::{Follow, follow};
use crate::seam::Sink as _;

/// The gold topics of a project: follows every table whose model has `publish`.
pub struct Topics {
    /// The project.
    pub project: Arc<Project>,
    /// Its lake.
    pub lake: Lake,
    /// The broker of the topics.
    pub kafka: Kafka,
    /// The registry of their schemas.
    pub registry: Registry,
    /// Measures how old the published rows are.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub meters: Meters,
    /// Whether to create missing topics. False if only `apply` may create them.
    pub create: bool,
}
impl Topics {
    fn published(&self, table: &TableName) -> Option<(&Model, &TopicName)> {
        let model = self.project.catalog.models.get(table)?;
        Some((model, model.publish.as_ref()?))
    }
}

impl stage::Follower for Topics {
    fn start(&self, table: &TableName, landed: Arc<Notify>, stop: CancellationToken) -> Vec<Task<BoxError>> {
        let Some((model, topic)) = self.published(table) else { return Vec::new() };
        let (project, kafka, registry) = (Arc::clone(&self.project), &self.kafka, &self.registry);
        let settings = &self.project.stages.gold;
        let with = Follow {
            table: table.clone(),
            lake: self.lake.clone(),
            sink: TopicSink::new(project, model, topic.clone(), kafka.clone(), registry.clone(), self.create),
            limit: settings.max_transaction,
            poll: settings.poll,
            clock: Arc::clone(&self.clock),
            meters: self.meters.clone(),
        };
        let run = follow(with, landed, stop).map(|ended| ended.map_err(BoxError::from));
        vec![Task { name: "gold publisher", run: run.boxed() }]
    }

    fn released(&self, table: &TableName) {
        if self.published(table).is_some() {
            self.meters.stage(TopicSink::NAME, &table.to_string()).released([]);
        }
    }
}

#[async_trait]
impl Elsewhere for Topics {
    async fn needs(&self, table: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        if self.published(table.name()).is_none() {
            return Ok(Vec::new());
        }
        let progress = progress(&self.kafka, &self.project.name, table.id()).await?;
        Ok(vec![progress.map(|progress| progress.needs())])
    }
}
