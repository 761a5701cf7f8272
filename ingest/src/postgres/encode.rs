//! One change as the record of its topic: Debezium's envelope in Avro.
//!
//! `source.lsn` is where the transaction committed, not where the change stands in the log. Changes of
//! transactions that run side by side lie in the log in any order; PostgreSQL sends them in the order of
//! commits, and a snapshot holds exactly what committed before its own position. So (lsn, total_order) is
//! the order of changes, of snapshot rows too.
//!
//! A change that its schema cannot hold is no reason to stop, and none to leave it out or round it: it is
//! sent as JSON with the reason beside it, which bronze keeps as a row it cannot decode.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::schema::{RecordField, RecordSchema, UnionSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use model::TopicName;
use serde_json::{Map, Value as Json, json};
use stream::frame;
use stream::hash::partition_of;

use super::kind::{self, Kind};
use super::pgoutput::{Cell, Old, Tuple};

/// A schema and its registry id.
#[derive(Debug)]
pub struct Written {
    pub id: u32,
    pub schema: Schema,
}

/// How the rows of one table become records, as of some place in the log.
#[derive(Debug)]
pub struct Form {
    pub topic: TopicName,
    pub partitions: i32,
    /// The source's name: Debezium's `topic.prefix`.
    pub server: String,
    pub database: String,
    pub schema: String,
    pub table: String,
    pub columns: Vec<(String, Kind)>,
    /// Key columns, in the key's order. Empty: the table has none.
    pub key: Vec<usize>,
    /// Columns that choose the partition, where those are not the key's.
    pub partition_by: Vec<usize>,
    pub key_form: Option<Written>,
    pub value_form: Written,
}

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `c`, or `r` out of a snapshot; with the key it had before, where that changed.
    Insert {
        new: Tuple,
        moved_from: Option<Old>,
    },
    Update {
        old: Option<Old>,
        new: Tuple,
    },
    /// `d`, then a tombstone; with the key the row has from now on, where that changed.
    Delete {
        old: Old,
        moved_to: Option<Tuple>,
    },
    Truncate,
}

/// Where a change stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub epoch: i64,
    pub lsn: u64,
    /// When it was committed, or the snapshot taken; milliseconds.
    pub at_ms: i64,
    pub origin: Origin,
}

/// What a change is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The `total`th change of a transaction, the `of_table`th of its table.
    Transaction { xid: u32, total: i64, of_table: i64 },
    /// A snapshot, with Debezium's word for the row's place in it.
    Snapshot(&'static str),
}

/// A change of a table.
#[derive(Debug)]
pub struct Event {
    pub form: Arc<Form>,
    pub change: Change,
    pub place: Place,
}

/// A record to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub partition: Option<i32>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The schema could not hold it.
    pub is_bad: bool,
}

/// The records of a change: itself, and the tombstone behind a delete.
pub fn records(event: &Event, now_ms: i64) -> Vec<Record> {
    let (form, epoch) = (&*event.form, event.place.epoch.to_string().into_bytes());
    let mut headers = vec![("lp.epoch", epoch)];
    let identity: Option<&Tuple> = match &event.change {
        Change::Insert { new, .. } | Change::Update { new, .. } => Some(new),
        Change::Delete { old: Old::Key(old) | Old::Full(old), .. } => Some(old),
        Change::Truncate => None,
    };
    match &event.change {
        Change::Insert { moved_from: Some(Old::Key(old) | Old::Full(old)), .. } => {
            headers.push(("__debezium.oldkey", form.key_json(old).into_bytes()));
        }
        Change::Delete { moved_to: Some(new), .. } => {
            headers.push(("__debezium.newkey", form.key_json(new).into_bytes()));
        }
        _ => {}
    }
    let key = identity.map_or(Ok(None), |row| form.key(row));
    let value = form.value(event, now_ms);
    let (key, value, reason) = match (key, value) {
        (Ok(key), Ok(value)) => (key, value, None),
        (key, value) => {
            let reason = [key.as_ref().err(), value.as_ref().err()].into_iter().flatten().next().cloned();
            (key.unwrap_or(None), event.json().into_bytes(), reason)
        }
    };
    let is_bad = reason.is_some();
    headers.extend(reason.map(|reason| ("lp.error", reason.into_bytes())));
    let partition = match identity {
        // A truncate has no row; where it stands in the log orders it.
        None => Some(0),
        Some(row) => form.partition(row, key.as_ref().map(|(_, body)| body.as_slice())),
    };
    let key = key.map(|(framed, _)| framed);
    let tombstone = matches!(event.change, Change::Delete { .. }) && key.is_some();
    let behind = tombstone.then(|| Record {
        key: key.clone(),
        value: None,
        partition,
        headers: headers[..1].to_vec(),
        is_bad: false,
    });
    std::iter::once(Record { key, value: Some(value), partition, headers, is_bad }).chain(behind).collect()
}

/// A column and what was wrong with it.
type Bad = String;

impl Form {
    fn written(written: &Written, value: Value) -> Result<(Vec<u8>, Vec<u8>), Bad> {
        let writer =
            GenericDatumWriter::builder(&written.schema).build().map_err(|error| error.to_string())?;
        let body = writer.write_value_to_vec(value).map_err(|error| error.to_string())?;
        let mut framed = Vec::with_capacity(body.len() + 5);
        frame(written.id, &body, &mut framed);
        Ok((framed, body))
    }

    /// The framed key, and without its frame.
    #[allow(clippy::type_complexity, reason = "two byte strings, named by the caller")]
    fn key(&self, row: &Tuple) -> Result<Option<(Vec<u8>, Vec<u8>)>, Bad> {
        let Some(written) = &self.key_form else { return Ok(None) };
        let Schema::Record(schema) = &written.schema else {
            // A bare key is its one column.
            let at = self.key.first().copied().ok_or("the table has no key")?;
            let text = row.get(at).and_then(Cell::text).ok_or("the key is null")?;
            let value = self.columns[at].1.value(&written.schema, text)?;
            return Self::written(written, value).map(Some);
        };
        let value = self.row(schema, row, None, false)?;
        Self::written(written, value).map(Some)
    }

    /// By the key without its frame, so that a new version of its schema moves no key.
    fn partition(&self, row: &Tuple, key: Option<&[u8]>) -> Option<i32> {
        if self.partition_by.is_empty() {
            return key.map(|key| partition_of(key, self.partitions));
        }
        let texts = self.partition_by.iter().map(|at| row.get(*at).and_then(Cell::text).unwrap_or_default());
        Some(partition_of(texts.collect::<Vec<_>>().join("\0").as_bytes(), self.partitions))
    }

    /// The key as JSON, numbers as numbers.
    fn key_json(&self, row: &Tuple) -> String {
        let entry = |at: &usize| {
            let (name, kind) = &self.columns[*at];
            let text = row.get(*at).and_then(Cell::text);
            let number = matches!(kind, Kind::Int | Kind::Long).then(|| text?.parse::<i64>().ok()).flatten();
            (name.clone(), number.map_or_else(|| json!(text), |number| json!(number)))
        };
        Json::Object(self.key.iter().map(entry).collect::<Map<_, _>>()).to_string()
    }

    fn value(&self, event: &Event, now_ms: i64) -> Result<Vec<u8>, Bad> {
        let Schema::Record(root) = &self.value_form.schema else {
            return Err("its schema is no record".to_owned());
        };
        let mut fields = Vec::with_capacity(root.fields.len());
        for field in &root.fields {
            let value = match field.name.as_str() {
                "before" => match &event.change {
                    Change::Update { old: Some(Old::Full(old)), .. }
                    | Change::Delete { old: Old::Full(old), .. } => {
                        self.image(root, field, old, None, false)?
                    }
                    Change::Delete { old: Old::Key(old), .. } => self.image(root, field, old, None, true)?,
                    _ => absent(field)?,
                },
                "after" => match &event.change {
                    Change::Insert { new, moved_from: old } | Change::Update { old, new } => {
                        let held = match old {
                            Some(Old::Full(old)) => Some(old),
                            Some(Old::Key(_)) | None => None,
                        };
                        self.image(root, field, new, held, false)?
                    }
                    _ => absent(field)?,
                },
                "source" => self.nested(field, |inner| self.source(inner, &event.place))?,
                "transaction" => match &event.place.origin {
                    Origin::Transaction { xid, total, of_table } => self.nested(field, |inner| {
                        Ok(match inner.name.as_str() {
                            "id" => text(&inner.schema, &format!("{xid}:{}", event.place.lsn)),
                            "total_order" => long(&inner.schema, *total),
                            "data_collection_order" => long(&inner.schema, *of_table),
                            _ => None,
                        })
                    })?,
                    Origin::Snapshot(_) => absent(field)?,
                },
                "op" => text(&field.schema, event.op()).ok_or("`op` is no text")?,
                "ts_ms" => long(&field.schema, now_ms).ok_or("`ts_ms` is no number")?,
                "ts_us" => long(&field.schema, now_ms.saturating_mul(1_000)).ok_or("`ts_us` is no number")?,
                "ts_ns" => {
                    long(&field.schema, now_ms.saturating_mul(1_000_000)).ok_or("`ts_ns` is no number")?
                }
                _ => absent(field)?,
            };
            fields.push((field.name.clone(), value));
        }
        Self::written(&self.value_form, Value::Record(fields)).map(|(framed, _)| framed)
    }

    fn source(&self, field: &RecordField, place: &Place) -> Result<Option<Value>, Bad> {
        let lsn = place.lsn.cast_signed();
        Ok(match (field.name.as_str(), &place.origin) {
            ("version", _) => text(&field.schema, env!("CARGO_PKG_VERSION")),
            ("connector", _) => text(&field.schema, "lakepulse-postgres"),
            ("name", _) => text(&field.schema, &self.server),
            ("db", _) => text(&field.schema, &self.database),
            ("schema", _) => text(&field.schema, &self.schema),
            ("table", _) => text(&field.schema, &self.table),
            ("ts_ms", _) => long(&field.schema, place.at_ms),
            ("ts_us", _) => long(&field.schema, place.at_ms.saturating_mul(1_000)),
            ("ts_ns", _) => long(&field.schema, place.at_ms.saturating_mul(1_000_000)),
            ("lsn", _) => long(&field.schema, lsn),
            ("txId", Origin::Transaction { xid, .. }) => long(&field.schema, i64::from(*xid)),
            ("snapshot", Origin::Transaction { .. }) => text(&field.schema, "false"),
            ("snapshot", Origin::Snapshot(word)) => text(&field.schema, word),
            _ => None,
        })
    }

    /// A record below a field, through null; what `of` does not name is absent.
    fn nested(
        &self,
        field: &RecordField,
        of: impl Fn(&RecordField) -> Result<Option<Value>, Bad>,
    ) -> Result<Value, Bad> {
        let record = |record: &RecordSchema| {
            let named =
                |inner: &RecordField| Ok((inner.name.clone(), of(inner)?.map_or_else(|| absent(inner), Ok)?));
            record.fields.iter().map(named).collect::<Result<Vec<_>, Bad>>().map(Value::Record)
        };
        match &field.schema {
            Schema::Record(inner) => record(inner),
            Schema::Union(union) => {
                let mut branches = union.variants().iter().enumerate();
                let found = branches.find_map(|(at, branch)| match branch {
                    Schema::Record(inner) => Some((at, inner)),
                    _ => None,
                });
                let (at, inner) = found.ok_or_else(|| format!("`{}` is no record", field.name))?;
                Ok(Value::Union(at as u32, Box::new(record(inner)?)))
            }
            _ => Err(format!("`{}` is no record", field.name)),
        }
    }

    /// `before` or `after`: one of the two defines the row, the other names it.
    fn image(
        &self,
        root: &RecordSchema,
        field: &RecordField,
        row: &Tuple,
        held: Option<&Tuple>,
        key_only: bool,
    ) -> Result<Value, Bad> {
        let images = root.fields.iter().filter(|field| matches!(field.name.as_str(), "before" | "after"));
        let schema = images.filter_map(|field| defined(&field.schema)).next();
        let schema = schema.ok_or("`before` and `after` hold no record")?;
        let value = if key_only { self.key_row(schema, row)? } else { self.row(schema, row, held, true)? };
        match &field.schema {
            Schema::Union(union) => {
                let at = branch(union).ok_or_else(|| format!("`{}` is no record", field.name))?;
                Ok(Value::Union(at as u32, Box::new(value)))
            }
            _ => Ok(value),
        }
    }

    /// A row; `held` has the values that the log left out as unchanged.
    fn row(
        &self,
        schema: &RecordSchema,
        row: &Tuple,
        held: Option<&Tuple>,
        may_lack: bool,
    ) -> Result<Value, Bad> {
        let mut fields = Vec::with_capacity(schema.fields.len());
        for field in &schema.fields {
            let column = self.columns.iter().position(|(name, _)| *name == field.name);
            let value = match column.and_then(|at| Some((at, row.get(at)?))) {
                None if may_lack => absent(field)?,
                None => return Err(format!("the table has no column `{}`", field.name)),
                Some((at, cell)) => {
                    let cell = match (cell, held.and_then(|held| held.get(at))) {
                        (Cell::Unchanged, Some(held)) => held,
                        _ => cell,
                    };
                    self.cell(at, field, cell)?
                }
            };
            fields.push((field.name.clone(), value));
        }
        Ok(Value::Record(fields))
    }

    /// What the log holds of a deleted row: its key. The rest is null, or made up where there is no null.
    fn key_row(&self, schema: &RecordSchema, row: &Tuple) -> Result<Value, Bad> {
        let field = |field: &RecordField| {
            let column = self.columns.iter().position(|(name, _)| *name == field.name);
            let value = match column.and_then(|at| Some((at, row.get(at)?))) {
                Some((at, cell @ Cell::Text(_))) => self.cell(at, field, cell)?,
                _ => kind::filler(&field.schema).map_or_else(|| absent(field), Ok)?,
            };
            Ok((field.name.clone(), value))
        };
        schema.fields.iter().map(field).collect::<Result<_, Bad>>().map(Value::Record)
    }

    fn cell(&self, at: usize, field: &RecordField, cell: &Cell) -> Result<Value, Bad> {
        let column = &field.name;
        match cell {
            Cell::Null => kind::null(&field.schema).ok_or_else(|| format!("column `{column}` is null")),
            Cell::Unchanged => kind::unavailable(&field.schema).ok_or_else(|| {
                format!("column `{column}` is TOASTed and unchanged: give the table REPLICA IDENTITY FULL")
            }),
            Cell::Text(_) => {
                let text = cell.text().unwrap_or_default();
                let refused = |wanted: String| {
                    let shown: String = text.chars().take(80).collect();
                    format!("column `{column}`: `{shown}` is no {wanted}")
                };
                self.columns[at].1.value(&field.schema, text).map_err(refused)
            }
        }
    }
}

impl Event {
    fn op(&self) -> &'static str {
        match (&self.change, &self.place.origin) {
            (Change::Insert { .. }, Origin::Snapshot(_)) => "r",
            (Change::Insert { .. }, Origin::Transaction { .. }) => "c",
            (Change::Update { .. }, _) => "u",
            (Change::Delete { .. }, _) => "d",
            (Change::Truncate, _) => "t",
        }
    }
    /// The change as text, for one that its schema cannot hold.
    fn json(&self) -> String {
        let row = |row: &Tuple| {
            let cell = |(at, (name, _)): (usize, &(String, Kind))| {
                let value = match row.get(at) {
                    Some(Cell::Unchanged) => json!(kind::UNAVAILABLE),
                    Some(cell) => json!(cell.text()),
                    None => Json::Null,
                };
                (name.clone(), value)
            };
            Json::Object(self.form.columns.iter().enumerate().map(cell).collect())
        };
        let (before, after) = match &self.change {
            Change::Insert { new, .. } => (None, Some(row(new))),
            Change::Update { old, new } => {
                (old.as_ref().map(|(Old::Key(old) | Old::Full(old))| row(old)), Some(row(new)))
            }
            Change::Delete { old: Old::Key(old) | Old::Full(old), .. } => (Some(row(old)), None),
            Change::Truncate => (None, None),
        };
        let total = match self.place.origin {
            Origin::Transaction { total, .. } => Some(total),
            Origin::Snapshot(_) => None,
        };
        json!({
            "op": self.op(), "before": before, "after": after, "lsn": self.place.lsn, "total_order": total,
            "schema": self.form.schema, "table": self.form.table,
        })
        .to_string()
    }
}

/// The record a schema defines, through null.
fn defined(schema: &Schema) -> Option<&RecordSchema> {
    match schema {
        Schema::Record(record) => Some(record),
        Schema::Union(union) => union.variants().iter().find_map(defined),
        _ => None,
    }
}

/// The branch of a union that is a record, or the name of one.
fn branch(union: &UnionSchema) -> Option<usize> {
    union.variants().iter().position(|branch| matches!(branch, Schema::Record(_) | Schema::Ref { .. }))
}

/// Null, or the default, for a field that nothing is said of.
fn absent(field: &RecordField) -> Result<Value, Bad> {
    if let Some(null) = kind::null(&field.schema) {
        return Ok(null);
    }
    let default = field.default.as_ref().ok_or_else(|| format!("nothing is known of `{}`", field.name))?;
    crate::shape::default(&field.schema, default)
}

fn text(schema: &Schema, text: &str) -> Option<Value> {
    Kind::Text(None).value(schema, text).ok()
}

fn long(schema: &Schema, number: i64) -> Option<Value> {
    match schema {
        Schema::Long => Some(Value::Long(number)),
        Schema::TimestampMillis => Some(Value::TimestampMillis(number)),
        Schema::Union(union) => {
            let mut branches = union.variants().iter().enumerate();
            let (at, value) = branches.find_map(|(at, branch)| Some((at, long(branch, number)?)))?;
            Some(Value::Union(at as u32, Box::new(value)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
