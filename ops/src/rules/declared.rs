//! The declarations of the project's files as series: one line per table, bound and retention.

use catalog::Catalog;

use super::{Rule, seconds};

/// Each table (or topic) and the stage that writes it.
pub const EXPECTED: &str = "lakepulse:expected";
/// How old the newest record of a table may be.
pub const FRESHNESS: &str = "lakepulse:freshness_objective_seconds";
/// How long the topic of a bronze table keeps a record.
pub const RETENTION: &str = "lakepulse:retention_seconds";
/// Least valid value of a measure.
pub const AT_LEAST: &str = "lakepulse:measure_at_least";
/// Greatest valid value of a measure.
pub const AT_MOST: &str = "lakepulse:measure_at_most";

/// All of it, tables in the order of their names.
pub fn rules(catalog: &Catalog) -> Vec<Rule> {
    let mut rules = Vec::new();
    let one = |name, stage: &str, table: &str| {
        Rule::record(name, "vector(1)").label("stage", stage).label("table", table)
    };
    let mut topics: Vec<_> = catalog.topics.values().collect();
    topics.sort_by(|a, b| a.table.cmp(&b.table));
    for topic in &topics {
        rules.push(one(EXPECTED, "bronze", &topic.table.to_string()));
    }
    for topic in topics {
        if let Some(retention) = topic.retention {
            let expr = format!("vector({})", seconds(retention));
            rules.push(Rule::record(RETENTION, expr).label("table", topic.table.to_string()));
        }
    }
    let mut models: Vec<_> = catalog.models.values().collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    for model in &models {
        let table = model.name.to_string();
        let stage = if model.kind.is_silver() { "silver" } else { "gold" };
        if model.kind.is_silver() || model.kind.is_gold() {
            rules.push(one(EXPECTED, stage, &table));
        }
        if model.publish.is_some() {
            rules.push(one(EXPECTED, "publish", &table));
        }
    }
    for model in &models {
        if let Some(freshness) = model.freshness {
            let expr = format!("vector({})", seconds(freshness));
            rules.push(Rule::record(FRESHNESS, expr).label("table", model.name.to_string()));
        }
    }
    for model in models {
        for measure in &model.measures {
            for (name, bound) in [(AT_LEAST, measure.at_least), (AT_MOST, measure.at_most)] {
                let Some(bound) = bound else { continue };
                let rule = Rule::record(name, format!("vector({bound})"));
                rules.push(rule.label("table", model.name.to_string()).label("measure", &*measure.name));
            }
        }
    }
    rules
}
