//! Reads a batch of records into rows in two steps: find the schemas it needs, then decode everything.
//!
//! The caller asks the registry between the two steps. So decoding never waits and can run on the CPU
//! threads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Fields};
use avro::{Frame, FrameError};
use catalog::KeyFormat;
use stream::Records;

use crate::absent;
use crate::assemble::{Layout, Origin, Values, assemble};
use crate::decode::{Decoded, Decoder, Refusal};
use crate::json::{Fresh, SchemaParts};
use crate::lookup::{Asked, Part};
use crate::patience::Needs;

/// How a topic's values become columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Avro with the registry's frame.
    Avro,
    /// JSON, split into columns by its schema.
    Json,
    /// JSON text, kept whole in one column `value`.
    Text,
    /// Bytes, kept whole in one column `value`.
    Bytes,
}

/// The state of a schema id.
#[derive(Debug)]
pub enum Known {
    /// Its records can be decoded.
    Ready(Box<Decoder>),
    /// Its records become error rows.
    Refused(Refusal),
}

/// Known schemas by registry id.
#[derive(Debug, Default)]
pub struct Shelf(HashMap<u32, Known, RandomState>);
impl Shelf {
    /// Adds or replaces a schema.
    pub fn put(&mut self, id: u32, known: Known) {
        self.0.insert(id, known);
    }
    /// True if the registry need not be asked for `id`.
    pub fn knows(&self, id: u32) -> bool {
        self.0.contains_key(&id)
    }
}

/// Reads the records of one table.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    key_format: Option<KeyFormat>,
    layout: Layout,
    /// True if the value contains every column of the key.
    values_have_keys: bool,
    /// Schemas of values.
    pub values: Shelf,
    /// Schemas of keys.
    pub keys: Shelf,
    /// Schema parts of JSON values.
    pub value_parts: SchemaParts,
    /// Schema parts of JSON keys.
    pub key_parts: SchemaParts,
}

/// Rows, with counts of what was wrong with them.
#[derive(Debug)]
pub struct Read {
    /// One row per kept record, in the table's columns.
    pub batch: RecordBatch,
    /// Error rows by metric label.
    pub errors: Vec<(&'static str, u64)>,
    /// Rows with fields that no column takes.
    pub partly: u64,
    /// Rows whose key has bytes but cannot be read.
    pub unread_keys: u64,
    /// For each column with a default, the first offset whose writer knows the column.
    pub firsts: BTreeMap<String, i64>,
}

impl Reader {
    /// A reader that knows no schema yet.
    pub fn new(format: Format, layout: Layout) -> Self {
        Self {
            format,
            key_format: None,
            values_have_keys: has_keys(&layout),
            layout,
            values: Shelf::default(),
            keys: Shelf::default(),
            value_parts: SchemaParts::default(),
            key_parts: SchemaParts::default(),
        }
    }
    /// Sets the format of all keys.
    #[must_use]
    pub fn keys_in(mut self, format: Option<KeyFormat>) -> Self {
        self.key_format = format;
        self
    }
    /// True if a key may have a registry frame.
    fn may_be_framed(&self) -> bool {
        matches!(self.key_format, None | Some(KeyFormat::Avro))
    }
    /// The table's columns.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Takes over the columns that the table gained.
    pub fn widen(&mut self, layout: Layout) {
        self.values_have_keys = has_keys(&layout);
        self.layout = layout;
    }

    /// Starts again with columns that conflict with the current ones; every schema has to be put in again.
    pub fn begin_again(&mut self, layout: Layout) {
        *self = Self::new(self.format, layout).keys_in(self.key_format);
    }

    /// True if the registry need not be asked for that schema.
    pub(crate) fn knows(&self, (part, id): Asked) -> bool {
        match part {
            Part::Value => self.values.knows(id),
            Part::Key => self.keys.knows(id),
        }
    }

    /// The schemas that a batch names and that are not known yet. A key that starts like a frame may not be
    /// one: if the value also has its columns, its schema is looked up but not required.
    pub(crate) fn needs(&self, rows: &Records, kept: &[u32]) -> Needs {
        let mut needs = Needs::default();
        let (mut seen, mut last) = (HashSet::<(Asked, bool), RandomState>::default(), (None, None));
        let mut note = |asked: Asked, is_spare: bool| {
            if !self.knows(asked) && seen.insert((asked, is_spare)) {
                if is_spare { needs.spare.push(asked) } else { needs.must.push(asked) }
            }
        };
        for &row in kept {
            let value = rows.value(row as usize);
            if self.format == Format::Avro
                && let Some(Ok(Frame { id, .. })) = value.map(Frame::decode)
                && last.0 != Some(id)
            {
                last.0 = Some(id);
                note((Part::Value, id), false);
            }
            let is_spare = self.values_have_keys && value.is_some();
            if self.layout.keys().is_some()
                && self.may_be_framed()
                && let Some(Ok(Frame { id, body: [_, ..] })) = rows.key(row as usize).map(Frame::decode)
                && last.1 != Some((id, is_spare))
            {
                last.1 = Some((id, is_spare));
                note((Part::Key, id), is_spare);
            }
        }
        needs
    }

    /// The schema parts of values and of keys in a batch that were not seen before.
    pub fn fresh(&self, rows: &Records, kept: &[u32]) -> (Vec<Fresh>, Vec<Fresh>) {
        let values = kept.iter().filter_map(|&row| rows.value(row as usize));
        let values = if self.format == Format::Json { self.value_parts.fresh(values) } else { Vec::new() };
        let is_json = match self.key_format {
            None => self.format != Format::Avro,
            Some(format) => format == KeyFormat::Json,
        };
        let keys = kept.iter().filter_map(|&row| rows.key(row as usize));
        let keys = keys.filter(|key| self.key_format.is_some() || !Frame::is_begun_by(key));
        let has_keys = is_json && self.layout.keys().is_some();
        let keys = if has_keys { self.key_parts.fresh(keys) } else { Vec::new() };
        (values, keys)
    }

    /// Reads the records at `kept`. A record whose schema is not known becomes an error row.
    pub fn read(&mut self, origin: Origin<'_>, rows: &Records, kept: &[u32]) -> Read {
        let wanted = self.layout.values().clone();
        let at = |row: u32| rows.value(kept[row as usize] as usize);
        let values = match self.format {
            Format::Avro => framed(&mut self.values, kept.len(), at, &wanted),
            Format::Json => self.value_parts.decode(kept.len(), at, &wanted),
            Format::Text | Format::Bytes => plain(kept.len(), at, &wanted),
        };
        let keys = match self.layout.keys().cloned() {
            Some(wanted) => {
                let at = |row: u32| rows.key(kept[row as usize] as usize);
                self.read_keys(kept.len(), at, &wanted)
            }
            None => Vec::new(),
        };
        let firsts = self.firsts(&values, rows, kept);
        let (errors, partly) = (count(&values), values.partly.len() as u64);
        let with_key = || kept.iter().filter(|&&row| rows.key(row as usize).is_some()).count();
        let read: usize = keys.iter().map(|part| part.rows.len().saturating_sub(part.refused.len())).sum();
        let unread = if self.layout.keys().is_some() { with_key().saturating_sub(read) } else { 0 };
        let unread_keys = unread as u64;
        let batch = assemble(&self.layout, origin, rows, kept, values, keys);
        Read { batch, errors, partly, unread_keys, firsts }
    }

    fn firsts(&self, values: &Values, rows: &Records, kept: &[u32]) -> BTreeMap<String, i64> {
        let defaults = self.layout.defaults().keys();
        let first = |path: &&String| {
            let knowing = values.writers.iter().filter(|(schema, _)| absent::has(schema, path));
            let first = knowing.map(|(_, row)| *row).min()?;
            Some(rows.offset(*kept.get(first as usize)? as usize).0)
        };
        defaults.filter_map(|path| Some((path.clone(), first(&path)?))).collect()
    }

    /// Keys may be Avro although values are not: our own file source frames keys whatever the value's format.
    fn read_keys<'a>(
        &mut self,
        len: usize,
        at: impl Fn(u32) -> Option<&'a [u8]>,
        wanted: &Fields,
    ) -> Vec<Decoded> {
        match self.key_format {
            None if self.format == Format::Avro => return framed(&mut self.keys, len, at, wanted).parts,
            None => {}
            Some(KeyFormat::Avro) => return framed(&mut self.keys, len, at, wanted).parts,
            Some(_) => return self.key_parts.decode(len, at, wanted).parts,
        }
        let mut parts =
            framed(&mut self.keys, len, |row| at(row).filter(|key| Frame::is_begun_by(key)), wanted).parts;
        let json = |row| at(row).filter(|key| !Frame::is_begun_by(key));
        parts.extend(self.key_parts.decode(len, json, wanted).parts);
        parts
    }
}

fn has_keys(layout: &Layout) -> bool {
    let values = layout.values();
    layout.keys().is_some_and(|keys| keys.iter().all(|key| values.find(key.name()).is_some()))
}

/// Row numbers from zero.
pub(crate) fn numbers(rows: usize) -> std::ops::Range<u32> {
    0..u32::try_from(rows).expect("a batch has fewer than 2^32 rows")
}

/// Groups framed payloads by schema id and decodes each group.
fn framed<'a>(
    shelf: &mut Shelf,
    len: usize,
    at: impl Fn(u32) -> Option<&'a [u8]>,
    wanted: &Fields,
) -> Values {
    let mut values = Values { schema_ids: vec![None; len], ..Values::default() };
    let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
    for row in numbers(len) {
        let Some(payload) = at(row) else { continue };
        let id = match Frame::decode(payload) {
            Ok(Frame { id, .. }) => id,
            Err(error) => {
                values.refused.push((row, error.into()));
                continue;
            }
        };
        values.schema_ids[row as usize] = Some(id);
        match groups.iter_mut().find(|(group, _)| *group == id) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((id, vec![row])),
        }
    }
    for (id, rows) in groups {
        let refuse_all = |refusal: Refusal| rows.iter().map(move |&row| (row, refusal.clone()));
        match shelf.0.get_mut(&id) {
            Some(Known::Ready(decoder)) => {
                let payload = |row| at(row).expect("rows of a group have a value");
                match decoder.decode(&rows, payload, wanted) {
                    Ok(part) => {
                        values.writers.extend(part.rows.first().map(|first| (decoder.schema(), *first)));
                        values.parts.push(part);
                    }
                    Err((column, error)) => {
                        let why = format!("column `{column}`: {error}");
                        values.refused.extend(refuse_all(Refusal::Incompatible { id, why }));
                    }
                }
            }
            Some(Known::Refused(refusal)) => values.refused.extend(refuse_all(refusal.clone())),
            None => values.refused.extend(refuse_all(Refusal::UnknownSchema(id))),
        }
    }
    values
}

/// Values kept as one column: bytes, or text that must be JSON.
fn plain<'a>(len: usize, at: impl Fn(u32) -> Option<&'a [u8]>, wanted: &Fields) -> Values {
    let mut values = Values { schema_ids: vec![None; len], ..Values::default() };
    let is_text = wanted.first().is_some_and(|field| *field.data_type() == DataType::Utf8);
    let mut texts = StringBuilder::new();
    let mut bytes = BinaryBuilder::new();
    let mut rows = Vec::with_capacity(len);
    for row in numbers(len) {
        let Some(payload) = at(row) else { continue };
        if is_text {
            match json_text(payload) {
                Ok(text) => texts.append_value(text),
                Err(refusal) => {
                    values.refused.push((row, refusal));
                    continue;
                }
            }
        } else {
            bytes.append_value(payload);
        }
        rows.push(row);
    }
    let column: ArrayRef = if is_text { Arc::new(texts.finish()) } else { Arc::new(bytes.finish()) };
    values.parts.push(Decoded { rows, columns: vec![column], refused: Vec::new(), hollow: Vec::new() });
    values
}

fn json_text(payload: &[u8]) -> Result<&str, Refusal> {
    if payload.is_empty() {
        return Err(Refusal::Empty);
    }
    let text = str::from_utf8(payload).map_err(|_| Refusal::Fault(avro::Mismatch::Utf8))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| Refusal::Json(e.to_string()))?;
    Ok(text)
}

fn count(values: &Values) -> Vec<(&'static str, u64)> {
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    let refused = values.parts.iter().flat_map(|part| &part.refused).chain(&values.refused);
    for label in refused.map(|(_, refusal)| refusal.label()) {
        match counts.iter_mut().find(|(counted, _)| *counted == label) {
            Some((_, n)) => *n += 1,
            None => counts.push((label, 1)),
        }
    }
    counts
}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Empty => Self::Empty,
            FrameError::Magic(byte) => Self::Magic(byte),
            FrameError::Short => Self::Short,
        }
    }
}

#[cfg(test)]
mod tests;
