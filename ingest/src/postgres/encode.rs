//! Encodes a change as the record of its topic: Debezium's envelope in Avro.
//!
//! `source.lsn` is the position of the transaction's commit, not of the change. Changes of concurrent
//! transactions are interleaved in the log, but PostgreSQL sends them in the order of commits, and a snapshot
//! contains exactly what committed before its position. So (lsn, total_order) orders all changes and snapshot
//! rows.
//!
//! A change that its schema cannot hold must neither stop the source nor be dropped or rounded: it is sent as
//! JSON with the reason, and bronze stores it as an undecodable row.

use std::sync::Arc;

use avro::Frame;
use avro::text::{Field, Kind as Avro, Shape, Type, Unit};
use avro::wire;
use model::{TopicName, header};
use serde_json::{Map, Value as Json, json};
use stream::hash::partition_of;

use super::kind::{self, Kind};
use super::pgoutput::{Cell, Old, Tuple};

/// A schema and its registry id.
#[derive(Debug)]
pub struct Written {
    pub id: u32,
    pub shape: Shape,
}
impl Written {
    /// The bytes at the beginning of a message.
    fn begin(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Frame::begin(self.id).encode(&mut out);
        out
    }
}

/// How the rows of one table become records, from some position in the log on.
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
    /// Indices of the key columns, in the key's order. Empty: the table has no key.
    pub key: Vec<usize>,
    /// Columns that choose the partition, if they are not the key's.
    pub partition_by: Vec<usize>,
    pub key_form: Option<Written>,
    pub value_form: Written,
}

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `c`, or `r` from a snapshot; with the row's previous key, if that changed.
    Insert {
        new: Tuple,
        moved_from: Option<Old>,
    },
    Update {
        old: Option<Old>,
        new: Tuple,
    },
    /// `d`, then a tombstone; with the row's new key, if that changed.
    Delete {
        old: Old,
        moved_to: Option<Tuple>,
    },
    Truncate,
}

/// The place of a change in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub epoch: i64,
    pub lsn: u64,
    /// Time of the commit or the snapshot, in milliseconds.
    pub at_ms: i64,
    pub origin: Origin,
}

/// What a change belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The `total`th change of a transaction, and the `of_table`th of its table.
    Transaction { xid: u32, total: i64, of_table: i64 },
    /// A snapshot, with Debezium's word for the row's place in it.
    Snapshot(&'static str),
}

/// A change of a table, with its place.
#[derive(Debug)]
pub struct ChangeEvent {
    pub form: Arc<Form>,
    pub change: Operation,
    pub place: Place,
}

/// A record to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub partition: Option<i32>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// Whether the schema could not hold it.
    pub is_bad: bool,
}

/// The records of a change: the change itself and, after a delete, a tombstone.
pub fn records(event: &ChangeEvent, now_ms: i64) -> Vec<EncodedRecord> {
    let (form, epoch) = (&*event.form, event.place.epoch.to_string().into_bytes());
    let mut headers = vec![(header::EPOCH, epoch)];
    let identity: Option<&Tuple> = match &event.change {
        Operation::Insert { new, .. } | Operation::Update { new, .. } => Some(new),
        Operation::Delete { old: Old::Key(old) | Old::Full(old), .. } => Some(old),
        Operation::Truncate => None,
    };
    match &event.change {
        Operation::Insert { moved_from: Some(Old::Key(old) | Old::Full(old)), .. } => {
            headers.push((header::OLD_KEY, form.key_json(old).into_bytes()));
        }
        Operation::Delete { moved_to: Some(new), .. } => {
            headers.push((header::NEW_KEY, form.key_json(new).into_bytes()));
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
    headers.extend(reason.map(|reason| (header::ERROR, reason.into_bytes())));
    let partition = match identity {
        // A truncate has no row; its position in the log orders it.
        None => Some(0),
        Some(row) => form.partition(row, key.as_deref().map(|framed| &framed[Frame::LEN..])),
    };
    let tombstone = matches!(event.change, Operation::Delete { .. }) && key.is_some();
    let behind = tombstone.then(|| EncodedRecord {
        key: key.clone(),
        value: None,
        partition,
        headers: headers[..1].to_vec(),
        is_bad: false,
    });
    std::iter::once(EncodedRecord { key, value: Some(value), partition, headers, is_bad })
        .chain(behind)
        .collect()
}

/// A column and what is wrong with it.
type Bad = String;

impl Form {
    /// The framed key.
    fn key(&self, row: &Tuple) -> Result<Option<Vec<u8>>, Bad> {
        let Some(written) = &self.key_form else { return Ok(None) };
        let (root, mut out) = (written.shape.root(), written.begin());
        if written.shape.is_record() {
            self.row(root, row, None, false, &mut out)?;
        } else {
            // An unframed key is the text of its only column.
            let at = self.key.first().copied().ok_or("the table has no key")?;
            let text = row.get(at).and_then(Cell::text).ok_or("the key is null")?;
            self.columns[at].1.write(root, text, &mut out)?;
        }
        Ok(Some(out))
    }

    /// By the key without its frame, so a new version of its schema does not change the partition.
    fn partition(&self, row: &Tuple, key: Option<&[u8]>) -> Option<i32> {
        if self.partition_by.is_empty() {
            return key.map(|key| partition_of(key, self.partitions));
        }
        let texts = self.partition_by.iter().map(|at| row.get(*at).and_then(Cell::text).unwrap_or_default());
        Some(partition_of(texts.collect::<Vec<_>>().join("\0").as_bytes(), self.partitions))
    }

    /// The key as JSON with numbers as numbers.
    fn key_json(&self, row: &Tuple) -> String {
        let entry = |at: &usize| {
            let (name, kind) = &self.columns[*at];
            let text = row.get(*at).and_then(Cell::text);
            let number = matches!(kind, Kind::Int | Kind::Long).then(|| text?.parse::<i64>().ok()).flatten();
            (name.clone(), number.map_or_else(|| json!(text), |number| json!(number)))
        };
        Json::Object(self.key.iter().map(entry).collect::<Map<_, _>>()).to_string()
    }

    /// The framed value.
    fn value(&self, event: &ChangeEvent, now_ms: i64) -> Result<Vec<u8>, Bad> {
        let written = &self.value_form;
        if !written.shape.is_record() {
            return Err("its schema is no record".to_owned());
        }
        let mut out = written.begin();
        for field in written.shape.root().fields() {
            self.part(field, event, now_ms, &mut out)?;
        }
        Ok(out)
    }

    /// Appends a field of the envelope.
    fn part(&self, field: Field<'_>, event: &ChangeEvent, now_ms: i64, out: &mut Vec<u8>) -> Result<(), Bad> {
        match field.name() {
            "before" => match &event.change {
                Operation::Update { old: Some(Old::Full(old)), .. }
                | Operation::Delete { old: Old::Full(old), .. } => {
                    self.row(image(field, out)?, old, None, true, out)
                }
                Operation::Delete { old: Old::Key(old), .. } => self.key_row(image(field, out)?, old, out),
                _ => absent(field, out),
            },
            "after" => match &event.change {
                Operation::Insert { new, moved_from: old } | Operation::Update { old, new } => {
                    let held = match old {
                        Some(Old::Full(old)) => Some(old),
                        Some(Old::Key(_)) | None => None,
                    };
                    self.row(image(field, out)?, new, held, true, out)
                }
                _ => absent(field, out),
            },
            "source" => nested(field, out, |inner, out| self.source(inner, &event.place, out)),
            "transaction" => match &event.place.origin {
                Origin::Transaction { xid, total, of_table } => {
                    nested(field, out, |inner, out| match inner.name() {
                        "id" => text(inner.kind(), &format!("{xid}:{}", event.place.lsn), out),
                        "total_order" => long(inner.kind(), *total, out),
                        "data_collection_order" => long(inner.kind(), *of_table, out),
                        _ => false,
                    })
                }
                Origin::Snapshot(_) => absent(field, out),
            },
            "op" => known(text(field.kind(), event.op(), out), "`op` is no text"),
            "ts_ms" => known(long(field.kind(), now_ms, out), "`ts_ms` is no number"),
            "ts_us" => known(long(field.kind(), now_ms.saturating_mul(1_000), out), "`ts_us` is no number"),
            "ts_ns" => {
                known(long(field.kind(), now_ms.saturating_mul(1_000_000), out), "`ts_ns` is no number")
            }
            _ => absent(field, out),
        }
    }

    /// Appends a field of `source`. `false`: it has no value.
    fn source(&self, field: Field<'_>, place: &Place, out: &mut Vec<u8>) -> bool {
        let of = field.kind();
        match (field.name(), &place.origin) {
            ("version", _) => text(of, env!("CARGO_PKG_VERSION"), out),
            ("connector", _) => text(of, "lakepulse-postgres", out),
            ("name", _) => text(of, &self.server, out),
            ("db", _) => text(of, &self.database, out),
            ("schema", _) => text(of, &self.schema, out),
            ("table", _) => text(of, &self.table, out),
            ("ts_ms", _) => long(of, place.at_ms, out),
            ("ts_us", _) => long(of, place.at_ms.saturating_mul(1_000), out),
            ("ts_ns", _) => long(of, place.at_ms.saturating_mul(1_000_000), out),
            ("lsn", _) => long(of, place.lsn.cast_signed(), out),
            ("txId", Origin::Transaction { xid, .. }) => long(of, i64::from(*xid), out),
            ("snapshot", Origin::Transaction { .. }) => text(of, "false", out),
            ("snapshot", Origin::Snapshot(word)) => text(of, word, out),
            _ => false,
        }
    }

    /// Appends a row; `held` has the values that the log left out as unchanged.
    fn row(
        &self,
        record: Type<'_>,
        row: &Tuple,
        held: Option<&Tuple>,
        may_lack: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        for field in record.fields() {
            match self.column(field, row) {
                None if may_lack => absent(field, out)?,
                None => return Err(format!("the table has no column `{}`", field.name())),
                Some((at, cell)) => {
                    let cell = match (cell, held.and_then(|held| held.get(at))) {
                        (Cell::Unchanged, Some(held)) => held,
                        _ => cell,
                    };
                    self.cell(at, field, cell, out)?;
                }
            }
        }
        Ok(())
    }

    /// Appends a deleted row, of which the log has only the key. The rest is null, or a filler if null is not
    /// allowed.
    fn key_row(&self, record: Type<'_>, row: &Tuple, out: &mut Vec<u8>) -> Result<(), Bad> {
        for field in record.fields() {
            match self.column(field, row) {
                Some((at, cell @ Cell::Text(_))) => self.cell(at, field, cell, out)?,
                _ if kind::filler(field.kind(), out) => {}
                _ => absent(field, out)?,
            }
        }
        Ok(())
    }

    /// The column of a field, found by name, and its value.
    fn column<'r>(&self, field: Field<'_>, row: &'r Tuple) -> Option<(usize, &'r Cell)> {
        let at = self.columns.iter().position(|(name, _)| name == field.name())?;
        Some((at, row.get(at)?))
    }

    fn cell(&self, at: usize, field: Field<'_>, cell: &Cell, out: &mut Vec<u8>) -> Result<(), Bad> {
        let (column, of) = (field.name(), field.kind());
        match cell {
            Cell::Null if of.null(out) => Ok(()),
            Cell::Null => Err(format!("column `{column}` is null")),
            Cell::Unchanged if kind::unavailable(of, out) => Ok(()),
            Cell::Unchanged => Err(format!(
                "column `{column}` is TOASTed and unchanged: give the table REPLICA IDENTITY FULL"
            )),
            Cell::Text(_) => {
                let text = cell.text().unwrap_or_default();
                let refused = |wanted: String| {
                    let shown: String = text.chars().take(80).collect();
                    format!("column `{column}`: `{shown}` is no {wanted}")
                };
                self.columns[at].1.write(of, text, out).map_err(refused)
            }
        }
    }
}

impl ChangeEvent {
    fn op(&self) -> &'static str {
        match (&self.change, &self.place.origin) {
            (Operation::Insert { .. }, Origin::Snapshot(_)) => "r",
            (Operation::Insert { .. }, Origin::Transaction { .. }) => "c",
            (Operation::Update { .. }, _) => "u",
            (Operation::Delete { .. }, _) => "d",
            (Operation::Truncate, _) => "t",
        }
    }
    /// The change as text, if its schema cannot hold it.
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
            Operation::Insert { new, .. } => (None, Some(row(new))),
            Operation::Update { old, new } => {
                (old.as_ref().map(|(Old::Key(old) | Old::Full(old))| row(old)), Some(row(new)))
            }
            Operation::Delete { old: Old::Key(old) | Old::Full(old), .. } => (Some(row(old)), None),
            Operation::Truncate => (None, None),
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

/// The record type of `before` or `after`, without its null branch.
fn image<'a>(field: Field<'a>, out: &mut Vec<u8>) -> Result<Type<'a>, Bad> {
    field.kind().record(out).ok_or_else(|| format!("`{}` is no record", field.name()))
}

/// Appends a record below a field; fields for which `of` has no value are absent.
fn nested(
    field: Field<'_>,
    out: &mut Vec<u8>,
    of: impl Fn(Field<'_>, &mut Vec<u8>) -> bool,
) -> Result<(), Bad> {
    for inner in image(field, out)?.fields() {
        if !of(inner, out) {
            absent(inner, out)?;
        }
    }
    Ok(())
}

/// Appends null or the default for a field without a value.
fn absent(field: Field<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
    if !field.kind().null(out) {
        let default = field.absent().ok_or_else(|| format!("nothing is known of `{}`", field.name()))?;
        out.extend_from_slice(default);
    }
    Ok(())
}

fn known(is_written: bool, why: &str) -> Result<(), Bad> {
    if is_written { Ok(()) } else { Err(why.to_owned()) }
}

/// Appends a text. `false`: it is not a value of the type.
fn text(of: Type<'_>, text: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = Kind::Text(None).write(of, text, out);
    if written.is_err() {
        out.truncate(start);
    }
    written.is_ok()
}

/// Appends a number. `false`: it is not a value of the type.
fn long(of: Type<'_>, number: i64, out: &mut Vec<u8>) -> bool {
    match of.kind() {
        Avro::Long | Avro::Instant(Unit::Millis) => wire::long(number, out),
        Avro::Union => {
            let start = out.len();
            return of.branches().any(|(at, branch)| {
                out.truncate(start);
                wire::long(at, out);
                let is_written = long(branch, number, out);
                if !is_written {
                    out.truncate(start);
                }
                is_written
            });
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests;
