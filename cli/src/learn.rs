//! Columns that contracts leave out: asked for before anything is planned by them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalog::{Learned, Project, Topic};
use futures::{StreamExt as _, TryStreamExt as _, stream as futures_stream};
use lake::Lake;
use model::Reaction;
use runtime::Backoff;
use stream::{Admin, Kafka, Registry};

use crate::args::Common;
use crate::failure::Failure;
use crate::wiring;

/// Topics asked about at once.
const AT_ONCE: usize = 8;
/// How long services may be away before that is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// The project with the columns of topics that declare none, and with the topics that its patterns stand
/// for. A topic that holds nothing yet is left as it is: models on it are not known before it does.
pub async fn columns(
    common: &Common,
    project: Arc<Project>,
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
) -> Result<Arc<Project>, Failure> {
    let mut topics: Vec<Topic> = project.catalog.unlearned().cloned().collect();
    topics.extend(matched(&project, kafka).await?);
    if topics.is_empty() {
        return Ok(project);
    }
    let learned: Vec<_> = futures_stream::iter(&topics)
        .map(|topic| async move {
            let schemas = learn(lake, kafka, registry, topic).await?;
            anyhow::Ok(schemas.map(|schemas| (topic.name.clone(), schemas)))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let learned: Learned = learned.into_iter().flatten().collect();
    if learned.is_empty() {
        return Ok(project);
    }
    wiring::checked(catalog::load_with(&common.project, &common.target, &learned).await)
}

/// Topics on the broker that only a pattern declares.
async fn matched(project: &Project, kafka: &Kafka) -> Result<Vec<Topic>, Failure> {
    let catalog = &project.catalog;
    if catalog.patterns.is_empty() {
        return Ok(Vec::new());
    }
    let names = Admin::try_new(kafka)?.topics().await.context("cannot ask which topics there are")?;
    let declared = |topic: &Topic| catalog.topics.contains_key(&topic.name);
    let of = |name| catalog.patterns.iter().find_map(|pattern| pattern.topic(&name));
    Ok(names.into_iter().filter_map(of).filter(|topic| !declared(topic) && topic.is_unlearned()).collect())
}

/// The schemas of one topic. Services that are away are asked again for a while.
async fn learn(
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
    topic: &Topic,
) -> anyhow::Result<Option<catalog::LearnedSchemas>> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let error = match bronze::learn(lake, kafka, registry, topic).await {
            Ok(None) => {
                tracing::warn!(topic = %topic.name, "the topic declares no schema and holds nothing to learn one from: models on it wait for the next start");
                return Ok(None);
            }
            Ok(learned) => return Ok(learned),
            // Of one topic; the others go on.
            Err(error @ (bronze::Error::NoSchemaPart { .. } | bronze::Error::BadContract { .. })) => {
                tracing::warn!(topic = %topic.name, error = &error as &dyn std::error::Error, "columns not learned, models on the topic wait");
                return Ok(None);
            }
            Err(error) => error,
        };
        if error.reaction() != Reaction::Retry || tokio::time::Instant::now() > deadline {
            return Err(
                anyhow::Error::new(error).context(format!("cannot learn the columns of `{}`", topic.name))
            );
        }
        tracing::warn!(topic = %topic.name, error = &error as &dyn std::error::Error, "columns not learned, asking again");
        tokio::time::sleep(backoff.pause()).await;
    }
}
