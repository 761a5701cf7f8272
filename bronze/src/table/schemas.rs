//! New schemas, from the registry or from values: how they change the table, and which records can go on.

use std::sync::Arc;

use arrow::datatypes::Schema;
use avro::text::Encodings;
use avro::{as_record, from_connect, record_name};
use catalog::columns::bronze_schema;
use catalog::{KeyFormat, ValueFormat};
use stream::Records;

use super::{Held, Task};
use crate::absent;
use crate::assemble::Layout;
use crate::batch::Known;
use crate::decode::{Decoder, Refusal};
use crate::door::Door;
use crate::evolve;
use crate::json::{self, Dialect};
use crate::lookup::{Asked, Found, Part};
use crate::patience::Needs;
use crate::said::Cause;

impl Task {
    /// The schemas that the registry must return before these records can be read.
    pub(super) fn needs(&self, records: &Records, kept: &[u32]) -> Needs {
        let now = self.shared.context.clock.now();
        let mut needs = self.reader().needs(records, kept);
        needs.must.retain(|asked| !self.patience.is_given_up(asked, now));
        needs.spare.retain(|asked| !self.patience.is_given_up(asked, now));
        if self.patience.keys_are_no_frames() {
            needs.spare.clear();
        }
        needs
    }

    pub(super) fn ask(&mut self, needs: &Needs) {
        let now = self.shared.context.clock.now();
        for asked in needs.all() {
            if !self.reader().knows(*asked) && self.patience.is_due(asked, now) {
                self.lookups.ask(*asked);
            }
        }
    }

    /// Gives up schemas that a partition has waited for long enough, and requests the others again.
    pub(super) fn give_up(&mut self, partition: i32) {
        let now = self.shared.context.clock.now();
        let Some(parked) = self.parked.get(&partition) else { return };
        let is_open = |asked: &Asked| !self.reader().knows(*asked) && !self.patience.is_given_up(asked, now);
        let open = |held: &Held| {
            let of = |asked: &[Asked]| asked.iter().copied().filter(|asked| is_open(asked)).collect();
            Needs { must: of(&held.needs.must), spare: of(&held.needs.spare) }
        };
        let open: Vec<Needs> = parked.waiting.iter().map(open).collect();
        let since = match open.first() {
            Some(first) if first.must.is_empty() => parked.since,
            _ => now,
        };
        let given_up = self.patience.give_up(partition, open.iter(), since, now);
        if let Some(parked) = self.parked.get_mut(&partition) {
            parked.since = since;
        }
        for (part, id) in &given_up {
            let Some(why) = self.unusable.remove(&(*part, *id)) else { continue };
            let refusal = Refusal::BadSchema { id: *id, why };
            self.refused(&refusal);
            self.put((*part, *id), Known::Refused(refusal));
        }
        self.say_given_up(partition, &given_up);
        for asked in open.iter().flat_map(Needs::all) {
            if !self.patience.is_given_up(asked, now) && self.patience.is_due(asked, now) {
                self.lookups.ask(*asked);
            }
        }
    }

    fn say_given_up(&mut self, partition: i32, given_up: &[Asked]) {
        let Some((_, first)) = given_up.first() else { return };
        let values = given_up.iter().filter(|(part, _)| *part == Part::Value).count() as u64;
        let (table, now) = (&self.topic.table, self.shared.context.clock.now());
        if values > 0
            && let Some(schemas) = self.said.due(Cause::GivenUp, now, values)
        {
            tracing::error!(%table, partition, schemas, first, "registry knows no such schemas: records become error rows until it does");
        }
        let keys = given_up.len() as u64 - values;
        if keys > 0
            && let Some(schemas) = self.said.due(Cause::KeysGivenUp, now, keys)
        {
            tracing::warn!(%table, partition, schemas, first, "keys begin as a registry frame does, but the registry knows no such schemas: `_keys` is null until it does");
        }
    }

    /// Handles an answer of the registry.
    pub(super) fn learn(&mut self, asked: Asked, found: Found) {
        let now = self.shared.context.clock.now();
        let (part, id) = asked;
        let known = match (part, found) {
            (_, Found::Missing) => return self.patience.missing(asked, now),
            (_, Found::Silence) => return self.patience.silent(asked, now),
            (_, Found::Unusable(why)) => {
                // A missing reference may be registered later, like a missing schema.
                self.unusable.insert(asked, why);
                return self.patience.missing(asked, now);
            }
            (Part::Value, Found::Schema(json)) => self.value_schema(id, &json),
            (Part::Key, Found::Schema(json)) => self.key_schema(id, &json),
        };
        self.patience.known(asked);
        self.unusable.remove(&asked);
        self.put(asked, known);
    }

    fn put(&mut self, (part, id): Asked, known: Known) {
        let Some(reader) = &mut self.reader else { return };
        match part {
            Part::Value => reader.values.put(id, known),
            Part::Key => reader.keys.put(id, known),
        }
    }

    fn value_schema(&mut self, id: u32, json: &Arc<str>) -> Known {
        let bad = |why: String| Known::Refused(Refusal::BadSchema { id, why });
        let declared = self.declared_schema();
        let decoder = Decoder::resolving(id, json.clone(), declared.as_deref());
        let decoder = decoder.map_err(|error| error.to_string());
        let wanted = decoder.and_then(|decoder| {
            let wanted = bronze_schema(&self.topic, decoder.writer()).map_err(|error| error.to_string());
            wanted.map(|wanted| (decoder, wanted))
        });
        let known = match wanted {
            Err(why) => bad(why),
            Ok((decoder, wanted)) => match self.make_room(&wanted, json) {
                Ok(()) => Known::Ready(Box::new(decoder)),
                Err(why) => Known::Refused(Refusal::Incompatible { id, why }),
            },
        };
        if let Known::Refused(refusal) = &known {
            self.refused(refusal);
        }
        known
    }

    /// The contract's declared schema, which all records are read as.
    fn declared_schema(&self) -> Option<Arc<str>> {
        self.topic.value_schema.clone().filter(|_| self.topic.declared)
    }

    fn key_schema(&mut self, id: u32, json: &Arc<str>) -> Known {
        let (json, _) = self.key_record(json);
        match Decoder::try_new(id, json) {
            Ok(decoder) => Known::Ready(Box::new(decoder)),
            Err(error) => {
                let refusal = Refusal::BadSchema { id, why: error.to_string() };
                self.refused(&refusal);
                Known::Refused(refusal)
            }
        }
    }

    /// A key's schema as a record's, and whether it was not one.
    fn key_record(&self, json: &Arc<str>) -> (Arc<str>, bool) {
        let record = match self.topic.key.as_slice() {
            [column] => as_record(json, column),
            _ => json.clone(),
        };
        let is_bare = record != *json;
        (record, is_bare)
    }

    /// Widens the table by the schema's new columns; the next commit stores them. The schema's defaults of
    /// new columns apply to rows whose writers do not know them.
    fn make_room(&mut self, wanted: &Schema, schema: &str) -> Result<(), String> {
        self.names.extend(record_name(schema));
        let Some(reader) = &mut self.reader else { return Ok(()) };
        if let Some(wider) =
            evolve::widen(reader.layout().schema(), wanted).map_err(|clash| clash.to_string())?
        {
            let columns = wider.fields().len() - reader.layout().schema().fields().len();
            tracing::info!(table = %self.topic.table, columns, "schema widens the table");
            self.meter.schema_change("widened");
            let known = reader.layout().schema().clone();
            let mut defaults = absent::of(schema, &wider);
            let is_of_one_name = self.names.len() <= 1;
            defaults.retain(|path, _| is_of_one_name && !absent::has(&known, path));
            defaults.extend(reader.layout().defaults().clone());
            reader.widen(Layout::new(wider).with_defaults(defaults));
        }
        Ok(())
    }

    /// Sets the topic's own schemas as those of JSON values. A learned schema is not used for a value that
    /// carries none.
    pub(super) fn declare(&mut self) {
        let is_json = self.topic.value == ValueFormat::Json;
        let value = self.topic.value_schema.clone().filter(|_| is_json && self.topic.declared);
        let is_framed = match self.topic.key_format {
            None => self.topic.value == ValueFormat::Avro,
            Some(format) => format == KeyFormat::Avro,
        };
        let key = self.topic.key_schema.clone().filter(|_| !is_framed);
        let encodings = Encodings { decimals: self.topic.decimals, bytes: self.topic.bytes };
        let door = self.topic.key_format.and_then(Door::of).unwrap_or(Door::Json);
        let value =
            value.map(|schema| self.dialect(Part::Value, Door::Json, 0, Ok(schema.to_string()), encodings));
        let key = key.map(|schema| self.dialect(Part::Key, door, 0, Ok(schema.to_string()), encodings));
        let Some(reader) = &mut self.reader else { return };
        if let Some(value) = value {
            reader.value_parts.declare(value);
        }
        if let Some(key) = key {
            reader.key_parts.declare(key);
        }
    }

    /// Adds the schema parts that these records are the first to carry.
    pub(super) fn learn_parts(&mut self, records: &Records, kept: &[u32]) {
        let (values, keys) = self.reader().fresh(records, kept);
        for (part, fresh) in
            values.into_iter().map(|f| (Part::Value, f)).chain(keys.into_iter().map(|f| (Part::Key, f)))
        {
            let number = match part {
                Part::Value => self.reader().value_parts.next(),
                Part::Key => self.reader().key_parts.next(),
            };
            // A producer of schema parts encodes values as Connect does, whatever the contract declares.
            let schema = from_connect(&fresh.part);
            let known = self.dialect(part, Door::Json, number, schema, Encodings::CONNECT);
            let Some(reader) = &mut self.reader else { return };
            match part {
                Part::Value => reader.value_parts.learn(fresh, known),
                Part::Key => reader.key_parts.learn(fresh, known),
            }
        }
    }

    fn dialect(
        &mut self,
        part: Part,
        door: Door,
        number: u32,
        schema: Result<String, avro::Error>,
        encodings: Encodings,
    ) -> json::Known {
        let schema = schema.map_err(|error| error.to_string());
        match schema.and_then(|schema| self.fitted(part, door, number, &schema.into(), encodings)) {
            Ok(dialect) => json::Known::Ready(Box::new(dialect)),
            Err(why) => {
                let refusal = Refusal::SchemaPart { why };
                self.refused(&refusal);
                json::Known::Refused(refusal)
            }
        }
    }

    fn fitted(
        &mut self,
        part: Part,
        door: Door,
        number: u32,
        schema: &Arc<str>,
        encodings: Encodings,
    ) -> Result<Dialect, String> {
        let made = |schema: &Arc<str>, is_bare, declared: Option<&str>| {
            let dialect = Dialect::through(door, number, schema, is_bare, encodings, declared);
            dialect.map_err(|error| error.to_string())
        };
        if part == Part::Key {
            let (record, is_bare) = self.key_record(schema);
            // Other serialisers write a single value, even if the schema is a record of one field.
            return made(&record, is_bare || door != Door::Json, None);
        }
        let declared = self.declared_schema().filter(|declared| declared != schema);
        let dialect = made(schema, false, declared.as_deref())?;
        let wanted = bronze_schema(&self.topic, dialect.writer()).map_err(|error| error.to_string())?;
        self.make_room(&wanted, schema)?;
        Ok(dialect)
    }

    fn refused(&self, refusal: &Refusal) {
        tracing::error!(table = %self.topic.table, reason = %refusal, "schema refused: its records become error rows");
        self.meter.schema_change("refused");
    }
}
