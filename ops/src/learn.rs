//! Finds columns that contracts leave out, before anything is planned and again while the process runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use catalog::{Learned, Project, Topic};
use futures::{StreamExt as _, TryStreamExt as _, stream as futures_stream};
use lake::Lake;
use model::{Reaction, TopicName};
use runtime::{Backoff, CancellationToken, Failure as _, Retry};
use stream::{Admin, Kafka, Registry};

use crate::Result;
use crate::wiring::{self, Location, Wiring};

/// Topics asked about at once.
const AT_ONCE: usize = 8;
/// How long services may be unreachable before that is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a running process looks for more columns: the first pause and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// Adds the columns of topics that declare none, and the topics that match its patterns, to the project. The
/// columns of an empty topic stay unknown, and so do the models on it. `sound`: leaves out models with a
/// fault.
pub async fn columns(
    at: &Location,
    project: Arc<Project>,
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
    sound: bool,
) -> Result<Arc<Project>> {
    let topics = open(&project, kafka, &mut None).await?;
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
    let loaded = if sound {
        catalog::load_sound(&at.folder, &at.target, &learned).await.map(|(project, _)| project)
    } else {
        catalog::load_with(&at.folder, &at.target, &learned).await
    };
    let project = wiring::checked(loaded)?;
    let known = known(&project);
    for topic in learned.keys().filter(|topic| !known.contains(topic)) {
        let named = |notice: &&catalog::Fault| notice.message.contains(&format!("`{topic}`"));
        let why = project.notices.iter().find(named).map(|notice| notice.message.as_str());
        tracing::warn!(%topic, why, "what was learned does not fit the project: models on the topic wait, the others run");
    }
    Ok(project)
}

/// Returns the project with more columns once they are known: the first record of a topic arrived, someone
/// registered a schema, or created a topic that matches a pattern.
pub async fn more(wiring: &Wiring) -> Arc<Project> {
    let (mut unfit, mut admin) = (Learned::new(), None);
    let mut pauses = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        runtime::time::sleep(pauses.pause()).await;
        if let Some(project) = look(wiring, &mut unfit, &mut admin).await {
            return project;
        }
    }
}

/// Like [`more`], but looks once and does not wait.
pub async fn now(wiring: &Wiring) -> Option<Arc<Project>> {
    look(wiring, &mut Learned::new(), &mut None).await
}

/// `unfit`: what was learned before and did not help.
async fn look(wiring: &Wiring, unfit: &mut Learned, admin: &mut Option<Admin>) -> Option<Arc<Project>> {
    let at = &wiring.at;
    let fresh = ask(wiring, &open(&wiring.project, &wiring.kafka, admin).await.ok()?).await;
    if fresh.iter().all(|(topic, schemas)| unfit.get(topic) == Some(schemas)) {
        return None;
    }
    unfit.extend(fresh);
    let project = catalog::load(&at.folder, &at.target).await.ok()?;
    let learned = ask(wiring, &open(&project, &wiring.kafka, admin).await.ok()?).await;
    let project = match catalog::load_with(&at.folder, &at.target, &learned).await {
        Ok(project) => project,
        Err(faults) => {
            let first = faults.first().map(ToString::to_string);
            tracing::warn!(
                first,
                "columns were learned, but the project has faults with them: it runs on as it is"
            );
            return None;
        }
    };
    let (before, after) = (known(&wiring.project), known(&project));
    let gained: Vec<&str> = after.difference(&before).map(TopicName::as_str).collect();
    if gained.is_empty() {
        return None;
    }
    tracing::info!(topics = gained.join(", "), "columns were learned: the stages start again with them");
    Some(Arc::new(project))
}

/// What can be learned now. Ignores errors of single topics; they were logged when their tables were opened.
async fn ask(wiring: &Wiring, topics: &[Topic]) -> Learned {
    let mut learned = Learned::new();
    for topic in topics {
        let schemas = bronze::learn(&wiring.lake, &wiring.kafka, &wiring.registry, topic).await;
        if let Ok(Some(schemas)) = schemas {
            learned.insert(topic.name.clone(), schemas);
        }
    }
    learned
}

/// Topics whose columns are known.
fn known(project: &Project) -> BTreeSet<TopicName> {
    let topics = project.catalog.topics.values().filter(|topic| !topic.is_unlearned());
    topics.map(|topic| topic.name.clone()).collect()
}

/// Topics whose columns are unknown.
async fn open(project: &Project, kafka: &Kafka, admin: &mut Option<Admin>) -> Result<Vec<Topic>> {
    let mut topics: Vec<Topic> = project.catalog.unlearned().cloned().collect();
    topics.extend(matched(project, kafka, admin).await?);
    Ok(topics)
}

/// Topics on the broker that only a pattern declares.
async fn matched(project: &Project, kafka: &Kafka, admin: &mut Option<Admin>) -> Result<Vec<Topic>> {
    let catalog = &project.catalog;
    if catalog.patterns.is_empty() {
        return Ok(Vec::new());
    }
    let admin = match admin {
        Some(admin) => admin,
        None => admin.insert(Admin::try_new(kafka)?),
    };
    let names = admin.topics().await.context("cannot ask which topics there are")?;
    let declared = |topic: &Topic| catalog.topics.contains_key(&topic.name);
    let of = |name| catalog.patterns.iter().find_map(|pattern| pattern.topic(&name));
    Ok(names.into_iter().filter_map(of).filter(|topic| !declared(topic) && topic.is_unlearned()).collect())
}

/// Whether the error concerns one topic only, so that the others can still be learned.
fn is_of_one_topic(error: &bronze::Error) -> bool {
    match error {
        bronze::Error::NoSchemaPart { .. }
        | bronze::Error::NoKnownSchema { .. }
        | bronze::Error::BadContract { .. } => true,
        // An unreadable table, or a record or transaction that blocks its partition.
        bronze::Error::Lake { source, .. } => source.reaction() == Reaction::Halt,
        bronze::Error::Stream { source, .. } => matches!(
            source,
            stream::Error::Topic { .. }
                | stream::Error::TimedOut { .. }
                | stream::Error::Unreadable { .. }
                | stream::Error::NoTopic { .. }
                | stream::Error::NoTopicId { .. }
        ),
        _ => false,
    }
}

/// The schemas of one topic. Retries for a while if services are unreachable.
async fn learn(
    lake: &Lake,
    kafka: &Kafka,
    registry: &Registry,
    topic: &Topic,
) -> anyhow::Result<Option<catalog::LearnedSchemas>> {
    let mut retry = Retry::new(Duration::from_millis(200));
    let deadline = runtime::time::Instant::now() + PATIENCE;
    loop {
        let error = match bronze::learn(lake, kafka, registry, topic).await {
            Ok(None) => {
                tracing::warn!(topic = %topic.name, "the topic declares no schema and holds nothing to learn one from: models on it wait until it does");
                return Ok(None);
            }
            Ok(learned) => return Ok(learned),
            Err(error) if is_of_one_topic(&error) => {
                tracing::warn!(topic = %topic.name, error = &error as &dyn std::error::Error, "columns not learned, models on the topic wait");
                return Ok(None);
            }
            Err(error) => error,
        };
        if error.reaction() != Reaction::Retry || runtime::time::Instant::now() > deadline {
            return Err(
                anyhow::Error::new(error).context(format!("cannot learn the columns of `{}`", topic.name))
            );
        }
        retry
            .again(&topic.name, "columns not learned, asking again", &error, &CancellationToken::new())
            .await;
    }
}
