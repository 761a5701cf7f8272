//! `models/**/<table>.test.yaml`: named cases of the model beside them.

use std::path::Path;

use indexmap::IndexMap;
use model::TableName;

use super::Context;
use super::files::Found;
use super::models::PlannedModels;
use crate::fault::{Faults, did_you_mean};
use crate::shape::files::TEST;
use crate::shape::object::{Entry, Object, Value};
use crate::{Location, TestCase};

pub(super) fn read(cx: &mut Context<'_>, found: &Found, planned: &PlannedModels) -> Vec<TestCase> {
    let mut cases = Vec::new();
    for file in &found.tests {
        let Some(object) = cx.object(file, &TEST) else { continue };
        let sql = file.to_string_lossy().replace(".test.yaml", ".sql");
        if !found.models.iter().any(|model| *model == Path::new(&sql)) {
            cx.faults.add_at(
                file,
                1,
                format!("there is no model `{sql}` to test"),
                "put the tests beside it",
            );
            continue;
        }
        // The faults of a model are reported where the model is read.
        let model = planned.all.values().find(|(_, draft)| draft.file == Path::new(&sql));
        let (Some((model, _)), Some(all)) = (model, object.object("cases")) else { continue };
        for (name, line, case) in all.objects() {
            let at = Location::new(file, line);
            let given = given(&mut cx.faults, &at, case, &model.inputs, planned);
            let expect = rows(&mut cx.faults, file, case.list("expect"));
            for (line, row) in &expect {
                check_columns(&mut cx.faults, file, *line, row, model);
            }
            cases.push(TestCase {
                model: model.name.clone(),
                name: name.clone(),
                description: case.owned("description"),
                given,
                as_of: case.owned("as_of"),
                expect: expect.into_iter().map(|(_, row)| row).collect(),
                location: at,
            });
        }
    }
    cases
}

fn given(
    faults: &mut Faults,
    at: &Location,
    case: &Object,
    inputs: &[TableName],
    planned: &PlannedModels,
) -> IndexMap<TableName, Vec<serde_json::Value>> {
    let mut given = IndexMap::new();
    let Some(tables) = case.object("given") else { return given };
    for (table, entry) in &tables.entries {
        let Value::List(list) = &entry.value else { continue };
        match inputs.iter().find(|input| input.to_string() == *table) {
            Some(input) => {
                let rows = rows(faults, &at.file, list);
                // Change events have the columns of their topic, and additional ones that describe the change.
                if let Some((model, _)) = planned.all.get(input) {
                    rows.iter().for_each(|(line, row)| check_columns(faults, &at.file, *line, row, model));
                }
                given.insert(input.clone(), rows.into_iter().map(|(_, row)| row).collect());
            }
            None => {
                let known: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                let help = did_you_mean(table, known.iter().map(String::as_str));
                faults.add(&at.at(entry.line), format!("the model does not read `{table}`"), help);
            }
        }
    }
    given
}

fn rows(faults: &mut Faults, file: &Path, list: &[Entry]) -> Vec<(usize, serde_json::Value)> {
    let mut rows = Vec::new();
    for entry in list {
        match &entry.value {
            Value::Any(row) if row.is_object() => rows.push((entry.line, row.clone())),
            _ => faults.add_at(file, entry.line, "a row is no mapping", "write `{ column: value, … }`"),
        }
    }
    rows
}

fn check_columns(
    faults: &mut Faults,
    file: &Path,
    line: usize,
    row: &serde_json::Value,
    model: &crate::Model,
) {
    if model.unlearned {
        return;
    }
    let visible = model.visible();
    let columns = row.as_object().into_iter().flat_map(|row| row.keys());
    for column in columns.filter(|column| visible.field_with_name(column).is_err()) {
        let names = visible.fields().iter().map(|field| field.name().as_str());
        let message = format!("column `{column}` is not in the output of `{}`", model.name);
        faults.add_at(file, line, message, did_you_mean(column, names));
    }
}
