//! Computes the expected table in another, slower way: from all events at once, with values copied.

use std::collections::{BTreeMap, BTreeSet};

use catalog::Kind;
use serde_json::{Value, json};

use super::support::header;
use crate::changes::UNCHANGED;

/// One record of the topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub epoch: Option<i64>,
    pub lsn: Option<i64>,
    pub tx: Option<i64>,
    pub offset: i64,
    pub partition: i64,
    pub says: Says,
    /// Appended again at its coordinates.
    pub redriven: bool,
}

/// Prints one line per record, so that a failing history is readable.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |n: Option<i64>| n.map_or("-".to_owned(), |n| n.to_string());
        write!(
            f,
            "{}/{}/{} {}@{} ",
            part(self.epoch),
            part(self.lsn),
            part(self.tx),
            self.partition,
            self.offset
        )?;
        match &self.says {
            Says::Row { op, key, name, notes, had, last } => {
                let notes = notes.map_or("=", |n| n.unwrap_or("·"));
                let had = had.map_or(String::new(), |had| format!(" was {had}"));
                write!(f, "{op} {key} {name} {notes}{had}{}", if *last { " last" } else { "" })
            }
            Says::Delete { key, .. } => write!(f, "d {key}"),
            Says::Tombstone { key } => write!(f, "tombstone {key}"),
            Says::Truncate => write!(f, "t"),
            Says::Garbage => write!(f, "garbage"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// The row of a key. `notes`: `None` is unchanged.
    Row {
        op: &'static str,
        key: i64,
        name: &'static str,
        notes: Option<Option<&'static str>>,
        had: Option<i64>,
        last: bool,
    },
    Delete {
        key: i64,
        key_only: bool,
    },
    Tombstone {
        key: i64,
    },
    Truncate,
    Garbage,
}

type Order = (Option<i64>, Option<i64>, Option<i64>, i64, i64);
impl Record {
    fn order(&self) -> Order {
        (self.epoch, self.lsn, self.tx, self.offset, self.partition)
    }
    fn same(&self, other: &Self) -> bool {
        match (self.epoch.zip(self.lsn).zip(self.tx), other.epoch.zip(other.lsn).zip(other.tx)) {
            (Some(a), Some(b)) => a == b,
            _ => (self.partition, self.offset) == (other.partition, other.offset),
        }
    }
    /// The record as bronze stores it.
    pub fn bronze(&self) -> Value {
        let source = |snapshot: &str| json!({ "ts_ms": 1_000, "snapshot": snapshot, "lsn": self.lsn });
        let transaction = self.tx.map(|tx| json!({ "id": "1:1", "total_order": tx }));
        let place = json!({ "_topic_id": "t", "_partition": self.partition, "_offset": self.offset, "_epoch": self.epoch, "_schema_id": 1 });
        let mut row = match &self.says {
            Says::Row { op, key, name, notes, had, last } => {
                let notes = notes.map_or(Some(UNCHANGED), |notes| notes);
                let headers: Vec<Value> = had
                    .iter()
                    .map(|old| header("__debezium.oldkey", &json!({ "id": old }).to_string()))
                    .collect();
                let snapshot = match (*op, last) {
                    ("r", true) => "last",
                    ("r", false) => "true",
                    _ => "false",
                };
                json!({ "after": { "id": key, "name": name, "notes": notes }, "op": op, "_keys": { "id": key },
                        "source": source(snapshot), "transaction": transaction, "_headers": headers })
            }
            Says::Delete { key, key_only } => {
                // PostgreSQL's values for the columns that it does not know.
                let made_up = (!key_only).then(|| json!({ "id": key, "name": "", "notes": null }));
                json!({ "before": made_up, "op": "d", "_keys": { "id": key }, "source": source("false"), "transaction": transaction })
            }
            Says::Tombstone { key } => json!({ "_keys": { "id": key } }),
            Says::Truncate => json!({ "op": "t", "source": source("false"), "transaction": transaction }),
            Says::Garbage => json!({ "_error": "wrong magic byte" }),
        };
        let into = row.as_object_mut().expect("an object");
        into.extend(place.as_object().expect("an object").clone());
        if self.redriven {
            into.insert("_redrive".to_owned(), "01J00000000000000000000000".into());
        }
        // Records of our own sources have this header; their LSNs are those of commits, and order.
        let own = header("lp.epoch", &self.epoch.unwrap_or_default().to_string());
        match into.entry("_headers").or_insert_with(|| json!([])) {
            Value::Array(headers) => headers.insert(0, own),
            _ => unreachable!("headers are a list"),
        }
        if matches!(self.says, Says::Tombstone { .. } | Says::Garbage) {
            into.insert("_schema_id".to_owned(), Value::Null);
        }
        row
    }
}

/// How the model under test treats a row.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    pub kind: Kind,
    /// `WHERE notes <> 'n'` instead of `WHERE name <> 'hidden'`.
    pub by_notes: bool,
    /// Only `name` opens a version.
    pub tracks_name: bool,
}
impl Model {
    fn passes(self, name: &str, notes: Option<&str>) -> bool {
        if self.by_notes { notes.is_some_and(|n| n != "n") } else { name != "hidden" }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Image {
    name: &'static str,
    notes: Option<&'static str>,
    passes: bool,
}

#[derive(Debug, Clone)]
struct Line {
    key: i64,
    image: Image,
    seq: Order,
    start: Order,
    end: Option<Order>,
}

/// The content of a table, and the number of quarantined rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub rows: Vec<String>,
    pub aside: usize,
}

/// Folds everything at once.
pub fn expected(model: Model, records: &[Record]) -> Expected {
    let mut sorted: Vec<Record> = records.to_vec();
    sorted.sort_by_key(Record::order);
    let judged_aside = |record: &&Record| match &record.says {
        Says::Row { name, notes, .. } => {
            let passes = match notes {
                _ if !model.by_notes => *name != "hidden",
                Some(notes) => model.passes(name, *notes),
                None => model.kind != Kind::Append,
            };
            passes && *name == "bad"
        }
        _ => false,
    };
    let aside = sorted.iter().filter(judged_aside).count();
    let mut rows = if model.kind == Kind::Append { append(model, &sorted) } else { keyed(model, &sorted) };
    rows.sort();
    Expected { rows, aside }
}

fn append(model: Model, sorted: &[Record]) -> Vec<String> {
    let mut kept: Vec<&Record> = Vec::new();
    for record in sorted {
        let passes = match &record.says {
            Says::Row { name, notes, .. } => {
                model.passes(name, notes.flatten()) && !matches!(*name, "bad" | "dropped")
            }
            // The WHERE reads a name that a delete does not have.
            Says::Delete { .. } | Says::Truncate | Says::Tombstone { .. } | Says::Garbage => false,
        };
        if passes && !kept.iter().any(|k| k.same(record)) {
            kept.push(record);
        }
    }
    let line = |record: &&Record| match &record.says {
        Says::Row { key, name, notes, .. } => show(*key, name, notes.flatten(), record.order(), None),
        _ => unreachable!("only rows are kept"),
    };
    kept.iter().map(line).collect()
}

fn keyed(model: Model, sorted: &[Record]) -> Vec<String> {
    let mut steps: Vec<(Order, Option<&Record>)> = sorted.iter().map(|r| (r.order(), Some(r))).collect();
    let mut truncates: Vec<&Record> = Vec::new();
    for record in sorted {
        match &record.says {
            Says::Row { op: "r", last: true, .. } => {
                steps.push(((record.epoch, record.lsn, None, -1, record.partition), None));
            }
            Says::Truncate if !truncates.iter().any(|t| t.same(record)) => truncates.push(record),
            _ => {}
        }
    }
    steps.sort_by_key(|(order, _)| *order);
    let mut images: BTreeMap<i64, Image> = BTreeMap::new();
    let mut departed: BTreeMap<i64, Image> = BTreeMap::new();
    let mut lines: Vec<Line> = Vec::new();
    let mut seen: BTreeMap<i64, Vec<&Record>> = BTreeMap::new();
    let scd2 = model.kind == Kind::Scd2;
    let close = |lines: &mut Vec<Line>, key: Option<i64>, at: Order| {
        let ends = |line: &Line| line.end.is_none() && key.is_none_or(|key| line.key == key);
        if scd2 {
            lines.iter_mut().filter(|l| ends(l)).for_each(|l| l.end = Some(at));
        } else {
            lines.retain(|l| !ends(l));
        }
    };
    for (order, record) in steps {
        let Some(record) = record else {
            (images, departed) = Default::default();
            close(&mut lines, None, order);
            continue;
        };
        let key = match &record.says {
            Says::Tombstone { .. } | Says::Garbage => continue,
            Says::Truncate => {
                if truncates.contains(&record) {
                    (images, departed) = Default::default();
                    close(&mut lines, None, order);
                }
                continue;
            }
            Says::Row { key, .. } | Says::Delete { key, .. } => *key,
        };
        let copies = seen.entry(key).or_default();
        if copies.iter().any(|c| c.same(record)) {
            continue;
        }
        copies.push(record);
        let Says::Row { name, notes, had, .. } = &record.says else {
            if let Some(image) = images.remove(&key) {
                departed.insert(key, image);
            }
            close(&mut lines, Some(key), order);
            continue;
        };
        let before = match had.filter(|_| notes.is_none()) {
            Some(old) => images.get(&old).or_else(|| departed.get(&old)).or_else(|| images.get(&key)),
            None => images.get(&key),
        };
        let values = notes.unwrap_or_else(|| before.and_then(|b| b.notes));
        let passes = match notes {
            None if model.by_notes => before.is_some_and(|b| b.passes),
            _ => model.passes(name, values),
        };
        let image = Image { name, notes: values, passes };
        let aside = matches!(*name, "bad" | "dropped");
        // Whether a row is quarantined depends on the row alone.
        let asked = passes || (model.by_notes && notes.is_none());
        if asked && aside {
            images.insert(key, Image { passes: true, ..image });
            continue;
        }
        images.insert(key, image.clone());
        if !passes {
            close(&mut lines, Some(key), order);
            continue;
        }
        let same =
            |l: &Line| l.image.name == image.name && (model.tracks_name || l.image.notes == image.notes);
        if let Some(open) = lines.iter_mut().find(|l| scd2 && l.key == key && l.end.is_none() && same(l)) {
            (open.image, open.seq) = (image, order);
            continue;
        }
        close(&mut lines, Some(key), order);
        lines.push(Line { key, image, seq: order, start: order, end: None });
    }
    let show_line =
        |l: &Line| show(l.key, l.image.name, l.image.notes, l.seq, scd2.then_some((l.start, l.end)));
    let all: Vec<String> = lines.iter().map(show_line).collect();
    debug_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    all
}

fn show(
    key: i64,
    name: &str,
    notes: Option<&str>,
    seq: Order,
    span: Option<(Order, Option<Order>)>,
) -> String {
    let number = |n: Option<i64>| n.map_or("·".to_owned(), |n| n.to_string());
    let loud = notes.map_or("·".to_owned(), |n| format!("{n}!"));
    let mut line = format!(
        "{key}|{}|{}|{loud}|{}|{}|{}|{}|{}",
        name.to_uppercase(),
        notes.unwrap_or("·"),
        number(seq.0),
        number(seq.1),
        number(seq.2),
        seq.4,
        seq.3
    );
    if let Some((start, end)) = span {
        line += &format!("|{}|{}", sequence(start), end.map_or("·".to_owned(), sequence));
    }
    line
}

fn sequence(order: Order) -> String {
    let sequence = model::Sequence {
        epoch: order.0,
        lsn: order.1,
        tx_order: order.2,
        by_offset: false,
        topic_id: "t".into(),
        partition: i32::try_from(order.4).expect("small"),
        offset: order.3,
    };
    sequence.to_string()
}
