//! The steps that `apply` would take, and what they affect downstream.

use anyhow::Result as Anyhow;
use catalog::plan::{Class, Existing, ExistingSubject, ExistingTable, ExistingTopic, Reached, Step, Strange};
use model::{AppId, TopicName};
use stream::Admin;

use crate::Result;
use crate::wiring::Wiring;

/// The steps from what exists to what the project declares.
pub async fn steps(wiring: &Wiring) -> Result<Vec<Step>> {
    let existing = existing(wiring).await?;
    Ok(catalog::plan::plan(&wiring.project, &existing))
}

/// A step as text, with the tables downstream of it.
pub fn text(step: &Step) -> String {
    let mut text = step.to_string();
    if step.class == Class::Create {
        return text;
    }
    for Reached { object, rows, bytes } in &step.downstream {
        let rows = rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
        let bytes = bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
        text.push_str(&format!("\n    reaches {object}{rows}{bytes}"));
    }
    text
}

/// What exists of everything the project declares.
async fn existing(wiring: &Wiring) -> Anyhow<Existing> {
    let catalog = &wiring.project.catalog;
    let admin = Admin::try_new(&wiring.kafka)?;
    let mut existing = Existing::default();
    let topics: Vec<&TopicName> = catalog.topics.keys().chain(catalog.published.keys()).collect();
    for topic in topics {
        if let Some(info) = admin.describe(topic).await? {
            let config = admin.config(topic).await?;
            existing.topics.insert(topic.clone(), ExistingTopic { partitions: info.partitions, config });
        }
        for subject in [format!("{topic}-key"), format!("{topic}-value")] {
            if let Some(latest) = wiring.registry.latest(&subject).await? {
                let compatibility = wiring.registry.compatibility(&subject).await?;
                existing
                    .subjects
                    .insert(subject, ExistingSubject { schema: latest.schema.to_string(), compatibility });
            }
        }
    }
    let bronze = catalog.topics.values().map(|topic| &topic.table);
    for name in bronze.chain(catalog.models.keys()) {
        let Some(table) = wiring.lake.table(name).await? else { continue };
        let table = ExistingTable {
            schema: table.schema().clone(),
            fingerprint: table.positions().get(&AppId::plan()),
            project: table.project().map(str::to_owned),
            description: table.description().map(str::to_owned),
            properties: table.properties().clone(),
            rows: table.rows(),
            bytes: Some(table.files().1),
        };
        existing.tables.insert(name.clone(), table);
    }
    let published = existing.topics.keys().any(|topic| catalog.published.contains_key(topic));
    let progress = match admin.describe(&stream::internal::progress(&wiring.project.name)).await? {
        Some(_) if published => sink::kafka::all_progress(&wiring.kafka, &wiring.project.name).await?,
        _ => Vec::new(),
    };
    for (topic, published) in
        catalog.published.iter().filter(|(topic, _)| existing.topics.contains_key(*topic))
    {
        let on = || progress.iter().filter(|progress| progress.destination == topic.as_str());
        let other = on().find(|progress| progress.table != published.table);
        if other.is_none() && on().next().is_some() {
            continue;
        }
        let keys = stream::latest(&wiring.kafka, topic).await?.len();
        if keys > 0 || other.is_some() {
            let strange = Strange { of: other.map(|progress| progress.table.clone()), keys };
            existing.strange.insert(topic.clone(), strange);
        }
    }
    Ok(existing)
}
