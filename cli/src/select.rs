//! `--select`: names with their upstream and downstream, as dbt writes them.

use anyhow::anyhow;
use catalog::Catalog;
use model::{Exit, TableName};

use crate::failure::Failure;

/// The tables the selectors name: `name`, `+name` with what is upstream, `name+` with what is
/// downstream, `schema.*`. No selector is all of them, which is an empty list.
pub fn tables(catalog: &Catalog, selectors: &[String]) -> Result<Vec<TableName>, Failure> {
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
            return Err(Failure::new(
                Exit::Usage,
                anyhow!("`--select {selector}` matches no table of the project"),
            ));
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

fn upstream(catalog: &Catalog, table: &TableName, into: &mut Vec<TableName>) {
    let inputs = catalog.models.get(table).map(|model| model.inputs.clone()).unwrap_or_default();
    for input in inputs {
        upstream(catalog, &input, into);
        into.push(input);
    }
}
