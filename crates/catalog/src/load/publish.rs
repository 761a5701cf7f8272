//! Topics on which gold tables are published. Each belongs to one table, and no other writer may use it.
//!
//! Such a topic may have an entry in `topics.yaml` for its partitions, settings or schema. Bronze then does not
//! read it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use avro::Compat;
use indexmap::IndexMap;
use model::{TableName, TopicName};

use super::Context;
use super::contracts::Contracts;
use super::header::Draft;
use super::models::PlannedModels;
use crate::{Envelope, Published, Topic, TopicDefaults, ValueFormat};

/// The table that is published on a topic.
#[derive(Debug)]
pub(super) struct Claim {
    table: TableName,
    file: PathBuf,
    line: usize,
    /// Its entry in `topics.yaml`.
    declared: Option<Topic>,
}
pub(super) type Claims = BTreeMap<TopicName, Claim>;

/// Removes the published topics from those that bronze reads.
pub(super) fn claim(cx: &mut Context<'_>, drafts: &[Draft], contracts: &mut Contracts) -> Claims {
    let mut claims = Claims::new();
    for draft in drafts {
        let Some(topic) = draft.header.text("publish").and_then(|t| t.parse::<TopicName>().ok()) else {
            continue;
        };
        let line = draft.header.line_of("publish");
        let at = draft.at(line);
        if topic.as_str().starts_with("_lakepulse") {
            cx.faults.add(&at, format!("topic `{topic}` is one of our own"), "publish on another");
            continue;
        }
        if let Some(other) = claims.get(&topic) {
            let message = format!("topic `{topic}` already publishes `{}`", other.table);
            cx.faults.add(&at, message, "publish on another: a topic holds the state of one table");
            continue;
        }
        let declared = contracts.topics.shift_remove(&topic);
        if let (Some(_), Some(line)) = (&declared, contracts.tables_at.get(&topic)) {
            let message = format!("topic `{topic}` publishes `{}` and is no input of bronze", draft.name);
            cx.faults.add_at(std::path::Path::new("topics.yaml"), *line, message, "drop its `table:`");
        }
        let claim = Claim { table: draft.name.clone(), file: draft.file.clone(), line, declared };
        claims.insert(topic, claim);
    }
    claims
}

/// Schemas and settings of the published topics, checked against `topics.yaml`.
pub(super) fn check(
    cx: &mut Context<'_>,
    claims: Claims,
    planned: &PlannedModels,
    target: &TopicDefaults,
    contracts: &Contracts,
) -> IndexMap<TopicName, Published> {
    let mut published = IndexMap::new();
    for (name, claim) in claims {
        let Some((model, draft)) = planned.all.get(&claim.table).filter(|(model, _)| !model.unlearned) else {
            continue;
        };
        let namespace = avro::legal_namespace(name.as_str());
        let schemas = avro::from_arrow("Key", &namespace, &model.schema, &model.keys)
            .and_then(|key| Ok((key, avro::from_arrow("Value", &namespace, &model.schema, &[])?)));
        let (key, value) = match schemas {
            Ok(schemas) => schemas,
            Err(error) => {
                cx.faults.add(
                    &draft.sql_at(0),
                    format!("cannot publish `{}` on `{name}`: {error}", model.name),
                    "give it an alias, cast it, or leave it out",
                );
                continue;
            }
        };
        if let Some(declared) = &claim.declared {
            check_contract(cx, &claim, &name, declared, &model.keys, &value);
        }
        published.insert(name.clone(), topic(name, claim, key, value, target, contracts));
    }
    published
}

fn check_contract(
    cx: &mut Context<'_>,
    claim: &Claim,
    name: &TopicName,
    declared: &Topic,
    keys: &[String],
    value: &str,
) {
    let mut fault = |message: String, help: &str| cx.faults.add_at(&claim.file, claim.line, message, help);
    let place = &declared.location;
    if declared.envelope != Envelope::None || declared.value != ValueFormat::Avro {
        let message = format!("topic `{name}` is declared in {place} with an envelope or without Avro");
        fault(
            message,
            "a gold topic is plain Avro: drop `envelope` and `value` there, or publish on another",
        );
    }
    if !declared.key.is_empty() && declared.key != keys {
        let (theirs, ours) = (declared.key.join(", "), keys.join(", "));
        let message =
            format!("topic `{name}` is declared in {place} with key [{theirs}], the table has [{ours}]");
        fault(message, "make them the same, or publish on another");
    }
    let Some(schema) = &declared.value_schema else { return };
    match avro::compatibility(schema, value) {
        Ok(Compat::Incompatible(reasons)) => {
            let message =
                format!("topic `{name}` is declared in {place} with another schema: {}", reasons.join(", "));
            fault(message, "cast the columns, change the schema file, or publish on another");
        }
        Ok(_) => {}
        Err(error) => fault(format!("topic `{name}`: {error}"), "change its schema file"),
    }
}

fn topic(
    name: TopicName,
    claim: Claim,
    key: String,
    value: String,
    target: &TopicDefaults,
    contracts: &Contracts,
) -> Published {
    let defaults = &contracts.defaults;
    let (partitions, replication, compatibility, mut config) = match claim.declared {
        Some(topic) => (topic.partitions, topic.replication, topic.compatibility, topic.config),
        None => {
            let mut config = defaults.topic.config.clone();
            config.extend(target.config.clone());
            let compatibility = defaults.compatibility.as_deref().unwrap_or("backward_transitive");
            (
                target.partitions.or(defaults.topic.partitions).unwrap_or(super::contracts::PARTITIONS),
                target.replication.or(defaults.topic.replication).unwrap_or(1),
                compatibility.to_uppercase(),
                config,
            )
        }
    };
    // The topic holds the current state of a table, which never expires.
    config.remove("retention.ms");
    config.insert("cleanup.policy".to_owned(), "compact".to_owned());
    Published {
        name,
        table: claim.table,
        key_schema: key.into(),
        value_schema: value.into(),
        partitions,
        replication,
        compatibility,
        config,
    }
}
