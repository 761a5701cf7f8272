//! Topics and the registry subjects of their keys and values.

use std::collections::BTreeMap;

use avro::Compat;
use model::TopicName;

use super::{Class, Existing, ExistingTopic, Object, Reached, Step, reached};
use crate::{Envelope, KeyFormat, Project, Topic, ValueFormat};

pub(super) fn steps(project: &Project, existing: &Existing) -> Vec<Step> {
    let wanted: Vec<DeclaredTopic<'_>> = wanted(project);
    let (mut topics, mut subjects) = (Vec::new(), Vec::new());
    for wanted in &wanted {
        let downstream = || wanted.downstream(project, existing);
        topics.extend(topic_step(wanted, existing.topics.get(wanted.name), downstream));
        for (part, schema) in [("key", wanted.key_schema), ("value", wanted.value_schema)] {
            let Some(schema) = schema else { continue };
            let subject = format!("{}-{part}", wanted.name);
            subjects.extend(subject_step(wanted, subject, part == "key", schema, existing, downstream));
        }
    }
    topics.extend(subjects);
    topics
}

/// A topic that should exist: read by bronze, or published by gold.
struct DeclaredTopic<'a> {
    name: &'a TopicName,
    partitions: i32,
    /// Whether the number of partitions may be raised to the declared one.
    declared: bool,
    /// Whether the records of a key keep their order if the key moves to another partition.
    ordered: bool,
    replication: i32,
    config: &'a BTreeMap<String, String>,
    compatibility: &'a str,
    key_schema: Option<&'a str>,
    value_schema: Option<&'a str>,
    read: Option<&'a Topic>,
    /// Whether this project writes its records.
    is_ours: bool,
}
impl DeclaredTopic<'_> {
    fn downstream(&self, project: &Project, existing: &Existing) -> Vec<Reached> {
        let Some(topic) = self.read else { return Vec::new() };
        let there = existing.tables.get(&topic.table);
        let (rows, bytes) = (there.and_then(|t| t.rows), there.and_then(|t| t.bytes));
        let bronze = Reached { object: Object::Table(topic.table.clone()), rows, bytes };
        [bronze].into_iter().chain(reached(project, existing, &topic.table, false)).collect()
    }
}

fn wanted(project: &Project) -> Vec<DeclaredTopic<'_>> {
    let sequenced = |topic: &Topic| {
        let mut readers = project.catalog.models.values().filter(|m| m.source.as_ref() == Some(&topic.table));
        readers.all(|model| model.sequence_by.is_some())
    };
    let is_fed = |topic: &Topic| {
        let mut streams = project.catalog.sources.values().flat_map(|source| source.streams.values());
        streams.any(|stream| *stream == topic.name)
    };
    // The position of a commit orders events across partitions. A foreign Debezium sends the position of the
    // row, which does not.
    let by_commit = |topic: &Topic| {
        let mut ours = project.catalog.sources.values().filter(|source| source.gives_commits());
        topic.envelope == Envelope::Debezium && ours.any(|s| s.streams.values().any(|fed| *fed == topic.name))
    };
    let read = project.catalog.topics.values().map(|topic| DeclaredTopic {
        name: &topic.name,
        partitions: topic.partitions,
        declared: project.catalog.sized.contains(&topic.name),
        ordered: by_commit(topic) || sequenced(topic),
        replication: topic.replication,
        config: &topic.config,
        compatibility: &topic.compatibility,
        // A schema that was learned from the records of others is not ours to register.
        key_schema: topic.key_schema.as_deref().filter(|_| topic.declared).filter(|_| {
            match topic.key_format {
                None => topic.value == ValueFormat::Avro,
                Some(format) => format == KeyFormat::Avro,
            }
        }),
        value_schema: topic
            .value_schema
            .as_deref()
            .filter(|_| topic.declared && topic.value == ValueFormat::Avro),
        read: Some(topic),
        is_ours: is_fed(topic),
    });
    let published = project.catalog.published.values().map(|topic| DeclaredTopic {
        name: &topic.name,
        partitions: topic.partitions,
        declared: false,
        ordered: false,
        replication: topic.replication,
        config: &topic.config,
        compatibility: &topic.compatibility,
        key_schema: Some(&*topic.key_schema),
        value_schema: Some(&*topic.value_schema),
        read: None,
        is_ours: true,
    });
    read.chain(published).collect()
}

fn topic_step(
    wanted: &DeclaredTopic<'_>,
    existing: Option<&ExistingTopic>,
    downstream: impl Fn() -> Vec<Reached>,
) -> Option<Step> {
    let step = |class, changes: Vec<String>, instead| Step {
        object: Object::Topic(wanted.name.clone()),
        class,
        rebuild: false,
        changes,
        instead,
        downstream: if class == Class::Create { Vec::new() } else { downstream() },
    };
    let Some(existing) = existing else {
        let made = format!("{} partitions, {} copies", wanted.partitions, wanted.replication);
        return Some(step(Class::Create, vec![made], None));
    };
    let (mut class, mut changes, mut instead) = (Class::Metadata, Vec::new(), None);
    for (key, value) in wanted.config {
        let held = existing.config.get(key);
        if held != Some(value) {
            changes.push(format!("`{key}` from {} to {value}", held.map_or("its default", String::as_str)));
        }
    }
    if wanted.declared && existing.partitions != wanted.partitions {
        let (from, to) = (existing.partitions, wanted.partitions);
        changes.push(format!("partitions from {from} to {to}"));
        (class, instead) = if to < from {
            let help = format!("Kafka takes no partition away: declare {from}, or use a new topic");
            (Class::Incompatible, Some(help))
        } else if wanted.ordered {
            (Class::Additive, None)
        } else {
            let help = "keys would move between partitions and lose their order: give its models \
                        `sequence_by`, or use a new topic";
            (Class::Incompatible, Some(help.to_owned()))
        };
    }
    (!changes.is_empty()).then(|| step(class, changes, instead))
}

fn subject_step(
    wanted: &DeclaredTopic<'_>,
    subject: String,
    is_key: bool,
    schema: &str,
    existing: &Existing,
    downstream: impl Fn() -> Vec<Reached>,
) -> Option<Step> {
    let existing = existing.subjects.get(&subject);
    let step = |class, changes: Vec<String>, instead| Step {
        object: Object::Subject(subject.clone()),
        class,
        rebuild: false,
        changes,
        instead,
        downstream: if class == Class::Create { Vec::new() } else { downstream() },
    };
    let Some(existing) = existing else {
        return Some(step(Class::Create, vec![format!("compatibility {}", wanted.compatibility)], None));
    };
    let mut changes = Vec::new();
    if let Some(level) = existing.compatibility.as_deref().filter(|level| *level != wanted.compatibility) {
        changes.push(format!("compatibility from {level} to {}", wanted.compatibility));
    }
    // The records of others come in their own schema. If the declared one is only another way to read them, it
    // applies to the table and does not change the topic.
    let difference = avro::compatibility(&existing.schema, schema);
    if !wanted.is_ours
        && matches!(difference, Ok(Compat::Incompatible(_)))
        && avro::is_read_as(&existing.schema, schema).unwrap_or(false)
    {
        return (!changes.is_empty()).then(|| step(Class::Metadata, changes, None));
    }
    let new_topic = || Some(format!("publish on a new topic, such as `{}`", successor(wanted.name)));
    if !is_key && avro::is_ahead(&existing.schema, schema).unwrap_or(false) {
        return (!changes.is_empty()).then(|| step(Class::Metadata, changes, None));
    }
    let (class, found, instead) = match difference {
        Ok(Compat::Same) => (Class::Metadata, Vec::new(), None),
        Ok(Compat::Additive(found) | Compat::Promoted(found) | Compat::Incompatible(found)) if is_key => {
            (Class::Incompatible, found, new_topic())
        }
        Ok(Compat::Additive(found) | Compat::Promoted(found)) => (Class::Additive, found, None),
        Ok(Compat::Incompatible(found)) => (Class::Incompatible, found, new_topic()),
        Err(error) => {
            (Class::Incompatible, vec![format!("its schema cannot be compared: {error}")], new_topic())
        }
    };
    changes.extend(found);
    (!changes.is_empty()).then(|| step(class, changes, instead))
}

/// `x.v2` after `x`, `x.v3` after `x.v2`.
fn successor(topic: &TopicName) -> String {
    let versioned =
        topic.as_str().rsplit_once(".v").and_then(|(base, n)| Some((base, n.parse::<u32>().ok()?)));
    match versioned {
        Some((base, version)) => format!("{base}.v{}", version.saturating_add(1)),
        None => format!("{topic}.v2"),
    }
}
