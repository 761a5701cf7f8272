//! `--select`: names with their upstream and downstream, in dbt's syntax.

use catalog::Catalog;
use model::TableName;

use crate::{Error, Result};

/// Bronze, silver or gold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageKind {
    /// Reads topics into bronze tables.
    Bronze,
    /// Turns bronze into silver tables.
    Silver,
    /// Turns silver into gold tables and topics.
    Gold,
}
impl StageKind {
    /// All stages, upstream first.
    pub const ALL: [Self; 3] = [Self::Bronze, Self::Silver, Self::Gold];

    /// The name in groups and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }
}

/// The tables that the selectors name: `name`, `+name` with everything upstream, `name+` with everything
/// downstream, `schema.*`. Without selectors the list is empty, which means all tables.
pub fn tables(catalog: &Catalog, selectors: &[String]) -> Result<Vec<TableName>> {
    let all: Vec<&TableName> =
        catalog.topics.values().map(|topic| &topic.table).chain(catalog.models.keys()).collect();
    let mut selected: Vec<TableName> = Vec::new();
    for selector in selectors {
        let (up, rest) = selector.strip_prefix('+').map_or((false, selector.as_str()), |rest| (true, rest));
        let (down, name) = rest.strip_suffix('+').map_or((false, rest), |rest| (true, rest));
        let matches = |table: &&&TableName| match name.strip_suffix(".*") {
            Some(schema) => table.schema() == schema,
            None => table.to_string() == name || table.table() == name,
        };
        let named: Vec<&TableName> = all.iter().filter(matches).copied().collect();
        if named.is_empty() {
            return Err(Error::Usage(format!("`--select {selector}` matches no table of the project")));
        }
        for table in named {
            selected.push(table.clone());
            if up {
                upstream(catalog, table, &mut selected);
            }
            if down {
                selected.extend(catalog.all_downstream(table).into_iter().map(|model| model.name.clone()));
            }
        }
    }
    selected.sort();
    selected.dedup();
    Ok(selected)
}

/// The stage that maintains a table. `None`: it is a view.
pub fn stage_of(catalog: &Catalog, table: &TableName) -> Option<StageKind> {
    match catalog.models.get(table).map(|model| model.kind) {
        None => Some(StageKind::Bronze),
        Some(kind) if kind.is_silver() => Some(StageKind::Silver),
        Some(kind) if kind.is_gold() => Some(StageKind::Gold),
        Some(_) => None,
    }
}

/// The stages that maintain any table of `selected`. An empty selection means all.
pub fn stages(catalog: &Catalog, selected: &[TableName]) -> Vec<StageKind> {
    let keeps = |stage: &StageKind| selected.iter().any(|table| stage_of(catalog, table) == Some(*stage));
    StageKind::ALL.into_iter().filter(|stage| selected.is_empty() || keeps(stage)).collect()
}

/// Returns an error if none of `stages` maintains a selected table: the process would do nothing, for ever.
pub fn check(catalog: &Catalog, selected: &[TableName], stages: &[StageKind]) -> Result<()> {
    if self::stages(catalog, selected).iter().any(|stage| stages.contains(stage)) {
        return Ok(());
    }
    let wanted: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
    let (names, wanted) = (list(selected), wanted.join(", "));
    Err(Error::Usage(format!("`--select` takes {names} and no table of {wanted}: there is nothing to run")))
}

/// Warnings about selected tables whose input this process does not run: maybe no process does.
pub fn unfed(catalog: &Catalog, selected: &[TableName]) -> Vec<String> {
    let missing = |table: &TableName| -> Vec<TableName> {
        let mut inputs = catalog.stored_inputs(table);
        inputs.retain(|input| !selected.contains(input));
        inputs.sort();
        inputs
    };
    let say = |table: &TableName| {
        let missing = missing(table);
        let inputs = list(&missing);
        (!missing.is_empty()).then(|| {
            format!(
                "`--select` leaves out {inputs}, which feeds `{table}`: it gets what is there already, and more only if another process fills that; `--select +{table}` takes everything before it"
            )
        })
    };
    selected.iter().filter_map(say).collect()
}

fn list(tables: &[TableName]) -> String {
    tables.iter().map(|table| format!("`{table}`")).collect::<Vec<_>>().join(", ")
}

fn upstream(catalog: &Catalog, table: &TableName, into: &mut Vec<TableName>) {
    let inputs = catalog.models.get(table).map(|model| model.inputs.clone()).unwrap_or_default();
    for input in inputs {
        upstream(catalog, &input, into);
        into.push(input);
    }
}
