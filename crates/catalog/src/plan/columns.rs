//! The differences between two lists of columns.

use arrow::datatypes::{DataType, Field, Fields};

/// Differences as phrases, by their meaning for a reader.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub added: Vec<String>,
    pub gone: Vec<String>,
    pub altered: Vec<String>,
}

/// Compares `from` with `to`, structs field by field.
pub(super) fn compare(from: &Fields, to: &Fields) -> Columns {
    let mut found = Columns::default();
    below("", from, to, &mut found);
    found
}

fn below(path: &str, from: &Fields, to: &Fields, found: &mut Columns) {
    let path_of = |field: &Field| {
        if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) }
    };
    for field in to {
        let name = path_of(field);
        match from.find(field.name()).map(|(_, before)| before.data_type()) {
            None => found.added.push(format!("`{name}` is new")),
            Some(before) => data_type(&name, before, field.data_type(), found),
        }
    }
    for field in from.iter().filter(|field| to.find(field.name()).is_none()) {
        found.gone.push(format!("`{}` is gone", path_of(field)));
    }
}

fn data_type(name: &str, from: &DataType, to: &DataType, found: &mut Columns) {
    match (from, to) {
        (DataType::Struct(from), DataType::Struct(to)) => below(name, from, to, found),
        (DataType::List(from), DataType::List(to)) => {
            data_type(&format!("{name}[]"), from.data_type(), to.data_type(), found);
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => {
            let (DataType::Struct(from), DataType::Struct(to)) = (from.data_type(), to.data_type()) else {
                return;
            };
            // The fields of a map's entries may have other names in a file, so they are matched by position.
            for (from, to) in from.iter().zip(to) {
                data_type(&format!("{name}{{}}"), from.data_type(), to.data_type(), found);
            }
        }
        // A table may return strings and bytes in another layout.
        (DataType::Utf8View | DataType::LargeUtf8 | DataType::Utf8, DataType::Utf8)
        | (DataType::BinaryView | DataType::LargeBinary | DataType::Binary, DataType::Binary)
        | (DataType::Timestamp(..), DataType::Timestamp(..)) => {}
        _ if from == to => {}
        _ => found.altered.push(format!("`{name}` goes from {from} to {to}")),
    }
}
