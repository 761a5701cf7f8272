//! Who follows a gold table: tables of the plan, and the topic it is published on.

use std::sync::Arc;

use async_trait::async_trait;
use catalog::{Model, Project};
use lake::{BoxError, Elsewhere, Followers, Table};
use model::{ProjectName, Version};
use stream::Kafka;

use crate::publish::progress;

/// Everyone who still needs versions of a model's table.
pub fn followers(project: &Project, kafka: &Kafka, model: &Model) -> Followers {
    let tables = project.catalog.followers(&model.name);
    if model.publish.is_none() {
        return Followers::of(tables);
    }
    let elsewhere = Arc::new(Topic { kafka: kafka.clone(), project: project.name.clone() });
    Followers { tables, elsewhere }
}

/// The topic of a table.
struct Topic {
    kafka: Kafka,
    project: ProjectName,
}
#[async_trait]
impl Elsewhere for Topic {
    async fn needs(&self, table: &Table) -> Result<Vec<Option<Version>>, BoxError> {
        let progress = progress(&self.kafka, &self.project, table.id()).await?;
        Ok(vec![progress.map(|progress| progress.needs())])
    }
}
