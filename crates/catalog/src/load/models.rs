//! Plans the SQL of every model over the schemas of its inputs, upstream first, and checks it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use indexmap::IndexMap;
use model::{ClockMs, TableName};
use query::plan::{Planner, function_of_pins, row_wise};
use query::rehearsal::rehearse;
use query::sql::{Parsed, changes_table};

use super::Context;
use super::contracts::Contracts;
use super::graph::Ordered;
use super::header::{Draft, explain};
use crate::columns::{bronze_schema_of, changes_schema, storable};
use crate::fingerprint::{fingerprint, former};
use crate::shape::object::Object;
use crate::{ColumnNote, Fault, Kind, Model, Source, Topic};

mod columns;
mod holdable;
mod keys;

const DAY: Duration = Duration::from_secs(86_400);

/// The models that could be planned, upstream first, with their drafts.
pub(super) struct PlannedModels {
    pub planner: Planner,
    pub all: IndexMap<TableName, (Model, Draft)>,
}
impl PlannedModels {
    pub fn into_models(self) -> IndexMap<TableName, Model> {
        self.all.into_iter().map(|(name, (model, _))| (name, model)).collect()
    }
    /// Remarks on constructs whose meaning may surprise their author.
    pub fn notices(&self) -> Vec<Fault> {
        let of = |draft: &Draft| {
            let notices = draft.parsed.iter().flat_map(|parsed| parsed.notices.clone());
            let fault = |notice: query::SqlFault| {
                let at = draft.sql_at(notice.line);
                Fault { file: at.file, line: at.line, message: notice.message, help: notice.help }
            };
            notices.map(fault).collect::<Vec<_>>()
        };
        self.all.values().flat_map(|(_, draft)| of(draft)).collect()
    }
}

pub(super) fn plan(
    cx: &mut Context<'_>,
    order: Vec<Ordered>,
    contracts: &Contracts,
    sources: &IndexMap<String, Source>,
) -> PlannedModels {
    let mut planned = PlannedModels { planner: Planner::new(ClockMs(0)), all: IndexMap::new() };
    for Ordered { draft, inputs, sound } in order {
        let upstream = inputs.iter().all(|input| {
            planned.all.contains_key(input)
                || contracts.topic_of(input).is_some()
                || contracts.may_become(input)
        });
        if !(sound && upstream) {
            continue;
        }
        let Some(parsed) = draft.parsed.clone() else { continue };
        let unlearned = inputs.iter().any(|input| match planned.all.get(input) {
            Some((model, _)) => model.unlearned,
            None => contracts.topic_of(input).is_none_or(Topic::is_unlearned),
        });
        let before = cx.faults.len();
        let source = parsed.changes.as_ref().and_then(|bronze| contracts.topic_of(bronze));
        let mut model = unplanned(&draft, &parsed, inputs);
        (model.expectations, model.measures) = super::rules::read(cx, &draft);
        if unlearned {
            model.unlearned = true;
        } else if let Some(schema) = planned.plan_one(cx, &draft, &parsed, &mut model, source, contracts) {
            model.schema = schema;
        }
        if cx.faults.len() > before {
            continue;
        }
        let inputs_of = planned.inputs_of(&model, source, contracts);
        model.fingerprint = fingerprint(&model, &inputs_of, source);
        model.former = source.and_then(|topic| former(&model, &inputs_of, topic, sources));
        if !unlearned {
            planned.declare(cx, &draft, &parsed, &model);
        }
        planned.all.insert(draft.name.clone(), (model, draft));
    }
    planned
}

impl PlannedModels {
    /// Plans and checks a model; `None` if it has a fault.
    fn plan_one(
        &self,
        cx: &mut Context<'_>,
        draft: &Draft,
        parsed: &Parsed,
        model: &mut Model,
        source: Option<&Topic>,
        contracts: &Contracts,
    ) -> Option<SchemaRef> {
        let told = |cx: &mut Context<'_>, error: &query::Error| {
            for (line, message, help) in explain(error) {
                cx.faults.add(&draft.sql_at(line), message, help);
            }
        };
        for input in &model.inputs {
            let topic = contracts.topic_of(input);
            let Some(bronze) = topic.and_then(|topic| bronze_schema_of(topic).ok().flatten()) else {
                continue;
            };
            if let Err(error) = self.planner.declare(input, &bronze, &[]) {
                told(cx, &error);
            }
        }
        let changes = match source.map(changes_of) {
            Some(Ok(schema)) => Some(schema),
            Some(Err(error)) => {
                let help = "change the topic's schema, or its `envelope` in topics.yaml";
                cx.faults.add(&draft.sql_at(0), format!("`changes(…)` has no columns: {error}"), help);
                return None;
            }
            None => None,
        };
        if let (Some(schema), Some(topic)) = (&changes, source)
            && let Err(error) = self.planner.declare(&changes_table(&topic.table), schema, &[])
        {
            told(cx, &error);
        }
        let plan = match self.planner.plan(parsed) {
            Ok(planned) => planned,
            Err(error) => {
                told(cx, &error);
                return None;
            }
        };
        let schema = match storable(&plan.schema) {
            Ok(schema) => schema,
            Err(error) => {
                let help = "cast it or give it another alias";
                cx.faults.add(&draft.sql_at(0), error.to_string(), help);
                return None;
            }
        };
        let judged = match draft.kind {
            Kind::Table => function_of_pins(&plan.plan),
            Kind::View => Ok(()),
            _ => row_wise(&plan.plan),
        };
        let before = cx.faults.len();
        for reason in judged.err().into_iter().flat_map(|refusal| refusal.reasons) {
            let name = &draft.name;
            let (message, help) = match reason.split_once(": ") {
                _ if draft.kind.is_silver() => {
                    let help = "a silver model is one SELECT with an optional WHERE: aggregate, join and sort in gold";
                    (format!("`{name}` is not row-wise: {reason}"), help.to_owned())
                }
                Some((what, help)) => {
                    (format!("`{name}` is no function of its inputs: {what}"), help.to_owned())
                }
                None => {
                    let help = "write it so that the same inputs always give the same rows";
                    (format!("`{name}` is no function of its inputs: {reason}"), help.to_owned())
                }
            };
            cx.faults.add(&draft.sql_at(0), message, help);
        }
        if draft.kind.is_silver() && parsed.uses_as_of {
            let help = "a silver row is made of one change alone: ask for the time in gold";
            cx.faults.add(&draft.sql_at(0), format!("`{}` asks for the time", draft.name), help);
        }
        if cx.faults.len() > before {
            return None;
        }
        columns::check(cx, draft, model, &schema);
        let kept_by = if draft.kind == Kind::Table { model.keys.as_slice() } else { &[] };
        for fault in rehearse(&plan, kept_by) {
            let message = format!("`{}`: {}", draft.name, fault.message);
            cx.faults.add(&draft.sql_at(fault.line), message, fault.help);
        }
        super::rules::type_values(cx, draft, model, &schema);
        holdable::check(cx, draft, model, &schema);
        match (draft.kind, source, &changes) {
            (Kind::Table, ..) => keys::check_gold(cx, draft, model, &schema),
            (Kind::Scd1 | Kind::Scd2 | Kind::Append, Some(topic), Some(changes)) => {
                keys::check_silver(cx, draft, model, &plan.plan, topic);
                columns::check_without_envelope(cx, draft, model, topic, changes);
            }
            _ => {}
        }
        Some(schema)
    }

    /// Makes the model's table known to downstream models.
    fn declare(&self, cx: &mut Context<'_>, draft: &Draft, parsed: &Parsed, model: &Model) {
        let declared = match model.kind {
            Kind::View => self.planner.declare_view(&model.name, parsed),
            Kind::Scd2 => {
                let keys: Vec<String> = model.keys.iter().cloned().chain(["__START_AT".to_owned()]).collect();
                self.planner.declare(&model.name, &model.visible(), &keys)
            }
            // Every event is a row, so there is no key.
            Kind::Append => self.planner.declare(&model.name, &model.visible(), &[]),
            Kind::Scd1 | Kind::Table => self.planner.declare(&model.name, &model.visible(), &model.keys),
        };
        for (line, message, help) in declared.err().iter().flat_map(explain) {
            cx.faults.add(&draft.sql_at(line), message, help);
        }
    }

    /// The schemas of a model's inputs, and the fingerprints of the views among them.
    fn inputs_of(
        &self,
        model: &Model,
        source: Option<&Topic>,
        contracts: &Contracts,
    ) -> BTreeMap<TableName, (SchemaRef, Option<i64>)> {
        let empty = || Arc::new(Schema::empty());
        let of = |input: &TableName| match self.all.get(input) {
            Some((model, _)) => (model.visible(), (model.kind == Kind::View).then_some(model.fingerprint)),
            None => {
                let topic = source.or_else(|| contracts.topic_of(input));
                let changes = topic.and_then(|topic| changes_of(topic).ok());
                (changes.unwrap_or_else(empty), None)
            }
        };
        model.inputs.iter().map(|input| (input.clone(), of(input))).collect()
    }
}

fn changes_of(topic: &Topic) -> Result<SchemaRef, avro::Error> {
    match bronze_schema_of(topic)? {
        Some(bronze) => changes_schema(topic, &bronze),
        None => Ok(Arc::new(Schema::empty())),
    }
}

/// The model with what its header alone gives.
fn unplanned(draft: &Draft, parsed: &Parsed, inputs: Vec<TableName>) -> Model {
    let header = &draft.header;
    Model {
        name: draft.name.clone(),
        kind: draft.kind,
        description: header.owned("description"),
        keys: header.texts("keys"),
        sql: draft.sql.clone(),
        normalised: parsed.normalised.clone(),
        source: parsed.changes.clone(),
        inputs,
        expectations: Vec::new(),
        measures: Vec::new(),
        publish: header.text("publish").and_then(|topic| topic.parse().ok()),
        tick: header.duration("tick").unwrap_or(DAY),
        track_history: header.texts("track_history"),
        partition_by: header.texts("partition_by"),
        cluster_by: header.texts("cluster_by"),
        deletion_vectors: header.flag("deletion_vectors").unwrap_or(true),
        change_feed: header.flag("change_feed").unwrap_or(false),
        freshness: header.duration("freshness"),
        sequence_by: header.owned("sequence_by"),
        deletes_when: header.owned("deletes_when"),
        truncates_when: header.owned("truncates_when"),
        tags: header.texts("tags"),
        owner: header.owned("owner"),
        columns: header.object("columns").map(notes).unwrap_or_default(),
        schema: Arc::new(Schema::empty()),
        unlearned: false,
        fingerprint: 0,
        former: None,
        location: draft.at(1),
    }
}

fn notes(columns: &Object) -> IndexMap<String, ColumnNote> {
    let note = |note: &Object| ColumnNote {
        description: note.owned("description"),
        pii: note.flag("pii").unwrap_or(false),
        tags: note.texts("tags"),
    };
    columns.objects().map(|(name, _, object)| (name.clone(), note(object))).collect()
}
