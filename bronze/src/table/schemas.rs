//! Schemas that came from the registry: what they mean for the table, and for what waits for them.

use std::sync::Arc;

use catalog::avro::bronze_schema;

use super::Task;
use crate::assemble::Layout;
use crate::batch::{Known, Unknown};
use crate::decode::{Decoder, Refusal};
use crate::evolve;
use crate::lookup::{Found, Part};

impl Task {
    pub(super) fn ask(&mut self, unknown: &Unknown) {
        unknown.values.iter().for_each(|&id| self.lookups.ask(Part::Value, id));
        unknown.keys.iter().for_each(|&id| self.lookups.ask(Part::Key, id));
    }

    /// A schema is known, or known not to exist.
    pub(super) fn learn(&mut self, part: Part, id: u32, found: Found) {
        let known = match (part, found) {
            (_, Found::Nothing) => {
                tracing::error!(table = %self.topic.table, schema_id = id, "registry knows no such schema: its records become error rows");
                Known::Refused(Refusal::UnknownSchema(id))
            }
            (Part::Value, Found::Schema(json)) => self.value_schema(id, &json),
            (Part::Key, Found::Schema(json)) => self.key_schema(id, &json),
        };
        let Some(reader) = &mut self.reader else { return };
        match part {
            Part::Value => reader.values.put(id, known),
            Part::Key => reader.keys.put(id, known),
        }
    }

    /// Widens the table if the schema has columns that it lacks; the next commit makes it so.
    fn value_schema(&mut self, id: u32, json: &Arc<str>) -> Known {
        let wanted = match bronze_schema(&self.topic, json) {
            Ok(wanted) => wanted,
            Err(error) => return self.refuse(Refusal::BadSchema { id, why: error.to_string() }),
        };
        let decoder = match Decoder::try_new(id, json.clone()) {
            Ok(decoder) => decoder,
            Err(error) => return self.refuse(Refusal::BadSchema { id, why: error.to_string() }),
        };
        let Some(reader) = &mut self.reader else { return Known::Refused(Refusal::UnknownSchema(id)) };
        match evolve::widen(reader.layout().schema(), &wanted) {
            Err(clash) => return self.refuse(Refusal::Incompatible { id, why: clash.to_string() }),
            Ok(Some(wider)) => {
                let columns = wider.fields().len() - reader.layout().schema().fields().len();
                tracing::info!(table = %self.topic.table, schema_id = id, columns, "schema widens the table");
                self.meter.schema_change("widened");
                reader.widen(Layout::new(wider));
            }
            Ok(None) => {}
        }
        Known::Ready(Box::new(decoder))
    }

    fn key_schema(&mut self, id: u32, json: &Arc<str>) -> Known {
        let json = match self.topic.key.as_slice() {
            [column] => as_record(json, column),
            _ => json.clone(),
        };
        match Decoder::try_new(id, json) {
            Ok(decoder) => Known::Ready(Box::new(decoder)),
            Err(error) => self.refuse(Refusal::BadSchema { id, why: error.to_string() }),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Known {
        tracing::error!(table = %self.topic.table, reason = %refusal, "schema refused: its records become error rows");
        self.meter.schema_change("refused");
        Known::Refused(refusal)
    }
}

/// A bare key, such as a string, as the one field of a record: its bytes are the same.
fn as_record(json: &Arc<str>, column: &str) -> Arc<str> {
    let schema: Result<serde_json::Value, _> = serde_json::from_str(json);
    match schema {
        Ok(schema) if schema.get("type").and_then(|kind| kind.as_str()) != Some("record") => {
            let field = serde_json::json!({ "name": column, "type": schema });
            serde_json::json!({ "type": "record", "name": "lakepulse_bare_key", "fields": [field] })
                .to_string()
                .into()
        }
        // What is no JSON the decoder refuses.
        _ => json.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_key_is_read_as_a_record_of_one() {
        let schema: Arc<str> = as_record(&Arc::from(r#""string""#), "sku");
        let checker = crate::check::Checker::try_new(&schema).expect("a record");
        assert_eq!(checker.check(&[2, b'x']), Ok(()));
        let record: Arc<str> = Arc::from(r#"{"type":"record","name":"K","fields":[]}"#);
        assert_eq!(as_record(&record, "sku"), record);
    }
}
