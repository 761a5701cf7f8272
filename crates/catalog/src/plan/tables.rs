//! Bronze tables of topics, and tables of silver and gold models.

use std::collections::BTreeSet;

use arrow::datatypes::Fields;

use super::columns::compare;
use super::{Class, Existing, ExistingTable, Object, Step, reached};
use crate::columns::{bronze_schema_of, history_fields};
use crate::models::HIDDEN;
use crate::{KEEPS, READING};
use crate::{Kind, Model, Project, Topic};

/// Delta's property that lets other engines read the changes of a table.
pub(super) const FEED: &str = "delta.enableChangeDataFeed";

pub(super) fn steps(project: &Project, existing: &Existing) -> Vec<Step> {
    let bronze = project.catalog.topics.values().filter_map(|topic| bronze_step(project, existing, topic));
    let stored = project.catalog.models.values().filter(|m| m.kind != Kind::View && !m.unlearned);
    let models = stored.filter_map(|model| model_step(project, existing, model));
    bronze.chain(models).collect()
}

fn foreign(project: &Project, table: &ExistingTable) -> Option<String> {
    let owner = table.project.as_deref().filter(|owner| *owner != project.name.as_str())?;
    Some(format!("it belongs to project `{owner}`"))
}

fn bronze_step(project: &Project, existing: &Existing, topic: &Topic) -> Option<Step> {
    let wanted = bronze_schema_of(topic).ok().flatten()?;
    let step = |class, rebuild, changes, instead| Step {
        object: Object::Table(topic.table.clone()),
        class,
        rebuild,
        changes,
        instead,
        downstream: if class == Class::Create {
            Vec::new()
        } else {
            reached(project, existing, &topic.table, false)
        },
    };
    let Some(there) = existing.tables.get(&topic.table) else {
        return Some(step(Class::Create, false, vec![format!("{} columns", wanted.fields().len())], None));
    };
    if let Some(owner) = foreign(project, there) {
        let instead = Some("name another table with `table:` in topics.yaml".to_owned());
        return Some(step(Class::Incompatible, false, vec![owner], instead));
    }
    if let Some(before) = there.properties.get(KEEPS).filter(|before| **before != topic.name.as_str()) {
        let changes = vec![
            format!("it keeps topic `{before}`, whose rows stay in it"),
            format!(
                "`{}` begins behind them, once `lakepulse accept-loss {}` has ended the other",
                topic.name, topic.name
            ),
        ];
        let instead = Some("or name another table with `table:` in topics.yaml".to_owned());
        return Some(step(Class::Handover, false, changes, instead));
    }
    // An undeclared column in the table came from a newer schema of the registry, so it stays.
    let found = compare(there.schema.fields(), wanted.fields());
    if !found.altered.is_empty() {
        return Some(step(
            Class::Breaking,
            true,
            found.altered.into_iter().chain(found.added).collect(),
            None,
        ));
    }
    let other = read_otherwise(topic, there);
    let class = if found.added.is_empty() { Class::Metadata } else { Class::Additive };
    let changes: Vec<String> = found.added.into_iter().chain(other).collect();
    (!changes.is_empty()).then(|| step(class, false, changes, None))
}

/// An edit of the contract that changes how future records are read, but not the existing rows.
fn read_otherwise(topic: &Topic, there: &ExistingTable) -> Option<String> {
    let reading = topic.reading();
    let Some(before) = there.properties.get(READING) else {
        return Some(format!("it notes how its records are read: {reading}"));
    };
    if *before == reading {
        return None;
    }
    let settings = |text: &str| text.split(' ').map(str::to_owned).collect::<BTreeSet<String>>();
    let (was, is) = (settings(before), settings(&reading));
    let listed = |of: &BTreeSet<String>, but: &BTreeSet<String>| {
        of.difference(but).cloned().collect::<Vec<_>>().join(" ")
    };
    let (gone, new) = (listed(&was, &is), listed(&is, &was));
    let said = match (gone.is_empty(), new.is_empty()) {
        (_, true) => format!("without {gone}"),
        (true, _) => format!("with {new}"),
        (false, false) => format!("with {new} instead of {gone}"),
    };
    let rows = there
        .rows
        .map_or_else(|| "the rows that are there".to_owned(), |n| format!("{n} rows that are there"));
    Some(format!("records to come are read {said}; {rows} stay as they were read"))
}

fn model_step(project: &Project, existing: &Existing, model: &Model) -> Option<Step> {
    let step = |class, rebuild, changes, instead| Step {
        object: Object::Table(model.name.clone()),
        class,
        rebuild,
        changes,
        instead,
        downstream: match class {
            Class::Create | Class::Metadata => Vec::new(),
            _ => reached(project, existing, &model.name, rebuild),
        },
    };
    let Some(there) = existing.tables.get(&model.name) else {
        let made = format!("{}, {} columns", model.kind.as_str(), model.schema.fields().len());
        return Some(step(Class::Create, false, vec![made], None));
    };
    if let Some(owner) = foreign(project, there) {
        let instead = Some("rename the model's file".to_owned());
        return Some(step(Class::Incompatible, false, vec![owner], instead));
    }
    let feed = there.properties.get(FEED).is_some_and(|on| on == "true");
    if feed != model.change_feed {
        let word = |on| if on { "on" } else { "off" };
        let changes = vec![format!(
            "its change feed is {} since it was created, not {}",
            word(feed),
            word(model.change_feed)
        )];
        let instead = Some("undo `change_feed`, or rename the model's file".to_owned());
        return Some(step(Class::Incompatible, false, changes, instead));
    }
    if there.fingerprint.is_some_and(|plan| model.is_plan(plan)) {
        let changes = said(model, there);
        return (!changes.is_empty()).then(|| step(Class::Metadata, false, changes, None));
    }
    let own = |fields: &Fields| -> Fields {
        let history = history_fields();
        let hidden = |name: &str| {
            model.kind.is_silver()
                && (HIDDEN.contains(&name) || history.iter().any(|field| field.name() == name))
                && model.schema.field_with_name(name).is_err()
        };
        fields.iter().filter(|field| !hidden(field.name())).cloned().collect()
    };
    let found = compare(&own(there.schema.fields()), model.schema.fields());
    let class = if !found.gone.is_empty() || !found.altered.is_empty() {
        Class::Breaking
    } else if !found.added.is_empty() {
        Class::Additive
    } else {
        Class::Rebuild
    };
    let mut changes: Vec<String> = found.gone.into_iter().chain(found.altered).chain(found.added).collect();
    if changes.is_empty() {
        changes.push(match model.kind.is_silver() {
            true => {
                "its SQL, its header or its topic's contract gives other rows in the same columns".to_owned()
            }
            false => "other rows in the same columns".to_owned(),
        });
    }
    Some(step(class, true, changes, None))
}

/// Properties and descriptions that the table does not have yet.
fn said(model: &Model, there: &ExistingTable) -> Vec<String> {
    let mut changes = Vec::new();
    if model.description.is_some() && model.description != there.description {
        changes.push("its description".to_owned());
    }
    for (key, value) in model.properties() {
        if there.properties.get(&key) != Some(&value) {
            changes.push(format!("property `{key}` becomes `{value}`"));
        }
    }
    changes
}
