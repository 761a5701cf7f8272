//! Brings topics, subjects, tables and models to what the project declares.
//!
//! The steps run in the order of the plan: topics, subjects, tables upstream first. Every step can be
//! repeated, so after a crash the next `apply` does the rest. A failed step is reported and skips the tables
//! downstream of it; all other steps still run.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, Result as Anyhow, anyhow, bail};
use arrow::datatypes::SchemaRef;
use catalog::Model;
use catalog::plan::{Class, Object, Step};
use lake::{Commit, Expect, Landing, Remove, Table};
use model::{Positions, TableName, TopicName, Version};
use runtime::CancellationToken;
use serde::Serialize;
use stream::{Admin, TopicSpec, internal};

use crate::wiring::Wiring;
use crate::{Error, Result, plan, reach};

/// After this time, a rebuild stops waiting for a store that does not answer its commit.
const PATIENCE: Duration = Duration::from_secs(120);

/// The result of a plan's steps.
#[derive(Debug, Serialize)]
pub struct Applied {
    /// Steps that succeeded.
    pub steps: usize,
    /// Steps that failed or were skipped, each with the reason.
    pub failed: Vec<String>,
}

/// What [`apply`] reports while it works through a plan.
pub enum StepProgress<'a> {
    /// This step begins.
    Begins(&'a Step),
    /// The step that began last was left as it is, for this reason.
    Left(&'static str),
}

/// Creates what a stage needs before it starts: the project's own topics and those it declares.
pub async fn prepare(wiring: &Wiring) -> Result<()> {
    let admin = Admin::try_new(&wiring.kafka)?;
    admin.create(&own_topics(wiring)).await.context("the project's own topics")?;
    for step in plan::steps(wiring).await? {
        if step.class == Class::Create && !matches!(step.object, Object::Table(_)) {
            one(wiring, &admin, &step).await.map(drop).with_context(|| step.to_string())?;
        }
    }
    Ok(())
}

/// Checks that the project's own topics and those in `needed` exist. On real services only `apply` creates
/// topics, so the error says which are missing and what to do. Waits while Kafka is unreachable and shows
/// `component` as waiting. Returns `false` if `quit` came first.
pub async fn applied(
    wiring: &Wiring,
    component: &str,
    needed: impl IntoIterator<Item = &TopicName>,
    quit: &CancellationToken,
) -> Result<bool> {
    let needed: BTreeSet<TopicName> =
        own_topics(wiring).into_iter().map(|spec| spec.name).chain(needed.into_iter().cloned()).collect();
    let absent = async || Admin::try_new(&wiring.kafka)?.absent(&needed).await;
    let Some(absent) = reach::kafka(wiring, component, quit, absent).await? else { return Ok(false) };
    if absent.is_empty() {
        return Ok(true);
    }
    let target = &wiring.project.target.name;
    let absent: Vec<String> = absent.iter().map(|topic| format!("`{topic}`")).collect();
    let absent = absent.join(", ");
    Err(Error::Halted(anyhow!(
        "target `{target}` has no topic {absent}; nothing is created there unless asked: run `lakepulse apply --target {target}`, `plan` shows what it does"
    )))
}

fn own_topics(wiring: &Wiring) -> Vec<TopicSpec> {
    internal::specs(&wiring.project.name, wiring.project.target.topics.replication.unwrap_or(1))
}

/// Runs every step and reports it to `each`. Does nothing if one of the steps is impossible. A failed step
/// skips only the steps that depend on it.
pub async fn apply(wiring: &Wiring, each: impl Fn(StepProgress<'_>)) -> Result<Applied> {
    let admin = Admin::try_new(&wiring.kafka)?;
    admin.create(&own_topics(wiring)).await.context("the project's own topics")?;
    let steps = plan::steps(wiring).await?;
    let impossible: Vec<String> =
        steps.iter().filter(|step| step.class == Class::Incompatible).map(plan::text).collect();
    if !impossible.is_empty() {
        return Err(anyhow!("nothing was applied:\n{}", impossible.join("\n")).into());
    }
    let mut applied = Applied { steps: 0, failed: Vec::new() };
    let mut broken: BTreeSet<TableName> = BTreeSet::new();
    for step in &steps {
        let table = match &step.object {
            Object::Table(table) => Some(table),
            Object::Topic(_) | Object::Subject(_) => None,
        };
        let inputs = table.map(|table| wiring.project.catalog.stored_inputs(table)).unwrap_or_default();
        let done = match inputs.iter().find(|input| broken.contains(*input)) {
            Some(input) => Err(anyhow!("`{input}` before it failed")),
            None => {
                each(StepProgress::Begins(step));
                one(wiring, &admin, step).await
            }
        };
        match done {
            Ok(Done::Done) => applied.steps += 1,
            Ok(Done::Left(why)) => each(StepProgress::Left(why)),
            Err(error) => {
                broken.extend(table.cloned());
                applied.failed.push(format!("{step}: {error:#}"));
            }
        }
    }
    Ok(applied)
}

/// The result of one step.
enum Done {
    Done,
    /// Left as it is, because it is not for `apply` to do; the reason.
    Left(&'static str),
}

async fn one(wiring: &Wiring, admin: &Admin, step: &Step) -> Anyhow<Done> {
    match &step.object {
        Object::Topic(topic) => match step.class {
            Class::Create => admin.create(&[spec(wiring, topic)?]).await?,
            Class::Handover => hand_over(wiring, topic).await?,
            Class::Additive if grow(wiring, admin, topic).await? => {}
            _ => return Ok(Done::Left("settings of a topic that exists belong to its operator")),
        },
        Object::Subject(subject) => register(wiring, subject).await?,
        Object::Table(table) => shape(wiring, table, step).await?,
    }
    Ok(Done::Done)
}

/// Claims a topic for the table that is to be published on it.
async fn hand_over(wiring: &Wiring, topic: &TopicName) -> Anyhow<()> {
    let published = wiring.project.catalog.published.get(topic);
    let table = &published.with_context(|| format!("topic `{topic}` is not declared"))?.table;
    let held = wiring.lake.table(table).await?;
    let held = held.with_context(|| format!("table `{table}` does not exist yet"))?;
    Ok(sink::kafka::claim(&wiring.kafka, &wiring.project.name, &held, topic).await?)
}

/// Adds partitions until the topic has as many as declared. Returns `false` if it already has as many or
/// more.
async fn grow(wiring: &Wiring, admin: &Admin, topic: &TopicName) -> Anyhow<bool> {
    let wanted = spec(wiring, topic)?.partitions;
    let there = admin.describe(topic).await?.with_context(|| format!("topic `{topic}` is gone"))?;
    if wanted <= there.partitions {
        return Ok(false);
    }
    let help = || {
        format!("declare {} partitions again, or use a new topic: this broker adds none", there.partitions)
    };
    admin.grow(topic, wanted).await.with_context(help)?;
    Ok(true)
}

fn spec(wiring: &Wiring, topic: &TopicName) -> Anyhow<TopicSpec> {
    let catalog = &wiring.project.catalog;
    if let Some(declared) = catalog.topics.get(topic) {
        let mut config = declared.config.clone();
        if let Some(retention) = declared.retention {
            config.entry("retention.ms".to_owned()).or_insert_with(|| retention.as_millis().to_string());
        }
        return Ok(TopicSpec {
            name: topic.clone(),
            partitions: declared.partitions,
            replication: declared.replication,
            config,
        });
    }
    let published =
        catalog.published.get(topic).with_context(|| format!("topic `{topic}` is not declared"))?;
    Ok(TopicSpec {
        name: topic.clone(),
        partitions: published.partitions,
        replication: published.replication,
        config: published.config.clone(),
    })
}

async fn register(wiring: &Wiring, subject: &str) -> Anyhow<()> {
    let catalog = &wiring.project.catalog;
    let (topic, part) = subject.rsplit_once('-').context("a subject is `<topic>-key` or `<topic>-value`")?;
    let topic: TopicName = topic.parse()?;
    let (key, value, compatibility) = match (catalog.topics.get(&topic), catalog.published.get(&topic)) {
        (Some(declared), _) => {
            (declared.key_schema.clone(), declared.value_schema.clone(), declared.compatibility.clone())
        }
        (None, Some(gold)) => {
            (Some(gold.key_schema.clone()), Some(gold.value_schema.clone()), gold.compatibility.clone())
        }
        (None, None) => bail!("topic `{topic}` is not declared"),
    };
    wiring.registry.set_compatibility(subject, &compatibility.to_uppercase()).await?;
    if let Some(schema) = if part == "key" { key } else { value } {
        wiring.registry.register(subject, &schema).await?;
    }
    Ok(())
}

/// Creates a table, cuts over to its new plan, or only updates its properties.
async fn shape(wiring: &Wiring, table: &TableName, step: &Step) -> Anyhow<()> {
    let (project, lake) = (&wiring.project, &wiring.lake);
    let Some(model) = project.catalog.models.get(table) else {
        let topic =
            project.catalog.topic_of(table).with_context(|| format!("table `{table}` is not declared"))?;
        let mut table = bronze::create_table(lake, &project.name, topic).await?;
        if step.class == Class::Breaking {
            bail!("rows of bronze cannot be computed again: give the topic another `table:` in topics.yaml");
        }
        if let Some(schema) =
            catalog::columns::bronze_schema_of(topic)?.filter(|_| step.class == Class::Additive)
        {
            // Bronze has many writers: no position is compared, and the commit merges with a rival that also
            // adds columns.
            let expect = Expect::These(Default::default());
            let defaults = bronze::absent::property(topic, &schema);
            let defaults = defaults.map(|defaults| (lake::DEFAULTS.to_owned(), defaults));
            set(wiring, &mut table, expect, Some(schema), defaults.into_iter().collect()).await?;
        }
        let said = [(catalog::KEEPS, topic.name.to_string()), (catalog::READING, topic.reading())];
        let new = said.into_iter().filter(|(key, value)| table.property(key) != Some(value));
        let properties: BTreeMap<String, String> = new.map(|(key, value)| (key.to_owned(), value)).collect();
        if !properties.is_empty() {
            set(wiring, &mut table, Expect::These(Default::default()), None, properties).await?;
        }
        return Ok(());
    };
    if step.rebuild {
        let stop = CancellationToken::new();
        let bound = async {
            runtime::time::sleep(PATIENCE).await;
            stop.cancel();
            std::future::pending::<Infallible>().await
        };
        let version = tokio::select! {
            biased;
            version = rebuild(wiring, model, &stop) => version?,
            never = bound => match never {},
        };
        tracing::info!(table = %table, version = version.0, "cut over");
    }
    if step.class == Class::Create {
        if model.kind.is_silver() {
            silver::create(lake, &project.name, model).await?;
        } else if model.kind.is_gold() {
            gold::create(lake, &project.name, model).await?;
        }
        return Ok(());
    }
    note(wiring, model).await
}

/// Recomputes a table and cuts over. `stop` ends the wait for a store that does not answer the commit.
async fn rebuild(wiring: &Wiring, model: &Model, stop: &CancellationToken) -> Anyhow<Version> {
    let (project, lake) = (&wiring.project, &wiring.lake);
    if model.kind.is_silver() {
        let by = silver::commit::Committer {
            lake: lake.clone(),
            project: project.name.clone(),
            ids: wiring.ids.clone(),
            stop: stop.clone(),
        };
        return Ok(silver::rebuild(&project.catalog, model, &by).await?);
    }
    let rebuilt =
        gold::rebuild(project, model, lake, wiring.clock.as_ref(), wiring.ids.as_ref(), stop).await?;
    Ok(rebuilt.version)
}

/// Updates the properties of a table to what its model says. No row changes.
async fn note(wiring: &Wiring, model: &Model) -> Anyhow<()> {
    let Some(mut table) = wiring.lake.table(&model.name).await? else { return Ok(()) };
    loop {
        let mut properties = model.properties();
        properties.retain(|key, value| table.property(key) != Some(value));
        if let Some(said) = model.description.clone().filter(|said| table.description() != Some(said)) {
            properties.insert(lake::DESCRIPTION.to_owned(), said);
        }
        if properties.is_empty() {
            return Ok(());
        }
        let expect = Expect::All(table.positions().clone());
        match set(wiring, &mut table, expect, None, properties).await? {
            Landing::Landed(_) => return Ok(()),
            Landing::Moved => table.refresh().await?,
        }
    }
}

/// Commits changed columns or properties, without any row.
async fn set(
    wiring: &Wiring,
    table: &mut Table,
    expect: Expect,
    schema: Option<SchemaRef>,
    properties: BTreeMap<String, String>,
) -> Anyhow<Landing> {
    let commit = Commit {
        operation: "SET TBLPROPERTIES",
        op: wiring.ids.ulid(),
        set: if matches!(expect, Expect::All(_)) { table.positions().clone() } else { Positions::default() },
        expect,
        append: Vec::new(),
        remove: Remove::Nothing,
        schema,
        properties,
        info: stage::CommitInfo::Apply.stored(),
    };
    Ok(table.commit(&commit).await?)
}
