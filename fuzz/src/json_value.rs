//! Values that are JSON: by the schema their topic declares, or by the one beside them as Connect writes it.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::datatypes::Fields;
use bronze::assemble::Layout;
use bronze::json::{Dialect, Known, SchemaParts};

use crate::{parts, project};

thread_local! {
    static DECLARED: RefCell<(SchemaParts, Fields)> = RefCell::new(declared());
}

fn declared() -> (SchemaParts, Fields) {
    let topic = project::topic("fuzz.json");
    let schema: Arc<str> = topic.value_schema.clone().expect("declared");
    let wanted = Layout::new(project::columns(topic)).values().clone();
    let mut declared = SchemaParts::default();
    let dialect = Dialect::try_new(0, &schema, false, project::encodings(topic)).expect("a schema of ours");
    declared.declare(Known::Ready(Box::new(dialect)));
    (declared, wanted)
}

/// A value twice: once of the topic's schema, once with whatever schema it brings.
pub fn run(data: &[u8]) {
    let [value, other] = parts::<2>(data);
    let values = [value, other];
    let decoded = DECLARED
        .with_borrow_mut(|(declared, wanted)| declared.decode(2, |row| Some(values[row as usize]), &*wanted));
    let rows: usize = decoded.parts.iter().map(|part| part.rows.len() + part.hollow.len()).sum();
    assert!(rows <= 2);
    for part in &decoded.parts {
        for column in &part.columns {
            column.to_data().validate_full().expect("arrow's own rules hold");
        }
    }
    brings_its_schema(&values);
}

fn brings_its_schema(values: &[&[u8]]) {
    let topic = project::topic("fuzz.keyless");
    let mut parts = SchemaParts::default();
    for fresh in parts.fresh(values.iter().copied()) {
        let Ok(schema) = avro::from_connect(&fresh.part) else { continue };
        let columns = catalog::columns::bronze_schema(topic, &schema);
        let schema: Arc<str> = schema.into();
        let (Ok(columns), Ok(dialect)) =
            (columns, Dialect::try_new(parts.next(), &schema, false, project::encodings(topic)))
        else {
            continue;
        };
        parts.learn(fresh, Known::Ready(Box::new(dialect)));
        let wanted = Layout::new(columns).values().clone();
        let decoded = parts.decode(values.len(), |row| Some(values[row as usize]), &wanted);
        for column in decoded.parts.iter().flat_map(|part| &part.columns) {
            column.to_data().validate_full().expect("arrow's own rules hold");
        }
    }
}
