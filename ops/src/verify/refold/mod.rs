//! The second fold of a silver table.
//!
//! It is written independently, from the documentation and by other means: values instead of references, all
//! changes at once instead of batches, the engine's plans instead of compiled expressions. It shares no code
//! with the stage, so a mistake of the stage is not repeated here.
//!
//! | module | subject |
//! | --- | --- |
//! | [`change`] | turns bronze rows into changes |
//! | [`marker`] | recognises the marker of unchanged values |
//! | [`place`] | orders changes and finds copies |
//! | [`program`] | runs expressions over them, in the engine without its optimiser |
//! | [`rules`] | computes the row of each change, and whether the table takes it |
//! | [`fold`] | folds them |
//!
//! A table with more rows than fit into memory is folded in parts, by key: each part reads bronze once.

pub mod change;
pub mod fold;
mod lacking;
pub mod marker;
pub mod place;
pub mod program;
pub mod rules;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use catalog::{Kind, Model, Topic};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt as _;
use lake::Table;

use change::Reader;
use fold::{Folded, PartFold};
use lacking::Lacking;
use place::Place;
use rules::{Judged, Rules, Verdict};

/// Bronze rows per part.
const PART: u64 = 4_000_000;

/// A row that must be in the quarantine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Aside {
    /// Topic id, partition, offset.
    pub record: (String, i64, i64),
    /// The reasons, as [`reason`] cuts them.
    pub reasons: Vec<String>,
    /// Its values as text.
    pub row: String,
}

/// One silver table to be folded again.
pub struct Refold {
    /// The rules of its model.
    pub rules: Arc<Rules>,
    bronze: Table,
    /// How many parts it is folded in.
    pub parts: u64,
    /// Keys that must be in one part, by their hashes: each points to another key of its group.
    joined: HashMap<u64, u64>,
}

impl Refold {
    /// For a bronze table at the consumed version, with this many rows.
    pub async fn open(model: &Model, topic: &Topic, bronze: Table, rows: u64) -> Result<Self> {
        Self::in_parts(model, topic, bronze, rows / PART + 1).await
    }

    async fn in_parts(model: &Model, topic: &Topic, bronze: Table, parts: u64) -> Result<Self> {
        let rules = Rules::read(model, topic, bronze.schema()).await?.lacking(Lacking::of(&bronze)?);
        let rules = Arc::new(rules);
        let mut refold = Self { rules, bronze, parts, joined: HashMap::new() };
        if refold.parts > 1 {
            refold.join().await?;
        }
        Ok(refold)
    }

    /// Finds the keys that must be in one part: a row took values from another key, or a redrive gave a
    /// record another key.
    async fn join(&mut self) -> Result<()> {
        let mut redriven = BTreeMap::new();
        let mut stream = rows(&self.bronze, &["_topic_id", "_partition", "_offset", "_redrive"]).await?;
        while let Some(batch) = stream.try_next().await? {
            change::last_redrives(&batch, &mut redriven)?;
        }
        let mut first: HashMap<(String, i64, i64), u64> = HashMap::new();
        let mut stream = rows(&self.bronze, &Reader::needs(self.bronze.schema())).await?;
        while let Some(batch) = stream.try_next().await? {
            for one in self.rules.judge(&batch).await?.judged {
                let own = hash(&self.name(&one));
                if let Some(old) = &one.moved_from {
                    self.unite(own, hash(old.as_ref()));
                }
                let (topic, partition, offset) = one.place.record();
                let record = (topic.to_owned(), partition, offset);
                if redriven.contains_key(&record) {
                    let other = *first.entry(record).or_insert(own);
                    self.unite(own, other);
                }
            }
        }
        Ok(())
    }

    fn root(&self, mut of: u64) -> u64 {
        while let Some(next) = self.joined.get(&of) {
            of = *next;
        }
        of
    }

    fn unite(&mut self, a: u64, b: u64) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.joined.insert(a, b);
        }
    }

    /// What assigns a change to a part: its key, or its own name if the table keeps every event.
    fn name(&self, one: &Judged) -> Vec<u8> {
        match (&one.key, self.rules.kind) {
            (_, Kind::Append) => named(&one.place),
            (Some(key), _) => key.to_vec(),
            (None, _) => Vec::new(),
        }
    }

    /// The part of a key.
    pub fn part_of(&self, name: &[u8]) -> u64 {
        if self.parts == 1 { 0 } else { self.root(hash(name)) % self.parts }
    }

    /// Folds one part. Also returns the rows that must be in the quarantine.
    pub async fn fold(&self, part: u64) -> Result<(Folded, Vec<Aside>)> {
        let (mut fold, mut aside) = (PartFold::default(), Vec::new());
        let mut stream = rows(&self.bronze, &Reader::needs(self.bronze.schema())).await?;
        while let Some(batch) = stream.try_next().await? {
            let batch = self.rules.judge(&batch).await?;
            // A truncate concerns every part, but only the first counts it.
            let here = |one: &Judged| self.part_of(&self.name(one)) == part;
            for (row, one) in batch.judged.iter().enumerate() {
                if one.verdict == Verdict::Aside && here(one) {
                    let (topic, partition, offset) = one.place.record();
                    aside.push(Aside {
                        record: (topic.to_owned(), partition, offset),
                        reasons: reason(&one.reasons.join("; ")),
                        row: values(&batch.view, row),
                    });
                }
            }
            fold.take(&batch.rows, batch.judged, here)?;
        }
        let rules = Arc::clone(&self.rules);
        let folded = runtime::cpu::run(move || fold.run(&rules, part == 0)).await?;
        Ok((folded, aside))
    }

    /// Rows of the table that belong to a part.
    pub fn of_part(&self, rows: &RecordBatch, part: u64) -> Result<RecordBatch> {
        if self.parts == 1 {
            return Ok(rows.clone());
        }
        let names: Vec<Vec<u8>> = if self.rules.kind == Kind::Append {
            let count = rows.num_rows();
            let number = |name: &str| change::numbers(rows.column_by_name(name).cloned(), count);
            let (epoch, lsn, order) = (number("_epoch"), number("_lsn"), number("_tx_order"));
            let (partition, offset) = (number("_partition"), number("_offset"));
            let topic = rows.column_by_name("_topic_id").map(change::texts).transpose()?.unwrap_or_default();
            let name = |row: usize| {
                let topic = topic.get(row).and_then(Option::as_deref).unwrap_or_default();
                // The stored order also decides whether positions name the row.
                let numbers = [epoch[row], lsn[row], order[row]];
                named(&Place::of_table(numbers, topic, partition[row], offset[row]))
            };
            (0..count).map(name).collect()
        } else {
            self.rules
                .encode(rows)?
                .into_iter()
                .map(|key| key.map_or_else(Vec::new, |key| key.to_vec()))
                .collect()
        };
        let mask = names.iter().map(|name| Some(self.part_of(name) == part)).collect();
        Ok(arrow::compute::filter_record_batch(rows, &mask)?)
    }
}

fn named(place: &Place) -> Vec<u8> {
    match (place.name(), place.record()) {
        (Some(name), _) => format!("{name:?}").into_bytes(),
        (None, (topic, partition, offset)) => format!("{topic}/{partition}/{offset}").into_bytes(),
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The parts of a reason, without the engine's own messages, because another plan may word them differently.
pub fn reason(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text
        .split("; ")
        .map(|part| match part.split_once(": ") {
            Some((what, _)) if what == "WHERE" || what.starts_with('`') => what.to_owned(),
            // Only the record says whether there was a key, not the row.
            _ if part == "the key cannot be read" => "the key is null".to_owned(),
            _ => part.to_owned(),
        })
        .collect();
    parts.sort();
    parts
}

/// The values of a row as one text.
pub fn values(rows: &RecordBatch, row: usize) -> String {
    let texts: Vec<String> =
        rows.columns().iter().map(|column| crate::verify::compare::text(column, row)).collect();
    texts.join("\u{1f}")
}

/// The rows of a table with only some columns.
pub async fn rows(table: &Table, columns: &[&str]) -> Result<SendableRecordBatchStream> {
    let schema = table.schema();
    let there: Vec<&str> = columns.iter().copied().filter(|name| schema.index_of(name).is_ok()).collect();
    let frame = query::session().read_table(table.provider()?)?.select_columns(&there)?;
    Ok(frame.execute_stream().await?)
}

/// A key in the encoding of [`Rules::encode`], or the name of an event.
pub type EncodedKey = Arc<[u8]>;

#[cfg(test)]
mod tests;
