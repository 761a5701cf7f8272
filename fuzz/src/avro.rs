//! A schema somebody registered, and bytes that say they are of it.

use std::sync::Arc;

use bronze::assemble::Layout;
use bronze::decode::Decoder;

use crate::{parts, project};

/// Longer schemas say nothing new and take long.
const MOST: usize = 8_192;

/// A schema, a datum, and an older version of the schema.
pub fn run(data: &[u8]) {
    let [schema, datum, older] = parts::<3>(data);
    let Ok(schema) = std::str::from_utf8(schema) else { return };
    if schema.len() > MOST || older.len() > MOST {
        return;
    }
    if let Ok(older) = std::str::from_utf8(older) {
        let _ = avro::compatibility(older, schema);
        let _ = avro::is_ahead(older, schema);
    }
    let columns = catalog::columns::bronze_schema(project::topic("fuzz.keyless"), schema);
    let json: Arc<str> = schema.into();
    let (Ok(columns), Ok(mut decoder)) = (columns, Decoder::try_new(7, json)) else { return };
    let wanted = Layout::new(columns).values().clone();
    let mut framed = Vec::new();
    avro::Frame { id: 7, body: datum }.encode(&mut framed);
    let positions = [0, 1];
    // Twice, so that a datum that reaches into its neighbour is seen.
    let Ok(decoded) = decoder.decode(&positions, |_| &framed, &wanted) else { return };
    let rows = decoded.rows.len();
    assert!(decoded.columns.iter().all(|column| column.len() == rows), "columns of one length");
    assert_eq!(rows % 2, 0, "the same bytes, the same answer");
    for column in &decoded.columns {
        column.to_data().validate_full().expect("arrow's own rules hold");
    }
}
