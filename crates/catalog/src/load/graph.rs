//! Dependencies between models: unknown tables, cycles, and an order with every upstream first.

use std::collections::{BTreeMap, BTreeSet};

use model::TableName;

use super::Context;
use super::contracts::Contracts;
use super::header::Draft;
use crate::Kind;
use crate::fault::did_you_mean;

/// A model and its inputs.
#[derive(Debug)]
pub(super) struct Ordered {
    pub draft: Draft,
    /// Tables it reads, each once; the one in `changes(…)` is first.
    pub inputs: Vec<TableName>,
    /// Whether every input is known and has no fault so far.
    pub sound: bool,
}

/// Models ordered upstream first, then by name. Models in a cycle, or downstream of one, are left out.
pub(super) fn order(
    cx: &mut Context<'_>,
    drafts: Vec<Draft>,
    broken: &[TableName],
    contracts: &Contracts,
) -> Vec<Ordered> {
    let of_topics = |draft: &Draft| contracts.topic_of(&draft.name).is_some();
    let (twice, drafts): (Vec<Draft>, Vec<Draft>) = drafts.into_iter().partition(of_topics);
    for draft in twice {
        let message = format!("table `{}` is already that of a topic", draft.name);
        cx.faults.add(&draft.at(1), message, "rename the file, or give the topic another `table:`");
    }
    let kinds: BTreeMap<TableName, Kind> = drafts.iter().map(|d| (d.name.clone(), d.kind)).collect();
    let names = Names { kinds: &kinds, broken, contracts };
    let mut waiting: Vec<Ordered> = drafts.into_iter().map(|draft| names.resolve(cx, draft)).collect();
    let mut ordered: Vec<Ordered> = Vec::new();
    let mut done: BTreeSet<TableName> = BTreeSet::new();
    loop {
        let ready = |model: &Ordered| model.inputs.iter().all(|i| done.contains(i) || !kinds.contains_key(i));
        let (next, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(ready);
        if next.is_empty() {
            cycles(cx, &rest);
            return ordered;
        }
        done.extend(next.iter().map(|model| model.draft.name.clone()));
        ordered.extend(next);
        waiting = rest;
    }
}

struct Names<'a> {
    kinds: &'a BTreeMap<TableName, Kind>,
    broken: &'a [TableName],
    contracts: &'a Contracts,
}
impl Names<'_> {
    fn resolve(&self, cx: &mut Context<'_>, draft: Draft) -> Ordered {
        let Some(parsed) = &draft.parsed else {
            return Ordered { draft, inputs: Vec::new(), sound: false };
        };
        let before = cx.faults.len();
        let mut sound = true;
        let mut inputs = Vec::new();
        if let Some(bronze) = &parsed.changes {
            sound &= self.check_changes(cx, &draft, bronze);
            inputs.push(bronze.clone());
        } else if draft.kind.is_silver() {
            let message = format!("`{}` is `{}` and reads no `changes(…)`", draft.name, draft.kind.as_str());
            let help = "write `FROM changes(bronze.table)`, or make it `kind: table` or `view`";
            cx.faults.add(&draft.sql_at(0), message, help);
        }
        for table in &parsed.tables {
            sound &= self.check_table(cx, &draft, table);
            inputs.push(table.clone());
        }
        let sound = sound && cx.faults.len() == before;
        Ordered { draft, inputs, sound }
    }

    /// Returns false if the table is unknown or has faults. Adds a fault only if it is unknown.
    fn check_changes(&self, cx: &mut Context<'_>, draft: &Draft, bronze: &TableName) -> bool {
        let at = draft.sql_at(place(&draft.sql, draft.sql_line, bronze));
        if !draft.kind.is_silver() {
            let message =
                format!("`{}` is `{}` and reads `changes({bronze})`", draft.name, draft.kind.as_str());
            cx.faults.add(&at, message, "read a silver table, or make the model `scd1`, `scd2` or `append`");
            return false;
        }
        if self.contracts.topic_of(bronze).is_some() || self.contracts.may_become(bronze) {
            return true;
        }
        if self.contracts.is_broken(bronze) {
            return false;
        }
        let message = match self.kinds.contains_key(bronze) {
            true => format!("`changes({bronze})` is of a model, not of a bronze table"),
            false => format!("there is no bronze table `{bronze}`"),
        };
        let tables: Vec<String> =
            self.contracts.topics.values().map(|topic| topic.table.to_string()).collect();
        cx.faults.add(&at, message, did_you_mean(&bronze.to_string(), tables.iter().map(String::as_str)));
        false
    }

    fn check_table(&self, cx: &mut Context<'_>, draft: &Draft, table: &TableName) -> bool {
        let at = draft.sql_at(place(&draft.sql, draft.sql_line, table));
        if draft.kind.is_silver() {
            let message = format!("`{}` is `{}` and reads `{table}`", draft.name, draft.kind.as_str());
            let help = "a silver row is made of one change alone: join in a gold model";
            cx.faults.add(&at, message, help);
            return false;
        }
        if self.kinds.contains_key(table) {
            return true;
        }
        if self.broken.contains(table) || self.contracts.is_broken(table) {
            return false;
        }
        if self.contracts.topic_of(table).is_some() || self.contracts.may_become(table) {
            if draft.kind == Kind::View {
                return true;
            }
            let message = format!("gold table `{}` reads bronze table `{table}`", draft.name);
            cx.faults.add(&at, message, "read a silver table over it: bronze holds events, not the state");
            return false;
        }
        let known: Vec<String> = self
            .kinds
            .keys()
            .map(ToString::to_string)
            .chain(self.contracts.topics.values().map(|topic| topic.table.to_string()))
            .collect();
        let help = did_you_mean(&table.to_string(), known.iter().map(String::as_str));
        cx.faults.add(&at, format!("there is no table `{table}`"), help);
        false
    }
}

/// The line of the file where a table's name first occurs in the SQL.
fn place(sql: &str, first_line: usize, table: &TableName) -> usize {
    let line = sql.lines().position(|line| {
        let line = line.to_lowercase();
        line.contains(&table.to_string()) || line.contains(&format!("\"{}\"", table.table()))
    });
    first_line + line.unwrap_or(0)
}

/// Adds a fault for each cycle among the models that could not be ordered.
fn cycles(cx: &mut Context<'_>, rest: &[Ordered]) {
    let by_name: BTreeMap<&TableName, &Ordered> = rest.iter().map(|m| (&m.draft.name, m)).collect();
    let mut told: BTreeSet<&TableName> = BTreeSet::new();
    for start in rest {
        let mut path: Vec<&TableName> = Vec::new();
        let mut current = &start.draft.name;
        // Each remaining model has a remaining input, so following inputs must reach a cycle.
        let ring = loop {
            if let Some(at) = path.iter().position(|name| *name == current) {
                break path.split_off(at);
            }
            path.push(current);
            match by_name[current].inputs.iter().find_map(|input| by_name.get_key_value(input)) {
                Some((next, _)) => current = next,
                None => break Vec::new(),
            }
        };
        if ring.is_empty() || ring.iter().any(|name| told.contains(*name)) {
            continue;
        }
        told.extend(&ring);
        let first = ring.iter().min().expect("a ring has members");
        let shown: Vec<String> = ring
            .iter()
            .cycle()
            .skip_while(|name| *name != first)
            .take(ring.len() + 1)
            .map(|name| format!("`{name}`"))
            .collect();
        let draft = &by_name[*first].draft;
        let next = ring.iter().cycle().skip_while(|name| *name != first).nth(1).unwrap_or(first);
        let at = draft.sql_at(place(&draft.sql, draft.sql_line, next));
        let message = format!("models read each other in a circle: {}", shown.join(" reads "));
        cx.faults.add(&at, message, "take one of these tables out of the other's FROM");
    }
}
