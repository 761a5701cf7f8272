//! The siblings of a silver table: quarantined rows, and notes about keys without a row.
//!
//! `__quarantine` is a function of bronze: row for row, with the reasons. `__deleted` is not, because it may
//! hold notes that newer ones supersede. So each note must be true, and every note that the stage may need
//! must exist: the newest absence of a key without a row, the newest row that was kept out, every truncate,
//! every key change with values.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Result;
use arrow::array::{Array as _, RecordBatch};
use lake::{Lake, Table};
use model::{AppId, TableName};

use super::Finding;
use super::compare::Columns;
use super::refold::change::{numbers, path, texts};
use super::refold::fold::Folded;
use super::refold::place::Place;
use super::refold::{Aside, EncodedKey, Refold, reason, values};

/// How many are named.
const NAMED: usize = 5;

/// A sibling, and whether it has read further than the table: then it may hold more than is expected.
pub struct Sibling {
    name: TableName,
    table: Option<Table>,
    ahead: bool,
    consumed: i64,
}
impl Sibling {
    /// Opens `<table>__<what>`.
    pub async fn open(lake: &Lake, of: &Table, what: &str, input: &AppId) -> Result<Self> {
        let name = of.name().sibling(what);
        let table = lake.table(&name).await?;
        let consumed = of.positions().get(input);
        let ahead = table.as_ref().is_some_and(|table| table.positions().get(input) > consumed);
        Ok(Self { name, table, ahead, consumed: consumed.unwrap_or(-1) })
    }

    async fn rows(&self) -> Result<Vec<RecordBatch>> {
        match &self.table {
            Some(table) => Ok(table.scan(None).await?),
            None => Ok(Vec::new()),
        }
    }
}

/// Compares the quarantined rows with the expected ones. Returns a text with their number.
pub async fn quarantine(
    sibling: &Sibling,
    refold: &Refold,
    expected: Vec<Aside>,
    finding: &mut Finding,
) -> Result<String> {
    if sibling.table.is_none() {
        if !expected.is_empty() {
            finding.fault(format!(
                "`{}` is missing, and {} rows must be in it",
                sibling.name,
                expected.len()
            ));
        }
        return Ok("nothing put aside".to_owned());
    }
    let mut open: BTreeMap<Aside, i64> = BTreeMap::new();
    for one in expected {
        *open.entry(one).or_default() += 1;
    }
    let (mut rows, mut later) = (0_u64, 0_u64);
    for batch in sibling.rows().await? {
        let count = batch.num_rows();
        // A column that was added later is null in older rows.
        let view = query::session::conform(&batch, &refold.rules.changes)?;
        let number = |name: &str| numbers(batch.column_by_name(name).cloned(), count);
        let text = |name: &str| -> Result<Vec<Option<String>>> {
            Ok(batch.column_by_name(name).map(texts).transpose()?.unwrap_or_else(|| vec![None; count]))
        };
        let (topics, reasons) = (text("_topic_id")?, text("_reason")?);
        let (partitions, offsets, versions) =
            (number("_partition"), number("_offset"), number("_bronze_version"));
        for row in 0..count {
            if versions[row].is_some_and(|version| version > sibling.consumed) {
                later += 1;
                continue;
            }
            rows += 1;
            let record = (
                topics[row].clone().unwrap_or_default(),
                partitions[row].unwrap_or_default(),
                offsets[row].unwrap_or_default(),
            );
            let reasons = reason(reasons[row].as_deref().unwrap_or_default());
            *open.entry(Aside { record, reasons, row: values(&view, row) }).or_default() -= 1;
        }
    }
    let (mut missing, mut extra, mut named) = (0, 0, 0);
    for (one, left) in open.iter().filter(|(_, left)| **left != 0) {
        let (what, number) = if *left > 0 { ("lacks", &mut missing) } else { ("holds", &mut extra) };
        *number += left.abs();
        named += 1;
        if named <= NAMED {
            let ((_, partition, offset), why) = (&one.record, one.reasons.join("; "));
            finding.fault(format!(
                "`{}` {what} the row of partition {partition} offset {offset} ({why}){}",
                sibling.name,
                if *left > 0 { "" } else { ", which must not be there, not with these values, or not twice" }
            ));
        }
    }
    if missing + extra > 0 {
        finding.fault(format!("`{}`: {missing} rows missing, {extra} too many", sibling.name));
    }
    if later > 0 {
        finding.leave_out(format!(
            "{later} rows of `{}` are of versions that the table has not read",
            sibling.name
        ));
    }
    Ok(format!("{rows} put aside"))
}

/// What a table remembers of its keys.
pub struct Notes {
    sibling: Sibling,
    gone: HashMap<EncodedKey, Vec<(Place, Option<String>)>>,
    skipped: HashMap<EncodedKey, Vec<Place>>,
    truncates: Vec<Place>,
    whole: Vec<Place>,
    moves: HashSet<(EncodedKey, EncodedKey, String)>,
    /// Keys as text, for a report.
    names: HashMap<EncodedKey, String>,
    count: u64,
}

impl Notes {
    /// Reads the notes.
    pub async fn read(
        sibling: Sibling,
        refold: &Refold,
        keys: &[String],
        finding: &mut Finding,
    ) -> Result<Self> {
        let mut notes = Self {
            gone: HashMap::new(),
            skipped: HashMap::new(),
            truncates: Vec::new(),
            whole: Vec::new(),
            moves: HashSet::new(),
            names: HashMap::new(),
            count: 0,
            sibling,
        };
        for batch in notes.sibling.rows().await? {
            notes.take(&batch, refold, keys, finding)?;
        }
        Ok(notes)
    }

    fn take(
        &mut self,
        batch: &RecordBatch,
        refold: &Refold,
        keys: &[String],
        finding: &mut Finding,
    ) -> Result<()> {
        let count = batch.num_rows();
        self.count += count as u64;
        let encoded = refold.rules.encode(batch)?;
        let others = others(batch, refold, keys)?;
        let text = |name: &str| -> Result<Vec<Option<String>>> {
            Ok(batch.column_by_name(name).map(texts).transpose()?.unwrap_or_else(|| vec![None; count]))
        };
        let (kinds, whys, places) = (text("_kind")?, text("_why")?, places(batch)?);
        for row in 0..count {
            let place = places[row].clone();
            if let Some(key) = &encoded[row] {
                self.names.entry(key.clone()).or_insert_with(|| Columns::new(batch).row(keys, row));
            }
            match (kinds[row].as_deref(), &encoded[row], &others[row]) {
                (Some("gone"), Some(key), _) => {
                    self.gone.entry(key.clone()).or_default().push((place, whys[row].clone()));
                }
                (Some("skipped"), Some(key), _) => self.skipped.entry(key.clone()).or_default().push(place),
                (Some("truncated"), _, _) => self.truncates.push(place),
                (Some("whole"), _, _) => self.whole.push(place),
                // Where a snapshot began on a partition. Bronze may not have its end yet, so it cannot be
                // checked.
                (Some("read"), _, _) => {}
                (Some("moved"), Some(old), Some(new)) => {
                    self.moves.insert((old.clone(), new.clone(), place.text()));
                }
                (kind, ..) => {
                    finding.fault(format!("`{}` has a note of the kind {kind:?}", self.sibling.name))
                }
            }
        }
        Ok(())
    }

    /// Compares the notes with the changes of one part.
    pub fn check(&mut self, part: u64, refold: &Refold, folded: &Folded, finding: &mut Finding) {
        let mut wrong: Vec<String> = Vec::new();
        let name = |key: &EncodedKey, names: &HashMap<EncodedKey, String>| {
            names.get(key).cloned().unwrap_or_else(|| format!("{key:?}"))
        };
        for (key, memory) in &folded.memory {
            if let Some(gone) = &memory.gone {
                let notes = self.gone.get(key).map_or(&[][..], Vec::as_slice);
                let fits = |(place, why): &(Place, Option<String>)| {
                    *place == gone.place && why.as_deref().is_none_or(|why| why == gone.why)
                };
                if !notes.iter().any(fits) {
                    wrong.push(format!(
                        "a key ({}) is not remembered as {} at {}",
                        name(key, &self.names),
                        gone.why,
                        gone.place.text()
                    ));
                }
            }
            if let Some(skipped) = &memory.skipped
                && !self.skipped.get(key).is_some_and(|notes| notes.contains(skipped))
            {
                wrong.push(format!(
                    "the row of a key ({}) that was kept out at {} is not remembered",
                    name(key, &self.names),
                    skipped.text()
                ));
            }
        }
        for (old, new, place) in &folded.moves {
            if !self.moves.contains(&(old.clone(), new.clone(), place.text())) {
                wrong.push(format!("the change of a key at {} is not remembered", place.text()));
            }
        }
        if part == 0 {
            for truncate in folded.truncates.iter().filter(|truncate| !truncate.here) {
                if !self.truncates.contains(&truncate.place.stored()) {
                    wrong.push(format!("the truncate at {} is not remembered", truncate.place.text()));
                }
            }
            for end in &folded.whole {
                if !self.whole.contains(&end.stored()) {
                    wrong.push(format!("the end of a snapshot at {} is not remembered", end.text()));
                }
            }
        }
        if !self.sibling.ahead {
            self.untrue(part, refold, folded, &mut wrong);
        }
        if wrong.is_empty() {
            return;
        }
        let table = &self.sibling.name;
        match &self.sibling.table {
            None => finding.fault(format!("`{table}` is missing, and {} notes must be in it", wrong.len())),
            Some(_) => finding.fault(format!("`{table}`: {} notes are missing or wrong", wrong.len())),
        }
        wrong.into_iter().take(NAMED).for_each(|what| finding.fault(format!("`{table}`: {what}")));
    }

    /// Reports notes that no change explains.
    fn untrue(&self, part: u64, refold: &Refold, folded: &Folded, wrong: &mut Vec<String>) {
        let here = |key: &EncodedKey| refold.part_of(key) == part;
        let name = |key: &EncodedKey| self.names.get(key).map_or("?", String::as_str);
        for (key, notes) in self.gone.iter().filter(|(key, _)| here(key)) {
            let known = folded.memory.get(key).map_or(&[][..], |memory| memory.absences.as_slice());
            for (place, _) in notes.iter().filter(|(place, _)| !known.contains(place)) {
                wrong.push(format!("no change deletes the key ({}) at {}", name(key), place.text()));
            }
        }
        for (key, notes) in self.skipped.iter().filter(|(key, _)| here(key)) {
            let known = folded.memory.get(key).map_or(&[][..], |memory| memory.skips.as_slice());
            for place in notes.iter().filter(|place| !known.contains(place)) {
                wrong.push(format!("no row of the key ({}) is kept out at {}", name(key), place.text()));
            }
        }
        if part == 0 {
            let known =
                |place: &Place| folded.all_truncates.iter().any(|known| known.place.stored() == *place);
            for place in self.truncates.iter().filter(|place| !known(place)) {
                wrong.push(format!("no truncate is at {}", place.text()));
            }
        }
    }

    /// The number of notes.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The other key of each note.
fn others(batch: &RecordBatch, refold: &Refold, keys: &[String]) -> Result<Vec<Option<EncodedKey>>> {
    let column = |key: &String| path(batch, &format!("_other.{key}"));
    let Some(columns) = keys.iter().map(column).collect::<Option<Vec<_>>>() else {
        return Ok(vec![None; batch.num_rows()]);
    };
    let fields = keys.iter().zip(&columns);
    let fields: Vec<_> =
        fields.map(|(key, c)| arrow::datatypes::Field::new(key, c.data_type().clone(), true)).collect();
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    refold.rules.encode(&RecordBatch::try_new(schema, columns)?)
}

/// The places that rows of silver store.
fn places(batch: &RecordBatch) -> Result<Vec<Place>> {
    let count = batch.num_rows();
    let number = |name: &str| numbers(batch.column_by_name(name).cloned(), count);
    let (epoch, lsn, tx_order) = (number("_epoch"), number("_lsn"), number("_tx_order"));
    let (partition, offset) = (number("_partition"), number("_offset"));
    let topic = batch.column_by_name("_topic_id").filter(|c| c.len() == count).map(texts).transpose()?;
    let topic = topic.unwrap_or_else(|| vec![None; count]);
    let place = |row: usize| {
        let parts = [epoch[row], lsn[row], tx_order[row]];
        Place::of_table(parts, topic[row].as_deref().unwrap_or_default(), partition[row], offset[row])
    };
    Ok((0..count).map(place).collect())
}
