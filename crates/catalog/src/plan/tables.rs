//! Bronze tables of topics, and tables of silver and gold models.

use arrow::datatypes::Fields;

use super::columns::compare;
use super::{Class, Existing, ExistingTable, Object, Step, reached};
use crate::models::HIDDEN;
use crate::{Kind, Model, Project, Topic, avro};

/// Delta's property of a table whose changes other engines may read.
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
    let wanted = avro::bronze_schema_of(topic).ok().flatten()?;
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
    // A column that is there and not declared came from a newer schema of the registry: it stays.
    let found = compare(there.schema.fields(), wanted.fields());
    if !found.altered.is_empty() {
        return Some(step(
            Class::Breaking,
            true,
            found.altered.into_iter().chain(found.added).collect(),
            None,
        ));
    }
    (!found.added.is_empty()).then(|| step(Class::Additive, false, found.added, None))
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
        let history = avro::history_fields();
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

/// What is said about a table and not yet in it.
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
